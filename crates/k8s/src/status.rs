//! A Link's status as JSON: the whole of it in one write, and only when something differs.
use jiff::Timestamp;
use serde_json::{Value, json};
use tombolo_core::service::ServiceKey;
use tombolo_core::status::{Condition, ConditionType, LinkStatus, ServiceStatus, Truth};

use crate::names::CONTROLLER_NAME;

/// The new value of `status`, or none if it says what `previous` says. A condition keeps the time of
/// its last transition for as long as its status stays.
///
/// `previous` is what this process wrote last, if it did; else what the object holds. (A CRD that is
/// older than ours drops some of it; compared with the object, it would differ for ever.)
#[must_use]
pub fn changed(status: &LinkStatus, previous: Option<&Value>, now: Timestamp) -> Option<Value> {
    let null = Value::Null;
    let previous = previous.unwrap_or(&null);
    let mut value = json!({
        "conditions": conditions(&status.conditions, None, &previous["conditions"], now),
        "mirrorServices": services(&status.mirrors, &previous["mirrorServices"], now),
        "federatedServices": services(&status.federated, &previous["federatedServices"], now),
    });
    if let Some(uid) = &status.cluster_uid {
        value["clusterUid"] = json!(uid.to_string());
    }
    (value != *previous).then_some(value)
}

/// The body of the merge patch on the `status` subresource that writes it.
#[must_use]
pub fn patch(status: &Value) -> Value {
    json!({ "status": status })
}

fn services(list: &[ServiceStatus], previous: &Value, now: Timestamp) -> Vec<Value> {
    // Both lists are sorted alike, unless somebody else wrote the previous one.
    let previous: std::collections::BTreeMap<_, _> = previous
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let reference = entry.get("remoteRef")?;
            let namespace = reference.get("namespace")?.as_str()?;
            Some((
                (namespace, reference.get("name")?.as_str()?),
                entry.get("conditions")?,
            ))
        })
        .collect();
    let entry = |status: &ServiceStatus| {
        let key = (
            status.remote.namespace.as_str(),
            status.remote.name.as_str(),
        );
        let before = previous.get(&key).copied().unwrap_or(&Value::Null);
        json!({
            "controllerName": CONTROLLER_NAME,
            "remoteRef": reference(&status.remote),
            "conditions": conditions(&status.conditions, status.local.as_ref(), before, now),
        })
    };
    list.iter().map(entry).collect()
}

fn conditions(
    list: &[Condition],
    local: Option<&ServiceKey>,
    previous: &Value,
    now: Timestamp,
) -> Vec<Value> {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let one = |condition: &Condition| {
        let Condition {
            kind,
            truth,
            reason,
            message,
        } = condition;
        let before =
            previous.as_array().into_iter().flatten().find(|before| {
                before["type"] == kind.as_str() && before["status"] == truth.as_str()
            });
        let since = before.and_then(|before| before["lastTransitionTime"].as_str());
        let mut value = json!({
            "type": kind.as_str(),
            "status": truth.as_str(),
            "reason": reason.as_str(),
            "message": message,
            "lastTransitionTime": since.unwrap_or(&now),
        });
        if let (ConditionType::Mirrored, Truth::True, Some(local)) = (kind, truth, local) {
            value["localRef"] = reference(local);
        }
        value
    };
    list.iter().map(one).collect()
}

fn reference(service: &ServiceKey) -> Value {
    json!({
        "group": "core",
        "kind": "Service",
        "namespace": service.namespace.as_str(),
        "name": service.name.as_str(),
    })
}

#[cfg(test)]
mod tests;
