//! How long a file may be, how it begins, and what it may be called.
use super::File;

const LINES_MAX: usize = 600;
const MAIN_LINES_MAX: usize = 60;
/// Names that say nothing of what is in the file.
const EMPTY_NAMES: [&str; 8] = [
    "utils.rs",
    "util.rs",
    "common.rs",
    "types.rs",
    "helpers.rs",
    "helper.rs",
    "misc.rs",
    "mod.rs",
];

/// Everything that is wrong with the files' shapes.
pub(super) fn problems(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(of_file)
        .collect()
}

fn of_file(File { path, text }: &File) -> Vec<String> {
    let mut problems = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let lines = text.lines().count();
    let lines_max = if name == "main.rs" {
        MAIN_LINES_MAX
    } else {
        LINES_MAX
    };
    let generated = text.starts_with("// @generated");
    if lines > lines_max && !generated {
        problems.push(format!(
            "{path}: {lines} lines, at most {lines_max}: split it by concern"
        ));
    }
    if EMPTY_NAMES.contains(&name) {
        problems.push(format!(
            "{path}: name the file for what it decides (and never mod.rs)"
        ));
    }
    // The tests of a module say what they are for in their names.
    if !text.starts_with("//!") && !generated && name != "tests.rs" {
        problems.push(format!(
            "{path}: begin with //!: what it decides, what it must not know"
        ));
    }
    if text.starts_with("//! To be written") {
        problems.push(format!("{path}: is still to be written"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_file_is_found() {
        let long = "//! Long.\n".to_owned() + &"\n".repeat(600);
        let main = "//! Long.\n".to_owned() + &"\n".repeat(60);
        for (path, text, count) in [
            ("crates/a/src/plan.rs", "//! Plans.\n", 0),
            ("crates/a/src/plan.rs", long.as_str(), 1),
            (
                "crates/a/src/table.rs",
                &long.replace("//! Long.", "// @generated"),
                0,
            ),
            ("crates/a/src/main.rs", main.as_str(), 1),
            ("crates/a/src/lib.rs", main.as_str(), 0),
            ("crates/a/src/plan.rs", "use std::fmt;\n", 1),
            ("crates/a/src/plan.rs", "//! To be written.\n", 1),
            ("crates/a/src/plan/mod.rs", "//! Plans.\n", 1),
            ("crates/a/src/utils.rs", "//! All sorts.\n", 1),
            ("crates/a/src/plan/tests.rs", "use super::*;\n", 0),
            ("README.md", "no matter", 0),
        ] {
            let file = File {
                path: path.into(),
                text: text.into(),
            };
            assert_eq!(problems(&[file]).len(), count, "{path} {text:.20}");
        }
    }
}
