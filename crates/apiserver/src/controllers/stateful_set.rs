//! StatefulSet to Pods: numbered ones, made and replaced in order.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::action::{Action, Behalf};
use super::claim::{Owner, claim, selects_own};
use super::events::Note;
use super::history::{self, HASH, Revision};
use super::pods::{Availability, availability, controlled_by, is_finished, is_ready, pod_of, pods};
use super::{Plan, View};
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, set, text};
use crate::store::request::{Propagation, Subresource};

const COMPONENT: &str = "statefulset-controller";

fn stateful_sets() -> StorageKey {
    StorageKey::new("apps", "statefulsets")
}

/// One look at a StatefulSet.
struct Sync<'a> {
    view: &'a View<'a>,
    set: Value,
    current: Revision,
    update: Revision,
    /// By number: all Pods, also those that are too many.
    pods: BTreeMap<i64, Value>,
    writes: Vec<Action>,
    plan: Plan,
}

pub(super) fn plan(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.state.get(&stateful_sets(), namespace, name) else {
        return plan;
    };
    let set = object.value();
    let selector = LabelSelector::from_object(&set["spec"]["selector"]);
    if !selects_own(&selector, &set["spec"]["template"]) {
        return plan;
    }
    let Some(update) = history::current(view, &set, "StatefulSet", &mut plan) else {
        return plan;
    };
    let known = text(&set["status"], "currentRevision");
    let current = history::named(view, &set, known).unwrap_or_else(|| update.clone());
    let owner = Owner {
        api_version: "apps/v1",
        kind: "StatefulSet",
        object: &set,
        selector: &selector,
    };
    let pods = claim(view, &owner, &mut plan);
    let pods = pods
        .into_iter()
        .filter_map(|pod| Some((number_of(&set, &pod)?, pod)));
    let pods = pods.collect();
    let mut sync = Sync {
        view,
        set,
        current,
        update,
        pods,
        writes: Vec::new(),
        plan,
    };
    if !object.is_terminating() {
        sync.step();
    }
    sync.finish()
}

/// The number in a Pod's name.
fn number_of(set: &Value, pod: &Value) -> Option<i64> {
    let name = text(&pod["metadata"], "name");
    let rest = name.strip_prefix(text(&set["metadata"], "name"))?;
    let number = rest.strip_prefix('-')?.parse().ok()?;
    (number >= 0).then_some(number)
}

