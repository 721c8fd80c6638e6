use std::collections::{BTreeMap, BTreeSet};

use tombolo_shell::testing::Authority;

use super::*;
use crate::config::Config;

fn variables() -> impl Iterator<Item = (&'static str, Unset)> {
    let all = SECTIONS.iter().flat_map(|(_, variables)| *variables);
    all.map(|(name, unset, _)| (*name, *unset))
}

/// Every variable that the configuration's source names.
fn read() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in include_str!("../config.rs").split('"').skip(1).step_by(2) {
        let parts = ["LINKERD2_PROXY_", "TOMBOLO_", "RUST_"];
        if parts.iter().any(|part| text.starts_with(part)) {
            // A service has two.
            match text.strip_suffix("_SVC") {
                Some(_) => names.extend(["ADDR", "NAME"].map(|end| format!("{text}_{end}"))),
                None => names.extend([text.to_owned()]),
            }
        }
    }
    names
}

#[test]
fn help_names_every_variable_that_is_read_and_no_other() {
    let told: BTreeSet<String> = variables().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(told, read());
    let text = text();
    for (name, unset) in variables() {
        assert!(text.contains(&format!("\n  {name}")), "{name}");
        if let Is(value) = unset {
            assert!(text.contains(value), "{name}");
        }
    }
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(120), "{widest:?}");
}

#[test]
fn the_defaults_are_those_that_count() {
    let (mut required, mut spelled) = (BTreeMap::new(), BTreeMap::new());
    let pem = Authority::new().root_pem().to_owned();
    for (name, unset) in variables() {
        let value = match unset {
            Refused if name.ends_with("ANCHORS") => pem.as_str(),
            Refused if name.ends_with("ADDR") => "127.0.0.1:1",
            Refused => "a.name",
            Is(value) => value,
            Told => continue,
        };
        if unset == Refused {
            required.insert(name.to_owned(), value.to_owned());
        }
        spelled.insert(name.to_owned(), value.to_owned());
    }
    let as_text = |environment| format!("{:?}", Config::parse(environment).unwrap());
    assert_eq!(as_text(&required), as_text(&spelled));
    for name in required.keys() {
        let mut less = required.clone();
        less.remove(name);
        let error = Config::parse(&less).unwrap_err().to_string();
        assert!(error.contains(name.as_str()), "{error}");
    }
}

#[test]
fn only_help_and_version_are_arguments() {
    let asked = |words: &[&str]| asked(words.iter().map(OsString::from));
    assert_eq!(asked(&[]), Asked::Run);
    assert_eq!(asked(&["-h"]), Asked::Text(text()));
    for words in [&["--version"][..], &["-V"]] {
        assert!(
            matches!(asked(words), Asked::Text(text) if text.contains(env!("CARGO_PKG_VERSION")))
        );
    }
    for words in [&["run"][..], &["--help", "x"], &["--port=1"]] {
        assert!(matches!(asked(words), Asked::Nothing(_)), "{words:?}");
    }
}
