//! Where the programs of the real Kubernetes are: what the environment names, then PATH, then what `cargo xtask kube` keeps.
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version whose behaviour is the measure.
pub const VERSION: &str = "v1.37.2";

/// The programs of one control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// `etcd`.
    pub etcd: PathBuf,
    /// `kube-apiserver`.
    pub apiserver: PathBuf,
    /// `kube-controller-manager`.
    pub controller_manager: PathBuf,
}

/// The programs, if this machine has them in the right version.
pub fn find() -> Option<Binaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(kept())
        .filter_map(|dir| inside(&dir))
        .find(Binaries::are_current)
}

impl Binaries {
    fn are_current(&self) -> bool {
        [&self.apiserver, &self.controller_manager]
            .into_iter()
            .all(|program| {
                let output = Command::new(program).arg("--version").output();
                output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION))
            })
    }
}

/// What scripts call beside kubectl and what every Debian has.
const TOOLS: [&str; 3] = ["curl", "jq", "openssl"];

/// Those of the programs that scripts call which are not on this machine.
pub fn tools_missing() -> Vec<&'static str> {
    let path = path_with_kubectl().unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let there = |tool: &&str| dirs.iter().any(|dir| dir.join(tool).is_file());
    let mut missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !there(tool)).collect();
    if dirs.is_empty() {
        missing.insert(0, "kubectl");
    }
    missing
}

/// PATH with kubectl on it: the user's own, else the kept one. Nothing if there is none.
pub fn path_with_kubectl() -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(kept()).collect();
    let any = dirs.iter().any(|dir| dir.join("kubectl").is_file());
    any.then(|| std::env::join_paths(dirs).ok()).flatten()
}

/// Where `cargo xtask kube` keeps what it has built or fetched.
pub fn kept() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("tombolo/kube").join(VERSION))
}

/// What a directory has. The Go module of etcd calls its program `server`.
fn inside(dir: &Path) -> Option<Binaries> {
    let named = |names: &[&str]| {
        names
            .iter()
            .map(|name| dir.join(name))
            .find(|file| file.is_file())
    };
    Some(Binaries {
        etcd: named(&["etcd", "server"])?,
        apiserver: named(&["kube-apiserver"])?,
        controller_manager: named(&["kube-controller-manager"])?,
    })
}

/// Whether a run without the real Kubernetes is a failure, and not a run of fewer tests.
pub fn required() -> bool {
    std::env::var_os("TOMBOLO_REAL").is_some_and(|value| value == "required")
}
