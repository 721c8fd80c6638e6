//! What `tombolo control` is told at its start.
use std::net::IpAddr;
use std::path::PathBuf;

/// Run the control plane of one cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Kubeconfig of the cluster that this control plane belongs to
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long)]
    pub context: Option<String>,
    /// Address to listen on
    #[arg(long, value_name = "IP")]
    pub listen: IpAddr,
    /// Name of this cluster, as metrics and endpoints show it
    #[arg(long, value_name = "NAME")]
    pub cluster_name: String,
    /// Trust anchors of the mesh, PEM
    #[arg(long, value_name = "FILE")]
    pub trust_anchors: PathBuf,
    /// Certificate of this cluster's issuer, PEM
    #[arg(long, value_name = "FILE")]
    pub issuer_cert: PathBuf,
    /// Key of this cluster's issuer, PEM
    #[arg(long, value_name = "FILE")]
    pub issuer_key: PathBuf,
    /// Namespace of the control plane, in every cluster of the mesh
    #[arg(long, default_value = "tombolo")]
    pub namespace: String,
    /// DNS domain of this cluster
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Trust domain of the mesh
    #[arg(long, default_value = "cluster.local")]
    pub trust_domain: String,
    /// Service account that this process's own certificate is for
    #[arg(long, default_value = "control")]
    pub service_account: String,
    /// Port of the identity service
    #[arg(long, default_value_t = 8080)]
    pub identity_port: u16,
    /// Port of the destination service
    #[arg(long, default_value_t = 8086)]
    pub destination_port: u16,
    /// Port of the policy service
    #[arg(long, default_value_t = 8090)]
    pub policy_port: u16,
    /// Port of health and metrics
    #[arg(long, default_value_t = 4191)]
    pub admin_port: u16,
    /// What gateways of this cluster forward to for other clusters
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = GatewayExports::Labelled)]
    pub gateway_exports: GatewayExports,
}

/// What gateways forward to for other clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GatewayExports {
    /// Services that the default selectors of a Link take: with the label mirror.linkerd.io/exported=true,
    /// mirror.linkerd.io/exported=remote-discovery or mirror.linkerd.io/federated=member
    Labelled,
    /// Every Service, as Linkerd's gateway does: for Links with selectors of their own
    Any,
}
