//! The directory of a lab: whose it is, who uses it, and what lies where.
//!
//! A directory is touched only if it carries our mark, is empty, or is not there yet, so nothing of anybody
//! else is ever deleted. A lock that the kernel drops with its holder says whether a lab runs in it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::topology::clusters;

const MARK: &str = ".tombolo-lab";
const LOCK: &str = "lock";
const SOCKET: &str = "supervisor.sock";
/// What a lab leaves in its directory, beside the directories of the clusters.
const FILES: [&str; 7] = [
    "kubeconfig",
    "supervisor.log",
    SOCKET,
    "trust-anchors.pem",
    "trust-anchor.key",
    "demo.log",
    LOCK,
];

/// A directory that is ours.
#[derive(Debug)]
pub struct LabDir {
    path: PathBuf,
    handle: File,
}

/// The right to run a lab in a directory, for as long as this value lives.
#[derive(Debug)]
pub struct Lock(
    #[expect(
        dead_code,
        reason = "held, never read: dropping it gives the lock back"
    )]
    File,
);

impl LabDir {
    /// Opens the directory of a lab that has been made before.
    ///
    /// # Errors
    /// There is none; the error names it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(MARK).is_file() {
            bail!(
                "no lab runs in {}: start one with `tombolo lab up`",
                path.display()
            );
        }
        let path = path
            .canonicalize()
            .with_context(|| format!("open {}", path.display()))?;
        let handle = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { path, handle })
    }

    /// Takes a directory for a lab, making it if need be.
    ///
    /// # Errors
    /// It holds something that is not a lab's; the error names it.
    pub fn create(path: &Path) -> Result<Self> {
        let mut made = DirBuilder::new();
        made.recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("create the directory {}", path.display()))?;
        let mark = path.join(MARK);
        if !mark.is_file() {
            let mut entries = path
                .read_dir()
                .with_context(|| format!("read {}", path.display()))?;
            if entries.next().is_some() {
                bail!(
                    "{} is not empty and not the directory of a lab: choose another with --dir",
                    path.display()
                );
            }
            std::fs::write(
                &mark,
                "The directory of a tombolo lab, which may delete it.\n",
            )
            .with_context(|| format!("write {}", mark.display()))?;
        }
        Self::open(path)
    }

    /// Takes the right to run a lab here.
    ///
    /// # Errors
    /// A lab runs here already; the error names its process.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.path.join(LOCK);
        let name = || format!("lock {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(name)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).with_context(name)?;
            let dir = self.path.display();
            bail!(
                "a lab runs in {dir} already (process {}): end it with `tombolo lab down --dir {dir}`, or choose another --dir",
                holder.trim()
            );
        }
        file.set_len(0).with_context(name)?;
        file.write_all(std::process::id().to_string().as_bytes())
            .with_context(name)?;
        Ok(Lock(file))
    }

    /// Deletes what an earlier lab left. Only with the lock.
    ///
    /// # Errors
    /// Something cannot be deleted; the error names it.
    pub fn clean(&self, _lock: &Lock) -> Result<()> {
        for name in FILES
            .iter()
            .filter(|name| ![LOCK, "supervisor.log"].contains(name))
        {
            gone(std::fs::remove_file(self.path.join(name)))
                .with_context(|| format!("delete {name} in {}", self.path.display()))?;
        }
        for cluster in clusters() {
            gone(std::fs::remove_dir_all(self.path.join(cluster.name)))
                .with_context(|| format!("delete {} in {}", cluster.name, self.path.display()))?;
        }
        Ok(())
    }

    /// Deletes what is ours, and the directory if nothing else is in it. Only with the lock.
    ///
    /// # Errors
    /// Something cannot be deleted; the error names it.
    pub fn remove(&self, lock: Lock) -> Result<()> {
        self.clean(&lock)?;
        for name in ["supervisor.log", LOCK, MARK] {
            gone(std::fs::remove_file(self.path.join(name)))
                .with_context(|| format!("delete {name} in {}", self.path.display()))?;
        }
        drop(lock);
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                Err(error).with_context(|| format!("delete {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kubeconfig with the contexts of all clusters.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The supervisor's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// The supervisor's socket, by a short path: a socket's path may have 107 bytes only.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{SOCKET}",
            self.handle.as_raw_fd()
        ))
    }

    /// The directory of a cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_somebody_else_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("precious");
        std::fs::write(&file, "mine").unwrap();
        let error = LabDir::create(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(dir.path().to_str().unwrap()) && error.contains("--dir"),
            "{error}"
        );
        assert!(LabDir::open(dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_lab_at_a_time_and_what_is_not_ours_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lab");
        let dir = LabDir::create(&path).unwrap();
        let lock = dir.lock().unwrap();
        let again = LabDir::create(&path)
            .unwrap()
            .lock()
            .unwrap_err()
            .to_string();
        assert!(
            again.contains(&format!("process {}", std::process::id())),
            "{again}"
        );
        std::fs::create_dir(dir.cluster("west")).unwrap();
        std::fs::write(path.join("notes"), "mine").unwrap();
        dir.remove(lock).unwrap();
        let left: Vec<_> = path
            .read_dir()
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["notes"]);
    }

    #[test]
    fn what_a_killed_lab_left_is_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lab");
        let dir = LabDir::create(&path).unwrap();
        drop(dir.lock().unwrap());
        std::fs::write(dir.kubeconfig(), "old").unwrap();
        let dir = LabDir::create(&path).unwrap();
        let lock = dir.lock().unwrap();
        dir.clean(&lock).unwrap();
        assert!(!dir.kubeconfig().exists());
        dir.remove(lock).unwrap();
        assert!(!path.exists());
    }
}
