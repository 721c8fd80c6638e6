//! Dependencies whose name appears in no source of their package.
use std::path::Path;

use serde_json::Value;

use super::File;

/// Every declared dependency that nothing in the package mentions.
pub(super) fn problems(metadata: &Value, files: &[File], root: &Path) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    packages
        .iter()
        .flat_map(|package| of_package(package, files, root))
        .collect()
}

fn of_package(package: &Value, files: &[File], root: &Path) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let directory = manifest
        .parent()
        .and_then(|path| path.strip_prefix(root).ok());
    let Some(directory) = directory else {
        return Vec::new();
    };
    let directory = format!("{}/", directory.display());
    let own: Vec<_> = files
        .iter()
        .filter(|file| file.is_rust() && file.path.starts_with(&directory))
        .map(|file| file.text.as_str())
        .collect();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter_map(|dependency| {
            dependency["rename"]
                .as_str()
                .or_else(|| dependency["name"].as_str())
        })
        .filter(|dependency| {
            !own.iter()
                .any(|text| mentions(text, &dependency.replace('-', "_")))
        })
        .map(|dependency| format!("{name}: {dependency} is declared and not used"))
        .collect()
}

fn mentions(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + word.len()..));
        let before = before.and_then(|text| text.chars().next_back());
        let after = after.and_then(|text| text.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dependency_that_no_source_mentions_is_found() {
        let dependencies = ["http", "http-body", "hyper"].map(|name| json!({"name": name}));
        let package = json!({
            "name": "a",
            "manifest_path": "/r/crates/a/Cargo.toml",
            "dependencies": dependencies,
        });
        let file = |path: &str, text: &str| File {
            path: path.into(),
            text: text.into(),
        };
        let files = [
            file("crates/a/src/lib.rs", "//! A.\nuse http_body::Body;\n"),
            file("crates/b/src/lib.rs", "//! B.\nuse hyper::Request;\n"),
        ];
        let metadata = json!({ "packages": [package] });
        assert_eq!(
            problems(&metadata, &files, Path::new("/r")),
            [
                "a: http is declared and not used",
                "a: hyper is declared and not used"
            ]
        );
    }
}
