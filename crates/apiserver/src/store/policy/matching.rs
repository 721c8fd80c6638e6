//! Which writes a policy or binding concerns: by resource and operation, by labels of the object and its namespace.
use std::sync::Arc;

use serde_json::Value;

use super::Attempt;
use crate::registry::{Registry, Resource};
use crate::selector::LabelSelector;
use crate::store::json::{list, text};

/// What is concerned.
#[derive(Debug)]
pub(in crate::store) struct Match {
    rules: Vec<Rule>,
    /// Whether no rules mean everything.
    or_all: bool,
    excluded: Vec<Rule>,
    namespaces: Option<LabelSelector>,
    objects: Option<LabelSelector>,
    equivalent: bool,
}

#[derive(Debug)]
struct Rule {
    groups: Vec<String>,
    versions: Vec<String>,
    operations: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

impl Match {
    /// Reads `matchConstraints` or `matchResources`.
    pub(super) fn new(spec: &Value) -> Self {
        let mut read = Self::of(spec, "resourceRules");
        read.or_all = true;
        read.excluded = rules(spec, "excludeResourceRules");
        read
    }

    /// Reads a webhook.
    pub(in crate::store) fn of_webhook(hook: &Value) -> Self {
        Self::of(hook, "rules")
    }

    fn of(spec: &Value, name: &str) -> Self {
        let selector = |name: &str| {
            let selector = LabelSelector::from_object(&spec[name]);
            (spec[name].is_object() && !selector.is_everything()).then_some(selector)
        };
        Self {
            rules: rules(spec, name),
            or_all: false,
            excluded: Vec::new(),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            equivalent: spec["matchPolicy"] != "Exact",
        }
    }

    /// In which version of the resource the write is to be looked at, if it is concerned.
    pub(in crate::store) fn concerns(
        &self,
        attempt: &Attempt<'_>,
        labels: &dyn Fn(&str) -> Option<Value>,
        registry: &Registry,
    ) -> Option<Arc<Resource>> {
        let found = if self.rules.is_empty() && self.or_all {
            Some(Arc::clone(attempt.res))
        } else {
            self.one_of(&self.rules, attempt, registry)
        };
        let found = found?;
        if !self.namespace_fits(attempt, labels) || !self.object_fits(attempt) {
            return None;
        }
        let excluded = self.one_of(&self.excluded, attempt, registry);
        excluded.is_none().then_some(found)
    }

    fn one_of(
        &self,
        rules: &[Rule],
        attempt: &Attempt<'_>,
        registry: &Registry,
    ) -> Option<Arc<Resource>> {
        if rules.iter().any(|rule| rule.fits(attempt, attempt.res)) {
            return Some(Arc::clone(attempt.res));
        }
        if !self.equivalent || !rules.iter().any(|rule| rule.may_be_equivalent(attempt)) {
            return None;
        }
        let others = registry.all();
        others.into_iter().find(|other| {
            other.storage == attempt.res.storage
                && rules.iter().any(|rule| rule.fits(attempt, other))
        })
    }

    fn namespace_fits(
        &self,
        attempt: &Attempt<'_>,
        labels: &dyn Fn(&str) -> Option<Value>,
    ) -> bool {
        let Some(selector) = &self.namespaces else {
            return true;
        };
        if attempt.is_namespace() {
            let namespace = attempt.object.or(attempt.before);
            return namespace.is_some_and(|one| selects(selector, one));
        }
        attempt.namespace.is_empty()
            || labels(attempt.namespace).is_some_and(|one| selects(selector, &one))
    }

    fn object_fits(&self, attempt: &Attempt<'_>) -> bool {
        let Some(selector) = &self.objects else {
            return true;
        };
        let mut states = attempt.object.into_iter().chain(attempt.before);
        states.any(|state| selects(selector, state))
    }
}

fn rules(spec: &Value, name: &str) -> Vec<Rule> {
    list(spec, name).iter().map(Rule::new).collect()
}

fn selects(selector: &LabelSelector, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.matches(|key| labels.get(key).and_then(Value::as_str))
}

impl Rule {
    fn new(rule: &Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let texts = list(rule, name).iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Self {
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            operations: texts("operations"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            scope: text(rule, "scope").to_owned(),
        }
    }

    fn fits(&self, attempt: &Attempt<'_>, res: &Resource) -> bool {
        self.may_fit(attempt)
            && has(&self.groups, &res.group)
            && has(&self.versions, &res.version)
            && self.names(attempt, &res.plural)
    }

    fn names(&self, attempt: &Attempt<'_>, wanted: &str) -> bool {
        self.resources.iter().any(|one| {
            let (plural, sub) = one.split_once('/').unwrap_or((one, ""));
            (plural == "*" || plural == wanted) && (sub == "*" || sub == attempt.subresource())
        })
    }

    /// Whether it may fit a resource with the same objects: all of those are called the same, and custom ones are of
    /// the same group. To look for them takes longer than this.
    fn may_be_equivalent(&self, attempt: &Attempt<'_>) -> bool {
        let res = attempt.res;
        self.may_fit(attempt)
            && (!res.custom || has(&self.groups, &res.group))
            && self.names(attempt, &res.plural)
    }

    /// Whether it fits but for the resource.
    fn may_fit(&self, attempt: &Attempt<'_>) -> bool {
        let inside = !attempt.is_namespace() && !attempt.namespace.is_empty();
        let scope = match self.scope.as_str() {
            "Namespaced" => inside,
            "Cluster" => !inside,
            _ => true,
        };
        scope
            && has(&self.operations, attempt.operation)
            && (self.names.is_empty() || self.names.iter().any(|name| name == attempt.name))
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::request::Subresource;

    #[test]
    fn other_versions_are_looked_for_only_where_there_may_be_some() {
        let registry = Registry::with_builtin();
        let built_in = registry.find("apps", "v1", "deployments").unwrap();
        let mut custom = (*built_in).clone();
        custom.custom = true;
        let custom = Arc::new(custom);
        for (res, group, resource, wanted) in [
            (&built_in, "other", "deployments", true),
            (&built_in, "other", "*", true),
            (&built_in, "apps", "pods", false),
            (&built_in, "apps", "deployments/scale", false),
            (&custom, "apps", "deployments", true),
            (&custom, "*", "*", true),
            (&custom, "other", "*", false),
        ] {
            let rule = Rule::new(
                &json!({"apiGroups": [group], "apiVersions": ["v9"], "operations": ["*"],
                "resources": [resource]}),
            );
            let attempt = Attempt {
                res,
                sub: Subresource::None,
                operation: "CREATE",
                name: "a",
                namespace: "b",
                object: None,
                before: None,
            };
            assert_eq!(
                rule.may_be_equivalent(&attempt),
                wanted,
                "{group} {resource}"
            );
        }
    }

    #[test]
    fn what_has_the_same_objects_is_called_the_same() {
        let all = Registry::with_builtin().all();
        for one in &all {
            let mut same = all.iter().filter(|other| other.storage == one.storage);
            assert!(
                same.all(|other| other.plural == one.plural),
                "{}",
                one.plural
            );
        }
    }
}
