//! Keys of labels and annotations that carry meaning between clusters: Linkerd's, kept verbatim, so
//! that either side of a link may run either program. How they are written on objects is not known here.

/// Label of an exported Service: `true` (gateway), `remote-discovery` (flat).
pub const EXPORTED: &str = "mirror.linkerd.io/exported";
/// Label of a Service that joins its federated service: `member`.
pub const FEDERATED: &str = "mirror.linkerd.io/federated";
/// Label of everything derived: `true`. Such an object is never exported.
pub const MIRRORED_SERVICE: &str = "mirror.linkerd.io/mirrored-service";
/// Label of a mirror and its slices: the cluster that it comes from.
pub const CLUSTER_NAME: &str = "mirror.linkerd.io/cluster-name";
/// Label of the Service of one host of a headless mirror: the name of that mirror.
pub const HEADLESS_MIRROR: &str = "mirror.linkerd.io/headless-mirror-svc-name";
/// Annotation of a mirror: the resourceVersion of the exported Service.
pub const REMOTE_RESOURCE_VERSION: &str = "mirror.linkerd.io/remote-resource-version";
/// Annotation of a mirror and its slices: `<svc>.<ns>.svc.<domain>` of the exported Service.
pub const REMOTE_FQ_NAME: &str = "mirror.linkerd.io/remote-svc-fq-name";
/// Annotation of a slice: the TLS identity of the gateway.
pub const GATEWAY_IDENTITY: &str = "mirror.linkerd.io/remote-gateway-identity";
/// Label of a flat mirror (the cluster), and annotation of a federated service (`svc@cluster,...`).
pub const REMOTE_DISCOVERY: &str = "multicluster.linkerd.io/remote-discovery";
/// Label of a flat mirror: the Service to resolve in that cluster.
pub const REMOTE_SERVICE: &str = "multicluster.linkerd.io/remote-service";
/// Annotation of a federated service: the local Service that is its member.
pub const LOCAL_DISCOVERY: &str = "multicluster.linkerd.io/local-discovery";
/// Annotation that is always copied, whatever is excluded.
pub const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";

/// Label that ties a slice to its Service.
pub const SLICE_SERVICE: &str = "kubernetes.io/service-name";
/// Label that says who manages a slice.
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Our value of [`SLICE_MANAGED_BY`]: other slice controllers leave such slices alone.
pub const SLICE_MANAGED_BY_US: &str = "tombolo";

/// Labels and annotations under this prefix tell discovery where to look: they are never copied.
pub(crate) const STEERING: &str = "multicluster.linkerd.io/";
/// Labels under this prefix say what becomes of the exported object only.
pub(crate) const EXPORTING: &str = "mirror.linkerd.io/";
/// Annotations that are ours to write, or describe the exporting cluster only.
pub(crate) const NEVER_COPIED_ANNOTATIONS: [&str; 6] = [
    REMOTE_RESOURCE_VERSION,
    REMOTE_FQ_NAME,
    GATEWAY_IDENTITY,
    "service.kubernetes.io/topology-aware-hints",
    "service.kubernetes.io/topology-mode",
    // Describes the exported object to `kubectl apply`; on the mirror it would be a lie.
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// Values of [`EXPORTED`] that have a meaning without any Link's selector.
pub(crate) const EXPORTED_KNOWN: [&str; 3] = ["true", "remote-discovery", "false"];
/// Values of [`FEDERATED`] that have a meaning without any Link's selector.
pub(crate) const FEDERATED_KNOWN: [&str; 2] = ["member", "false"];
