//! The ReplicaSet of the present template: finding it, making it, numbering it.
use serde_json::{Value, json};

use super::{HASH_LABEL, NUMBER_MAX, Sync, annotations_mut, conditions, replicas, rollout, status};
use crate::controllers::deployment::replica_sets;
use crate::controllers::pods::{controlled_by, is_controlled_by};
use crate::store::json::{child, fields, text};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// How long the list of old revisions may be.
const HISTORY_CHARS: usize = 2000;
const NAME_CHARS: usize = 253;

impl Sync<'_> {
    /// Brings annotations and revisions of the present ReplicaSet, and of the Deployment, up to date.
    pub(super) fn sync_revision(&mut self) {
        let revision = self.next_revision();
        let deployment = self.deployment.clone();
        let Some(new) = &mut self.sets.new else {
            return;
        };
        let before = new.clone();
        annotate(&deployment, new, revision);
        let ready = &deployment["spec"]["minReadySeconds"];
        if new["spec"]["minReadySeconds"].as_i64().unwrap_or(0) != ready.as_i64().unwrap_or(0) {
            child(new, "spec").insert("minReadySeconds".to_owned(), ready.clone());
        }
        let name = text(&new["metadata"], "name").to_owned();
        if *new != before {
            self.dirty.insert(name.clone());
        }
        let revision = text(&new["metadata"]["annotations"], REVISION).to_owned();
        self.set_revision(&revision);
        let known = conditions::find(&self.deployment["status"], "Progressing").is_some();
        if status::deadline(&self.deployment).is_some() && !known {
            let message = format!("Found new replica set {name:?}");
            self.progressing(("True", "FoundNewReplicaSet", message));
        }
    }

    /// Makes the ReplicaSet of the present template, if there is none.
    pub(super) fn ensure_new_set(&mut self) {
        if self.sets.new.is_some() {
            return;
        }
        let collisions = self.deployment["status"]["collisionCount"].as_i64();
        let hash = super::template::hash(
            &without_hash(&self.deployment["spec"]["template"]),
            collisions,
        );
        let name = self.name_of_set(&hash);
        let namespace = text(&self.deployment["metadata"], "namespace").to_owned();
        if self.collides(&namespace, &name) {
            let count = collisions.unwrap_or(0) + 1;
            child(&mut self.deployment, "status").insert("collisionCount".to_owned(), count.into());
            self.plan.again = Some(self.view.now);
            return;
        }
        let revision = self.next_revision();
        let mut set = self.new_set(&name, &hash);
        let size = rollout::new_replicas(&self.deployment, &self.sets, 0);
        child(&mut set, "spec").insert("replicas".to_owned(), size.into());
        annotate(&self.deployment, &mut set, revision);
        annotate_sizes(&self.deployment, &mut set);
        if size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            self.note("ScalingReplicaSet", message);
        }
        self.set_revision(&revision.to_string());
        if status::deadline(&self.deployment).is_some() {
            let message = format!("Created new replica set {name:?}");
            self.progressing(("True", "NewReplicaSetCreated", message));
        }
        self.sets.new = Some(set);
        self.created = Some(name);
    }

    fn progressing(&mut self, verdict: status::Verdict) {
        let now = self.view.now;
        status::put(
            child(&mut self.deployment, "status"),
            now,
            "Progressing",
            verdict,
        );
    }

    /// Whether something else has the name already.
    fn collides(&self, namespace: &str, name: &str) -> bool {
        let Some(found) = self.view.state.get(&replica_sets(), namespace, name) else {
            return false;
        };
        let uid = text(&self.deployment["metadata"], "uid");
        let found = found.value();
        !(is_controlled_by(&found, uid) && has_template(&found, &self.deployment))
    }

    fn name_of_set(&self, hash: &str) -> String {
        let name = text(&self.deployment["metadata"], "name");
        let room = NAME_CHARS.saturating_sub(hash.len() + 1);
        let name: String = name.chars().take(room).collect();
        format!("{name}-{hash}")
    }

    fn new_set(&self, name: &str, hash: &str) -> Value {
        let spec = &self.deployment["spec"];
        let mut template = spec["template"].clone();
        let labels = child(&mut template, "metadata")
            .entry("labels")
            .or_insert(Value::Null);
        fields(labels).insert(HASH_LABEL.to_owned(), hash.into());
        let labels = labels.clone();
        let mut selector = spec["selector"].clone();
        child(&mut selector, "matchLabels").insert(HASH_LABEL.to_owned(), hash.into());
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": self.deployment["metadata"]["namespace"],
                "labels": labels,
                "ownerReferences": controlled_by("apps/v1", "Deployment", &self.deployment),
            },
            "spec": { "selector": selector, "template": template },
        });
        if let Some(seconds) = spec.get("minReadySeconds") {
            set["spec"]["minReadySeconds"] = seconds.clone();
        }
        set
    }

    fn next_revision(&self) -> i64 {
        self.sets.old.iter().map(of).max().unwrap_or(0) + 1
    }

    /// The Deployment carries the revision of its present template.
    fn set_revision(&mut self, revision: &str) {
        let annotations = &self.deployment["metadata"]["annotations"];
        if text(annotations, REVISION) != revision {
            annotations_mut(&mut self.deployment).insert(REVISION.to_owned(), revision.into());
        }
    }
}

