//! Deployments and the other kinds that keep pods running.
use serde_json::{Map, Value, json};

use super::at::{At, Causes};
use super::pod::check::{self, selects};
use super::pod::defaults::{self, absent_is_default};
use super::pod::scheduling;
use super::{storage, words};
use crate::store::json::{child, default, fields, list_mut};

/// How often a DaemonSet's template has changed, as an annotation says it that only the server writes.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Counts the templates of a DaemonSet.
pub(super) fn count_templates(before: Option<&Value>, object: &mut Value) {
    let number = match before {
        None => 1,
        Some(before) => {
            let known = &before["metadata"]["annotations"][TEMPLATE_GENERATION];
            let known: Option<i64> = known.as_str().and_then(|text| text.parse().ok());
            let changed = before["spec"]["template"] != object["spec"]["template"];
            known.unwrap_or(1).saturating_add(i64::from(changed))
        }
    };
    let notes = child(object, "metadata")
        .entry("annotations")
        .or_insert(Value::Null);
    fields(notes).insert(TEMPLATE_GENERATION.to_owned(), number.to_string().into());
}

/// The defaults of an object of `apps`, or of another with a pod template.
pub(super) fn complete(kind: &str, object: &mut Value) {
    match kind {
        "PodTemplate" => return template(fields(object)),
        "ControllerRevision" => return,
        "ReplicationController" => replication_controller(object),
        _ => {}
    }
    let spec = child(object, "spec");
    if kind != "DaemonSet" {
        default(spec, "replicas", 1);
    }
    match kind {
        "Deployment" => {
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "progressDeadlineSeconds", 600);
            let strategy = fields(spec.entry("strategy").or_insert_with(|| json!({})));
            rolling(
                strategy,
                &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))],
            );
        }
        "DaemonSet" => {
            default(spec, "revisionHistoryLimit", 10);
            let strategy = fields(spec.entry("updateStrategy").or_insert_with(|| json!({})));
            rolling(
                strategy,
                &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))],
            );
        }
        "StatefulSet" => stateful_set(spec),
        _ => {}
    }
    template(spec);
}

fn rolling(strategy: &mut Map<String, Value>, values: &[(&str, Value)]) {
    absent_is_default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = fields(strategy.entry("rollingUpdate").or_insert_with(|| json!({})));
        for (name, value) in values {
            default(rolling, name, value.clone());
        }
    }
}

fn stateful_set(spec: &mut Map<String, Value>) {
    absent_is_default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "revisionHistoryLimit", 10);
    let strategy = fields(spec.entry("updateStrategy").or_insert_with(|| json!({})));
    let absent = strategy
        .get("type")
        .is_none_or(|kind| kind.is_null() || kind == "");
    if absent {
        strategy.insert("type".to_owned(), "RollingUpdate".into());
        default(strategy, "rollingUpdate", json!({}));
    }
    if let Some(rolling) = strategy
        .get_mut("rollingUpdate")
        .filter(|one| one.is_object())
    {
        default(fields(rolling), "partition", 0);
        default(fields(rolling), "maxUnavailable", 1);
    }
    let retention = fields(
        spec.entry("persistentVolumeClaimRetentionPolicy")
            .or_insert_with(|| json!({})),
    );
    absent_is_default(retention, "whenDeleted", "Retain");
    absent_is_default(retention, "whenScaled", "Retain");
    for claim in list_mut(spec, "volumeClaimTemplates") {
        let map = fields(claim);
        default(map, "apiVersion", "v1");
        default(map, "kind", "PersistentVolumeClaim");
        map.insert("status".to_owned(), json!({ "phase": "Pending" }));
        defaults::claim_spec(map.entry("spec").or_insert_with(|| json!({})));
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        let empty =
            |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(Map::is_empty);
        if empty(object["spec"].get("selector")) {
            child(object, "spec").insert("selector".to_owned(), labels.clone());
        }
        if empty(object["metadata"].get("labels")) {
            child(object, "metadata").insert("labels".to_owned(), labels);
        }
    }
}

/// The defaults of the template in a spec.
pub(super) fn template(spec: &mut Map<String, Value>) {
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let meta = child(template, "metadata");
    meta.retain(|name, value| name != "creationTimestamp" || !value.is_null());
    defaults::spec(child(template, "spec"));
}

