//! PersistentVolumes and the claims to them: who gets which, and what becomes of one that is no longer claimed.
use serde_json::{Value, json};

use super::action::Action;
use super::events::Note;
use super::pods::{is_finished, pods};
use super::{Plan, View, conditions};
use crate::quantity::Quantity;
use crate::registry::StorageKey;
use crate::selector::LabelSelector;
use crate::store::json::{child, fields, list, set, text};
use crate::store::meta::stamp;
use crate::store::request::{Propagation, Subresource};

mod matching;

const US: &str = "persistentvolume-controller";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
const PV_PROTECTION: &str = "kubernetes.io/pv-protection";
const PROVISIONERS: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

fn volumes() -> StorageKey {
    StorageKey::new("", "persistentvolumes")
}

fn claims() -> StorageKey {
    StorageKey::new("", "persistentvolumeclaims")
}

fn classes() -> StorageKey {
    StorageKey::new("storage.k8s.io", "storageclasses")
}

/// What becomes of a volume.
pub(super) fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(found) = view.state.get(&volumes(), "", name) else {
        return plan;
    };
    let volume = found.value();
    if volume["status"]["phase"] != "Bound"
        && let Some(freed) = unprotected(&volume, PV_PROTECTION)
    {
        plan.actions
            .push(Action::Update(volumes(), Subresource::None, freed));
        return plan;
    }
    let reference = &volume["spec"]["claimRef"];
    let uid = text(reference, "uid");
    if uid.is_empty() {
        phase(view, &volume, "Available", &mut plan);
        let is_available = volume["status"]["phase"] == "Available";
        if plan.actions.is_empty() && is_available && reference.is_null() {
            offer(view, &volume, &mut plan);
        }
        return plan;
    }
    let (namespace, name) = (text(reference, "namespace"), text(reference, "name"));
    let claim = view.state.get(&claims(), namespace, name);
    let claim = claim.filter(|claim| claim.uid() == uid);
    let Some(claim) = claim.map(|claim| claim.value()) else {
        let ended = ["Released", "Failed"].contains(&text(&volume["status"], "phase"));
        if !ended {
            phase(view, &volume, "Released", &mut plan);
        }
        reclaim(view, &volume, &mut plan);
        return plan;
    };
    match text(&claim["spec"], "volumeName") {
        "" => {}
        bound if bound == found.name() => phase(view, &volume, "Bound", &mut plan),
        _ => unbind(view, &volume, &mut plan),
    }
    plan
}

/// Binds a claim that waits to a volume that is free.
fn offer(view: &View<'_>, volume: &Value, plan: &mut Plan) {
    for claim in view.state.within(&claims(), None) {
        let claim = claim.value();
        let waits = annotation(&claim, COMPLETED).is_none()
            && text(&claim["spec"], "volumeName").is_empty();
        if waits
            && let Some(best) = matching::best(view, &claim)
            && best["metadata"]["uid"] == volume["metadata"]["uid"]
        {
            bind(view, &best, &claim, plan);
            return;
        }
    }
}

/// What becomes of a claim.
pub(super) fn plan_claim(view: &View<'_>, namespace: &str, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(claim) = view.state.get(&claims(), namespace, name) else {
        return plan;
    };
    let claim = claim.value();
    let used = users(view, &claim).iter().any(is_placed);
    if !used && let Some(freed) = unprotected(&claim, PVC_PROTECTION) {
        plan.actions
            .push(Action::Update(claims(), Subresource::None, freed));
        return plan;
    }
    if annotation(&claim, COMPLETED).is_some() {
        bound(view, &claim, &mut plan);
    } else {
        waiting(view, &claim, &mut plan);
    }
    if plan.actions.is_empty() {
        unused(view, &claim, &mut plan);
    }
    plan
}

