//! The three modes, seen by a client in north: who answers, and which endpoints are behind each name.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::lab::{Lab, Progress};
use crate::topology;

/// How often each name is asked.
const QUESTIONS: u32 = 60;
/// How many endpoints are shown.
const SHOWN: usize = 9;

/// What is shown: a name in north, its mode, and who must answer.
const MODES: [(&str, &str, &[&str]); 4] = [
    (
        "frontend-federated",
        "federated",
        &["west", "east", "north"],
    ),
    ("api-west", "flat", &["west"]),
    ("api-east", "flat", &["east"]),
    ("analytics-east-gw", "gateway", &["east"]),
];

/// Shows the three modes.
///
/// # Errors
/// A name is missing, or somebody else answers at it.
pub(super) async fn modes(lab: &Lab, progress: &Progress) -> Result<()> {
    for (service, mode, clusters) in MODES {
        let target = lab.target("north", service).await?;
        let evidence = lab.ask(&target, QUESTIONS).await;
        progress(&format!("  {service} ({mode}), {}", target.address));
        progress(&format!("    answers    {}", counts(&evidence.answers)));
        if !evidence.failures.is_empty() {
            bail!("{service} failed: {}", counts(&evidence.failures));
        }
        let answered: Vec<&str> = evidence.answers.keys().map(String::as_str).collect();
        let wrong = answered.iter().any(|name| !clusters.contains(name));
        let missing = clusters.iter().any(|name| !answered.contains(name));
        if wrong || missing {
            bail!("{service} is answered by {answered:?}, not by {clusters:?}");
        }
        let endpoints = lab.endpoints("north", service).await?;
        let shown: Vec<&str> = endpoints.iter().take(SHOWN).map(String::as_str).collect();
        let more = endpoints.len().saturating_sub(SHOWN);
        let rest = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        progress(&format!("    endpoints  {}{rest}", shown.join(" ")));
    }
    Ok(())
}

/// Clusters come in the order in which they are shown everywhere.
fn counts(counts: &BTreeMap<String, u32>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(name, _)| topology::place(name));
    let texts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::names;

    #[test]
    fn nothing_is_shown_that_was_not_waited_for() {
        let links = topology::links().into_iter();
        let waited: Vec<_> = links
            .filter(|link| link.source == "north")
            .flat_map(|link| names(&link))
            .collect();
        for (service, _, clusters) in MODES {
            for cluster in clusters {
                let name = (service.to_owned(), *cluster);
                assert!(waited.contains(&name), "{name:?} is not among {waited:?}");
            }
        }
    }
}