/// What must hold of it.
pub(super) fn check(kind: &str, (before, object): (Option<&Value>, &Value), causes: &mut Causes) {
    let spec = At::new("spec", &object["spec"]);
    let old = before.map(|before| At::new("spec", &before["spec"]));
    match kind {
        "Deployment" => deployment(&spec, causes),
        "ReplicaSet" => {
            spec.get("replicas").non_negative(causes);
            spec.get("minReadySeconds").non_negative(causes);
            selector_and_template(&spec, ("deployment", "ReplicaSet"), causes);
        }
        "StatefulSet" => {
            stateful(&spec, causes);
            if let Some(old) = &old {
                for name in [
                    "selector",
                    "volumeClaimTemplates",
                    "serviceName",
                    "podManagementPolicy",
                ] {
                    spec.get(name).immutable(causes, &old.get(name));
                }
            }
            return;
        }
        "DaemonSet" => {
            if let Some(old) = &old {
                spec.get("selector").immutable(causes, &old.get("selector"));
            }
            daemon_set(&spec, causes);
            return;
        }
        "ReplicationController" => {
            controller(&spec, causes);
            return;
        }
        "PodTemplate" => check::template(&At::new("template", &object["template"]), causes),
        "ControllerRevision" => revision(before, object, causes),
        _ => {}
    }
    if let Some(old) = old.filter(|_| ["Deployment", "ReplicaSet"].contains(&kind)) {
        spec.get("selector").immutable(causes, &old.get("selector"));
    }
}

fn revision(before: Option<&Value>, object: &Value, causes: &mut Causes) {
    let revision = At::new("revision", &object["revision"]);
    revision.non_negative(causes);
    let data = At::new("data", &object["data"]);
    match before {
        Some(before) => data.immutable(causes, &At::new("data", &before["data"])),
        None if !data.is_set() => data.required(causes, "data is mandatory"),
        None if !data.value.is_object() => {
            data.required(causes, "data must be a valid JSON object");
        }
        None => {}
    }
}

fn deployment(spec: &At<'_>, causes: &mut Causes) {
    spec.get("replicas").non_negative(causes);
    selector_and_template(spec, ("deployment", "ReplicaSet"), causes);
    let strategy = spec.get("strategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if rolling.is_set() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            rolling.forbidden(causes, why);
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number_or_percent(&unavailable, causes);
            number_or_percent(&surge, causes);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid(causes, "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable, causes);
        }
        _ => wrong_strategy(&strategy, &["Recreate", "RollingUpdate"], causes),
    }
    spec.get("minReadySeconds").non_negative(causes);
    spec.get("revisionHistoryLimit").non_negative(causes);
    let deadline = spec.get("progressDeadlineSeconds");
    deadline.non_negative(causes);
    if deadline.is_set() && deadline.int() <= spec.get("minReadySeconds").int() {
        deadline.invalid(causes, "must be greater than minReadySeconds");
    }
}

/// The strategy is shown under its internal names, in their order.
fn wrong_strategy(strategy: &At<'_>, kinds: &[&str], causes: &mut Causes) {
    let rolling = strategy.get("rollingUpdate");
    let inner = if rolling.is_set() {
        let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
        format!(
            "{{\"MaxUnavailable\":{},\"MaxSurge\":{}}}",
            number_shown(&unavailable),
            number_shown(&surge)
        )
    } else {
        "null".to_owned()
    };
    let supported: Vec<String> = kinds.iter().map(|one| format!("{one:?}")).collect();
    causes.push(crate::error::Cause {
        reason: "FieldValueNotSupported",
        message: format!(
            "Unsupported value: {{\"Type\":{},\"RollingUpdate\":{inner}}}: supported values: {}",
            strategy.get("type").value,
            supported.join(", ")
        ),
        field: strategy.path.clone(),
    });
}

fn number_shown(at: &At<'_>) -> Value {
    if at.is_set() {
        at.value.clone()
    } else {
        json!(0)
    }
}

