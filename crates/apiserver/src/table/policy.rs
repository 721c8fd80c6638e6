//! Tables of what limits and steers others: quotas, priorities, admission, flow control, certificates.

use serde_json::{Value, json};

use super::text::{duration, field, list, number as int, or_none};
use super::workloads::selector;
use super::{Layout, Row, layout};

const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

pub(super) const LAYOUTS: &[Layout] = &[
    layout("", "resourcequotas", quota),
    layout("scheduling.k8s.io", "priorityclasses", |row| {
        let object = row.object;
        vec![
            row.name(),
            int(object, "value").into(),
            (object["globalDefault"] == true).into(),
            row.age(),
            field(object, "preemptionPolicy").into(),
        ]
    }),
    layout(ADMISSION, "mutatingwebhookconfigurations", webhooks),
    layout(ADMISSION, "validatingwebhookconfigurations", webhooks),
    layout(ADMISSION, "validatingadmissionpolicies", |row| {
        policy(row, "validations")
    }),
    layout(ADMISSION, "mutatingadmissionpolicies", |row| {
        policy(row, "mutations")
    }),
    layout(ADMISSION, "validatingadmissionpolicybindings", binding),
    layout(ADMISSION, "mutatingadmissionpolicybindings", binding),
    layout(FLOW, "flowschemas", flow_schema),
    layout(FLOW, "prioritylevelconfigurations", priority_level),
    layout(CERTIFICATES, "certificatesigningrequests", signing_request),
    layout(CERTIFICATES, "clustertrustbundles", |row| {
        let signer = field(&row.object["spec"], "signerName").to_owned();
        vec![row.name(), or_none(signer).into()]
    }),
    layout(CERTIFICATES, "podcertificaterequests", pod_certificate),
];

fn quota(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in status["hard"].as_object().into_iter().flatten() {
        let used = status["used"][name].as_str().unwrap_or("0");
        let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
        if name.starts_with("limits.") {
            limits.push(text);
        } else {
            requests.push(text);
        }
    }
    requests.sort_unstable();
    limits.sort_unstable();
    vec![
        row.name(),
        requests.join(", ").into(),
        limits.join(", ").into(),
        row.age(),
    ]
}

fn webhooks(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        list(row.object, "webhooks").len().into(),
        row.age(),
    ]
}

fn policy(row: &Row<'_>, rules: &str) -> Vec<Value> {
    let spec = &row.object["spec"];
    let kind = &spec["paramKind"];
    let kind = if kind.is_null() {
        "<unset>".to_owned()
    } else {
        format!("{}/{}", field(kind, "apiVersion"), field(kind, "kind"))
    };
    vec![
        row.name(),
        list(spec, rules).len().into(),
        kind.into(),
        row.age(),
    ]
}

fn binding(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let reference = &spec["paramRef"];
    let shown = match (field(reference, "namespace"), field(reference, "name")) {
        (_, "") if !reference["selector"].is_null() => selector(&reference["selector"]),
        (_, "") => "<unset>".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![
        row.name(),
        field(spec, "policyName").into(),
        shown.into(),
        row.age(),
    ]
}

/// Flow schemas are shown in the order in which they are tried.
pub(super) fn sort_flow_schemas(schemas: &mut [Value]) {
    schemas.sort_by_cached_key(|schema| {
        let name = field(&schema["metadata"], "name").to_owned();
        (int(&schema["spec"], "matchingPrecedence"), name)
    });
}

fn flow_schema(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let method = field(&spec["distinguisherMethod"], "type").to_owned();
    let dangling = list(&row.object["status"], "conditions")
        .iter()
        .find(|condition| condition["type"] == "Dangling");
    vec![
        row.name(),
        field(&spec["priorityLevelConfiguration"], "name").into(),
        int(spec, "matchingPrecedence").into(),
        or_none(method).into(),
        row.age(),
        dangling
            .map_or("?", |condition| field(condition, "status"))
            .into(),
    ]
}

fn priority_level(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let limited = &spec["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    let number = |of: &Value, name: &str| {
        if of.is_null() {
            json!("<none>")
        } else {
            int(of, name).into()
        }
    };
    vec![
        row.name(),
        field(spec, "type").into(),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        row.age(),
    ]
}

fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    let has = |kind: &str| {
        list(status, "conditions")
            .iter()
            .any(|condition| condition["type"] == kind)
    };
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !field(status, "certificate").is_empty() {
        state.push_str(",Issued");
    }
    let asked = spec["expirationSeconds"]
        .as_i64()
        .map_or_else(|| "<none>".to_owned(), duration);
    vec![
        row.name(),
        row.age(),
        or_none(field(spec, "signerName").to_owned()).into(),
        field(spec, "username").into(),
        asked.into(),
        state.into(),
    ]
}

fn pod_certificate(row: &Row<'_>) -> Vec<Value> {
    let spec = &row.object["spec"];
    let state = list(&row.object["status"], "conditions")
        .iter()
        .map(|condition| field(condition, "type"))
        .rfind(|kind| matches!(*kind, "Issued" | "Denied" | "Failed"));
    let mut cells = vec![row.name()];
    cells.extend(
        ["podName", "serviceAccountName", "nodeName", "signerName"]
            .map(|name| Value::from(field(spec, name))),
    );
    cells.push(state.unwrap_or("Pending").into());
    cells.push(super::text::labels(&spec["unverifiedUserAnnotations"]).into());
    cells
}
