//! The facts of the cluster that decide about writes, and the store's bounds.
use ipnet::IpNet;

/// The largest object, encoded: what etcd takes by default.
pub const OBJECT_BYTES_MAX: usize = 1_572_864;

/// How deep an object may nest: what is deeper could not be read back.
pub const OBJECT_DEPTH_MAX: usize = 96;

/// Whether endpoints may have loopback addresses, which Kubernetes refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoopbackEndpoints {
    /// As Kubernetes.
    #[default]
    Refused,
    /// For a lab whose pods live on loopback addresses.
    Allowed,
}

/// Whether who binds a Pod by an update may complete it, as webhooks do at its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoundPods {
    /// As Kubernetes: nobody binds by an update, and a Pod is what it was created as.
    #[default]
    AsCreated,
    /// For a lab whose agent adds a container to the Pods that it takes.
    Completed,
}

/// The facts of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Where ClusterIPs come from.
    pub service_cidr: IpNet,
    /// Whether endpoints may have loopback addresses.
    pub loopback_endpoints: LoopbackEndpoints,
    /// Whether who binds a Pod may complete it.
    pub bound_pods: BoundPods,
}
