//! What rules may cost at most, by their schemas: estimated as Kubernetes does, before any object is there.
use serde_json::Value;

use super::forbidden;
use crate::crd::cel::cost::smallest;
use crate::crd::path::Path;
use crate::error::Cause;

/// The most that one rule may cost.
const RULE_MAX: u64 = 10_000_000;
/// The most that all rules of a schema may cost.
const ALL_MAX: u64 = 100_000_000;
/// Rules that are named when all together cost too much.
const NAMED_MAX: usize = 4;
/// The largest request.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;

/// How often the values of a schema can be there at most; none if nothing bounds it.
#[derive(Clone, Copy)]
pub(super) struct Cardinality(Option<u64>);

impl Cardinality {
    pub(super) fn root() -> Self {
        Self(Some(1))
    }

    pub(super) fn of_items(self, schema: &Value) -> Self {
        self.by(schema["maxItems"].as_u64())
    }

    pub(super) fn of_values(self, schema: &Value) -> Self {
        self.by(schema["maxProperties"].as_u64())
    }

    fn by(self, most: Option<u64>) -> Self {
        Self(self.0.and_then(|times| Some(times.saturating_mul(most?))))
    }

    /// The cost of a rule on all values.
    pub(super) fn times(self, cost: u64, schema: &Value) -> u64 {
        let times = self
            .0
            .unwrap_or_else(|| REQUEST_BYTES / (smallest(schema) + 1));
        cost.saturating_mul(times)
    }
}

/// The text that refuses what costs too much.
pub(super) fn too_much(what: &str, cost: u64) -> Option<String> {
    (cost > RULE_MAX).then(|| exceeds(what, cost, RULE_MAX))
}

fn exceeds(what: &str, cost: u64, most: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "the factor is only shown")]
    let factor = cost as f64 / most as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, \
         and maxLength where arrays, maps, and strings are declared)"
    )
}

/// What all rules cost together.
#[derive(Default)]
pub(super) struct Total {
    sum: u64,
    most: Vec<(u64, String)>,
}

impl Total {
    pub(super) fn add(&mut self, path: &Path, cost: u64) {
        self.sum = self.sum.saturating_add(cost);
        if cost == 0 || cost.saturating_mul(100) < ALL_MAX {
            return;
        }
        self.most.push((cost, path.to_string()));
        self.most.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        self.most.truncate(NAMED_MAX);
    }

    pub(super) fn check(&self, path: &Path, causes: &mut Vec<Cause>) {
        if self.sum <= ALL_MAX {
            return;
        }
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        for (_, path) in &self.most {
            causes.push(forbidden(&Path::new(path), why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        causes.push(forbidden(path, &exceeds(what, self.sum, ALL_MAX)));
    }
}
