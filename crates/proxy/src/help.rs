//! What `tombolo-proxy --help` says: every variable that [`crate::config`] reads, with its default. Tests compare the two.
use std::ffi::OsString;
use std::fmt::Write as _;

#[cfg(test)]
mod tests;

const HEAD: &str = "\
tombolo-proxy: the data plane of Tombolo, one process beside each meshed pod, as sidecar, gateway or node proxy

It takes what applications send to its outbound port, asks the control plane where the destination's endpoints are, in
all clusters, and sends it to one of them over mTLS; what it takes from peers on its inbound port goes to the
application on this machine. It reads no file of configuration and takes no arguments: its environment says everything.
Variables are those of linkerd2-proxy, and a few of its own. A wrong one is named, and the exit code is then 64.

Usage: tombolo-proxy              runs until SIGTERM or Ctrl-C, then drains
       tombolo-proxy --help       this text
       tombolo-proxy --version

Ports:
  4140  outbound, for applications           4143  inbound, for peers: mTLS, and the gateway's port
  4191  admin: GET /live, /ready, /metrics; POST /shutdown if it is offered
";

const TAIL: &str = "
Durations are a number and ms, s, m, h or d; lists have commas. *_ADDR of a service is host:port, *_NAME the name that
its certificate must have. TOMBOLO_PARENT_PID is set by whoever starts it as a child: it ends when that process does.

Example, beside `tombolo control --listen 127.0.0.1 --kubeconfig west.yaml --trust-anchors ca.crt ...`, with the token
of the service account web in the namespace shop in the file ./token:
  N=control.tombolo.serviceaccount.identity.tombolo.cluster.local
  export LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=\"$(cat ca.crt)\" LINKERD2_PROXY_IDENTITY_TOKEN_FILE=token
  export LINKERD2_PROXY_IDENTITY_LOCAL_NAME=web.shop.serviceaccount.identity.tombolo.cluster.local
  export LINKERD2_PROXY_IDENTITY_SVC_ADDR=127.0.0.1:8080 LINKERD2_PROXY_IDENTITY_SVC_NAME=$N
  export LINKERD2_PROXY_DESTINATION_SVC_ADDR=127.0.0.1:8086 LINKERD2_PROXY_DESTINATION_SVC_NAME=$N
  export LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:8090 LINKERD2_PROXY_POLICY_SVC_NAME=$N
  export LINKERD2_PROXY_POLICY_WORKLOAD='{\"ns\":\"shop\",\"pod\":\"web-1\"}'
  LINKERD2_PROXY_ADMIN_LISTEN_ADDR=127.0.0.1:4192 tombolo-proxy
`tombolo lab up` runs about twenty of them with all of this set.
";

/// What a variable is if it is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unset {
    /// The proxy does not start.
    Refused,
    /// Nothing, or what the text says.
    Told,
    /// The same as with this value.
    Is(&'static str),
}
use Unset::{Is, Refused, Told};

/// A heading, and its variables: name, what it is if it is not set, meaning.
type Section = (&'static str, &'static [(&'static str, Unset, &'static str)]);

