//! `metadata.managedFields`: who owns which fields of an object.
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fields::FieldSet;
use super::shape::Shape;
use super::walk::{self, Existing};
use crate::registry::Resource;
use crate::store::json::{child, fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::{Subresource, WriteOptions};

/// More managers that update (not apply) are merged into one.
const UPDATE_MANAGERS_MAX: usize = 10;

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// By stating its intent.
    Apply,
    /// By any other write.
    Update,
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) time: String,
    pub(crate) subresource: String,
    pub(crate) set: FieldSet,
}

impl Entry {
    /// The owner, as conflict texts name it; at a scale everybody speaks the version of scales.
    pub(crate) fn describe(&self, by: &Writer<'_>) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            let version = match by.subresource {
                Subresource::Scale => "autoscaling/v1",
                _ => &self.api_version,
            };
            text.push_str(&format!(" using {version}"));
        }
        text
    }
}

/// Who writes, what, and when.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) res: &'a Resource,
    manager: &'a str,
    subresource: Subresource,
    now: Timestamp,
}

impl<'a> Writer<'a> {
    /// The writer of a request to an object itself.
    pub(crate) fn new(res: &'a Resource, options: &'a WriteOptions, now: Timestamp) -> Self {
        let manager = options.field_manager.as_deref().unwrap_or("unknown");
        Self {
            res,
            manager,
            subresource: Subresource::None,
            now,
        }
    }

    /// The same for a subresource.
    pub(crate) fn sub(self, subresource: Subresource) -> Self {
        Self {
            subresource,
            ..self
        }
    }

    /// What is written.
    pub(crate) fn res(&self) -> &'a Resource {
        self.res
    }

    /// The version in which it writes.
    pub(crate) fn api_version(&self) -> String {
        self.res.api_version()
    }

    fn subresource(&self) -> &'static str {
        match self.subresource {
            Subresource::None => "",
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::Binding => "binding",
            Subresource::Approval => "approval",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
        }
    }

    /// Which objects exist even when empty.
    pub(crate) fn existing(&self) -> Existing {
        if self.res.custom {
            Existing::None
        } else if self.res.kind == "ReplicationController" {
            Existing::StructsButTemplate
        } else {
            Existing::Structs
        }
    }

    /// A new entry of this writer.
    pub(crate) fn entry(&self, operation: Operation, set: FieldSet) -> Entry {
        Entry {
            manager: self.manager.to_owned(),
            operation,
            api_version: self.api_version(),
            time: stamp(self.now),
            subresource: self.subresource().to_owned(),
            set,
        }
    }

    /// Whether it is `kubectl apply --server-side`, which takes over from `kubectl apply`.
    pub(crate) fn is_kubectl(&self) -> bool {
        self.manager == "kubectl" && self.subresource == Subresource::None
    }

    /// Who owns what was there before anybody was noted.
    pub(crate) fn before_first_apply(&self, present: &Value) -> Entry {
        let shape = Shape::of(self.res);
        let change = walk::compare(&walk::nothing(), present, &shape, self.existing());
        Entry {
            manager: "before-first-apply".to_owned(),
            subresource: String::new(),
            ..self.entry(Operation::Update, owned(self, change.added))
        }
    }

    /// Where this writer's entry is.
    pub(crate) fn position(&self, entries: &[Entry], operation: Operation) -> Option<usize> {
        entries.iter().position(|entry| {
            entry.operation == operation
                && entry.manager == self.manager
                && entry.subresource == self.subresource()
                && (operation == Operation::Apply || entry.api_version == self.api_version())
        })
    }
}

/// Leaves of a set only what managers can own by this kind of write.
pub(crate) fn owned(by: &Writer<'_>, mut set: FieldSet) -> FieldSet {
    set.cut(&["f:apiVersion"]);
    set.cut(&["f:kind"]);
    set.unmark("f:metadata");
    for name in [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
        "f:deletionTimestamp",
        "f:deletionGracePeriodSeconds",
    ] {
        set.cut(&["f:metadata", name]);
    }
    match by.subresource {
        Subresource::None if by.res.subresources.status => set.cut(&["f:status"]),
        Subresource::Status if by.res.custom => set.only("f:status"),
        Subresource::Status => set.cut(&["f:spec"]),
        _ => {}
    }
    set
}

/// Fields that the store gives a new object, of which its creator owns only what he named.
const GIVEN: &[(&str, &[&str])] = &[
    (
        "Service",
        &[
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "healthCheckNodePort",
        ],
    ),
    ("Namespace", &["finalizers"]),
];

/// What the store gives an object that was asked for like this, if it gives anything.
pub(crate) fn given(res: &Resource, asked: &Value) -> Vec<FieldSet> {
    let found = GIVEN
        .iter()
        .find(|(kind, _)| !res.custom && res.kind == *kind);
    let Some((kind, names)) = found else {
        return Vec::new();
    };
    let is_unset = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || *value == 0);
    let mut fields = Map::new();
    for name in *names {
        if is_unset(asked["spec"].get(*name)) {
            fields.insert(format!("f:{name}"), json!({}));
        }
    }
    let mut ports = Map::new();
    let asked_ports = list(&asked["spec"], "ports").iter();
    for port in asked_ports.filter(|port| *kind == "Service" && is_unset(port.get("nodePort"))) {
        let protocol = port
            .get("protocol")
            .cloned()
            .unwrap_or_else(|| json!("TCP"));
        let key = json!({ "port": port["port"], "protocol": protocol });
        ports.insert(format!("k:{key}"), json!({ "f:nodePort": {} }));
    }
    if !ports.is_empty() {
        fields.insert("f:ports".to_owned(), Value::Object(ports));
    }
    if fields.is_empty() {
        return Vec::new();
    }
    vec![FieldSet::from_json(&json!({ "f:spec": fields }))]
}