fn is_terminating(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn runs(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && is_ready(pod)
}

fn hash(pod: &Value) -> &str {
    text(&pod["metadata"]["labels"], HASH)
}

impl Sync<'_> {
    fn spec(&self) -> &Value {
        &self.set["spec"]
    }

    fn wanted(&self) -> i64 {
        self.spec()["replicas"].as_i64().unwrap_or(1).max(0)
    }

    fn first(&self) -> i64 {
        self.spec()["ordinals"]["start"].as_i64().unwrap_or(0)
    }

    fn in_order(&self) -> bool {
        self.spec()["podManagementPolicy"] != "Parallel"
    }

    fn serves(&self, pod: &Value) -> bool {
        let min_ready = self.spec()["minReadySeconds"].as_i64().unwrap_or(0);
        let available = availability(pod, min_ready, self.view.now) == Availability::Available;
        available && runs(pod)
    }

    fn step(&mut self) {
        let (first, end) = (self.first(), self.first() + self.wanted());
        let mut room = self.view.room.pods;
        for number in first..end {
            if !self.pods.contains_key(&number) {
                if room == 0 {
                    self.plan.wait_for_room(self.view);
                    break;
                }
                room -= 1;
            }
            if self.tend(number) && self.in_order() {
                return;
            }
        }
        let surplus: Vec<i64> = self
            .pods
            .keys()
            .copied()
            .filter(|at| !(first..end).contains(at))
            .collect();
        let weakest = surplus
            .iter()
            .copied()
            .find(|at| !self.serves(&self.pods[at]));
        for number in surplus.into_iter().rev() {
            let pod = self.pods[&number].clone();
            let ordered = self.in_order();
            if is_terminating(&pod) {
                if ordered {
                    return;
                }
                continue;
            }
            if ordered && !self.serves(&pod) && weakest != Some(number) {
                return;
            }
            self.delete(&pod);
            if ordered {
                return;
            }
        }
        self.replace_old(first, end);
    }

    /// Makes or replaces one Pod; answers whether the next ones have to wait.
    fn tend(&mut self, number: i64) -> bool {
        let Some(pod) = self.pods.get(&number).cloned() else {
            self.create(number);
            return true;
        };
        if is_finished(&pod) {
            if !is_terminating(&pod) {
                self.delete(&pod);
            }
            return true;
        }
        if pod["status"]["phase"] == "Pending" {
            self.create_claims(number, &pod);
        }
        if let Availability::At(at) = availability(
            &pod,
            self.spec()["minReadySeconds"].as_i64().unwrap_or(0),
            self.view.now,
        ) {
            self.plan.look_at(at);
        }
        is_terminating(&pod) || !self.serves(&pod)
    }

    /// Pods of an older template go, the last first, as many as may be missing.
    fn replace_old(&mut self, first: i64, end: i64) {
        let strategy = &self.spec()["updateStrategy"];
        if strategy["type"] == "OnDelete" {
            return;
        }
        let rolling = &strategy["rollingUpdate"];
        let least = first + rolling["partition"].as_i64().unwrap_or(0);
        let limit = match &rolling["maxUnavailable"] {
            Value::Number(number) => number.as_i64().unwrap_or(1),
            Value::String(text) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
                percent.clamp(0, 100) * self.wanted() / 100
            }
            _ => 1,
        };
        // Only the Pods that there are: of those that are wanted there may be billions.
        let serving = self.pods.range(first..end);
        let serving = serving
            .filter(|(_, pod)| self.serves(pod) && !is_terminating(pod))
            .count();
        let missing = (end - first).max(0) - i64::try_from(serving).unwrap_or(i64::MAX);
        let mut spare = limit.max(1) - missing;
        let old: Vec<Value> = self
            .pods
            .range(least.min(end)..end)
            .rev()
            .map(|(_, pod)| pod.clone())
            .filter(|pod| hash(pod) != self.update.name && !is_terminating(pod))
            .collect();
        // Those that do not serve are missed by nobody, where the order is all the same.
        let (idle, old): (Vec<Value>, Vec<Value>) = old
            .into_iter()
            .partition(|pod| !self.in_order() && !self.serves(pod));
        for pod in &idle {
            self.delete(pod);
        }
        for pod in &old {
            if spare <= 0 {
                return;
            }
            self.delete(pod);
            spare -= 1;
        }
    }

    fn behalf(&mut self, action: Action, verb: &str, name: &str) {
        let set = text(&self.set["metadata"], "name");
        let (done, failed) = match verb {
            "create" => ("SuccessfulCreate", "FailedCreate"),
            _ => ("SuccessfulDelete", "FailedDelete"),
        };
        let verb = if verb == "create" { "Create" } else { "Delete" };
        let good = format!("{verb} Pod {name} in StatefulSet {set} successful");
        let bad = format!("{verb} Pod {name} in StatefulSet {set} failed error: {{error}}");
        self.writes.push(Action::Behalf(Box::new(Behalf {
            action,
            done: Some(Note::new(COMPONENT, &self.set, done, good)),
            failed: Some(Note::new(COMPONENT, &self.set, failed, bad)),
            condition: None,
        })));
    }

    fn delete(&mut self, pod: &Value) {
        let action = Action::delete(&pods(), pod, Propagation::Background);
        self.behalf(action, "delete", text(&pod["metadata"], "name"));
    }

    fn create(&mut self, number: i64) {
        let rolling = &self.spec()["updateStrategy"]["rollingUpdate"];
        let kept = rolling["partition"]
            .as_i64()
            .unwrap_or_else(|| self.set["status"]["currentReplicas"].as_i64().unwrap_or(0));
        let in_turn = self.spec()["updateStrategy"]["type"] == "RollingUpdate";
        let revision = if in_turn && number < self.first() + kept {
            self.current.clone()
        } else {
            self.update.clone()
        };
        let owner = controlled_by("apps/v1", "StatefulSet", &self.set);
        let mut pod = pod_of(&self.set, &revision.template, owner);
        let name = format!("{}-{number}", text(&self.set["metadata"], "name"));
        let meta = child(&mut pod, "metadata");
        meta.insert("name".to_owned(), name.clone().into());
        let labels = fields(meta.entry("labels").or_insert(Value::Null));
        labels.insert(
            "statefulset.kubernetes.io/pod-name".to_owned(),
            name.clone().into(),
        );
        labels.insert(
            "apps.kubernetes.io/pod-index".to_owned(),
            number.to_string().into(),
        );
        labels.insert(HASH.to_owned(), revision.name.into());
        let service = self.spec()["serviceName"].clone();
        let spec = child(&mut pod, "spec");
        spec.insert("hostname".to_owned(), name.clone().into());
        let service = service.as_str().filter(|name| !name.is_empty());
        set(spec, "subdomain", service.map(Into::into));
        self.mount_claims(number, &mut pod);
        self.create_claims(number, &pod);
        self.behalf(Action::Create(pods(), pod), "create", &name);
    }

    fn claims(&self, number: i64) -> Vec<(String, Value)> {
        let set = text(&self.set["metadata"], "name");
        let templates = list(&self.set["spec"], "volumeClaimTemplates").iter();
        let named = templates.map(|template| {
            let volume = text(&template["metadata"], "name");
            (format!("{volume}-{set}-{number}"), template.clone())
        });
        named.collect()
    }

    fn mount_claims(&self, number: i64, pod: &mut Value) {
        let claims = self.claims(number);
        if claims.is_empty() {
            return;
        }
        let volumes = child(pod, "spec")
            .entry("volumes")
            .or_insert_with(|| json!([]));
        if let Value::Array(volumes) = volumes {
            volumes.retain(|volume| {
                let named = |(_, template): &(String, Value)| {
                    template["metadata"]["name"] == volume["name"]
                };
                !claims.iter().any(named)
            });
            for (claim, template) in &claims {
                volumes.push(json!({"name": template["metadata"]["name"],
                    "persistentVolumeClaim": {"claimName": claim}}));
            }
        }
    }

    /// Claims of volumes stay when their Pods go.
    fn create_claims(&mut self, number: i64, pod: &Value) {
        let collection = StorageKey::new("", "persistentvolumeclaims");
        let namespace = text(&self.set["metadata"], "namespace").to_owned();
        let set_name = text(&self.set["metadata"], "name").to_owned();
        let pod = if let Some(name) = pod["metadata"]["name"].as_str() {
            name.to_owned()
        } else {
            format!("{set_name}-{number}")
        };
        for (name, template) in self.claims(number) {
            if self
                .view
                .state
                .get(&collection, &namespace, &name)
                .is_some()
            {
                continue;
            }
            let mut claim = template;
            let labels = self.set["spec"]["selector"]["matchLabels"].clone();
            let meta = child(&mut claim, "metadata");
            meta.insert("name".to_owned(), name.clone().into());
            meta.insert("namespace".to_owned(), namespace.clone().into());
            let own = fields(meta.entry("labels").or_insert(Value::Null));
            own.extend(labels.as_object().cloned().unwrap_or_default());
            fields(&mut claim).remove("status");
            let good = format!("Create Claim {name} Pod {pod} in StatefulSet {set_name} success");
            let bad = format!(
                "Create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {{error}}"
            );
            self.writes.push(Action::Behalf(Box::new(Behalf {
                action: Action::Create(collection.clone(), claim),
                done: Some(Note::new(COMPONENT, &self.set, "SuccessfulCreate", good)),
                failed: Some(Note::new(COMPONENT, &self.set, "FailedCreate", bad)),
                condition: None,
            })));
        }
    }

    fn finish(mut self) -> Plan {
        self.status();
        let mut used = vec![self.current.name.as_str(), self.update.name.as_str()];
        let hashes: Vec<String> = self.pods.values().map(|pod| hash(pod).to_owned()).collect();
        used.extend(hashes.iter().map(String::as_str));
        history::truncate(self.view, &self.set, &used, &mut self.plan);
        self.plan.actions.append(&mut self.writes);
        self.plan
    }

    fn status(&mut self) {
        let count = |of: &dyn Fn(&Value) -> bool| {
            i64::try_from(self.pods.values().filter(|pod| of(pod)).count()).unwrap_or(i64::MAX)
        };
        let ready = count(&runs);
        let available = count(&|pod| self.serves(pod));
        let of =
            |revision: &Revision| count(&|pod| !is_terminating(pod) && hash(pod) == revision.name);
        let (mut current, updated) = (of(&self.current), of(&self.update));
        let replicas = count(&|_| true);
        let wanted = self.wanted();
        let mut name = self.current.name.clone();
        if updated == wanted && ready == wanted && replicas == wanted {
            current = updated;
            name.clone_from(&self.update.name);
        }
        let mut status = self.set["status"].clone();
        let map = fields(&mut status);
        map.insert("replicas".to_owned(), replicas.into());
        map.insert("availableReplicas".to_owned(), available.into());
        for (field, number) in [
            ("readyReplicas", ready),
            ("currentReplicas", current),
            ("updatedReplicas", updated),
        ] {
            set(map, field, (number > 0).then(|| number.into()));
        }
        map.insert("currentRevision".to_owned(), name.into());
        map.insert("updateRevision".to_owned(), self.update.name.clone().into());
        map.entry("collisionCount").or_insert_with(|| 0.into());
        let generation = self.set["metadata"]["generation"].clone();
        map.insert("observedGeneration".to_owned(), generation);
        if status != self.set["status"] {
            let mut set = self.set.clone();
            set["status"] = status;
            self.plan
                .actions
                .push(Action::Update(stateful_sets(), Subresource::Status, set));
        }
    }
}
