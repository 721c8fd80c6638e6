//! How many replicas each ReplicaSet of a Deployment shall have now.
use serde_json::Value;

use super::Sets;

/// The largest number of replicas that Kubernetes can say.
const REPLICAS_MAX: i64 = i32::MAX as i64;

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
        let unavailable = share(&rolling["maxUnavailable"], wanted, Rounding::Down).min(wanted);
        if surge == 0 && unavailable == 0 {
            return Self {
                surge: 0,
                unavailable: 1,
            };
        }
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
        Value::Number(number) => return number.as_i64().unwrap_or(0).clamp(0, REPLICAS_MAX),
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
        .clamp(0, REPLICAS_MAX)
}

fn replicas(set: &Value) -> i64 {
    set["spec"]["replicas"].as_i64().unwrap_or(0)
}

fn available(set: &Value) -> i64 {
    set["status"]["availableReplicas"].as_i64().unwrap_or(0)
}

/// With how many replicas a new ReplicaSet begins.
pub(super) fn room_for_new(deployment: &Value, sets: &Sets) -> i64 {
    let wanted = wanted(deployment);
    let present: i64 = sets.all().map(replicas).sum();
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        let pods: i64 = sets
            .old
            .iter()
            .map(|set| set["status"]["replicas"].as_i64().unwrap_or(0))
            .sum();
        return if present == 0 && pods == 0 { wanted } else { 0 };
    }
    let room = wanted + Limits::of(deployment).surge - present;
    room.clamp(0, wanted)
}

/// The ReplicaSets that shall have another number of replicas than they have.
pub(super) fn scaled<'a>(
    deployment: &Value,
    sets: &'a Sets,
    paused: bool,
) -> Vec<(&'a Value, i64)> {
    let Some(new) = &sets.new else {
        return Vec::new();
    };
    let wanted = wanted(deployment);
    let have = replicas(new);
    let old_total: i64 = sets.old.iter().map(replicas).sum();
    if paused && old_total > 0 {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if have > wanted {
        steps.push((new, wanted));
    } else if have < wanted {
        let more = room_for_new_set(deployment, sets, old_total + have);
        if more > 0 {
            steps.push((new, have + more.min(wanted - have)));
        }
    }
    if old_total > 0 {
        steps.extend(shrunk(deployment, sets, wanted));
    }
    steps
}

fn room_for_new_set(deployment: &Value, sets: &Sets, present: i64) -> i64 {
    let wanted = wanted(deployment);
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        let pods: i64 = sets
            .old
            .iter()
            .map(|set| set["status"]["replicas"].as_i64().unwrap_or(0))
            .sum();
        let old: i64 = sets.old.iter().map(replicas).sum();
        return if pods == 0 && old == 0 {
            wanted - present
        } else {
            0
        };
    }
    wanted + Limits::of(deployment).surge - present
}

/// Old ReplicaSets lose what can be spared: first Pods that serve nobody, then available ones.
fn shrunk<'a>(deployment: &Value, sets: &'a Sets, wanted: i64) -> Vec<(&'a Value, i64)> {
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        return sets
            .old
            .iter()
            .filter(|set| replicas(set) > 0)
            .map(|set| (set, 0))
            .collect();
    }
    let floor = wanted - Limits::of(deployment).unavailable;
    let total: i64 = sets.all().map(replicas).sum();
    let waiting = sets
        .new
        .as_ref()
        .map_or(0, |new| (replicas(new) - available(new)).max(0));
    let mut spare = total - floor - waiting;
    let mut left: Vec<i64> = sets.old.iter().map(replicas).collect();
    for (at, set) in sets.old.iter().enumerate() {
        let useless = (left[at] - available(set)).clamp(0, spare.max(0));
        left[at] -= useless;
        spare -= useless;
    }
    let serving: i64 = sets.all().map(available).sum();
    let mut spare = spare.min(serving - floor);
    for number in &mut left {
        let fewer = (*number).min(spare.max(0));
        *number -= fewer;
        spare -= fewer;
    }
    sets.old
        .iter()
        .zip(left)
        .filter(|(set, number)| replicas(set) != *number)
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

    fn set(replicas: i64, available: i64) -> Value {
        json!({"spec": {"replicas": replicas},
            "status": {"replicas": replicas, "availableReplicas": available}})
    }

    #[track_caller]
    fn check(deployment: &Value, new: (i64, i64), old: &[(i64, i64)], wanted: &[i64]) {
        let sets = Sets {
            new: Some(set(new.0, new.1)),
            old: old
                .iter()
                .map(|(replicas, available)| set(*replicas, *available))
                .collect(),
        };
        let steps = scaled(deployment, &sets, false);
        let found: Vec<i64> = steps.iter().map(|(_, replicas)| *replicas).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_rolling_update_goes_step_by_step() {
        let quarter = deployment(4, &json!("25%"), &json!("25%"));
        // 4 old ones serve: one more comes, one old one may go.
        check(&quarter, (0, 0), &[(4, 4)], &[1, 3]);
        check(&quarter, (1, 0), &[(4, 4)], &[3]);
        check(&quarter, (1, 0), &[(3, 3)], &[2]);
        check(&quarter, (2, 1), &[(3, 3)], &[2]);
        check(&quarter, (4, 4), &[(1, 1)], &[0]);
        check(&quarter, (4, 4), &[(0, 0)], &[]);
    }

    #[test]
    fn what_does_not_serve_goes_first_and_scaling_is_direct() {
        let one = deployment(3, &json!(1), &json!(0));
        check(&one, (1, 0), &[(2, 2), (1, 0)], &[]);
        check(&one, (0, 0), &[(2, 2), (2, 0)], &[1]);
        check(&one, (5, 5), &[], &[3]);
        check(&one, (1, 1), &[], &[3]);
        assert_eq!(
            Limits::of(&deployment(3, &json!(0), &json!(0))).unavailable,
            1
        );
        assert_eq!(
            Limits::of(&deployment(3, &json!("25%"), &json!("25%"))),
            Limits {
                surge: 1,
                unavailable: 0
            }
        );
    }
}