/// The same of a change.
pub(crate) fn given_again(res: &Resource, asked: &Value) -> Vec<FieldSet> {
    let mut all = given(res, asked);
    if res.kind == "DaemonSet" && !res.custom {
        let counted = json!({"f:metadata": {"f:annotations":
            {"f:deprecated.daemonset.template.generation": {}}}});
        all.push(FieldSet::from_json(&counted));
    }
    all
}

/// Notes in a new object's `managedFields` who made it, and from what.
pub(crate) fn record_new(by: &Writer<'_>, asked: &Value, made: &mut Value) {
    let shape = Shape::of(by.res);
    let change = walk::compare(&walk::nothing(), made, &shape, by.existing());
    let mut taken = owned(by, change.added);
    for given in given(by.res, asked) {
        taken = taken.difference(&given);
    }
    if made.get("rules").is_some_and(Value::is_null) && !by.res.custom {
        // Nobody has said anything of them.
        taken.cut(&["f:rules"]);
    }
    encode(made, vec![by.entry(Operation::Update, taken)]);
}

/// Notes in an object's `managedFields` what an update has changed.
pub(crate) fn record(by: &Writer<'_>, before: &Value, after: &mut Value, given: &[FieldSet]) {
    let mut entries = decode(after);
    if entries.is_empty() {
        // Nobody is noted until somebody applies.
        return;
    }
    let shape = Shape::of(by.res);
    let change = walk::compare(before, after, &shape, by.existing());
    let mut taken = owned(by, change.added.union(&change.modified));
    for given in given {
        taken = taken.difference(given);
    }
    let own = by.position(&entries, Operation::Update);
    for (at, entry) in entries.iter_mut().enumerate() {
        if Some(at) != own {
            entry.set = entry.set.difference(&taken);
        }
        entry.set = entry.set.difference(&change.removed);
    }
    if !taken.is_empty() {
        match own {
            Some(at) => {
                let set = entries[at].set.union(&taken);
                entries[at] = by.entry(Operation::Update, set);
            }
            None => entries.push(by.entry(Operation::Update, taken)),
        }
    }
    encode(after, entries);
}

/// Whether two states of an object differ in nothing but the times of managers.
pub(crate) fn same(before: &Value, after: &Value) -> bool {
    if before == after {
        return true;
    }
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return false;
    };
    let rest_same = old.len() == new.len()
        && old
            .iter()
            .all(|(name, value)| name == "metadata" || new.get(name) == Some(value));
    if !rest_same {
        return false;
    }
    let timeless = |object: &Value| {
        let mut meta = object["metadata"].clone();
        if let Some(Value::Array(entries)) = fields(&mut meta).get_mut("managedFields") {
            for entry in entries.iter_mut() {
                fields(entry).remove("time");
            }
            // The order depends on the times.
            entries.sort_by_cached_key(Value::to_string);
        }
        meta
    };
    timeless(before) == timeless(after)
}

/// The entries of an object; what cannot be read is left out.
pub(crate) fn decode(object: &Value) -> Vec<Entry> {
    list(&object["metadata"], "managedFields")
        .iter()
        .filter_map(|entry| {
            let operation = match text(entry, "operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            Some(Entry {
                manager: text(entry, "manager").to_owned(),
                operation,
                api_version: text(entry, "apiVersion").to_owned(),
                time: text(entry, "time").to_owned(),
                subresource: text(entry, "subresource").to_owned(),
                set: FieldSet::from_json(&entry["fieldsV1"]),
            })
        })
        .collect()
}

/// Writes the entries into an object, without those that own nothing.
pub(crate) fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| {
            (
                entry.operation,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    cap_updaters(&mut entries);
    let list: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let operation = match entry.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            };
            let mut value = json!({
                "manager": entry.manager, "operation": operation, "apiVersion": entry.api_version,
                "fieldsType": "FieldsV1", "fieldsV1": entry.set.to_json(),
            });
            if !entry.time.is_empty() {
                value["time"] = json!(entry.time);
            }
            if !entry.subresource.is_empty() {
                value["subresource"] = json!(entry.subresource);
            }
            value
        })
        .collect();
    let list = (!list.is_empty()).then_some(Value::Array(list));
    set(child(object, "metadata"), "managedFields", list);
}

/// Keeps the number of entries in bounds: the oldest updaters become one.
fn cap_updaters(entries: &mut Vec<Entry>) {
    let updaters = entries
        .iter()
        .filter(|entry| entry.operation == Operation::Update && entry.subresource.is_empty())
        .count();
    if updaters <= UPDATE_MANAGERS_MAX {
        return;
    }
    let surplus = updaters - UPDATE_MANAGERS_MAX + 1;
    let mut merged: Option<Entry> = None;
    let mut count = 0;
    entries.retain(|entry| {
        let mergeable = entry.operation == Operation::Update && entry.subresource.is_empty();
        if !mergeable || count >= surplus {
            return true;
        }
        count += 1;
        match &mut merged {
            None => {
                merged = Some(Entry {
                    manager: "ancient-changes".to_owned(),
                    ..entry.clone()
                });
            }
            Some(merged) => {
                merged.set = merged.set.union(&entry.set);
                merged.time.clone_from(&entry.time);
            }
        }
        false
    });
    entries.extend(merged);
}
