//! The running count behind progress lines. Reports are made from records, never from this.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Outcome, Record};

/// Requests that are over, by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were answered, by cluster.
    pub by_cluster: BTreeMap<Arc<str>, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, record: &Record) {
        self.requests += 1;
        let Outcome::Ok { cluster } = &record.outcome else {
            self.failed += 1;
            return;
        };
        if let Some(count) = self.by_cluster.get_mut(cluster) {
            *count += 1;
        } else {
            self.by_cluster.insert(cluster.clone(), 1);
        }
    }

    /// What came on top of an earlier tally of the same load.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let by_cluster = self
            .by_cluster
            .iter()
            .map(|(cluster, count)| {
                let before = earlier.by_cluster.get(cluster).copied().unwrap_or(0);
                (cluster.clone(), count.saturating_sub(before))
            })
            .collect();
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            by_cluster,
        }
    }

    /// A cluster's share of what was answered, from 0 to 1.
    #[must_use]
    pub fn share(&self, cluster: &str) -> f64 {
        let answered: u64 = self.by_cluster.values().sum();
        let own = self.by_cluster.get(cluster).copied().unwrap_or(0);
        if answered == 0 {
            0.0
        } else {
            own as f64 / answered as f64
        }
    }
}
