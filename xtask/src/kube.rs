//! `cargo xtask kube`: the programs of the real Kubernetes, for tests: found, fetched or built, in this order.
//!
//! What is fetched or built is kept outside the clone, by version, and asked for its version before it is believed.
mod build;
mod fetch;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::say;

/// The version whose behaviour is the measure; `crates/judge` and `xtask/kube/go.mod` name the same.
const VERSION: &str = "v1.37.2";

/// One program.
#[derive(Clone, Copy, Debug)]
struct Program {
    name: &'static str,
    /// What its Go module calls it, which is what a build yields.
    built_as: &'static str,
    package: &'static str,
    /// How it is asked for its version.
    ask: &'static [&'static str],
    /// What its answer has to contain; any version will do for none.
    version: Option<&'static str>,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "etcd",
        built_as: "server",
        package: "go.etcd.io/etcd/server/v3",
        ask: &["--version"],
        version: None,
    },
    Program {
        name: "kube-apiserver",
        built_as: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        ask: &["--version"],
        version: Some(VERSION),
    },
    Program {
        name: "kube-controller-manager",
        built_as: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        ask: &["--version"],
        version: Some(VERSION),
    },
];

/// The client. A user's own will do, whatever its version.
const KUBECTL: Program = Program {
    name: "kubectl",
    built_as: "kubectl",
    package: "k8s.io/kubernetes/cmd/kubectl",
    ask: &["version", "--client"],
    version: None,
};

impl Program {
    /// Why the file is not this program in the right version, if so.
    fn fault(self, file: &Path) -> Option<String> {
        let output = match Command::new(file).args(self.ask).output() {
            Ok(output) => output,
            Err(error) => return Some(format!("{} cannot be run: {error}", file.display())),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Some(format!("{} cannot tell its version", file.display()));
        }
        match self.version {
            Some(version) if !text.contains(version) => {
                let has = text.lines().next().unwrap_or_default();
                Some(format!("{} is {has}, not {version}", file.display()))
            }
            _ => None,
        }
    }

    fn in_dir(self, dir: &Path) -> Option<PathBuf> {
        let mut files = [self.name, self.built_as]
            .map(|name| dir.join(name))
            .into_iter();
        files.find(|file| file.is_file())
    }
}

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assets {
    /// etcd, kube-apiserver and kube-controller-manager.
    pub(crate) dir: PathBuf,
    /// Where kubectl is, if it is not on PATH.
    pub(crate) kubectl: Option<PathBuf>,
}

/// Finds, fetches or builds everything, and says how to use it.
pub(crate) fn run() -> Result<()> {
    let assets = obtain()?;
    say(format!(
        "kube: to use it by hand: export KUBEBUILDER_ASSETS={}",
        assets.dir.display()
    ));
    Ok(())
}

/// Everything, however it can be had. One line a step.
pub(crate) fn obtain() -> Result<Assets> {
    let kept = kept()?;
    let dir = match found(&kept) {
        Some(dir) => {
            say(format!(
                "kube: etcd, kube-apiserver and kube-controller-manager {VERSION}: {}",
                dir.display()
            ));
            dir
        }
        None => {
            complete(&kept, &PROGRAMS)?;
            kept.clone()
        }
    };
    let kubectl = kubectl_on_path();
    if !kubectl && KUBECTL.in_dir(&kept).is_none() {
        complete(&kept, &[KUBECTL])?;
    }
    Ok(Assets {
        dir,
        kubectl: (!kubectl).then_some(kept),
    })
}

/// What is here already, without fetching or building anything.
pub(crate) fn at_hand() -> Option<Assets> {
    let kept = kept().ok()?;
    let dir = found(&kept)?;
    let kubectl = if kubectl_on_path() {
        None
    } else {
        KUBECTL.in_dir(&kept)?;
        Some(kept)
    };
    Some(Assets { dir, kubectl })
}

fn kubectl_on_path() -> bool {
    KUBECTL.fault(Path::new(KUBECTL.name)).is_none()
}

/// The first directory that has all programs in the right version; a wrong one is said.
fn found(kept: &Path) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain([kept.to_path_buf()]);
    let mut complete =
        dirs.filter(|dir| PROGRAMS.iter().all(|program| program.in_dir(dir).is_some()));
    complete.find(|dir| {
        let faults = PROGRAMS
            .iter()
            .filter_map(|program| program.fault(&program.in_dir(dir)?));
        let faults: Vec<String> = faults.collect();
        for fault in &faults {
            say(format!("kube: not used: {fault}"));
        }
        faults.is_empty()
    })
}

/// Outside the clone, so that the next clone on this machine has it.
fn kept() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).context(
        "neither XDG_CACHE_HOME nor HOME is set: where shall the real Kubernetes be kept?",
    )?;
    Ok(cache.join("tombolo/kube").join(VERSION))
}

/// Fetches or builds those programs that are not kept yet.
fn complete(kept: &Path, programs: &[Program]) -> Result<()> {
    std::fs::create_dir_all(kept).with_context(|| format!("create {}", kept.display()))?;
    let missing = |programs: &[Program]| -> Vec<Program> {
        let lacks = |program: &&Program| {
            program
                .in_dir(kept)
                .is_none_or(|file| program.fault(&file).is_some())
        };
        programs.iter().filter(lacks).copied().collect()
    };
    let wanted = missing(programs);
    let fetched = fetch::into(kept, &wanted);
    if let Err(error) = &fetched {
        say(format!(
            "kube: the published programs cannot be had: {error:#}"
        ));
    }
    let built = build::into(kept, &missing(programs));
    let left: Vec<&str> = missing(programs)
        .iter()
        .map(|program| program.name)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let because = built.err().map_or_else(
        || "the build left no usable program".to_owned(),
        |error| format!("{error:#}"),
    );
    bail!(
        "the real Kubernetes {VERSION} is incomplete: {} missing.\n  \
         They cannot be built: {because}\n  \
         Set KUBEBUILDER_ASSETS to a directory that has them, or make one of the two ways work.",
        left.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
        let file = dir.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    #[test]
    fn a_program_of_another_version_is_not_believed() {
        let dir = std::env::temp_dir().join(format!("tombolo-xtask-kube-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [_, api, _] = PROGRAMS;
        for (text, fault) in [
            ("echo Kubernetes v1.37.2", None),
            ("echo Kubernetes v1.30.0", Some("not v1.37.2")),
            ("exit 3", Some("cannot tell its version")),
        ] {
            let file = script(&dir, api.name, text);
            let got = api.fault(&file);
            assert_eq!(got.is_some(), fault.is_some(), "{got:?}");
            assert!(got.unwrap_or_default().contains(fault.unwrap_or_default()));
        }
        let gone = api.fault(&dir.join("absent"));
        assert!(gone.unwrap().contains("cannot be run"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_modules_to_build_from_are_of_this_version() {
        let module = include_str!("../kube/go.mod");
        assert!(module.contains(&format!("\tk8s.io/kubernetes {VERSION} ")));
        let judge = include_str!("../../crates/judge/src/binaries.rs");
        assert!(judge.contains(&format!("VERSION: &str = \"{VERSION}\"")));
        // The modules beside Kubernetes count from 0.
        let kinds = include_str!("kinds.rs");
        assert!(kinds.contains(&format!("\"{}\"", VERSION.replacen("v1", "v0", 1))));
        for program in PROGRAMS.iter().chain([&KUBECTL]) {
            assert!(
                module.contains(&format!("\t{}\n", program.package)),
                "{}",
                program.name
            );
        }
    }
}
