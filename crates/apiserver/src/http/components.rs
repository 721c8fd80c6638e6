//! `componentstatuses`: asked of the components at the addresses where they listen by default; never stored.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use tombolo_shell::net::{self, ConnectError};

use super::call::{Answer, Call};
use super::logs::{DEADLINE, NodeAddress};
use super::{list, objects};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;

/// The components and their ports; the store has none, since it is within this process.
const COMPONENTS: [(&str, Option<u16>); 3] = [
    ("scheduler", Some(10259)),
    ("controller-manager", Some(10257)),
    ("etcd-0", None),
];
/// How much of what a component says is repeated.
const MESSAGE_MAX: usize = 4096;

/// Whether a resource is this one.
pub(super) fn is_component(res: &Resource) -> bool {
    !res.custom && res.group.is_empty() && res.plural == "componentstatuses"
}

/// Answers for one component, or for all.
pub(super) async fn answer(call: &Call, res: &Arc<Resource>) -> Answer {
    let name = call.route.attributes.name.as_str();
    if name.is_empty() {
        let selectors = objects::selectors(call, res)?;
        let mut items = Vec::with_capacity(COMPONENTS.len());
        for (name, port) in COMPONENTS {
            let object = status(call, name, port).await?;
            if selectors.matches(&object) {
                items.push(Arc::new(object));
            }
        }
        return list::of(call, res, items);
    }
    let Some((name, port)) = COMPONENTS.into_iter().find(|(known, _)| *known == name) else {
        let mut error = StatusError::new(
            404,
            "NotFound",
            format!("componentstatus \"{name}\" not found"),
        );
        error.details = Some(json!({"name": name, "kind": "componentstatus"}));
        return Err(error);
    };
    objects::shown(call, res, &status(call, name, port).await?)
}

async fn status(call: &Call, name: &str, port: Option<u16>) -> Result<Object, StatusError> {
    let (healthy, message) = match (port, call.server.db.trouble()) {
        (Some(port), _) => probe(call, port).await,
        (None, None) => (true, "ok".to_owned()),
        (None, Some(why)) => (false, why),
    };
    let healthy = if healthy { "True" } else { "False" };
    Object::new(&value(name, healthy, &message))
}

fn value(name: &str, healthy: &str, message: &str) -> Value {
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": healthy, "message": message}],
    })
}

/// Whether a component on this machine says that it is well, and what it says.
async fn probe(call: &Call, port: u16) -> (bool, String) {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let at = format!("{ip}:{port}");
    let failed = |why: String| (false, format!("Get \"https://{at}/healthz\": {why}"));
    if let Err(error) = net::connect((ip, port).into(), DEADLINE).await {
        let why = match error {
            ConnectError::Refused(_) => "connection refused".to_owned(),
            error => error.to_string(),
        };
        return failed(format!("dial tcp {at}: connect: {why}"));
    }
    let address = NodeAddress { ip, port };
    let response = match call.server.kubelets.get(&address, "/healthz").await {
        Ok(response) => response,
        Err(error) => return failed(format!("{error:#}")),
    };
    let well = response.status().is_success();
    let body = Limited::new(response.into_body(), MESSAGE_MAX).collect();
    match tokio::time::timeout(DEADLINE, body).await {
        Ok(Ok(body)) => {
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            (well, text)
        }
        _ => (false, "the answer does not end".to_owned()),
    }
}
