//! Whether a Pod may be evicted: budgets may say that it is needed.
use serde_json::{Value, json};

use super::call::Call;
use crate::error::StatusError;
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{list, text};

/// Refuses the eviction of a Pod whose budget has no room.
pub(super) fn refuse(call: &Call, namespace: &str, name: &str) -> Result<(), StatusError> {
    let state = call.server.db.snapshot();
    let Some(object) = state.get(&StorageKey::new("", "pods"), namespace, name) else {
        return Ok(());
    };
    let pod = object.value();
    let phase = text(&pod["status"], "phase");
    if object.is_terminating() || matches!(phase, "Succeeded" | "Failed" | "Pending" | "") {
        return Ok(());
    }
    let budgets = StorageKey::new("policy", "poddisruptionbudgets");
    let mut guards: Vec<Value> = Vec::new();
    for budget in state.within(&budgets, Some(namespace)) {
        let budget = budget.value();
        let selector = LabelSelector::from_object(&budget["spec"]["selector"]);
        if selector.matches(|key| object.label(key)) {
            guards.push(budget);
        }
    }
    let budget = match guards.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction \
                       subresource does not support.";
            return Err(StatusError::new(500, "InternalError", why));
        }
    };
    let status = &budget["status"];
    let number = |name: &str| status[name].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    let ready = list(&pod["status"], "conditions")
        .iter()
        .any(|one| one["type"] == "Ready" && one["status"] == "True");
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    if !ready && (always || (healthy >= desired && desired > 0)) {
        return Ok(());
    }
    let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
    let name = text(&budget["metadata"], "name");
    let cause = if number("observedGeneration") < generation {
        format!("The disruption budget {name} is still being processed by the server.")
    } else if number("disruptionsAllowed") > 0 {
        return Ok(());
    } else {
        format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    };
    let why = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut error = StatusError::new(429, "TooManyRequests", why);
    error.details = Some(json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]}));
    Err(error)
}
