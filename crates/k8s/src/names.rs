//! Fixed strings of the Kubernetes side: groups, kinds, Secret types, ports, our field manager. Keys
//! that carry meaning between clusters are in `tombolo_core::keys`.

/// Our field manager, in every write that planners decide.
pub const FIELD_MANAGER: &str = "tombolo";
/// Whom `managedFields` names beside us where a Linkerd made an object that we took over.
pub const TAKEN_OVER_MANAGER: &str = "tombolo-taken-over";
/// The group of Links.
pub const LINK_GROUP: &str = "multicluster.linkerd.io";
/// The version of Links that we read and write.
pub const LINK_VERSION: &str = "v1alpha3";
/// Group and version of Links.
pub const LINK_API_VERSION: &str = "multicluster.linkerd.io/v1alpha3";
/// The plural of Link.
pub const LINKS: &str = "links";
/// Who writes the entries of a Link's status, as Linkerd calls it.
pub const CONTROLLER_NAME: &str = "linkerd.io/service-mirror";

/// The type of a Secret that holds a Link's credentials.
pub const CREDENTIALS_TYPE: &str = "mirror.linkerd.io/remote-kubeconfig";
/// Label of such a Secret in the namespace of a control plane: the cluster that discovery reaches with it.
pub const SECRET_CLUSTER_NAME: &str = "multicluster.linkerd.io/cluster-name";
/// Annotation of it: the trust domain of that cluster.
pub const SECRET_TRUST_DOMAIN: &str = "multicluster.linkerd.io/trust-domain";
/// Annotation of it: the DNS domain of that cluster.
pub const SECRET_CLUSTER_DOMAIN: &str = "multicluster.linkerd.io/cluster-domain";
/// The key in it.
pub const CREDENTIALS_KEY: &str = "kubeconfig";
/// The reason of Events about Services that are not mirrored, as users of Linkerd look for it.
pub const EVENT_SKIPPED: &str = "ServiceMirroringSkipped";

/// Port name of a gateway Service: traffic.
pub const GATEWAY_PORT: &str = "mc-gateway";
/// Port name of a gateway Service: probes.
pub const PROBE_PORT: &str = "mc-probe";
/// Annotation of a gateway Service: its TLS identity.
pub const GATEWAY_SERVICE_IDENTITY: &str = "mirror.linkerd.io/gateway-identity";
/// Annotation of a gateway Service: how often to probe it.
pub const PROBE_PERIOD: &str = "mirror.linkerd.io/probe-period";
/// Annotation of a gateway Service: what to ask.
pub const PROBE_PATH: &str = "mirror.linkerd.io/probe-path";
/// Annotation of a gateway Service: informational.
pub const MULTICLUSTER_GATEWAY: &str = "mirror.linkerd.io/multicluster-gateway";
/// Annotation of a gateway pod: its proxy forwards by name.
pub const ENABLE_GATEWAY: &str = "config.linkerd.io/enable-gateway";
/// Annotation of pods and namespaces: add a proxy.
pub const INJECT: &str = "linkerd.io/inject";
/// Annotation: who made an object.
pub const CREATED_BY: &str = "linkerd.io/created-by";
/// Label of meshed pods: the namespace of their control plane.
pub const CONTROL_PLANE_NS: &str = "linkerd.io/control-plane-ns";

/// The service account whose token a Link's credentials hold, in the cluster linked to.
pub const REMOTE_ACCESS: &str = "remote-access";
