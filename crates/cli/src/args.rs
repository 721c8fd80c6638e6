//! The command line: what can be said, and what its help teaches.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::Ipv4Net;
use tombolo_lab::report::Way;
use tombolo_shell::log::Format;

const EXAMPLES: &str = "\
Examples:
  tombolo demo                            three clusters, three modes, and one of them dies, in about three minutes
  tombolo demo --only b -o json           one way to lose a cluster, the figures as data
  tombolo lab up                          the same three clusters, to play with by hand
  kubectl --kubeconfig .tombolo/kubeconfig --context north get services -n mc-demo
  tombolo lab status                      processes, and the address of each Service
  tombolo lab break east --way freeze     every process of east stops; its connections hang
  tombolo lab heal east                   and goes on
  tombolo lab down                        ends everything";

/// Makes several Kubernetes clusters present a service as one, so that losing a cluster loses no request
#[derive(Debug, Parser)]
#[command(name = "tombolo", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    /// What to log, to standard error, as in `info,tombolo_control=debug`
    #[arg(
        long,
        global = true,
        env = "TOMBOLO_LOG",
        value_name = "FILTER",
        help_heading = "Logging"
    )]
    pub(crate) log: Option<String>,
    /// How to log: plain or json
    #[arg(
        long,
        global = true,
        default_value = "plain",
        value_name = "FORMAT",
        help_heading = "Logging"
    )]
    pub(crate) log_format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything: three clusters, three modes, and what happens when one of them dies
    Demo(DemoArgs),
    /// The demo's three clusters, to play with by hand
    #[command(subcommand)]
    Lab(LabCommand),
    /// Run one Kubernetes API server
    Apiserver(tombolo_apiserver::run::Args),
    /// Run the control plane of one cluster
    Control(tombolo_control::Args),
    /// Print objects that a cluster needs, to be piped into `kubectl apply -f -`
    Manifests(tombolo_control::ManifestsArgs),
    /// Run the node of one cluster of the lab
    Agent(AgentArgs),
    /// Run the lab's small application
    Echo(EchoArgs),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  tombolo completions bash > ~/.local/share/bash-completion/completions/tombolo"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Keep a lab running
    #[command(hide = true)]
    Supervisor(UpArgs),
}

/// How what could be a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

/// How it is printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// What is printed to standard output
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Where a lab lives.
#[derive(Clone, Debug, Args)]
pub(crate) struct DirArgs {
    /// Directory of the lab: kubeconfig, data and logs
    #[arg(long, value_name = "DIR", default_value = ".tombolo")]
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) dir: DirArgs,
    /// Port of the services
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tombolo demo                       all four ways
  tombolo demo --only a,freeze       two of them
  tombolo demo --only b --keep       then leave the clusters running until Ctrl-C
  tombolo demo --port 8081           if something else on the machine holds port 8080
  tombolo demo -o json > out.json    the figures as data; how it goes is on standard error

The exit code is 0 only if every promise held. Everything that runs writes below DIR, which is deleted at the end:
DIR/kubeconfig, and DIR/CLUSTER/logs/. After a failure DIR stays; `tombolo lab down` deletes it.")]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) up: UpArgs,
    /// Only these ways to lose a cluster: a (scaled to zero), b (every process killed), freeze (every process
    /// stopped), d (only the API server killed)
    #[arg(long, value_name = "WAYS", value_delimiter = ',')]
    pub(crate) only: Vec<Way>,
    /// Leave the clusters running at the end, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Requests per second to frontend-federated
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) rate: u32,
    /// How long the load runs in each way, as in 45s or 2m [default: 41s, at least 36s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Also write the results to FILE as JSON, as the demo did before it had --output
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) json: Option<PathBuf>,
}

const UP: &str = "\
Examples:
  tombolo lab up
  export KUBECONFIG=.tombolo/kubeconfig
  kubectl --context west get pods -A
  tombolo lab up --dir /tmp/lab --port 8081     elsewhere, and if something else on the machine holds port 8080

Files, all in DIR, which is deleted by `tombolo lab down`:
  kubeconfig            for kubectl, with the contexts west, east and north
  supervisor.log        of the process that keeps the lab running
  CLUSTER/logs/         of its API server, control plane, agent and pods
  CLUSTER/apiserver/    its objects, keys and certificates
  trust-anchors.pem     of the mesh; CLUSTER/issuer.crt is signed by it";

const STATUS: &str = "\
Examples:
  tombolo lab status
  tombolo lab status -o json | jq -r '.clusters[] | .name as $c | .services[] | [$c, .name, .cluster_ip] | @tsv'
  kill $(tombolo lab status -o json | jq '.clusters[] | select(.name == \"east\") | .processes[] | select(.role == \"proxy\").pid')

It asks the lab of DIR; it writes no file.";

const BREAK: &str = "\
Examples:
  tombolo lab break east --way b                every process is killed: connections are refused
  tombolo lab break west --way freeze           every process is stopped: connections hang
  tombolo lab break north --way d               only the API server is killed: its pods go on serving
  tombolo lab heal east                         brings it back

What the others make of it is in DIR/CLUSTER/logs/ of each other cluster, and in `kubectl get links -A`.";

const HEAL: &str = "\
Examples:
  tombolo lab heal east
  tombolo lab heal east --dir /tmp/lab

What was killed or stopped by hand is brought back as well. A cluster to which nothing was done stays as it is, which
is said. The logs of what is started again go on in DIR/CLUSTER/logs/.";

const DOWN: &str = "\
Examples:
  tombolo lab down
  tombolo lab down --dir /tmp/lab

