//! What may differ between two clusters that do the same: times, uids, versions, addresses, made-up names.
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The letters that Kubernetes makes names up from: none that spells words, or is read as another.
const LETTERS: &str = "[bcdfghjklmnpqrstvwxz2456789]";

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rows = [
        // Credentials first: what is inside them looks like anything.
        (
            r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
            "<token>",
        ),
        (
            r"(?s)-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----",
            "<pem>",
        ),
        (r"\b(LS0tLS1|ZXlK)[A-Za-z0-9+/=]+", "<base64>"),
        (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=<hash>"),
        (r"/tmp/[A-Za-z0-9_.-]+", "<dir>"),
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?Z| ?[+-]\d{4}( [A-Z]+)?)?",
            "<time>",
        ),
        (
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
            "<time>",
        ),
        (r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "<log> "),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uid>",
        ),
        (r#"(resourceVersion\\*"?[:=] ?\\*"?)\d+"#, "$1<version>"),
        (
            r#"(resourceVersion%3D|resourceVersion |resource version: |\(|Resource ?Version:\s+)\d+\b"#,
            "$1<version>",
        ),
        (r"(<version>, current: )\d+", "$1<version>"),
        (r#"("continue": ?")[A-Za-z0-9_-]+"#, "$1<continue>"),
        (r"(continue=)[A-Za-z0-9_%-]+", "$1<continue>"),
        (r"\b(\d{1,3}\.){3}\d{1,3}:\d{4,5}\b", "<address>"),
        (r"\b(\d{1,3}\.){3}\d{1,3}\b", "<ip>"),
        (r"<invalid>|<unknown>  ", "<age>"),
        (r"\.[0-9a-f]{16}\b", ".<event>"),
    ];
    let mut rules: Vec<(Regex, &str)> = rows
        .into_iter()
        .map(|(from, to)| (rule(from), to))
        .collect();
    rules.push((
        rule(&format!("-{LETTERS}{{8,10}}(-{LETTERS}{{5}})?\\b")),
        "-<hash>",
    ));
    rules.push((
        rule(&format!(
            r#"(pod-template-hash\\?"?[:=] ?\\?"?){LETTERS}{{8,10}}\b"#
        )),
        "$1<hash>",
    ));
    rules.push((rule(&format!("-{LETTERS}{{5}}\\b")), "-<made-up>"));
    // After the names: some look like an age.
    rules.push((rule(r"\b(\d+[smhd]){1,2}\b( ago)?"), "<age>"));
    // Columns are as wide as what has been replaced in them.
    rules.push((rule(r"(?m)[ \t]+$"), ""));
    rules
});

static GAP: LazyLock<Regex> = LazyLock::new(|| rule(r"(\S)[ \t]{2,}"));

fn rule(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the rules are tested")
}

/// The text without what may differ.
pub fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in RULES.iter() {
        text = from.replace_all(&text, *to).into_owned();
    }
    GAP.replace_all(&text, |found: &Captures<'_>| format!("{}  ", &found[1]))
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_differ_is_replaced_and_nothing_else() {
        for (from, to) in [
            (
                "creationTimestamp: \"2026-11-25T17:49:32Z\"",
                "creationTimestamp: \"<time>\"",
            ),
            ("uid: 2c1b7a1e-0d53-4a0a-9a0f-d2f8c6f0a111", "uid: <uid>"),
            ("resourceVersion: \"812\"", "resourceVersion: \"<version>\""),
            (
                r#"resourceVersion\\\":\\\"812"#,
                r#"resourceVersion\\\":\\\"<version>"#,
            ),
            (
                "{\"resourceVersion\":\"812\"}",
                "{\"resourceVersion\":\"<version>\"}",
            ),
            (
                "web-6c8b9d7f5b-x7k2p   1/1     Running   3m2s",
                "web-<hash>  1/1  Running  <age>",
            ),
            ("web-x7k2p", "web-<made-up>"),
            ("web-frontend", "web-frontend"),
            ("replicas: 3", "replicas: 3"),
            (
                "Too large resource version: 999, current: 12",
                "Too large resource version: <version>, current: <version>",
            ),
            ("10.96.0.1", "<ip>"),
            ("cpu: 100m, memory: 64Mi", "cpu: <age>, memory: 64Mi"),
        ] {
            assert_eq!(normal(from), to);
        }
    }
}
