//! `pods/log`: asked of the pod's node as of a kubelet, and streamed through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::HOST;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsConnector;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

use super::access::no_such_resource;
use super::call::{Answer, Call};
use super::{Body, respond};
use crate::error::{Cause, StatusError};
use crate::pki::KUBELET_SERVER_NAME;
use crate::registry::Resource;

/// For connection, handshake and the head of the answer each.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How much of a node's refusal is repeated.
const REFUSAL_MAX: usize = 4096;
const KUBELET_PORT: u64 = 10250;

/// Reaches the nodes' log servers.
#[derive(Clone)]
pub struct Kubelets {
    tls: Arc<rustls::ClientConfig>,
    tasks: Tasks,
}

impl std::fmt::Debug for Kubelets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubelets").finish_non_exhaustive()
    }
}

impl Kubelets {
    /// Dials with this TLS; connections are driven by these tasks.
    pub fn new(tls: Arc<rustls::ClientConfig>, tasks: Tasks) -> Self {
        Self { tls, tasks }
    }

    pub(super) async fn get(
        &self,
        node: &NodeAddress,
        path: &str,
    ) -> anyhow::Result<Response<Incoming>> {
        let tcp = net::connect((node.ip, node.port).into(), DEADLINE).await?;
        let name = ServerName::try_from(KUBELET_SERVER_NAME)?;
        let connect = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let tls = tokio::time::timeout(DEADLINE, connect).await??;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        self.tasks.spawn_one("log connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a log server ended");
            }
        });
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(HOST, format!("{}:{}", node.ip, node.port))
            .body(Empty::<Bytes>::new())?;
        Ok(tokio::time::timeout(DEADLINE, sender.send_request(request)).await??)
    }
}

/// Where a server of a node or of a component listens.
pub(super) struct NodeAddress {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

/// Streams the log of a container.
pub(super) async fn answer(
    call: &Call,
    res: &Arc<Resource>,
    permit: OwnedSemaphorePermit,
) -> Answer {
    if !res.subresources.others.contains(&"log") {
        return Err(no_such_resource());
    }
    let target = call.target(res);
    check_options(call)?;
    let pod = call
        .server
        .db
        .get(res, target.namespace, target.name)?
        .value();
    let container = container(call, &pod)?;
    let node_name = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node_name.is_empty() {
        // Nothing has run yet, so nothing has been said.
        return Ok(respond::text(StatusCode::OK, ""));
    }
    let node = node_address(call, node_name)?;
    let namespace = target.namespace.unwrap_or_default();
    let mut path = format!("/containerLogs/{namespace}/{}/{container}", target.name);
    if let Some(query) = call.parts.uri.query() {
        path = format!("{path}?{query}");
    }
    let response = call
        .server
        .kubelets
        .get(&node, &path)
        .await
        .map_err(|error| {
            StatusError::internal(format!(
                "Get \"https://{}:{}{path}\": {error:#}",
                node.ip, node.port
            ))
        })?;
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(status.as_u16(), response.into_body()).await);
    }
    let stop = call.server.stop.clone();
    let body = response
        .into_body()
        .into_data_stream()
        .map(|piece| piece.map_err(Into::into));
    let body = stream::StreamExt::take_until(body, async move { stop.cancelled().await });
    Ok(respond::stream(Body::stream(body.inspect(move |_| {
        // The permit lives as long as the stream that is being sent.
        let _held = &permit;
    }))))
}

async fn refusal(code: u16, body: Incoming) -> StatusError {
    let read = tokio::time::timeout(DEADLINE, Limited::new(body, REFUSAL_MAX).collect()).await;
    let text = match read {
        Ok(Ok(collected)) => String::from_utf8_lossy(&collected.to_bytes())
            .trim()
            .to_owned(),
        _ => String::new(),
    };
    match code {
        404 => StatusError::new(404, "NotFound", text),
        400..500 => StatusError::bad_request(text),
        _ => StatusError::internal(format!("the node answered {code}: {text}")),
    }
}

/// Refuses numbers that mean nothing.
fn check_options(call: &Call) -> Result<(), StatusError> {
    const LEAST: [(&str, i64, &str); 3] = [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ];
    let mut causes = Vec::new();
    let both = ["sinceSeconds", "sinceTime"]
        .iter()
        .all(|field| call.query.text(field).is_some());
    if both {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        causes.push(Cause::forbidden("[]", why));
    }
    for (field, least, why) in LEAST {
        if both && field == "sinceSeconds" {
            continue;
        }
        let number = call
            .query
            .text(field)
            .and_then(|text| text.parse::<i64>().ok());
        if let Some(number) = number.filter(|number| *number < least) {
            causes.push(Cause::invalid(field, &number.into(), why));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let name = &call.route.attributes.name;
    Err(StatusError::invalid_kind(
        "",
        "PodLogOptions",
        name,
        &causes,
    ))
}

/// The container that is asked for, or the only one.
pub(super) fn container(call: &Call, pod: &Value) -> Result<String, StatusError> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let names = |field: &str| -> Vec<&str> {
        let list = pod["spec"][field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(|container| container["name"].as_str())
            .collect()
    };
    let (usual, initial) = (names("containers"), names("initContainers"));
    match (call.query.text("container"), usual.as_slice()) {
        (Some(asked), _) if usual.contains(&asked) || initial.contains(&asked) => {
            Ok(asked.to_owned())
        }
        (Some(asked), _) => Err(StatusError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, many) => Err(StatusError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            [initial.as_slice(), many].concat().join(" ")
        ))),
    }
}

fn node_address(call: &Call, name: &str) -> Result<NodeAddress, StatusError> {
    let registry = call.server.db.registry();
    let res = registry
        .find("", "v1", "nodes")
        .ok_or_else(no_such_resource)?;
    let node = call.server.db.get(&res, None, name)?.value();
    let addresses = node["status"]["addresses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let internal = addresses
        .iter()
        .find(|address| address["type"] == "InternalIP");
    let ip = internal.and_then(|address| address["address"].as_str()?.parse().ok());
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let port = u16::try_from(port.unwrap_or(KUBELET_PORT)).ok();
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(NodeAddress { ip, port }),
        _ => Err(StatusError::internal(format!(
            "node {name:?} has no usable address"
        ))),
    }
}
