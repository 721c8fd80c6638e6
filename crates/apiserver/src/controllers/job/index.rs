//! Jobs whose Pods are numbered: each number has to succeed once.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::controllers::pods::is_active;
use crate::store::json::{child, fields, list, text};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Numbers that are looked at; a Job cannot have more.
const INDEXES_MAX: i64 = 100_000;

/// Which numbers are done.
pub(super) struct Indexes {
    done: BTreeSet<i64>,
    total: i64,
}

impl Indexes {
    pub(super) fn of(job: &Value, pods: &[Value]) -> Self {
        let total = job["spec"]["completions"].as_i64().unwrap_or(0);
        let total = total.clamp(0, INDEXES_MAX);
        let mut done = parse(text(&job["status"], "completedIndexes"), total);
        for pod in pods {
            if pod["status"]["phase"] == "Succeeded"
                && let Some(index) = index_of(pod).filter(|index| *index < total)
            {
                done.insert(index);
            }
        }
        Self { done, total }
    }

    pub(super) fn succeeded(&self) -> i64 {
        i64::try_from(self.done.len()).unwrap_or(i64::MAX)
    }

    /// The first numbers that nobody works on.
    pub(super) fn pending(&self, pods: &[Value], number: i64) -> Vec<i64> {
        let active: BTreeSet<i64> = pods
            .iter()
            .filter(|pod| is_active(pod))
            .filter_map(index_of)
            .collect();
        let free = (0..self.total).filter(|at| !self.done.contains(at) && !active.contains(at));
        free.take(usize::try_from(number).unwrap_or(0)).collect()
    }

    /// `0-2,5`.
    pub(super) fn to_text(&self) -> String {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for index in &self.done {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *index => *last = *index,
                _ => ranges.push((*index, *index)),
            }
        }
        let texts = ranges.into_iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
        texts.collect::<Vec<_>>().join(",")
    }
}

fn parse(text: &str, total: i64) -> BTreeSet<i64> {
    let mut done = BTreeSet::new();
    // The ranges are in order: none is walked twice.
    let mut next = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            done.extend(first.max(next)..=last.min(total - 1));
            next = next.max(last.saturating_add(1));
        }
    }
    done
}

fn index_of(pod: &Value) -> Option<i64> {
    let index = text(&pod["metadata"]["annotations"], INDEX).parse().ok();
    index.filter(|index| *index >= 0)
}

/// Gives a new Pod its number.
pub(super) fn mark(pod: &mut Value, job: &Value, index: i64) {
    let name = text(&job["metadata"], "name");
    let meta = child(pod, "metadata");
    meta.insert("generateName".to_owned(), format!("{name}-{index}-").into());
    for field in ["annotations", "labels"] {
        let map = meta.entry(field).or_insert(Value::Null);
        fields(map).insert(INDEX.to_owned(), index.to_string().into());
    }
    if !job["spec"]["backoffLimitPerIndex"].is_null() {
        let notes = meta.entry("annotations").or_insert(Value::Null);
        fields(notes).insert(FAILURES.to_owned(), "0".into());
    }
    let spec = child(pod, "spec");
    spec.insert("hostname".to_owned(), format!("{name}-{index}").into());
    for field in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = spec.get_mut(field) else {
            continue;
        };
        for container in containers {
            if list(container, "env")
                .iter()
                .any(|one| one["name"] == VARIABLE)
            {
                continue;
            }
            let path = format!("metadata.labels['{INDEX}']");
            let variable =
                json!({"name": VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": path}}});
            let env = fields(container).entry("env").or_insert_with(|| json!([]));
            if let Value::Array(env) = env {
                env.push(variable);
            }
        }
    }
}