fn bound(view: &View<'_>, claim: &Value, plan: &mut Plan) {
    let name = text(&claim["spec"], "volumeName");
    if name.is_empty() {
        let why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", why, plan);
    }
    let Some(volume) = view.state.get(&volumes(), "", name) else {
        let why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return lose(claim, "ClaimLost", why, plan);
    };
    let volume = volume.value();
    let reference = &volume["spec"]["claimRef"];
    if reference.is_null() || reference["uid"] == claim["metadata"]["uid"] {
        bind(view, &volume, claim, plan);
    } else {
        let why = "Two claims are bound to the same volume, this one is bound incorrectly";
        lose(claim, "ClaimMisbound", why, plan);
    }
}

fn lose(claim: &Value, reason: &'static str, why: &str, plan: &mut Plan) {
    if claim["status"]["phase"] == "Lost" {
        return;
    }
    pend(claim, "Lost", plan);
    let note = Note::new(US, claim, reason, why).warning();
    plan.actions.push(Action::Tell(note));
}

fn waiting(view: &View<'_>, claim: &Value, plan: &mut Plan) {
    let name = text(&claim["spec"], "volumeName");
    if name.is_empty() {
        match matching::best(view, claim) {
            Some(volume) => bind(view, &volume, claim, plan),
            None => provision(view, claim, plan),
        }
        return;
    }
    let Some(volume) = view.state.get(&volumes(), "", name) else {
        return pend(claim, "Pending", plan);
    };
    let volume = volume.value();
    let problem = if volume["spec"]["claimRef"].is_null() {
        matching::mismatch(&volume, claim).map(|why| {
            let why = format!("Cannot bind to requested volume {name:?}: {why}");
            ("VolumeMismatch", why)
        })
    } else if matching::is_for(&volume, claim) {
        None
    } else {
        let why = format!("volume {name:?} already bound to a different claim.");
        Some(("FailedBinding", why))
    };
    match problem {
        None => bind(view, &volume, claim, plan),
        Some((reason, why)) => {
            let note = Note::new(US, claim, reason, why).warning();
            plan.actions.push(Action::Tell(note));
            pend(claim, "Pending", plan);
        }
    }
}

/// No volume fits: somebody else may make one.
fn provision(view: &View<'_>, claim: &Value, plan: &mut Plan) {
    let class = text(&claim["spec"], "storageClassName");
    if class.is_empty() {
        let why = "no persistent volumes available for this claim and no storage class is set";
        let note = Note::new(US, claim, "FailedBinding", why);
        plan.actions.push(Action::Tell(note));
        return pend(claim, "Pending", plan);
    }
    if matching::is_delayed(view, claim) {
        let note = Note::new(US, claim, "WaitForFirstConsumer", consumers(view, claim).1);
        let note = Note {
            reason: consumers(view, claim).0,
            ..note
        };
        plan.actions.push(Action::Tell(note));
        return pend(claim, "Pending", plan);
    }
    let failed = |why: String| {
        let note = Note::new(US, claim, "ProvisioningFailed", why).warning();
        Action::Tell(note)
    };
    let Some(found) = view.state.get(&classes(), "", class) else {
        let why = format!("storageclass.storage.k8s.io {class:?} not found");
        return plan.actions.push(failed(why));
    };
    let found = found.value();
    let provisioner = text(&found, "provisioner");
    if provisioner.starts_with("kubernetes.io/") {
        let why = format!("no volume plugin matched name: {provisioner}");
        return plan.actions.push(failed(why));
    }
    let mut asked = claim.clone();
    let notes = child(&mut asked, "metadata")
        .entry("annotations")
        .or_insert_with(|| json!({}));
    for name in PROVISIONERS {
        fields(notes).insert(name.to_owned(), provisioner.into());
    }
    if asked != *claim {
        plan.actions
            .push(Action::Update(claims(), Subresource::None, asked));
    }
    let why = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    let note = Note::new(US, claim, "ExternalProvisioning", why);
    plan.actions.push(Action::Tell(note));
}