const SECTIONS: &[Section] = &[
    (
        "Identity (whom it is, and whom it trusts)",
        &[
            (
                "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS",
                Refused,
                "the mesh's trust anchors, as PEM text",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_TOKEN_FILE",
                Refused,
                "file with the pod's service account token, read at each renewal",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_LOCAL_NAME",
                Refused,
                "its own name in certificates",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_SERVER_NAME",
                Told,
                "the same, where LOCAL_NAME is not set",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_SVC_ADDR",
                Refused,
                "the identity service of the control plane",
            ),
            ("LINKERD2_PROXY_IDENTITY_SVC_NAME", Refused, "its name"),
            (
                "LINKERD2_PROXY_IDENTITY_MIN_REFRESH",
                Is("10s"),
                "the soonest renewal of the certificate",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_MAX_REFRESH",
                Is("24h"),
                "the latest",
            ),
            (
                "LINKERD2_PROXY_IDENTITY_DISABLED",
                Told,
                "must not be set: there is no proxy without identity",
            ),
        ],
    ),
    (
        "Control plane (where destinations and policies come from)",
        &[
            (
                "LINKERD2_PROXY_DESTINATION_SVC_ADDR",
                Refused,
                "the destination service",
            ),
            ("LINKERD2_PROXY_DESTINATION_SVC_NAME", Refused, "its name"),
            (
                "LINKERD2_PROXY_DESTINATION_CONTEXT",
                Is(""),
                "sent with each lookup",
            ),
            (
                "LINKERD2_PROXY_POLICY_SVC_ADDR",
                Refused,
                "the policy service",
            ),
            ("LINKERD2_PROXY_POLICY_SVC_NAME", Refused, "its name"),
            (
                "LINKERD2_PROXY_POLICY_WORKLOAD",
                Refused,
                "by which the policy service knows this pod",
            ),
            (
                "LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS",
                Told,
                "networks of the cluster, for the default policies cluster-*",
            ),
        ],
    ),
    (
        "Inbound (from peers to the application)",
        &[
            (
                "LINKERD2_PROXY_INBOUND_LISTEN_ADDR",
                Is("0.0.0.0:4143"),
                "where peers connect",
            ),
            (
                "LINKERD2_PROXY_INBOUND_PORTS",
                Is(""),
                "the application's ports, whose policies are watched from the start",
            ),
            (
                "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY",
                Is("all-unauthenticated"),
                "until a policy is known: or all-authenticated, cluster-(un)authenticated, deny, audit",
            ),
            (
                "LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES",
                Is(""),
                "domains into which it forwards for other clusters: makes it a gateway",
            ),
            (
                "LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT",
                Is("300ms"),
                "for a connect to the application",
            ),
            (
                "LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT",
                Is("10s"),
                "for a peer's handshake and transport header",
            ),
            (
                "LINKERD2_PROXY_INBOUND_ACCEPT_KEEPALIVE",
                Is("10s"),
                "how often an idle peer is asked whether it is there",
            ),
            (
                "LINKERD2_PROXY_INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT",
                Is("3s"),
                "how long an unused connection to the application is kept",
            ),
            (
                "LINKERD2_PROXY_INBOUND_MAX_IDLE_CONNS_PER_ENDPOINT",
                Is("10000"),
                "how many of them",
            ),
            (
                "LINKERD2_PROXY_INBOUND_MAX_IN_FLIGHT",
                Is("100000"),
                "requests at a time",
            ),
            (
                "TOMBOLO_PROXY_INBOUND_CONNECTIONS_MAX",
                Is("10000"),
                "connections at a time",
            ),
        ],
    ),
    (
        "Outbound (from applications to peers)",
        &[
            (
                "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR",
                Is("127.0.0.1:4140"),
                "where applications connect",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS",
                Told,
                "the same as a list, in place of the one before",
            ),
            (
                "TOMBOLO_PROXY_LISTENERS",
                Told,
                "stdin: more addresses come on standard input, each line a JSON list of all of them",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT",
                Is("1s"),
                "for a connect to a peer",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT",
                Is("10s"),
                "for a client's first bytes",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_ACCEPT_KEEPALIVE",
                Is("10s"),
                "how often an idle client is asked whether it is there",
            ),
            (
                "TOMBOLO_PROXY_OUTBOUND_HEAD_TIMEOUT",
                Is("30s"),
                "for the head of a request, and between two requests",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT",
                Is("5s"),
                "how long an unused destination is followed",
            ),
            (
                "TOMBOLO_PROXY_OUTBOUND_DISCOVERY_WAIT",
                Is("900ms"),
                "how long the first request to a destination waits for its endpoints",
            ),
            (
                "TOMBOLO_PROXY_DESTINATIONS_MAX",
                Is("10000"),
                "destinations at a time",
            ),
            (
                "TOMBOLO_PROXY_OUTBOUND_CONNECTIONS_MAX",
                Is("10000"),
                "connections at a time",
            ),
            (
                "LINKERD2_PROXY_OUTBOUND_MAX_IN_FLIGHT",
                Is("100000"),
                "requests at a time",
            ),
        ],
    ),
    (
        "The process",
        &[
            (
                "LINKERD2_PROXY_ADMIN_LISTEN_ADDR",
                Is("127.0.0.1:4191"),
                "where the admin port is",
            ),
            (
                "LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED",
                Is("false"),
                "whether POST /shutdown is offered",
            ),
            (
                "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD",
                Is("120s"),
                "how long a drain may take",
            ),
            ("LINKERD2_PROXY_CORES", Is("1"), "threads that serve"),
            (
                "LINKERD2_PROXY_LOG",
                Is("warn,tombolo_proxy=info"),
                "what is logged, to standard error",
            ),
            (
                "TOMBOLO_LOG",
                Told,
                "the same, where LINKERD2_PROXY_LOG is not set",
            ),
            ("RUST_LOG", Told, "the same, where neither is set"),
            ("LINKERD2_PROXY_LOG_FORMAT", Is("plain"), "or json"),
        ],
    ),
];

/// What the words after the program's name ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To run.
    Run,
    /// To print this.
    Text(String),
    /// Nothing that there is.
    Nothing(&'static str),
}

/// Reads them.
pub fn asked(words: impl Iterator<Item = OsString>) -> Asked {
    let words: Vec<OsString> = words.collect();
    let words: Vec<Option<&str>> = words.iter().map(|word| word.to_str()).collect();
    match words.as_slice() {
        [] => Asked::Run,
        [Some("-h" | "--help")] => Asked::Text(text()),
        [Some("-V" | "--version")] => {
            Asked::Text(format!("tombolo-proxy {}\n", env!("CARGO_PKG_VERSION")))
        }
        _ => Asked::Nothing(
            "it takes no arguments but --help and --version: its environment configures it",
        ),
    }
}

/// The whole text.
fn text() -> String {
    let mut text = HEAD.to_owned();
    for (heading, variables) in SECTIONS {
        writeln!(text, "\n{heading}:").ok();
        for (name, unset, meaning) in *variables {
            let unset = match unset {
                Refused => " [required]".to_owned(),
                Told | Is("") => String::new(),
                Is(value) => format!(" [default: {value}]"),
            };
            writeln!(text, "  {name}{unset}\n      {meaning}").ok();
        }
    }
    text + TAIL
}
