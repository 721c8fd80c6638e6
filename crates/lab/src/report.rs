//! The report of a demo: what the records of the load say, and whether every promise held.
//!
//! Pure functions of records and marks. Nothing here reads a clock, asks a process, or takes the
//! lab's word for anything but the marks: a promise that the records do not show did not hold.
//! Start at [`Report::of`]. The definitions of the figures stand at the fields that hold them.
mod closing;
mod figures;
mod promise;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::load::Record;

pub use self::closing::print;
pub use self::figures::{ServiceReport, Share};
pub use self::promise::Promise;

/// From when after the loss the lost cluster must answer nothing any more.
pub const SHIFT_WITHIN: Duration = Duration::from_secs(1);
/// The longest that any request may take.
pub const LATENCY_MAX: Duration = Duration::from_secs(1);
/// From when after the return everything must be as before.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// The length of the windows over which a share must be even.
pub const EVEN_WINDOW: Duration = Duration::from_secs(10);
/// Within which the lab must be up.
pub const UP_WITHIN: Duration = Duration::from_secs(10);
/// A load, or the lab's own clock, that is later than this shows that the machine stood still: a proxy gives up
/// a silent peer after two to four times as long.
pub const STALL: Duration = Duration::from_millis(100);
/// What the whole lab may hold in memory.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tables and a sentence, in colour on a terminal.
    Table,
    /// JSON.
    Json,
}

/// A way to lose a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its deployments are scaled to zero.
    A,
    /// Every process is killed.
    B,
    /// Every process is stopped: connections hang.
    Freeze,
    /// Only its API server is killed: its pods go on.
    D,
}

impl Way {
    /// All of them, in the order in which the demo shows them.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::Freeze, Self::D];

    /// The name, as `--only` and `--way` take it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Freeze => "freeze",
            Self::D => "d",
        }
    }

    /// What happens, for a reader.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::A => "deployments scaled to zero",
            Self::B => "every process killed",
            Self::Freeze => "every process stopped",
            Self::D => "only the API server killed",
        }
    }

    /// Whether the cluster goes on serving: then nothing may be seen of the loss.
    #[must_use]
    pub const fn goes_on_serving(self) -> bool {
        matches!(self, Self::D)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no way to lose a cluster.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no way to lose a cluster: there are a, b, freeze and d")]
pub struct WayError {
    text: String,
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let found = Self::ALL.into_iter().find(|way| way.as_str() == text);
        found.ok_or_else(|| WayError {
            text: text.to_owned(),
        })
    }
}

/// When things happened, on the clock of the records.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The lab began to take the cluster away.
    pub break_begun: Duration,
    /// It was gone: the last process killed or stopped, the last Deployment scaled.
    pub broken: Duration,
    /// The lab began to bring it back.
    pub heal_begun: Duration,
    /// It was back: its processes run and its pods are ready.
    pub healed: Duration,
}

/// What a loaded Service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The union over all clusters.
    Federated,
    /// A mirror, flat or by gateway, of one cluster's Service.
    Mirror {
        /// That cluster.
        cluster: String,
    },
}

/// The records of one load during one way.
#[derive(Clone, Debug)]
pub struct ServiceRecords {
    /// The Service's name.
    pub service: String,
    /// The cluster from which the load came.
    pub client: String,
    /// What the Service is.
    pub role: Role,
    /// One record for each request, in the order in which they were due.
    pub records: Vec<Record>,
}

/// Everything that was seen during one way.
#[derive(Clone, Debug)]
pub struct WayRecords {
    /// The way.
    pub way: Way,
    /// The cluster that was taken away.
    pub lost: String,
    /// When things happened.
    pub marks: Marks,
    /// The loads.
    pub services: Vec<ServiceRecords>,
}

impl WayRecords {
    /// Whether all that was not kept are promises of times while the machine stalled: the way has to be shown
    /// again. What is broken whatever the machine did, a second showing does not mend.
    #[must_use]
    pub fn stalled(&self) -> bool {
        promise::stalled(&promise::of_way(self))
    }

    /// How late the loads were at worst.
    fn late(&self) -> Duration {
        let records = self.services.iter().flat_map(|service| &service.records);
        records
            .map(|record| record.sent_late)
            .max()
            .unwrap_or_default()
    }
}

/// What was measured of the lab itself.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Setup {
    /// From the start until all Links worked.
    #[serde(rename = "up_ms", serialize_with = "figures::as_millis")]
    pub up: Duration,
    /// How late the machine was at worst meanwhile.
    #[serde(rename = "up_late_ms", serialize_with = "figures::as_millis")]
    pub late: Duration,
    /// Links that worked then.
    pub links_working: usize,
    /// Links that there are.
    pub links: usize,
    /// The highest sum of the proportional set sizes of all processes.
    pub memory_bytes: u64,
}

impl Setup {
    /// Whether the lab was not up in time while the machine stalled.
    #[must_use]
    pub fn stalled(&self) -> bool {
        promise::stalled(&promise::of_lab(self))
    }
}

/// Everything that a demo has to say at its end. Its JSON is what `--output json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every promise held.
    pub ok: bool,
    /// The same for a reader, in one sentence.
    pub sentence: String,
    /// Each promise, what was wanted and what was seen.
    pub promises: Vec<Promise>,
    /// What was measured of the lab.
    pub lab: Setup,
    /// The figures of each way.
    pub ways: Vec<WayReport>,
}

/// The figures of one way.
#[derive(Clone, Debug, Serialize)]
pub struct WayReport {
    /// The way.
    pub way: Way,
    /// What happened.
    pub what: &'static str,
    /// The cluster that was taken away.
    pub lost: String,
    /// How long taking it away took.
    pub break_took_ms: f64,
    /// How long it was away: from gone until the lab began to bring it back.
    pub away_ms: f64,
    /// How long bringing it back took, until its processes ran and its pods were ready.
    pub heal_took_ms: f64,
    /// The figures of each Service.
    pub services: Vec<ServiceReport>,
}

impl Report {
    /// Judges the records of a whole demo.
    #[must_use]
    pub fn of(lab: Setup, ways: &[WayRecords]) -> Self {
        let promises = promise::promises(&lab, ways);
        let ok = !ways.is_empty() && promises.iter().all(|promise| promise.ok);
        let ways: Vec<_> = ways.iter().map(WayReport::of).collect();
        let sentence = closing::sentence(&promises, &ways);
        Self {
            ok,
            sentence,
            promises,
            lab,
            ways,
        }
    }
}

impl WayReport {
    fn of(records: &WayRecords) -> Self {
        let Marks {
            break_begun,
            broken,
            heal_begun,
            healed,
        } = records.marks;
        Self {
            way: records.way,
            what: records.way.describe(),
            lost: records.lost.clone(),
            break_took_ms: figures::millis(broken.saturating_sub(break_begun)),
            away_ms: figures::millis(heal_begun.saturating_sub(broken)),
            heal_took_ms: figures::millis(healed.saturating_sub(heal_begun)),
            services: records
                .services
                .iter()
                .map(|service| ServiceReport::of(records, service))
                .collect(),
        }
    }
}