/// For whom a claim waits whose class binds only when a Pod needs it.
fn consumers(view: &View<'_>, claim: &Value) -> (&'static str, String) {
    let names: Vec<String> = users(view, claim)
        .into_iter()
        .filter(|pod| !is_placed(pod))
        .map(|pod| text(&pod["metadata"], "name").to_owned())
        .collect();
    match names.as_slice() {
        [] => (
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding".to_owned(),
        ),
        [one] => (
            "WaitForPodScheduled",
            format!("waiting for pod {one} to be scheduled"),
        ),
        many => (
            "WaitForPodScheduled",
            format!("waiting for pods {} to be scheduled", many.join(",")),
        ),
    }
}

/// The Pods that use a claim.
fn users(view: &View<'_>, claim: &Value) -> Vec<Value> {
    let meta = &claim["metadata"];
    let pods = pods();
    let all = view.state.within(&pods, Some(text(meta, "namespace")));
    let all = all.map(|pod| pod.value());
    all.filter(|pod| !is_finished(pod) && uses(pod, text(meta, "name")))
        .collect()
}

fn uses(pod: &Value, claim: &str) -> bool {
    list(&pod["spec"], "volumes")
        .iter()
        .any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
}

/// Whether a Pod is on a node.
fn is_placed(pod: &Value) -> bool {
    !text(&pod["spec"], "nodeName").is_empty()
}

/// Something that shall go, without what has held it.
fn unprotected(object: &Value, protection: &str) -> Option<Value> {
    let kept = list(&object["metadata"], "finalizers");
    if object["metadata"]["deletionTimestamp"].is_null()
        || !kept.iter().any(|one| one == protection)
    {
        return None;
    }
    let kept: Vec<Value> = kept
        .iter()
        .filter(|one| *one != protection)
        .cloned()
        .collect();
    let mut after = object.clone();
    let kept = (!kept.is_empty()).then_some(Value::Array(kept));
    set(child(&mut after, "metadata"), "finalizers", kept);
    Some(after)
}

/// Says in a bound claim's status whether any Pod uses it.
fn unused(view: &View<'_>, claim: &Value, plan: &mut Plan) {
    let bound = claim["status"]["phase"] == "Bound";
    if !bound || !claim["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let (state, reason, message) = if users(view, claim).is_empty() {
        (
            "True",
            "NoPodsUsingPVC",
            "No pods are currently referencing this PVC",
        )
    } else {
        (
            "False",
            "PodUsingPVC",
            "A pod is currently referencing this PVC",
        )
    };
    if conditions::find(&claim["status"], "Unused").is_some_and(|one| one["status"] == state) {
        return;
    }
    let mut after = claim.clone();
    let all = conditions::of(child(&mut after, "status"));
    all.retain(|one| one["type"] != "Unused");
    all.push(json!({
        "type": "Unused", "status": state, "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": stamp(view.now),
    }));
    plan.actions
        .push(Action::Update(claims(), Subresource::Status, after));
}

/// Makes a volume and a claim each other's, as far as they are not.
fn bind(view: &View<'_>, volume: &Value, claim: &Value, plan: &mut Plan) {
    let (mut to, meta) = (volume.clone(), &claim["metadata"]);
    let was_for = matching::is_for(volume, claim);
    if volume["spec"]["claimRef"]["uid"] != meta["uid"] {
        let reference = json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta["namespace"],
            "name": meta["name"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
        });
        child(&mut to, "spec").insert("claimRef".to_owned(), reference);
    }
    if !was_for {
        annotate(&mut to, BY_CONTROLLER);
    }
    if to != *volume {
        plan.actions
            .push(Action::Update(volumes(), Subresource::None, to.clone()));
    }
    phase(view, &to, "Bound", plan);
    let mut own = claim.clone();
    if claim["spec"]["volumeName"] != volume["metadata"]["name"] {
        let name = volume["metadata"]["name"].clone();
        child(&mut own, "spec").insert("volumeName".to_owned(), name);
        annotate(&mut own, BY_CONTROLLER);
    }
    annotate(&mut own, COMPLETED);
    if own != *claim {
        plan.actions
            .push(Action::Update(claims(), Subresource::None, own.clone()));
    }
    let before = own["status"].clone();
    let status = child(&mut own, "status");
    status.insert(
        "accessModes".to_owned(),
        volume["spec"]["accessModes"].clone(),
    );
    if before["phase"] != "Bound" {
        status.insert("phase".to_owned(), "Bound".into());
        let capacity = volume["spec"]["capacity"].clone();
        status.insert("capacity".to_owned(), capacity);
    }
    if own["status"] != before {
        plan.actions
            .push(Action::Update(claims(), Subresource::Status, anew(own)));
    }
}

