//! The command line of one API server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use ipnet::{IpNet, Ipv4Net};

use super::Config;
use crate::db::{BoundPods, Controllers, LoopbackEndpoints, Storage};

const EXAMPLES: &str = "\
Examples:
  tombolo apiserver --memory --kubeconfig k.yaml &
  kubectl --kubeconfig k.yaml create deployment web --image=web
  tombolo apiserver --data ./west --kubeconfig west.yaml --cluster-name west --listen 127.0.0.1:6444
      keeps its objects: what was acknowledged survives kill -9
  tombolo apiserver --memory --kubeconfig k.yaml --listen 127.0.0.1:0 --log info,tombolo_apiserver=debug
      on a free port, which the kubeconfig says

Files:
  FILE (--kubeconfig)  written anew at each start, for the cluster's administrator, readable for its owner only; a
                       kubeconfig of other clusters is left alone and refused
  DIR (--data)         the objects; DIR/pki has the certificate authority, keys and certificates, unless --pki says
                       where. With --memory alone nothing else is written
The log goes to standard error. No pod runs: a node is what `tombolo agent`, or a kubelet, makes of it.";

/// Runs one Kubernetes API server, with its own certificate authority.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("storage").required(true).args(["data", "memory"])))]
pub struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Directory for objects, keys and certificates
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep everything in memory only
    #[arg(long)]
    pub memory: bool,
    /// File for the administrator's kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Directory for keys and certificates, if not DIR/pki
    #[arg(long, value_name = "DIR")]
    pub pki: Option<PathBuf>,
    /// Name of the cluster and of its context
    #[arg(long, value_name = "NAME", default_value = "tombolo", value_parser = NonEmptyStringValueParser::new())]
    pub cluster_name: String,
    /// Range of the Services' addresses
    #[arg(long, value_name = "CIDR", default_value_t = default_service_cidr(), value_parser = range)]
    pub service_cidr: IpNet,
    /// Accept loopback addresses as endpoints, which Kubernetes refuses
    #[arg(long)]
    pub loopback_endpoints: bool,
    /// Let who binds a Pod by an update add to it, which Kubernetes refuses
    #[arg(long)]
    pub complete_pods: bool,
    /// Leave the controllers to a kube-controller-manager
    #[arg(long)]
    pub no_controllers: bool,
}

/// As kube-apiserver's.
pub(super) fn default_service_cidr() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16))
}

/// A range with its length: the parser's own error says only that there is something wrong.
fn range(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_error| match text.parse::<IpAddr>() {
        Ok(address) => {
            let length = if address.is_ipv4() { 16 } else { 112 };
            format!("it has no prefix length: a range is ADDRESS/LENGTH, as in {address}/{length}")
        }
        Err(_) => "a range is ADDRESS/LENGTH, as in 10.96.0.0/16".to_owned(),
    })
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        Self {
            listen: args.listen,
            storage: args.data.map_or(Storage::Memory, Storage::Dir),
            pki_dir: args.pki,
            kubeconfig: Some(args.kubeconfig),
            cluster: args.cluster_name,
            service_cidr: args.service_cidr,
            loopback_endpoints: if args.loopback_endpoints {
                LoopbackEndpoints::Allowed
            } else {
                LoopbackEndpoints::Refused
            },
            bound_pods: if args.complete_pods {
                BoundPods::Completed
            } else {
                BoundPods::AsCreated
            },
            controllers: if args.no_controllers {
                Controllers::Off
            } else {
                Controllers::Run
            },
            history_events: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn cluster_has_a_name() {
        let named = |name| {
            let line = Line::try_parse_from(["x", "--memory", "--kubeconfig=k", name]);
            line.map(|line| line.args.cluster_name)
        };
        assert_eq!(named("--cluster-name=west").unwrap(), "west");
        let refused = named("--cluster-name=").unwrap_err().to_string();
        assert!(refused.contains("--cluster-name"), "{refused}");
    }

    #[test]
    fn a_range_without_a_length_is_told_what_it_lacks() {
        for (text, said) in [
            ("10.96.0.0/16", None),
            ("fd00::/112", None),
            ("10.96.0.0", Some("as in 10.96.0.0/16")),
            ("fd00::", Some("as in fd00::/112")),
            ("10.96.0.0/33", Some("ADDRESS/LENGTH")),
            ("ten", Some("ADDRESS/LENGTH")),
        ] {
            let option = format!("--service-cidr={text}");
            let line = Line::try_parse_from(["x", "--memory", "--kubeconfig=k", &option]);
            let got = line.err().map(|error| error.to_string());
            assert_eq!(got.is_some(), said.is_some(), "{text}");
            let got = got.unwrap_or_default();
            assert!(got.contains(said.unwrap_or_default()), "{text}: {got}");
        }
    }
}