/// The revision of a ReplicaSet.
pub(super) fn of(set: &Value) -> i64 {
    let revision = text(&set["metadata"]["annotations"], REVISION);
    revision.parse().unwrap_or(0)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = child(&mut template, "metadata").get_mut("labels") {
        fields(labels).remove(HASH_LABEL);
    }
    template
}

pub(super) fn has_template(set: &Value, deployment: &Value) -> bool {
    without_hash(&set["spec"]["template"]) == without_hash(&deployment["spec"]["template"])
}

/// Copies the Deployment's annotations, and gives a ReplicaSet a revision that is not above its own.
fn annotate(deployment: &Value, set: &mut Value, revision: i64) {
    let known = set["metadata"]["annotations"].get(REVISION).cloned();
    let own = known.as_ref().and_then(Value::as_str).unwrap_or_default();
    let annotations = annotations_mut(set);
    for (name, value) in deployment["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if !NOT_COPIED.contains(&name.as_str()) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    let number = match own.parse::<i64>() {
        Ok(number) => number,
        Err(_) if own.is_empty() => 0,
        Err(_) => return,
    };
    if number >= revision {
        return;
    }
    annotations.insert(REVISION.to_owned(), revision.to_string().into());
    if known.is_none() {
        return;
    }
    // The template was there before, and is back.
    let history = annotations.get(HISTORY).and_then(Value::as_str);
    let mut numbers: Vec<&str> = history
        .into_iter()
        .flat_map(|text| text.split(','))
        .collect();
    numbers.retain(|number| !number.is_empty());
    numbers.push(own);
    let mut history = numbers.join(",");
    while history.len() > HISTORY_CHARS && numbers.len() > 1 {
        numbers.remove(0);
        history = numbers.join(",");
    }
    annotations.insert(HISTORY.to_owned(), history.into());
}

/// Notes for what numbers a ReplicaSet was sized.
pub(super) fn annotate_sizes(deployment: &Value, set: &mut Value) {
    let wanted = rollout::wanted(deployment);
    let max = (wanted + rollout::Limits::of(deployment).surge).min(NUMBER_MAX);
    let annotations = annotations_mut(set);
    annotations.insert(DESIRED.to_owned(), wanted.to_string().into());
    annotations.insert(MAX.to_owned(), max.to_string().into());
}

/// The largest number of Pods when a ReplicaSet was last sized.
pub(super) fn max_before(set: &Value) -> Option<i64> {
    let known = text(&set["metadata"]["annotations"], MAX);
    known.parse().ok().filter(|number| *number > 0)
}

/// Whether a ReplicaSet has all Pods of the Deployment, and they serve.
pub(super) fn is_saturated(deployment: &Value, set: &Value) -> bool {
    let wanted = rollout::wanted(deployment);
    let known = text(&set["metadata"]["annotations"], DESIRED).parse();
    replicas(set) == wanted
        && known == Ok(wanted)
        && set["status"]["availableReplicas"].as_i64().unwrap_or(0) == wanted
}
