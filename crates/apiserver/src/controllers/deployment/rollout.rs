//! How many replicas each ReplicaSet of a Deployment shall have now.
use serde_json::Value;

use super::revision::{is_saturated, max_before};
use super::{Annotate, NUMBER_MAX, Sets, age_key, name_of, replicas};

/// How far a rolling update may go above and below the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

impl Limits {
    pub(super) fn of(deployment: &Value) -> Self {
        let strategy = &deployment["spec"]["strategy"];
        if strategy["type"] == "Recreate" {
            return Self {
                surge: 0,
                unavailable: 0,
            };
        }
        let wanted = wanted(deployment);
        let rolling = &strategy["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], wanted, Rounding::Up);
        let unavailable = share(&rolling["maxUnavailable"], wanted, Rounding::Down);
        // Something must be able to happen.
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        let unavailable = unavailable.min(wanted);
        Self { surge, unavailable }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Up,
    Down,
}

/// A number, or a percentage of another.
fn share(value: &Value, of: i64, rounding: Rounding) -> i64 {
    let percent = match value {
        Value::Number(number) => return number.as_i64().unwrap_or(0).clamp(0, NUMBER_MAX),
        Value::String(text) => text.trim_end_matches('%').parse::<i64>().unwrap_or(25),
        _ => 25,
    };
    let exact = percent.clamp(0, 1_000).saturating_mul(of.max(0));
    match rounding {
        Rounding::Up => exact.saturating_add(99) / 100,
        Rounding::Down => exact / 100,
    }
}

/// The wanted number of replicas.
pub(super) fn wanted(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"]
        .as_i64()
        .unwrap_or(1)
        .clamp(0, NUMBER_MAX)
}

fn available(set: &Value) -> i64 {
    set["status"]["availableReplicas"].as_i64().unwrap_or(0)
}

/// How many replicas the present ReplicaSet, which has `have`, shall have next.
pub(super) fn new_replicas(deployment: &Value, sets: &Sets, have: i64) -> i64 {
    let wanted = wanted(deployment);
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        return wanted;
    }
    let total: i64 = sets.all().map(replicas).sum();
    let room = wanted + raw_surge(deployment) - total;
    if room <= 0 {
        return have;
    }
    have + room.min(wanted - have)
}

/// The surge as it is said, even where that would let nothing happen.
fn raw_surge(deployment: &Value) -> i64 {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    share(&rolling["maxSurge"], wanted(deployment), Rounding::Up)
}

/// Outside of rollouts: one active ReplicaSet gets everything, several keep their shares.
pub(super) fn scaled(deployment: &Value, sets: &Sets) -> Vec<(String, i64, Annotate)> {
    let wanted = wanted(deployment);
    let active: Vec<&Value> = sets.active().collect();
    if let [] | [_] = active.as_slice() {
        let newest = || sets.new.as_ref().or_else(|| sets.old.last());
        let only = active.first().copied().or_else(newest);
        return only
            .into_iter()
            .map(|set| (name_of(set), wanted, Annotate::Changed))
            .collect();
    }
    let saturated = sets
        .new
        .as_ref()
        .is_some_and(|new| is_saturated(deployment, new));
    if saturated {
        let old = sets.old.iter().filter(|set| replicas(set) > 0);
        return old
            .map(|set| (name_of(set), 0, Annotate::Changed))
            .collect();
    }
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        return Vec::new();
    }
    in_shares(deployment, active)
}

fn in_shares(deployment: &Value, mut active: Vec<&Value>) -> Vec<(String, i64, Annotate)> {
    let wanted = wanted(deployment);
    let total: i64 = active.iter().map(|set| replicas(set)).sum();
    let allowed = if wanted > 0 {
        wanted + Limits::of(deployment).surge
    } else {
        0
    };
    let more = allowed - total;
    // The largest first; of equal ones the newest grows first, the oldest shrinks first.
    active.sort_by_cached_key(|set| age_key(set));
    if more > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| -replicas(set));
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in &active {
        let part = proportion(deployment, set, more - added);
        sizes.push(replicas(set) + part);
        added += part;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + more - added).max(0);
    }
    let sized = active.iter().zip(sizes);
    sized
        .map(|(set, size)| (name_of(set), size, Annotate::Always))
        .collect()
}

/// What part of the difference a ReplicaSet takes, of which so much is left.
fn proportion(deployment: &Value, set: &Value, left: i64) -> i64 {
    let (wanted, have) = (wanted(deployment), replicas(set));
    if left == 0 {
        return 0;
    }
    let part = if wanted == 0 {
        -have
    } else {
        let present = deployment["status"]["replicas"].as_i64().unwrap_or(0);
        match max_before(set).unwrap_or(present) {
            0 => 0,
            before => {
                let max = wanted + Limits::of(deployment).surge;
                rounded(have.saturating_mul(max), before) - have
            }
        }
    };
    if left > 0 {
        part.min(left)
    } else {
        part.max(left)
    }
}

/// A fraction of two positive numbers, rounded half up.
fn rounded(number: i64, by: i64) -> i64 {
    number.saturating_mul(2).saturating_add(by) / by.saturating_mul(2)
}

