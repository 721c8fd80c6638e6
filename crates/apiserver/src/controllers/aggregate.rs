//! ClusterRoles that have the rules of the roles that they select.
use serde_json::{Value, json};

use super::action::Action;
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::list;

/// Under which name the rules are owned.
const MANAGER: &str = "clusterrole-aggregation-controller";

pub(super) fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    let collection = StorageKey::new("rbac.authorization.k8s.io", "clusterroles");
    // By name, as everything is that comes from there.
    let roles: Vec<_> = view.state.within(&collection, None).collect();
    for object in &roles {
        let role = object.value();
        let selectors = list(&role["aggregationRule"], "clusterRoleSelectors");
        if selectors.is_empty() || object.is_terminating() {
            continue;
        }
        let selectors: Vec<LabelSelector> =
            selectors.iter().map(LabelSelector::from_object).collect();
        let mut rules: Vec<Value> = Vec::new();
        for other in &roles {
            let selected = selectors
                .iter()
                .any(|selector| selector.matches(|key| other.label(key)));
            if !selected || other.name() == object.name() {
                continue;
            }
            for rule in list(&other.value(), "rules") {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        if rules != list(&role, "rules") {
            let mut config = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": object.name()}});
            if !rules.is_empty() {
                config["rules"] = rules.into();
            }
            plan.actions.push(Action::Apply {
                collection: collection.clone(),
                manager: MANAGER,
                config,
            });
        }
    }
    plan
}
