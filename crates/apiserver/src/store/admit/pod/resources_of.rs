//! What a pod asks for as a whole.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;
use crate::store::json::{list, text};

/// Amounts by the name of the resource.
pub(in crate::store::admit) type Amounts = BTreeMap<String, Quantity>;

/// A map of quantities.
pub(in crate::store::admit) fn amounts(value: &Value) -> Amounts {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::of(amount)?)))
        .collect()
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |found| found.plus(*amount));
        to.insert(name.clone(), sum);
    }
}

fn most(of: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let found = of.get(name).copied().unwrap_or(Quantity::ZERO);
        of.insert(name.clone(), found.max(*amount));
    }
}

/// Containers run together, after init containers one by one, beside those that restart.
fn together(spec: &Value, kind: &str) -> Amounts {
    let mut running = Amounts::new();
    for one in list(spec, "containers") {
        add(&mut running, &amounts(&one["resources"][kind]));
    }
    let (mut beside, mut peak) = (Amounts::new(), Amounts::new());
    for one in list(spec, "initContainers") {
        let mut now = amounts(&one["resources"][kind]);
        if text(one, "restartPolicy") == "Always" {
            add(&mut running, &now);
            add(&mut beside, &now);
            now = beside.clone();
        } else {
            add(&mut now, &beside);
        }
        most(&mut peak, &now);
    }
    most(&mut running, &peak);
    for (name, amount) in amounts(&spec["resources"][kind]) {
        running.insert(name, amount);
    }
    add(&mut running, &amounts(&spec["overhead"]));
    running
}

/// What all its containers request.
pub(in crate::store::admit) fn requests_of(spec: &Value) -> Amounts {
    together(spec, "requests")
}

/// What all its containers are limited to.
pub(in crate::store::admit) fn limits_of(spec: &Value) -> Amounts {
    together(spec, "limits")
}

/// How well a pod is served when a node runs out of something.
pub(in crate::store::admit) fn quality(spec: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for name in ["containers", "initContainers"] {
        for one in list(spec, name) {
            let (limits, requests) = (
                amounts(&one["resources"]["limits"]),
                amounts(&one["resources"]["requests"]),
            );
            for resource in ["cpu", "memory"] {
                let some = |of: &Amounts| of.get(resource).copied().filter(|one| !one.is_zero());
                let (limit, request) = (some(&limits), some(&requests));
                any |= limit.is_some() || request.is_some();
                guaranteed &= limit.is_some() && limit == request;
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quality_follows_requests_and_limits() {
        for (resources, wanted) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}),
                "Guaranteed",
            ),
            (
                json!({"requests": {"ephemeral-storage": "1"}}),
                "BestEffort",
            ),
        ] {
            let spec = json!({"containers": [{ "resources": resources }]});
            assert_eq!(quality(&spec), wanted, "{spec}");
        }
    }

    #[test]
    fn init_containers_count_by_their_peak_and_sidecars_beside() {
        let spec = json!({
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
                {"resources": {"requests": {"cpu": "2"}}},
            ],
        });
        assert_eq!(requests_of(&spec)["cpu"].to_string(), "2500m");
    }
}