Only what a lab wrote is deleted, and DIR itself if nothing else is in it. Copy DIR/CLUSTER/logs/ before, if you want it.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum LabCommand {
    /// Start the three clusters, and leave them running in the background
    #[command(after_help = UP)]
    Up(UpArgs),
    /// Show the processes and Services of each cluster
    #[command(after_help = STATUS)]
    Status {
        #[command(flatten)]
        dir: DirArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// The same as --output json, from before that was there
        #[arg(long, hide = true)]
        json: bool,
    },
    /// Take a cluster away
    #[command(after_help = BREAK)]
    Break {
        /// west, east or north
        cluster: String,
        /// a (scaled to zero), b (every process killed), freeze (every process stopped) or d (only the API server killed)
        #[arg(long)]
        way: Way,
        #[command(flatten)]
        dir: DirArgs,
    },
    /// Bring a cluster back, with the state that it had; returns when its pods are ready
    #[command(after_help = HEAL)]
    Heal {
        /// west, east or north
        cluster: String,
        #[command(flatten)]
        dir: DirArgs,
    },
    /// End every process of the lab, and delete its files
    #[command(after_help = DOWN)]
    Down {
        #[command(flatten)]
        dir: DirArgs,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AgentArgs {
    /// How to reach the API server
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Name of the cluster, which the applications show
    #[arg(long, value_name = "NAME")]
    cluster_name: String,
    /// Name of the Node
    #[arg(long, value_name = "NAME")]
    node_name: String,
    /// Address of the node, for the logs of its pods
    #[arg(long, value_name = "IP")]
    address: Ipv4Addr,
    /// Address of the node's own proxy
    #[arg(long, value_name = "IP")]
    proxy_address: Ipv4Addr,
    /// Range of the pods' addresses
    #[arg(long, value_name = "CIDR")]
    pod_cidr: Ipv4Net,
    /// Address of the control plane
    #[arg(long, value_name = "IP")]
    control: Ipv4Addr,
    /// Port of the control plane's identity service
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    identity_port: u16,
    /// Trust anchors of the mesh, PEM
    #[arg(long, value_name = "FILE")]
    trust_anchors: PathBuf,
    /// Directory with ca.crt, kubelet.crt and kubelet.key of the cluster
    #[arg(long, value_name = "DIR")]
    pki: PathBuf,
    /// Directory for the files of the pods
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl From<AgentArgs> for tombolo_lab::agent::Config {
    fn from(args: AgentArgs) -> Self {
        Self {
            kubeconfig: args.kubeconfig,
            cluster: args.cluster_name,
            node_name: args.node_name,
            address: args.address,
            proxy_address: args.proxy_address,
            pods: args.pod_cidr,
            control: args.control,
            identity_port: args.identity_port,
            trust_anchors: args.trust_anchors,
            pki: args.pki,
            dir: args.dir,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  tombolo echo --listen 127.0.0.1:8080 --text \"frontend from west\""
)]
pub(crate) struct EchoArgs {
    /// Address to listen on
    #[arg(long, env = "TOMBOLO_ECHO_LISTEN", value_name = "ADDR")]
    listen: SocketAddr,
    /// The answer
    #[arg(long, env = "TOMBOLO_ECHO_TEXT", value_name = "TEXT")]
    text: String,
    /// Value of the header x-cluster [default: the last word of the answer]
    #[arg(long, env = "TOMBOLO_ECHO_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,
    /// Value of the header x-pod
    #[arg(
        long,
        env = "TOMBOLO_ECHO_POD",
        value_name = "NAME",
        default_value = "none"
    )]
    pod: String,
}

impl From<EchoArgs> for tombolo_lab::echo::Config {
    fn from(args: EchoArgs) -> Self {
        let last = || args.text.rsplit(' ').next().unwrap_or_default().to_owned();
        Self {
            cluster: args.cluster.unwrap_or_else(last),
            listen: args.listen,
            text: args.text,
            pod: args.pod,
        }
    }
}

/// `45s`, `2m`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match (
        text.strip_suffix("ms"),
        text.strip_suffix('s'),
        text.strip_suffix('m'),
    ) {
        (Some(number), ..) => (number, 1),
        (None, Some(number), _) => (number, 1000),
        (None, None, Some(number)) => (number, 60_000),
        (None, None, None) => (text, 1000),
    };
    let number: u64 = number
        .parse()
        .map_err(|_not_a_number| "wants a number and s or m, as in 45s".to_owned())?;
    number
        .checked_mul(factor)
        .map(Duration::from_millis)
        .ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("x").is_err() && duration("-1s").is_err());
    }

    #[test]
    fn every_command_for_users_has_an_example() {
        let mut cli = Cli::command();
        cli.build();
        let lab = cli.find_subcommand("lab").unwrap().get_subcommands();
        let own = [
            "demo",
            "apiserver",
            "control",
            "manifests",
            "echo",
            "completions",
        ];
        let own = own.map(|name| cli.find_subcommand(name).unwrap());
        for command in own
            .into_iter()
            .chain(lab.filter(|it| it.get_name() != "help"))
        {
            let help = command.get_after_help().map(ToString::to_string);
            let wanted = format!("tombolo {}", command.get_name());
            let wanted = [wanted, format!("tombolo lab {}", command.get_name())];
            let shown = help.is_some_and(|help| wanted.iter().any(|words| help.contains(words)));
            assert!(shown, "{}", command.get_name());
        }
    }

    #[test]
    fn an_unknown_way_is_refused_by_name() {
        let error =
            Cli::try_parse_from(["tombolo", "lab", "break", "east", "--way", "z"]).unwrap_err();
        assert!(error.to_string().contains("'z'"), "{error}");
    }
}
