//! Events: what controllers tell users about objects, in the words of kube-controller-manager.
//!
//! Repeats of one event are counted in it, many alike are combined into one, and whoever tells too
//! much about one object is not heard for a while. Only this is remembered between plans.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::error::StatusError;
use crate::registry::{Registry, StorageKey};
use crate::store::json::{fields, text};
use crate::store::meta::stamp;
use crate::store::request::{Subresource, Target, WriteOptions};
use crate::store::{Moment, Store};

/// Messages of one kind about one object, from which on they are combined.
const ALIKE_MAX: usize = 10;
/// After what silence they are told apart again, in seconds.
const ALIKE_SECONDS: i64 = 600;
/// Events about one object that are told at once.
const BURST: f64 = 25.0;
/// Afterwards one in so many seconds.
const REFILL_SECONDS: f64 = 300.0;
/// Things that are remembered of each sort; beyond that all are forgotten.
const MEMORY: usize = 4096;

/// Whether an event is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Normal,
    Warning,
}

/// What shall be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    /// Who tells it.
    pub(crate) component: &'static str,
    /// The object that it is about.
    pub(crate) about: Value,
    pub(crate) mood: Mood,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Note {
    pub(crate) fn new(
        component: &'static str,
        about: &Value,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            component,
            about: reference(about),
            mood: Mood::Normal,
            reason,
            message: message.into(),
        }
    }

    pub(crate) fn warning(self) -> Self {
        Self {
            mood: Mood::Warning,
            ..self
        }
    }

    /// What repeats have in common, without the message.
    fn kind(&self) -> String {
        let about = &self.about;
        format!(
            "{} {} {} {}",
            self.object(),
            text(about, "fieldPath"),
            self.type_text(),
            self.reason
        )
    }

    fn object(&self) -> String {
        let about = &self.about;
        let parts = ["kind", "namespace", "name", "uid", "apiVersion"];
        let parts = parts.map(|name| text(about, name)).join(" ");
        format!("{} {parts}", self.component)
    }

    fn type_text(&self) -> &'static str {
        match self.mood {
            Mood::Normal => "Normal",
            Mood::Warning => "Warning",
        }
    }
}

/// An object as events name it.
pub(crate) fn reference(object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut reference = json!({"kind": object["kind"], "apiVersion": object["apiVersion"]});
    for name in ["namespace", "name", "uid", "resourceVersion"] {
        if let Some(value) = meta.get(name) {
            reference[name] = value.clone();
        }
    }
    reference
}

/// One event that was told before.
#[derive(Debug, Clone)]
struct Told {
    name: String,
    count: i64,
}

#[derive(Debug, Default)]
struct Memory {
    told: BTreeMap<String, Told>,
    alike: BTreeMap<String, (BTreeSet<String>, Timestamp)>,
    /// By object: how many events may be told, and when that was so.
    patience: BTreeMap<String, (f64, Timestamp)>,
    last_stamp: i128,
}

/// Tells events, and remembers what it has told.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    memory: Mutex<Memory>,
}

impl Recorder {
    /// Writes an event, or counts it where it was told before. What cannot be told is no failure.
    pub(super) fn tell(
        &self,
        store: &mut Store,
        moment: &mut Moment<'_>,
        registry: &Registry,
        note: Note,
    ) {
        let mut memory = self.memory.lock();
        if !memory.may_tell(&note, moment.now) {
            return;
        }
        let (key, message) = memory.key_of(&note, moment.now);
        let before = memory.told.get(&key).cloned();
        let name = memory.next_name(&note, moment.now);
        let told = write(store, moment, registry, (&note, &message), (before, name));
        match told {
            Ok(told) => {
                bounded(&mut memory.told).insert(key, told);
            }
            Err(error) => tracing::debug!(%error, reason = note.reason, "an event is not told"),
        }
    }
}

fn write(
    store: &mut Store,
    moment: &mut Moment<'_>,
    registry: &Registry,
    (note, message): (&Note, &str),
    (before, name): (Option<Told>, String),
) -> Result<Told, StatusError> {
    let events = StorageKey::new("", "events");
    let Some(res) = registry.stored(&events) else {
        return Err(StatusError::internal("there is no events resource"));
    };
    let options = WriteOptions::by(super::action::MANAGER);
    let namespace = match text(&note.about, "namespace") {
        "" => "default",
        namespace => namespace,
    };
    let now = stamp(moment.now);
    if let Some(told) = before {
        let count = told.count + 1;
        if let Some(event) = store.head().get(&events, namespace, &told.name) {
            let mut event = event.value();
            let map = fields(&mut event);
            map.insert("count".to_owned(), count.into());
            map.insert("lastTimestamp".to_owned(), now.into());
            map.insert("message".to_owned(), message.into());
            let target = Target::new(&res, Some(namespace), &told.name).sub(Subresource::None);
            store.update(moment, target, event, &options)?;
            let name = told.name;
            return Ok(Told { name, count });
        }
    }
    let event = json!({
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": note.about, "reason": note.reason, "message": message,
        "source": { "component": note.component }, "type": note.type_text(),
        "firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": null,
        "reportingComponent": note.component, "reportingInstance": "",
    });
    store.create(moment, (&res, Some(namespace)), event, &options)?;
    Ok(Told { name, count: 1 })
}

/// A memory with room for one more.
fn bounded<V>(map: &mut BTreeMap<String, V>) -> &mut BTreeMap<String, V> {
    if map.len() >= MEMORY {
        map.clear();
    }
    map
}

impl Memory {
    fn may_tell(&mut self, note: &Note, now: Timestamp) -> bool {
        let entry = bounded(&mut self.patience)
            .entry(note.object())
            .or_insert((BURST, now));
        let passed = now.duration_since(entry.1).as_secs_f64().max(0.0);
        *entry = ((entry.0 + passed / REFILL_SECONDS).min(BURST), now);
        let may = entry.0 >= 1.0;
        if may {
            entry.0 -= 1.0;
        }
        may
    }

    /// By what repeats are known, and what is said.
    fn key_of(&mut self, note: &Note, now: Timestamp) -> (String, String) {
        let kind = note.kind();
        let (messages, last) = bounded(&mut self.alike)
            .entry(kind.clone())
            .or_insert_with(|| (BTreeSet::new(), now));
        if now.duration_since(*last).as_secs() > ALIKE_SECONDS {
            messages.clear();
        }
        *last = now;
        messages.insert(note.message.clone());
        if messages.len() < ALIKE_MAX {
            return (format!("{kind} {}", note.message), note.message.clone());
        }
        messages.pop_first();
        let combined = format!("(combined from similar events): {}", note.message);
        (kind, combined)
    }

    /// A name that no other event has.
    fn next_name(&mut self, note: &Note, now: Timestamp) -> String {
        self.last_stamp = now.as_nanosecond().max(self.last_stamp + 1);
        format!("{}.{:016x}", text(&note.about, "name"), self.last_stamp)
    }
}