/// Without its version: something before this in the plan has changed it.
fn anew(mut object: Value) -> Value {
    child(&mut object, "metadata").remove("resourceVersion");
    object
}

fn phase(view: &View<'_>, volume: &Value, phase: &str, plan: &mut Plan) {
    if volume["status"]["phase"] == phase {
        return;
    }
    let mut after = anew(volume.clone());
    let status = child(&mut after, "status");
    status.insert("phase".to_owned(), phase.into());
    status.insert("lastPhaseTransitionTime".to_owned(), stamp(view.now).into());
    plan.actions
        .push(Action::Update(volumes(), Subresource::Status, after));
}

/// A claim that has no volume.
fn pend(claim: &Value, phase: &str, plan: &mut Plan) {
    let mut after = claim.clone();
    let status = child(&mut after, "status");
    status.insert("phase".to_owned(), phase.into());
    status.remove("accessModes");
    status.remove("capacity");
    if after != *claim {
        plan.actions
            .push(Action::Update(claims(), Subresource::Status, after));
    }
}

/// Frees a volume whose claim has got another one.
fn unbind(view: &View<'_>, volume: &Value, plan: &mut Plan) {
    let mut after = volume.clone();
    if annotation(volume, BY_CONTROLLER).is_some() {
        child(&mut after, "spec").remove("claimRef");
        let meta = child(&mut after, "metadata");
        if let Some(notes) = meta.get_mut("annotations") {
            fields(notes).remove(BY_CONTROLLER);
            if fields(notes).is_empty() {
                meta.remove("annotations");
            }
        }
    } else if let Some(reference) = child(&mut after, "spec").get_mut("claimRef") {
        fields(reference).remove("uid");
    }
    plan.actions
        .push(Action::Update(volumes(), Subresource::None, after.clone()));
    phase(view, &after, "Available", plan);
}

/// What its policy says about a volume that is no longer claimed.
fn reclaim(view: &View<'_>, volume: &Value, plan: &mut Plan) {
    let spec = &volume["spec"];
    let external = annotation(volume, PROVISIONED_BY).is_some() || spec.get("csi").is_some();
    if text(spec, "persistentVolumeReclaimPolicy") != "Delete"
        || external
        || volume["status"]["phase"] == "Failed"
    {
        return;
    }
    let path = text(&spec["hostPath"], "path");
    let why = if spec.get("hostPath").is_none() {
        let name = text(&volume["metadata"], "name");
        format!(
            "error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"
        )
    } else if path.strip_prefix("/tmp/").is_none_or(str::is_empty) {
        format!("host_path deleter only supports /tmp/.+ but received provided {path}")
    } else {
        let how = Propagation::Background;
        return plan.actions.push(Action::delete(&volumes(), volume, how));
    };
    let note = Note::new(US, volume, "VolumeFailedDelete", why.clone()).warning();
    let mut failed = Plan::default();
    phase(view, volume, "Failed", &mut failed);
    if let Some(Action::Update(_, _, object)) = failed.actions.first_mut() {
        child(object, "status").insert("message".to_owned(), why.into());
    }
    plan.actions.append(&mut failed.actions);
    plan.actions.push(Action::Tell(note));
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["metadata"]["annotations"].get(name)
}

fn annotate(object: &mut Value, name: &str) {
    let notes = child(object, "metadata")
        .entry("annotations")
        .or_insert_with(|| json!({}));
    fields(notes)
        .entry(name)
        .or_insert_with(|| Value::from("yes"));
}
