//! A Link to a cluster and the Secret with its credentials, from what that cluster says of itself.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tombolo_core::keys::{EXPORTED, FEDERATED};
use tombolo_core::link::Fault;

use crate::json::Reader;
use crate::link::parse_duration;
use crate::names::{
    CREATED_BY, CREDENTIALS_KEY, CREDENTIALS_TYPE, GATEWAY_PORT, GATEWAY_SERVICE_IDENTITY,
    LINK_API_VERSION, PROBE_PATH, PROBE_PERIOD, PROBE_PORT, REMOTE_ACCESS,
};

/// What a cluster gives those who link to it.
#[derive(Clone, Debug)]
pub struct RemoteCluster<'a> {
    /// The URL of its API server, as seen from the other cluster.
    pub server: &'a str,
    /// PEM of the authority of its API server.
    pub authority_pem: &'a str,
    /// A token of its service account for remote access.
    pub token: &'a str,
    /// Its DNS domain.
    pub domain: &'a str,
    /// The namespace of its control plane.
    pub control_plane: &'a str,
    /// Its gateway's Service; none: nothing is mirrored through a gateway.
    pub gateway: Option<&'a Value>,
}

/// What is wanted of a Link.
#[derive(Clone, Debug)]
pub struct LinkTo<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name, and that of its target.
    pub name: &'a str,
    /// Whether Services are mirrored flat and join federated services, too.
    pub flat: Flat,
}

/// Whether the pods of the target are routable from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat {
    /// They are: flat mirrors and federated services are served by this Link.
    Yes,
    /// They are not, or another Link to the same cluster serves them.
    No,
}

/// The Secret and the Link, in this order.
///
/// # Errors
/// Names what the gateway's Service lacks.
pub fn link(to: &LinkTo<'_>, remote: &RemoteCluster<'_>) -> Result<Vec<Value>, Vec<Fault>> {
    let secret = format!("cluster-credentials-{}", to.name);
    let selected = |key: &str, value: &str| match to.flat {
        Flat::Yes => json!({ "matchLabels": { key: value } }),
        Flat::No => json!({}),
    };
    let mut spec = json!({
        "targetClusterName": to.name,
        "targetClusterDomain": remote.domain,
        "targetClusterLinkerdNamespace": remote.control_plane,
        "clusterCredentialsSecret": secret,
        "remoteDiscoverySelector": selected(EXPORTED, "remote-discovery"),
        "federatedServiceSelector": selected(FEDERATED, "member"),
    });
    if let Some(service) = remote.gateway {
        let gateway = extract(service)?;
        spec["selector"] = json!({ "matchLabels": { EXPORTED: "true" } });
        for (field, value) in gateway {
            spec[field] = value;
        }
    }
    let credentials = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "namespace": to.namespace, "name": secret },
        "type": CREDENTIALS_TYPE,
        "data": { CREDENTIALS_KEY: STANDARD.encode(kubeconfig(remote, to.name)) },
    });
    let link = json!({
        "apiVersion": LINK_API_VERSION,
        "kind": "Link",
        "metadata": {
            "namespace": to.namespace,
            "name": to.name,
            "annotations": { CREATED_BY: concat!("tombolo/", env!("CARGO_PKG_VERSION")) },
        },
        "spec": spec,
    });
    Ok(vec![credentials, link])
}

/// JSON is YAML; a Secret is read by programs.
fn kubeconfig(remote: &RemoteCluster<'_>, name: &str) -> String {
    let authority = STANDARD.encode(remote.authority_pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": remote.server, "certificate-authority-data": authority },
        }],
        "users": [{ "name": REMOTE_ACCESS, "user": { "token": remote.token } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": REMOTE_ACCESS } }],
        "current-context": name,
    })
    .to_string()
}

/// The fields of a Link that its target's gateway Service decides.
fn extract(service: &Value) -> Result<[(&'static str, Value); 4], Vec<Fault>> {
    let name = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
    let mut reader = Reader::new(format!("Service {}/{}", name("namespace"), name("name")));
    let ingress = reader.list(service, "status.loadBalancer.ingress");
    let address = |one: &Value| {
        let of = |field: &str| one[field].as_str().filter(|text| !text.is_empty());
        of("ip").or_else(|| of("hostname")).map(str::to_owned)
    };
    let addresses: Vec<String> = ingress.iter().filter_map(address).collect();
    if addresses.is_empty() {
        reader.fault("status.loadBalancer.ingress", "has no address yet");
    }
    let identity = annotation(&mut reader, service, GATEWAY_SERVICE_IDENTITY);
    let path = annotation(&mut reader, service, PROBE_PATH);
    let period = annotation(&mut reader, service, PROBE_PERIOD);
    let period = period.and_then(|text| match (text.parse::<u32>(), parse_duration(&text)) {
        (Ok(seconds), _) => Some(format!("{seconds}s")),
        (Err(_), Some(_)) => Some(text),
        (Err(_), None) => {
            reader.fault(
                &annotation_field(PROBE_PERIOD),
                format!("{text:?} is no duration"),
            );
            None
        }
    });
    let gateway_port = port(&mut reader, service, GATEWAY_PORT);
    let probe_port = port(&mut reader, service, PROBE_PORT);
    match (identity, path, period, gateway_port, probe_port) {
        (Some(identity), Some(path), Some(period), Some(port), Some(probe))
            if reader.faults.is_empty() =>
        {
            Ok([
                ("gatewayAddress", json!(addresses.join(","))),
                ("gatewayPort", json!(port)),
                ("gatewayIdentity", json!(identity)),
                (
                    "probeSpec",
                    json!({ "path": path, "port": probe, "period": period }),
                ),
            ])
        }
        _ => Err(reader.faults),
    }
}

fn annotation_field(key: &str) -> String {
    format!("metadata.annotations[{key:?}]")
}

fn annotation(reader: &mut Reader, service: &Value, key: &str) -> Option<String> {
    let value = service["metadata"]["annotations"][key]
        .as_str()
        .filter(|text| !text.is_empty());
    if value.is_none() {
        reader.fault(&annotation_field(key), "is empty");
    }
    value.map(str::to_owned)
}

/// The port of that name; of a NodePort Service the port on the nodes.
fn port(reader: &mut Reader, service: &Value, name: &str) -> Option<String> {
    let ports = reader.list(service, "spec.ports");
    let field = if service["spec"]["type"] == "NodePort" {
        "nodePort"
    } else {
        "port"
    };
    let port = ports
        .iter()
        .find(|port| port["name"] == name)
        .and_then(|port| port[field].as_u64());
    if port.is_none() {
        reader.fault("spec.ports", format!("has no {field} named {name:?}"));
    }
    port.map(|port| port.to_string())
}
