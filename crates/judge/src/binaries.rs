//! Where the programs of the real Kubernetes are: what the environment names, then PATH, then what `cargo xtask kube` keeps.
use std::path::{Path, PathBuf};

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

/// The programs, if this machine has them.
pub fn find() -> Option<Binaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(kept())
        .find_map(|dir| inside(&dir))
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
