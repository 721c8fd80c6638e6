//! PodSecurity: what the labels of a namespace demand of its pods.
mod checks;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::within;
use crate::error::{Cause, StatusError};
use crate::registry::Resource;
use crate::store::json::{list, text};
use crate::store::request::WriteOptions;
use crate::store::{Store, namespaces};

const PREFIX: &str = "pod-security.kubernetes.io/";
/// So many pods are looked at when a namespace becomes stricter.
const PODS_MAX: usize = 3000;

/// How strict; more is stricter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level and its version.
#[derive(Clone, PartialEq, Eq)]
struct Demand {
    level: Level,
    version: String,
}

impl Demand {
    fn shown(&self) -> String {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        format!("{level}:{}", self.version)
    }

    /// What a pod does that it may not: each with what exactly.
    fn found(&self, spec: &Value) -> Vec<(String, String)> {
        match self.level {
            Level::Privileged => Vec::new(),
            level => checks::of(spec, level == Level::Restricted),
        }
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn is_version(text: &str) -> bool {
    let minor = text.strip_prefix("v1.");
    text == "latest" || minor.is_some_and(|minor| minor.parse::<u32>().is_ok())
}

/// What is demanded, and of what the client is told; labels that mean nothing demand the most.
fn demands(labels: &Value) -> (Demand, Demand) {
    let of = |mode: &str, wrong: Level| {
        let found = labels[format!("{PREFIX}{mode}")].as_str();
        let version = labels[format!("{PREFIX}{mode}-version")].as_str();
        let demand = Demand {
            level: found.map_or(Level::Privileged, |text| level(text).unwrap_or(wrong)),
            version: version
                .filter(|text| is_version(text))
                .unwrap_or("latest")
                .to_owned(),
        };
        (demand, found.is_some(), version.is_some())
    };
    let (enforce, _, _) = of("enforce", Level::Restricted);
    let (mut warn, has_level, has_version) = of("warn", Level::Privileged);
    if !has_level && enforce.level > warn.level {
        warn.level = enforce.level;
        if !has_version {
            warn.version.clone_from(&enforce.version);
        }
    }
    (enforce, warn)
}

/// Refuses what is not as secure as its namespace demands, or warns of it.
pub(super) fn refuse(
    store: &Store,
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    options: &WriteOptions,
) -> Result<(), StatusError> {
    if res.group.is_empty() && res.kind == "Namespace" {
        return namespace(store, res, (before, object), options);
    }
    let spec = &object["spec"];
    let (spec, is_pod) = match (res.group.as_str(), res.kind.as_str()) {
        ("", "Pod") => (spec, true),
        ("", "PodTemplate") => (&object["template"]["spec"], false),
        ("batch", "CronJob") => (&spec["jobTemplate"]["spec"]["template"]["spec"], false),
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => {
            (&spec["template"]["spec"], false)
        }
        _ => return Ok(()),
    };
    if before.is_some_and(|before| is_pod && same_images(&before["spec"], spec)) {
        return Ok(());
    }
    let inside = text(&object["metadata"], "namespace");
    let Some(found) = store.head.get(&namespaces(), "", inside) else {
        return Ok(());
    };
    let (enforce, warn) = demands(&found.value()["metadata"]["labels"]);
    if is_pod {
        let found = enforce.found(spec);
        if !found.is_empty() {
            let name = text(&object["metadata"], "name");
            let why = format!(
                "violates PodSecurity {:?}: {}",
                enforce.shown(),
                details(&found)
            );
            return Err(StatusError::forbidden(res, name, &why));
        }
    }
    let found = warn.found(spec);
    if !found.is_empty() {
        let told = format!(
            "would violate PodSecurity {:?}: {}",
            warn.shown(),
            details(&found)
        );
        options.warnings.add(told);
    }
    Ok(())
}

fn same_images(before: &Value, after: &Value) -> bool {
    ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .all(|name| {
            let images = |spec: &Value| -> Vec<Value> {
                list(spec, name)
                    .iter()
                    .map(|one| one["image"].clone())
                    .collect()
            };
            images(before) == images(after)
        })
}

fn details(found: &[(String, String)]) -> String {
    let all: Vec<String> = found
        .iter()
        .map(|(what, how)| format!("{what} ({how})"))
        .collect();
    all.join(", ")
}

/// The labels of a namespace must mean something; of pods that are there already it is told.
fn namespace(
    store: &Store,
    res: &Resource,
    (before, object): (Option<&Value>, &Value),
    options: &WriteOptions,
) -> Result<(), StatusError> {
    let (name, labels) = (
        text(&object["metadata"], "name"),
        &object["metadata"]["labels"],
    );
    let causes = wrong(labels);
    let known = before.is_some_and(|before| wrong(&before["metadata"]["labels"]) == causes);
    if !causes.is_empty() && !known {
        return Err(StatusError::invalid(res, name, &causes));
    }
    let Some(before) = before else { return Ok(()) };
    let (old, _) = demands(&before["metadata"]["labels"]);
    let (new, _) = demands(labels);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new == old || new.level == Level::Privileged || relaxed {
        return Ok(());
    }
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in within(store, "pods", name).into_iter().take(PODS_MAX) {
        let reasons: Vec<String> = new
            .found(&pod["spec"])
            .into_iter()
            .map(|one| one.0)
            .collect();
        if !reasons.is_empty() {
            let names = by_reason.entry(reasons.join(", ")).or_default();
            names.push(text(&pod["metadata"], "name").to_owned());
        }
    }
    if !by_reason.is_empty() {
        options.warnings.add(format!(
            "existing pods in namespace {name:?} violate the new PodSecurity enforce level {:?}",
            new.shown()
        ));
    }
    let mut told: Vec<String> = by_reason
        .into_iter()
        .map(|(reason, mut names)| {
            names.sort();
            let first = &names[0];
            match names.len() {
                1 => format!("{first}: {reason}"),
                2 => format!("{first} (and 1 other pod): {reason}"),
                many => format!("{first} (and {} other pods): {reason}", many - 1),
            }
        })
        .collect();
    told.sort();
    for one in told {
        options.warnings.add(one);
    }
    Ok(())
}

fn wrong(labels: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("{PREFIX}{mode}");
        if let Some(found) = labels[&key].as_str().filter(|text| level(text).is_none()) {
            let why = "must be one of privileged, baseline, restricted";
            let field = format!("metadata.labels[{key}]");
            causes.push(Cause::invalid(field, &json!(found), why));
        }
        let key = format!("{key}-version");
        if let Some(found) = labels[&key].as_str().filter(|text| !is_version(text)) {
            let why = "must be \"latest\" or \"v1.x\"";
            let field = format!("metadata.labels[{key}]");
            causes.push(Cause::invalid(field, &json!(found), why));
        }
    }
    causes
}