fn selector_and_template(spec: &At<'_>, (empty, kind): (&str, &str), causes: &mut Causes) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_set() {
        scheduling::selector(&selector, causes);
        if is_empty_selector(&selector) {
            selector.invalid(causes, &format!("empty selector is invalid for {empty}"));
        }
    } else {
        selector.required(causes, "");
    }
    if !is_valid(&selector) {
        causes.push(crate::error::Cause {
            reason: "FieldValueInvalid",
            message: format!(
                "Invalid value: {}: invalid label selector",
                selector_shown(&selector)
            ),
            field: selector.path,
        });
        return;
    }
    // What selects nothing at all, because it is not there, matches no template either.
    let labels = template.get("metadata").get("labels");
    let nothing = selector.is_set() && is_empty_selector(&selector);
    if !nothing && !selects(selector.value, labels.value) {
        labels.invalid(causes, "`selector` does not match template `labels`");
    }
    check::template(&template, causes);
    restarts_always(&template, kind, causes);
}

/// A selector, its fields in the order of Kubernetes.
fn selector_shown(selector: &At<'_>) -> String {
    let mut fields = Vec::new();
    let labels = selector.get("matchLabels");
    if !labels.is_empty() {
        fields.push(format!("\"matchLabels\":{}", labels.value));
    }
    let expressions: Vec<String> = selector
        .each("matchExpressions")
        .map(|one| {
            let (key, operator) = (one.get("key"), one.get("operator"));
            let values = one.get("values");
            let values = if !values.is_empty() {
                format!(",\"values\":{}", values.value)
            } else {
                String::new()
            };
            format!(
                "{{\"key\":{},\"operator\":{}{values}}}",
                key.value, operator.value
            )
        })
        .collect();
    if !expressions.is_empty() {
        fields.push(format!("\"matchExpressions\":[{}]", expressions.join(",")));
    }
    format!("{{{}}}", fields.join(","))
}

fn is_empty_selector(selector: &At<'_>) -> bool {
    selector.get("matchLabels").len() + selector.get("matchExpressions").len() == 0
}

/// Whether it can be used to select, whatever else is wrong with it.
fn is_valid(selector: &At<'_>) -> bool {
    let mut wrong = Causes::new();
    scheduling::selector(selector, &mut wrong);
    wrong.is_empty()
}

fn restarts_always(template: &At<'_>, kind: &str, causes: &mut Causes) {
    let spec = template.get("spec");
    spec.get("restartPolicy").one_of(causes, &["Always"]);
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        deadline.forbidden(causes, &why);
    }
}

fn stateful(spec: &At<'_>, causes: &mut Causes) {
    let policy = spec.get("podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&policy.text()) {
        policy.invalid(causes, "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {
            if rolling.is_set() {
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                rolling.invalid(causes, why);
            }
        }
        "RollingUpdate" => {
            rolling.get("partition").non_negative(causes);
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                number_or_percent(&unavailable, causes);
                if amount(&unavailable) == 0 {
                    unavailable.invalid(causes, "cannot be 0");
                }
                at_most_all(&unavailable, causes);
            }
        }
        kind => causes.push(crate::error::Cause {
            reason: "FieldValueInvalid",
            message: format!(
                "Invalid value: {{\"Type\":{kind:?},\"RollingUpdate\":null}}: must be \
                 'RollingUpdate' or 'OnDelete'"
            ),
            field: strategy.path.clone(),
        }),
    }
    for name in ["whenDeleted", "whenScaled"] {
        spec.get("persistentVolumeClaimRetentionPolicy")
            .get(name)
            .one_of(causes, &["Delete", "Retain"]);
    }
    for claim in spec.each("volumeClaimTemplates") {
        storage::claim_spec(&claim.get("spec"), causes);
    }
    spec.get("replicas").non_negative(causes);
    spec.get("minReadySeconds").non_negative(causes);
    spec.get("ordinals").get("start").non_negative(causes);
    let service = spec.get("serviceName");
    if !service.is_empty() {
        service.all_invalid(causes, words::label(service.text()));
    }
    stateful_template(spec, causes);
}

