//! `cargo xtask tidy`: what neither the compiler nor clippy looks at. Runs as a test, too.
//!
//! Each check is a pure function of the files' texts and of cargo's metadata that returns problems,
//! and has tests which show that it finds what it is for.
mod arrows;
mod files;
mod links;
mod unused;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{metadata, root};
use crate::say;

/// Directories that are not the project's text.
const SKIPPED: [&str; 4] = [".git", "target", ".tombolo", "corpus"];
const ENDINGS: [&str; 6] = ["rs", "md", "toml", "sh", "yaml", "yml"];

/// One of the project's text files.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// Whether the file is Rust.
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Fails if there is any problem, and names all of them.
pub(crate) fn run() -> Result<()> {
    let problems = problems()?;
    for problem in &problems {
        say(problem);
    }
    ensure!(
        problems.is_empty(),
        "{} things are not tidy",
        problems.len()
    );
    Ok(())
}

fn problems() -> Result<Vec<String>> {
    let root = root();
    let mut files = Vec::new();
    read(&root, &root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let metadata = metadata()?;
    let mut problems = files::problems(&files);
    problems.extend(words::problems(&files));
    problems.extend(links::problems(&files, &|path| root.join(path).exists()));
    problems.extend(arrows::problems(&metadata));
    problems.extend(unused::problems(&metadata, &files, &root));
    Ok(problems)
}

fn read(root: &Path, directory: &Path, files: &mut Vec<File>) -> Result<()> {
    let read_dir = std::fs::read_dir(directory);
    for entry in read_dir.with_context(|| format!("list {}", directory.display()))? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !SKIPPED.contains(&name.as_ref()) {
            read(root, &path, files)?;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let ours = ENDINGS.contains(&ending.as_ref()) || path.ends_with(".ci/run");
        if !path.is_file() || !ours {
            continue;
        }
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
        files.push(File { path, text });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let problems = problems().unwrap();
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }
}
