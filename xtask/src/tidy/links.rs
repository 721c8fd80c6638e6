//! Whether what the documents link to is there.
use super::File;

/// Every relative link of a Markdown file that leads nowhere.
pub(super) fn problems(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let directory = file
            .path
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        for target in targets(&file.text) {
            let path = target.split('#').next().unwrap_or(target);
            if !path.is_empty() && !exists(&resolve(directory, path)) {
                problems.push(format!("{}: the link to {target} leads nowhere", file.path));
            }
        }
    }
    problems
}

/// The targets of `[text](target)`, but for those on other hosts and those in code.
fn targets(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let found = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        targets.extend(found.filter(|target| !target.contains("://")));
    }
    targets
}

fn resolve(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](../README.md#why) [b](gone.md) [c](https://docs.rs/x) [d](#here)\n\
                    ```\n[e](in-code.md)\n```\n[f](decisions/0001-x.md)";
        let file = File {
            path: "docs/style.md".into(),
            text: text.into(),
        };
        let exists = |path: &str| ["README.md", "docs/decisions/0001-x.md"].contains(&path);
        assert_eq!(
            problems(&[file], &exists),
            ["docs/style.md: the link to gone.md leads nowhere"]
        );
    }
}