fn stateful_template(spec: &At<'_>, causes: &mut Causes) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_set() {
        scheduling::selector(&selector, causes);
        if is_empty_selector(&selector) {
            selector.invalid(causes, "empty selector is invalid for statefulset");
        }
    }
    // Pods also have the volumes of the claims.
    let mut value = template.value.clone();
    let inner = child(&mut value, "spec");
    inner.remove("subdomain");
    inner.remove("hostname");
    let mut volumes: Vec<Value> = spec
        .each("volumeClaimTemplates")
        .map(|claim| claim.value["metadata"]["name"].clone())
        .map(|name| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }))
        .collect();
    let own = inner.get("volumes").and_then(Value::as_array);
    let missing = own
        .into_iter()
        .flatten()
        .filter(|one| !volumes.iter().any(|other| other["name"] == one["name"]));
    let missing: Vec<Value> = missing.cloned().collect();
    volumes.extend(missing);
    inner.insert("volumes".to_owned(), Value::Array(volumes));
    let labels = template.get("metadata").get("labels");
    let nothing = selector.is_set() && is_empty_selector(&selector);
    if !nothing && !selects(selector.value, labels.value) {
        labels.invalid(causes, "`selector` does not match template `labels`");
    }
    check::template(&At::new(template.path.clone(), &value), causes);
    restarts_always(&template, "StatefulSet", causes);
    if !selector.is_set() {
        selector.required(causes, "");
    }
}

fn daemon_set(spec: &At<'_>, causes: &mut Causes) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    scheduling::selector(&selector, causes);
    let labels = template.get("metadata").get("labels");
    if is_valid(&selector) && !selects(selector.value, labels.value) {
        labels.invalid(causes, "`selector` does not match template `labels`");
    }
    if selector.is_set() && is_empty_selector(&selector) {
        selector.invalid(causes, "empty selector is invalid for daemonset");
    }
    check::template(&template, causes);
    restarts_always(&template, "DaemonSet", causes);
    spec.get("minReadySeconds").non_negative(causes);
    let strategy = spec.get("updateStrategy");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.get("rollingUpdate");
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number_or_percent(&unavailable, causes);
            number_or_percent(&surge, causes);
            at_most_all(&unavailable, causes);
            at_most_all(&surge, causes);
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => {
                    surge.invalid(causes, "may not be set when maxUnavailable is non-zero");
                }
                (false, false) => {
                    unavailable.required(causes, "cannot be 0 when maxSurge is 0");
                }
                _ => {}
            }
        }
        _ => wrong_strategy(&strategy, &["RollingUpdate", "OnDelete"], causes),
    }
    spec.get("revisionHistoryLimit").non_negative(causes);
}

fn controller(spec: &At<'_>, causes: &mut Causes) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_empty() {
        selector.required(causes, "");
    }
    if template.get("spec").is_set() {
        let labels = template.get("metadata").get("labels");
        let whole = json!({ "matchLabels": selector.value });
        if !selector.is_empty() && !selects(&whole, labels.value) {
            labels.invalid(causes, "`selector` does not match template `labels`");
        }
        check::template(&template, causes);
        restarts_always(&template, "ReplicationController", causes);
    } else {
        template.required(causes, "");
    }
    spec.get("minReadySeconds").non_negative(causes);
    spec.get("replicas").non_negative(causes);
}

/// A number that is not negative, or a percentage.
pub(super) fn number_or_percent(at: &At<'_>, causes: &mut Causes) {
    match at.value {
        Value::String(text) => at.all_invalid(causes, words::percent(text)),
        _ => at.non_negative(causes),
    }
}

fn percentage(at: &At<'_>) -> Option<i64> {
    let text = at.value.as_str()?;
    words::percent(text).is_empty().then_some(())?;
    text.strip_suffix('%')?.parse().ok()
}

/// The number, or the number before the percent sign.
pub(super) fn amount(at: &At<'_>) -> i64 {
    let number = |text: &str| text.parse().unwrap_or(0);
    percentage(at).unwrap_or_else(|| at.value.as_str().map_or_else(|| at.int(), number))
}

/// No more than 100 %.
pub(super) fn at_most_all(at: &At<'_>, causes: &mut Causes) {
    if percentage(at).is_some_and(|part| part > 100) {
        at.invalid(causes, "must not be greater than 100%");
    }
}
