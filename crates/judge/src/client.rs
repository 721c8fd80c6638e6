//! The client-go program in `go/`: where it is built to, and what it says of a cluster.
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::{Cluster, binaries};

/// All checks together take no longer, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The check.
    pub name: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// The names of all checks, as the source lists them.
pub fn checks() -> Vec<&'static str> {
    let source = include_str!("../go/main.go");
    source
        .lines()
        .filter_map(|line| line.strip_prefix("\t{\"")?.split_once('"'))
        .map(|(name, _)| name)
        .collect()
}

/// The built program; nothing if there is neither one of these sources nor a Go toolchain.
///
/// # Errors
/// When the sources cannot be read or built.
pub fn built() -> Result<Option<PathBuf>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let kept = binaries::kept().context("there is no home for a cache")?;
    let program = kept.join(format!("client-{:016x}", fingerprint(&dir)?));
    if program.is_file() {
        return Ok(Some(program));
    }
    if std::process::Command::new("go")
        .arg("version")
        .output()
        .is_err()
    {
        return Ok(None);
    }
    std::fs::create_dir_all(&kept).with_context(|| format!("create {}", kept.display()))?;
    // There only once it is whole.
    let partial = program.with_extension(std::process::id().to_string());
    let flags = ["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"];
    let output = std::process::Command::new("go")
        .current_dir(&dir)
        .args(flags)
        .arg("-o")
        .arg(&partial)
        .arg(".")
        .output()
        .context("start go")?;
    ensure!(
        output.status.success(),
        "go build of the client-go program: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&partial, &program).with_context(|| format!("create {}", program.display()))?;
    Ok(Some(program))
}

/// Of everything that it is built from.
fn fingerprint(dir: &Path) -> Result<u64> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| format!("read {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        bytes.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Runs it against a cluster, as its administrator.
///
/// # Errors
/// When it cannot be run to its end.
pub async fn run(program: &Path, cluster: &Cluster) -> Result<Vec<Outcome>> {
    let command = Command::new(program)
        .env("KUBECONFIG", cluster.kubeconfig())
        .kill_on_drop(true)
        .output();
    let Ok(output) = tokio::time::timeout(DEADLINE, command).await else {
        bail!("the client-go program did not end within {DEADLINE:?}");
    };
    let output = output.context("start the client-go program")?;
    let outcomes = read(&String::from_utf8_lossy(&output.stdout));
    ensure!(
        outcomes.len() == checks().len(),
        "the client-go program ended with {} after {} of {} checks: {}",
        output.status,
        outcomes.len(),
        checks().len(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(outcomes)
}

/// `ok NAME` or `failed NAME: why`, one a line; reasons may have more lines.
fn read(text: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for line in text.lines() {
        let (name, failure) = if let Some(name) = line.strip_prefix("ok ") {
            (name, None)
        } else if let Some(rest) = line.strip_prefix("failed ") {
            let (name, why) = rest.split_once(": ").unwrap_or((rest, ""));
            (name, Some(why.to_owned()))
        } else {
            let last = outcomes.last_mut().and_then(|last| last.failure.as_mut());
            if let Some(why) = last {
                why.push('\n');
                why.push_str(line);
            }
            continue;
        };
        outcomes.push(Outcome {
            name: name.to_owned(),
            failure,
        });
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_is_read_check_by_check() {
        let outcomes = read("ok a\nfailed b: it is\nbroken\nok c\n");
        let failed = |name: &str, why: Option<&str>| Outcome {
            name: name.to_owned(),
            failure: why.map(str::to_owned),
        };
        assert_eq!(
            outcomes,
            [
                failed("a", None),
                failed("b", Some("it is\nbroken")),
                failed("c", None)
            ]
        );
    }

    #[test]
    fn checks_are_known_without_running_them() {
        let checks = checks();
        assert!(checks.len() > 20, "{checks:?}");
        assert!(checks.contains(&"leader-election"));
    }
}
