//! What is said of pods and their templates.
use std::collections::{BTreeMap, BTreeSet};

use crate::quantity::Quantity;
use crate::store::admit::at::At;

/// Definitions of one port that the next one is compared with.
const SAME_PORTS_MAX: usize = 64;
/// More is not told of one pod.
const TOLD_MAX: usize = 1024;

/// Labels of nodes that have newer names.
const DEPRECATED_LABELS: &[(&str, &str)] = &[
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const VOLUMES: &[(&str, &str)] = &[
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// A pod, or a template.
pub(super) fn template(at: &At<'_>) -> Vec<String> {
    let mut told = Vec::new();
    let (spec, meta) = (at.get("spec"), at.get("metadata"));
    scheduling(&spec, &mut told);
    let annotations = meta.get("annotations");
    for (name, why) in ANNOTATIONS {
        if annotations.get(name).is_set() {
            told.push(format!("{}[{name}]: {why}", annotations.path));
        }
    }
    for volume in spec.each("volumes") {
        for (kind, why) in VOLUMES {
            let one = volume.get(kind);
            if one.is_set() {
                told.push(format!("{}: {why}", one.path));
            }
        }
    }
    duplicates(&spec, "hostAliases", "ip", &mut told);
    duplicates(&spec, "imagePullSecrets", "name", &mut told);
    for secret in spec.each("imagePullSecrets") {
        if secret.get("name").is_empty() {
            told.push(format!(
                "{}: invalid empty name \"\"",
                secret.get("name").path
            ));
        }
    }
    let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
    let old = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    if !spec.get("securityContext").get("seccompProfile").is_set()
        && annotations.get(seccomp).is_set()
    {
        told.push(format!("{}[{seccomp}]: {old}", annotations.path));
    }
    let containers: Vec<At<'_>> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|name| spec.each(name))
        .collect();
    for one in &containers {
        let name = format!(
            "container.seccomp.security.alpha.kubernetes.io/{}",
            one.get("name").text()
        );
        let field = one.get("securityContext").get("seccompProfile");
        if !field.is_set() && annotations.get(&name).is_set() {
            told.push(format!("{}[{name}]: {old}", annotations.path));
        }
        fractions(one, &mut told);
        variables(one, &mut told);
    }
    ports(&containers, &mut told);
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int() < 0 {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        told.push(format!("{}: {why}", grace.path));
    }
    null_selectors(&spec.get("affinity"), &mut told);
    told
}

fn scheduling(spec: &At<'_>, told: &mut Vec<String>) {
    let deprecated = |key: &str| DEPRECATED_LABELS.iter().find(|(name, _)| *name == key);
    for (key, one) in spec.get("nodeSelector").entries() {
        if let Some((_, why)) = deprecated(key) {
            told.push(format!("{}: {why}", one.path));
        }
    }
    for one in spec.each("topologySpreadConstraints") {
        let key = one.get("topologyKey");
        if let Some((_, why)) = deprecated(key.text()) {
            told.push(format!("{}: {} is {why}", key.path, key.text()));
        }
        null_selector(&one.get("labelSelector"), told);
    }
}

fn null_selector(selector: &At<'_>, told: &mut Vec<String>) {
    if !selector.is_set() {
        let why = "a null labelSelector results in matching no pod";
        told.push(format!("{}: {why}", selector.path));
    }
}

fn null_selectors(affinity: &At<'_>, told: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.each("requiredDuringSchedulingIgnoredDuringExecution") {
            null_selector(&term.get("labelSelector"), told);
        }
        for term in pods.each("preferredDuringSchedulingIgnoredDuringExecution") {
            null_selector(&term.get("podAffinityTerm").get("labelSelector"), told);
        }
    }
}

fn duplicates(spec: &At<'_>, list: &str, field: &str, told: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for one in spec.each(list) {
        let value = one.get(field);
        if !seen.insert(value.text()) {
            told.push(format!(
                "{}: duplicate {field} {:?}",
                value.path,
                value.text()
            ));
        }
    }
}

fn fractions(container: &At<'_>, told: &mut Vec<String>) {
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let list = container.get("resources").get(list);
            let amount = Quantity::of(list.get(resource).value);
            if let Some(amount) = amount.filter(|amount| !amount.is_whole()) {
                told.push(format!(
                    "{}[{resource}]: fractional byte value \"{amount}\" is invalid, must be an integer",
                    list.path
                ));
            }
        }
    }
}

fn variables(container: &At<'_>, told: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for one in container.each("env") {
        let name = one.get("name").text();
        if names.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        let value = one.get("value").text();
        if one.get("valueFrom").is_set() || value == reference || !value.contains(&reference) {
            told.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                one.path
            ));
        }
    }
}

fn ports(containers: &[At<'_>], told: &mut Vec<String>) {
    let mut all: BTreeMap<(i64, &str), Vec<At<'_>>> = BTreeMap::new();
    for container in containers {
        for port in container.each("ports") {
            let key = (port.get("containerPort").int(), port.get("protocol").text());
            let (address, number) = (port.get("hostIP").text(), port.get("hostPort").int());
            let others = all.entry(key).or_default();
            for other in others.iter() {
                if told.len() >= TOLD_MAX {
                    return;
                }
                let (other_address, other_number) =
                    (other.get("hostIP").text(), other.get("hostPort").int());
                let word = if (address, number) == (other_address, other_number) {
                    "duplicate"
                } else if number == 0 || other_number == 0 {
                    "overlapping"
                } else if number == other_number && address.is_empty() != other_address.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                told.push(format!(
                    "{}: {word} port definition with {}",
                    port.path, other.path
                ));
            }
            if others.len() < SAME_PORTS_MAX {
                others.push(port);
            }
        }
    }
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for container in containers {
        for port in container.each("ports") {
            let name = port.get("name").text();
            if name.is_empty() {
                continue;
            }
            match names.get(name) {
                Some(other) => told.push(format!(
                    "{}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}",
                    port.path
                )),
                None => {
                    names.insert(name, port.path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ends soon, and within memory, only if what is alike is not compared pair by pair.
    #[test]
    fn a_pod_of_endless_lists_is_looked_at_in_bounds() {
        let many = 100_000;
        let port = json!({"containerPort": 80, "protocol": "TCP"});
        let other =
            json!({"containerPort": 81, "protocol": "TCP", "hostPort": 9, "hostIP": "10.0.0.1"});
        let ports: Vec<_> = [vec![port; many], vec![other; many]].concat();
        let env: Vec<_> = (0..many)
            .map(|n| json!({"name": format!("A{n}")}))
            .collect();
        let aliases: Vec<_> = (0..many).map(|n| json!({"ip": format!("{n}")})).collect();
        let pod = json!({"spec": {"containers": [{"name": "c", "ports": ports, "env": env}], "hostAliases": aliases}});
        let told = template(&At::new("", &pod));
        assert_eq!(told.len(), TOLD_MAX);
        assert!(told[0].contains("duplicate port definition"), "{}", told[0]);
    }
}
