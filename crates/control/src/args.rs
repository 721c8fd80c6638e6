//! What `tombolo control` is told at its start.
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use tombolo_core::name::{LabelError, Namespace};

/// How it is run by hand, as its help shows.
const EXAMPLES: &str = "\
Examples:
  tombolo manifests crds | kubectl apply -f -
  tombolo control --kubeconfig ~/.kube/config --listen 127.0.0.1:8086 --plaintext
      outside the cluster, for tests and debugging: no certificates, all gRPC services on one port
  tombolo control --kubeconfig FILE --listen 10.0.0.7 --trust-anchors ca.crt --issuer-cert issuer.crt --issuer-key issuer.key
      for the proxies of a mesh

Links are found in every namespace, each with its credentials Secret beside it. A Secret with the label
multicluster.linkerd.io/cluster-name in the namespace of a control plane makes a cluster known to discovery alone.
What it must be allowed to do, `tombolo manifests control` says. It writes no file; the log goes to standard error, health
and metrics are on the admin port: GET /live, /ready, /metrics.";

/// Run the control plane of one cluster
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Kubeconfig of the cluster that this control plane belongs to
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long)]
    pub context: Option<String>,
    /// Address to listen on: an IP for all ports, or IP:PORT where PORT is that of the destination service, and with
    /// --plaintext that of all gRPC services
    #[arg(long, value_name = "IP[:PORT]")]
    pub listen: Listen,
    /// Serve without TLS and without certificates, to whoever connects: for tests and debugging, on loopback addresses only
    #[arg(long, conflicts_with_all = ["trust_anchors", "issuer_cert", "issuer_key"])]
    pub plaintext: bool,
    /// Name of this cluster, as metrics and endpoints show it [default: the cluster's name in the kubeconfig]
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Trust anchors of the mesh, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "plaintext")]
    pub trust_anchors: Option<PathBuf>,
    /// Certificate of this cluster's issuer, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "plaintext")]
    pub issuer_cert: Option<PathBuf>,
    /// Key of this cluster's issuer, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "plaintext")]
    pub issuer_key: Option<PathBuf>,
    /// Namespace of the control plane, in every cluster of the mesh
    #[arg(long, value_parser = namespace, default_value = "tombolo")]
    pub namespace: String,
    /// Namespace of a Linkerd beside it, whose pods and credentials are taken for this mesh's too
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace, default_value = "linkerd")]
    pub linkerd_namespace: String,
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
    /// Port of the destination service, where --listen has none
    #[arg(long, default_value_t = 8086)]
    pub destination_port: u16,
    /// Port of the policy service
    #[arg(long, default_value_t = 8090)]
    pub policy_port: u16,
    /// Port of health and metrics; 0 takes a free one, which the log tells [default: 4191, or a free one if --listen has a port]
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// What gateways of this cluster forward to for other clusters
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = GatewayExports::Labelled)]
    pub gateway_exports: GatewayExports,
}

/// A name that a namespace can have.
fn namespace(text: &str) -> Result<String, LabelError> {
    Namespace::parse(text).map(|namespace| namespace.as_str().to_owned())
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this address, with the port of each service.
    Address(IpAddr),
    /// As before, and with this port for the destination service.
    Socket(SocketAddr),
}

impl Listen {
    /// The address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        match self {
            Self::Address(ip) => ip,
            Self::Socket(addr) => addr.ip(),
        }
    }
}

/// What is no place to listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither IP nor IP:PORT, as in 127.0.0.1 or 127.0.0.1:8086 or [::1]:8086")]
pub struct ListenError;

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let address = text.parse().ok().map(Self::Address);
        let socket = || text.parse().ok().map(Self::Socket);
        address.or_else(socket).ok_or(ListenError)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one() {
        assert_eq!(namespace("tombolo").as_deref(), Ok("tombolo"));
        for text in ["Bad NS", "", "a.b", "-a"] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_have_a_port() {
        for (text, want) in [
            ("127.0.0.1", Some(Listen::Address([127, 0, 0, 1].into()))),
            (
                "127.0.0.1:0",
                Some(Listen::Socket(([127, 0, 0, 1], 0).into())),
            ),
            (
                "[::1]:8086",
                Some(Listen::Socket("[::1]:8086".parse().unwrap())),
            ),
            ("::1", Some(Listen::Address("::1".parse().unwrap()))),
            ("localhost:8086", None),
            (":8086", None),
            ("127.0.0.1:99999", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Listen>().ok(), want, "{text}");
        }
    }
}