/// Old ReplicaSets lose what can be spared: first Pods that serve nobody, then available ones.
pub(super) fn shrunk(deployment: &Value, sets: &Sets) -> Vec<(String, i64)> {
    let wanted = wanted(deployment);
    let floor = wanted - Limits::of(deployment).unavailable;
    let total: i64 = sets.all().map(replicas).sum();
    let new = sets.new.as_ref();
    let waiting = new.map_or(0, |new| replicas(new) - available(new));
    let spare = total - floor - waiting;
    let old: i64 = sets.old.iter().map(replicas).sum();
    if spare <= 0 || old == 0 {
        return Vec::new();
    }
    let mut left: Vec<i64> = sets.old.iter().map(replicas).collect();
    let mut useless_spare = spare;
    for (at, set) in sets.old.iter().enumerate() {
        let useless = (left[at] - available(set)).clamp(0, useless_spare);
        left[at] -= useless;
        useless_spare -= useless;
    }
    let serving: i64 = sets.all().map(available).sum();
    let mut spare = (serving - floor).max(0);
    for number in &mut left {
        let fewer = (*number).min(spare);
        *number -= fewer;
        spare -= fewer;
    }
    let old = sets.old.iter().zip(left);
    old.filter(|(set, number)| replicas(set) != *number)
        .map(|(set, number)| (name_of(set), number))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(wanted: i64, surge: &Value, unavailable: &Value) -> Value {
        json!({"spec": {"replicas": wanted, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}})
    }

    fn set(name: &str, replicas: i64, available: i64) -> Value {
        json!({"metadata": {"name": name}, "spec": {"replicas": replicas},
            "status": {"replicas": replicas, "availableReplicas": available}})
    }

    fn sets(new: (i64, i64), old: &[(i64, i64)]) -> Sets {
        let old = old.iter().enumerate();
        Sets {
            new: Some(set("new", new.0, new.1)),
            old: old
                .map(|(at, (replicas, available))| set(&format!("old{at}"), *replicas, *available))
                .collect(),
        }
    }

    /// The new size of the present ReplicaSet, and those of the old ones that lose Pods.
    #[track_caller]
    fn check(deployment: &Value, sets: &Sets, new: i64, old: &[i64]) {
        let have = sets.new.as_ref().map_or(0, replicas);
        assert_eq!(new_replicas(deployment, sets, have), new);
        let steps = shrunk(deployment, sets);
        let found: Vec<i64> = steps.iter().map(|(_, replicas)| *replicas).collect();
        assert_eq!(found, old);
    }

    #[test]
    fn a_rolling_update_goes_step_by_step() {
        let quarter = deployment(4, &json!("25%"), &json!("25%"));
        // 4 old ones serve: one more comes, one old one may go.
        check(&quarter, &sets((0, 0), &[(4, 4)]), 1, &[3]);
        check(&quarter, &sets((1, 0), &[(4, 4)]), 1, &[3]);
        check(&quarter, &sets((1, 0), &[(3, 3)]), 2, &[]);
        check(&quarter, &sets((2, 1), &[(3, 3)]), 2, &[2]);
        check(&quarter, &sets((4, 4), &[(1, 1)]), 4, &[0]);
        check(&quarter, &sets((4, 4), &[(0, 0)]), 4, &[]);
    }

    #[test]
    fn what_does_not_serve_goes_first() {
        let one = deployment(3, &json!(1), &json!(0));
        check(&one, &sets((1, 0), &[(2, 2), (1, 0)]), 1, &[]);
        check(&one, &sets((0, 0), &[(2, 2), (2, 0)]), 0, &[1]);
        check(&one, &sets((1, 1), &[]), 3, &[]);
        let stuck = deployment(3, &json!(0), &json!(0));
        assert_eq!(Limits::of(&stuck).unavailable, 1);
        let (surge, unavailable) = (1, 0);
        assert_eq!(
            Limits::of(&deployment(3, &json!("25%"), &json!("25%"))),
            Limits { surge, unavailable }
        );
    }

    #[test]
    fn outside_of_a_rollout_everybody_keeps_a_share() {
        let sizes = |deployment: &Value, sets: &Sets| -> Vec<(String, i64)> {
            let steps = scaled(deployment, sets).into_iter();
            steps.map(|(name, size, _)| (name, size)).collect()
        };
        let named = |name: &str, size| (name.to_owned(), size);
        let ten = deployment(10, &json!(0), &json!(1));
        assert_eq!(sizes(&ten, &sets((5, 0), &[])), [named("new", 10)]);
        assert_eq!(sizes(&ten, &sets((0, 0), &[(4, 4)])), [named("old0", 10)]);
        let mut both = sets((2, 2), &[(3, 3)]);
        for set in both.old.iter_mut().chain(both.new.iter_mut()) {
            set["metadata"]["annotations"] = json!({"deployment.kubernetes.io/max-replicas": "5"});
        }
        assert_eq!(sizes(&ten, &both), [named("old0", 6), named("new", 4)]);
    }
}
