//! Keys of the metric labels by which discovery tells proxies where an endpoint is.

/// The cluster of an endpoint: its name in the Links of the cluster that asks; the failure domain.
pub const CLUSTER: &str = "cluster";
/// The zone of an endpoint.
pub const ZONE: &str = "zone";
/// The tier of an endpoint: a lower one is preferred.
pub const TIER: &str = "tier";
