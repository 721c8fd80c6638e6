//! Builds programs from their Go modules, at the versions and hashes that `xtask/kube` pins.
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Program, VERSION};
use crate::cargo::root;
use crate::say;

/// What the modules ask for.
const GO: (u32, u32) = (1, 26);

/// Builds each program into the directory. Each is there only once it is whole.
pub(super) fn into(kept: &Path, programs: &[Program]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    toolchain()?;
    say(format!(
        "kube: building {} programs from Go modules: 10 to 15 minutes on 2 cores, once; kept in {}",
        programs.len(),
        kept.display()
    ));
    for (n, program) in programs.iter().enumerate() {
        say(format!(
            "kube: {}/{}: {}",
            n + 1,
            programs.len(),
            program.package
        ));
        let partial = kept.join(format!("{}.{}.partial", program.name, std::process::id()));
        let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={VERSION}");
        let status = Command::new("go")
            .current_dir(root().join("xtask/kube"))
            .args([
                "build",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                &flags,
                "-o",
            ])
            .arg(&partial)
            .arg(program.package)
            .status()
            .context("start go")?;
        ensure!(status.success(), "go build {} failed", program.package);
        let whole = kept.join(program.name);
        std::fs::rename(&partial, &whole).with_context(|| format!("create {}", whole.display()))?;
    }
    Ok(())
}

fn toolchain() -> Result<()> {
    let Ok(output) = Command::new("go").arg("version").output() else {
        bail!(
            "there is no Go toolchain; {}.{} or later is needed: https://go.dev/dl",
            GO.0,
            GO.1
        );
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = version_of(&text).with_context(|| format!("`go version` says {text:?}"))?;
    // A toolchain that may fetch a newer one does so when the module asks for it.
    ensure!(
        version >= GO || std::env::var_os("GOTOOLCHAIN").is_none_or(|value| value != "local"),
        "Go {}.{} is too old; {}.{} or later is needed",
        version.0,
        version.1,
        GO.0,
        GO.1
    );
    Ok(())
}

/// From `go version go1.26.8 linux/amd64`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))?;
    let minor: String = word.chars().take_while(char::is_ascii_digit).collect();
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_version_is_read() {
        assert_eq!(version_of("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version_of("go version go1.9rc1 linux/amd64"), Some((1, 9)));
        assert_eq!(version_of("go version devel"), None);
    }
}
