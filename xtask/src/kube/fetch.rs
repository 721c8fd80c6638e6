//! Fetches what is published: the envtest archive, and what it lacks from the release itself. Each is held against the
//! checksum that is published beside it.
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Program, VERSION};
use crate::say;

/// Names a place that has the same files, where the public ones cannot be reached.
const MIRROR: &str = "TOMBOLO_KUBE_ARCHIVES";
const ENVTEST: &str = "https://github.com/kubernetes-sigs/controller-tools/releases/download";
const RELEASE: &str = "https://dl.k8s.io/release";
/// What the archive has; the rest comes from the release.
const IN_ARCHIVE: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
const CONNECT_SECONDS: &str = "5";

/// Fetches each program into the directory. Each is there only once it is whole and its checksum right.
pub(super) fn into(kept: &Path, programs: &[Program]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    let mirror = std::env::var(MIRROR).ok();
    fetch(kept, programs, mirror.as_deref())
}

fn fetch(kept: &Path, programs: &[Program], mirror: Option<&str>) -> Result<()> {
    let work = kept.join(format!("fetch.{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    let done = fetch_by(&work, kept, programs, mirror);
    std::fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    done
}

fn fetch_by(work: &Path, kept: &Path, programs: &[Program], mirror: Option<&str>) -> Result<()> {
    let (archived, released): (Vec<Program>, Vec<Program>) = programs
        .iter()
        .partition(|program| IN_ARCHIVE.contains(&program.name));
    if !archived.is_empty() {
        let archive = format!("envtest-{VERSION}-linux-{}.tar.gz", architecture()?);
        let base = mirror.map_or_else(|| format!("{ENVTEST}/envtest-{VERSION}"), str::to_owned);
        download(&format!("{base}/{archive}"), work, &archive)?;
        command(work, "tar", &["-xzf", &archive, "--strip-components=2"])?;
    }
    for program in released {
        let base = mirror.map_or_else(
            || Ok(format!("{RELEASE}/{VERSION}/bin/linux/{}", architecture()?)),
            |mirror| anyhow::Ok(mirror.to_owned()),
        )?;
        download(&format!("{base}/{}", program.name), work, program.name)?;
        command(work, "chmod", &["755", program.name])?;
    }
    for program in programs {
        let from = work.join(program.name);
        if let Some(fault) = program.fault(&from) {
            bail!("{fault}");
        }
        std::fs::rename(&from, kept.join(program.name))
            .with_context(|| format!("keep {}", program.name))?;
    }
    Ok(())
}

/// One file and its checksum, which may be a line of `sha512sum` or the bare number.
fn download(url: &str, work: &Path, name: &str) -> Result<()> {
    say(format!("kube: fetching {url}"));
    let sums = format!("{name}.sha512");
    for (url, file) in [
        (format!("{url}.sha512"), sums.as_str()),
        (url.to_owned(), name),
    ] {
        let arguments = [
            "-fsSL",
            "--connect-timeout",
            CONNECT_SECONDS,
            "-o",
            file,
            &url,
        ];
        command(work, "curl", &arguments)?;
    }
    let published = std::fs::read_to_string(work.join(&sums)).context("read a checksum")?;
    let published = published.split_whitespace().next().unwrap_or_default();
    let computed = command(work, "sha512sum", &[name])?;
    let computed = computed.split_whitespace().next().unwrap_or_default();
    ensure!(
        !published.is_empty() && published == computed,
        "{url} has the checksum {computed}, and {published} is published"
    );
    Ok(())
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("nothing is published for {other}"),
    }
}

fn command(dir: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .current_dir(dir)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.last().copied().unwrap_or_default(),
        stderr.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::PROGRAMS;
    use super::*;

    /// A place with the published files, made of shell scripts.
    fn mirror(dir: &Path) -> String {
        let tree = dir.join("published/controller-tools/envtest");
        std::fs::create_dir_all(&tree).unwrap();
        let say = format!("#!/bin/sh\necho Kubernetes {VERSION}\n");
        for name in IN_ARCHIVE {
            std::fs::write(tree.join(name), &say).unwrap();
            command(&tree, "chmod", &["755", name]).unwrap();
        }
        let published = dir.join("published");
        let archive = format!("envtest-{VERSION}-linux-{}.tar.gz", architecture().unwrap());
        command(&published, "tar", &["-czf", &archive, "controller-tools"]).unwrap();
        std::fs::write(published.join("kube-controller-manager"), &say).unwrap();
        for file in [archive.as_str(), "kube-controller-manager"] {
            let sum = command(&published, "sha512sum", &[file]).unwrap();
            std::fs::write(published.join(format!("{file}.sha512")), sum).unwrap();
        }
        format!("file://{}", published.display())
    }

    #[test]
    fn what_is_published_is_kept_if_its_checksum_is_right() {
        if Command::new("curl").arg("--version").output().is_err() {
            say("NOT RUN: fetching needs curl, which is not on this machine.");
            return;
        }
        let dir = std::env::temp_dir().join(format!("tombolo-xtask-fetch-{}", std::process::id()));
        let kept = dir.join("kept");
        std::fs::create_dir_all(&kept).unwrap();
        let url = mirror(&dir);
        fetch(&kept, &PROGRAMS, Some(&url)).unwrap();
        let names = |dir: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(dir).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names(&kept),
            ["etcd", "kube-apiserver", "kube-controller-manager"]
        );
        std::fs::write(dir.join("published/kube-controller-manager"), "#!/bin/sh\n").unwrap();
        let [.., manager] = PROGRAMS;
        std::fs::remove_file(kept.join(manager.name)).unwrap();
        let error = fetch(&kept, &[manager], Some(&url)).unwrap_err();
        assert!(error.to_string().contains("is published"), "{error:#}");
        assert_eq!(names(&kept), ["etcd", "kube-apiserver"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
