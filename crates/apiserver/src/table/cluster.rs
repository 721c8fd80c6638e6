//! Tables of everything that is neither workload nor network.

use serde_json::Value;

use super::text::{age, field, list, number as int, or_none};
use super::{AGE, Layout, NAME, Row, number, text as column, wide};

const RBAC: &str = "rbac.authorization.k8s.io";
const CREATED: super::Column = super::Column {
    name: "Created At",
    kind: "string",
    format: "date-time",
    priority: 0,
};
const BINDING: &[super::Column] = &[
    NAME,
    column("Role"),
    AGE,
    wide("Users"),
    wide("Groups"),
    wide("ServiceAccounts"),
];
const EVENT: &[super::Column] = &[
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    wide("Subobject"),
    wide("Source"),
    column("Message"),
    wide("First Seen"),
    wide("Count"),
    wide("Name"),
];

pub(super) const LAYOUTS: &[Layout] = &[
    Layout {
        group: "",
        plural: "namespaces",
        columns: &[NAME, column("Status"), AGE],
        cells: |row| vec![row.name(), row.object["status"]["phase"].clone(), row.age()],
    },
    Layout {
        group: "",
        plural: "secrets",
        columns: &[NAME, column("Type"), number("Data"), AGE],
        cells: |row| {
            vec![
                row.name(),
                row.object["type"].clone(),
                size(&row.object["data"]),
                row.age(),
            ]
        },
    },
    Layout {
        group: "",
        plural: "configmaps",
        columns: &[NAME, number("Data"), AGE],
        cells: |row| {
            let (text, binary) = (&row.object["data"], &row.object["binaryData"]);
            let count = [text, binary].map(|map| map.as_object().map_or(0, serde_json::Map::len));
            vec![row.name(), (count[0] + count[1]).into(), row.age()]
        },
    },
    Layout {
        group: "",
        plural: "serviceaccounts",
        columns: &[NAME, number("Secrets"), AGE],
        cells: |row| {
            vec![
                row.name(),
                list(row.object, "secrets").len().into(),
                row.age(),
            ]
        },
    },
    Layout {
        group: "",
        plural: "nodes",
        columns: &[
            NAME,
            column("Status"),
            column("Roles"),
            AGE,
            column("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
        cells: node,
    },
    Layout {
        group: "",
        plural: "events",
        columns: EVENT,
        cells: event,
    },
    Layout {
        group: "events.k8s.io",
        plural: "events",
        columns: EVENT,
        cells: event,
    },
    Layout {
        group: RBAC,
        plural: "roles",
        columns: &[NAME, CREATED],
        cells: named,
    },
    Layout {
        group: RBAC,
        plural: "clusterroles",
        columns: &[NAME, CREATED],
        cells: named,
    },
    Layout {
        group: RBAC,
        plural: "rolebindings",
        columns: BINDING,
        cells: binding,
    },
    Layout {
        group: RBAC,
        plural: "clusterrolebindings",
        columns: BINDING,
        cells: binding,
    },
    Layout {
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        columns: &[NAME, CREATED],
        cells: named,
    },
    Layout {
        group: "coordination.k8s.io",
        plural: "leases",
        columns: &[NAME, column("Holder"), AGE],
        cells: |row| {
            vec![
                row.name(),
                field(&row.object["spec"], "holderIdentity").into(),
                row.age(),
            ]
        },
    },
    Layout {
        group: "policy",
        plural: "poddisruptionbudgets",
        columns: &[
            NAME,
            column("Min Available"),
            column("Max Unavailable"),
            number("Allowed Disruptions"),
            AGE,
        ],
        cells: budget,
    },
];

fn named(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.created()]
}

fn size(map: &Value) -> Value {
    map.as_object().map_or(0, serde_json::Map::len).into()
}

fn node(row: &Row<'_>) -> Vec<Value> {
    let status = &row.object["status"];
    let info = &status["nodeInfo"];
    let ready = list(status, "conditions")
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut state = match ready.map(|condition| field(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = row.object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .filter(|role| !role.is_empty())
        .collect();
    let address = |kind: &str| {
        let found = list(status, "addresses")
            .iter()
            .find(|address| address["type"] == kind);
        Value::from(or_none(
            found
                .map(|a| field(a, "address").to_owned())
                .unwrap_or_default(),
        ))
    };
    let known = |name: &str| match field(info, name) {
        "" => "<unknown>",
        text => text,
    };
    vec![
        row.name(),
        state.into(),
        or_none(roles.join(",")).into(),
        row.age(),
        field(info, "kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        known("osImage").into(),
        known("kernelVersion").into(),
        known("containerRuntimeVersion").into(),
    ]
}

/// Events of both groups: each has names of its own for the same things.
fn event(row: &Row<'_>) -> Vec<Value> {
    let event = row.object;
    let either = |a: &str, b: &str| {
        let first = &event[a];
        if first.is_null() { &event[b] } else { first }
    };
    let about = either("involvedObject", "regarding");
    let first = [
        &event["firstTimestamp"],
        &event["deprecatedFirstTimestamp"],
        &event["eventTime"],
    ];
    let last = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["deprecatedLastTimestamp"],
        &event["eventTime"],
    ];
    let seen = |times: &[&Value]| {
        let time = times.iter().find(|time| time.is_string());
        time.map_or_else(|| "<unknown>".to_owned(), |time| age(time, row.now))
    };
    let object = match (field(about, "kind"), field(about, "name")) {
        (kind, "") => kind.to_lowercase(),
        (kind, name) => format!("{}/{name}", kind.to_lowercase()),
    };
    let source = either("source", "deprecatedSource");
    let source = match (field(source, "component"), field(source, "host")) {
        ("", _) => {
            field(event, "reportingComponent").to_owned() + field(event, "reportingController")
        }
        (component, "") => component.to_owned(),
        (component, host) => format!("{component}, {host}"),
    };
    let count = event["series"]["count"]
        .as_i64()
        .or_else(|| event["count"].as_i64());
    vec![
        seen(&last).into(),
        event["type"].clone(),
        event["reason"].clone(),
        object.into(),
        field(about, "fieldPath").into(),
        source.into(),
        field_or(either("message", "note")).into(),
        seen(&first).into(),
        count.unwrap_or(1).to_string().into(),
        row.name(),
    ]
}

fn field_or(value: &Value) -> &str {
    value.as_str().unwrap_or_default().trim()
}

fn binding(row: &Row<'_>) -> Vec<Value> {
    let reference = &row.object["roleRef"];
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = list(row.object, "subjects")
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match (kind, field(subject, "namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", field(subject, "name")),
                _ => field(subject, "name").to_owned(),
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        row.name(),
        format!("{}/{}", field(reference, "kind"), field(reference, "name")).into(),
        row.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn budget(row: &Row<'_>) -> Vec<Value> {
    let limit = |name: &str| match &row.object["spec"][name] {
        Value::Null => Value::from("N/A"),
        Value::String(text) => text.clone().into(),
        other => other.to_string().into(),
    };
    vec![
        row.name(),
        limit("minAvailable"),
        limit("maxUnavailable"),
        int(&row.object["status"], "disruptionsAllowed").into(),
        row.age(),
    ]
}
