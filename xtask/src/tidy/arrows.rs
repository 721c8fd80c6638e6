//! Which crate may know which: the arrows of ARCHITECTURE.md, and no others.
use serde_json::Value;

/// A package, and those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 11] = [
    ("tombolo-core", &[]),
    ("tombolo-wire", &["tombolo-core"]),
    ("tombolo-k8s", &["tombolo-core"]),
    ("tombolo-shell", &["tombolo-core"]),
    (
        "tombolo-control",
        &[
            "tombolo-core",
            "tombolo-wire",
            "tombolo-k8s",
            "tombolo-shell",
        ],
    ),
    (
        "tombolo-proxy",
        &["tombolo-core", "tombolo-wire", "tombolo-shell"],
    ),
    ("tombolo-apiserver", &["tombolo-shell"]),
    (
        "tombolo-lab",
        &[
            "tombolo-core",
            "tombolo-wire",
            "tombolo-k8s",
            "tombolo-shell",
            "tombolo-control",
            "tombolo-apiserver",
        ],
    ),
    (
        "tombolo",
        &[
            "tombolo-core",
            "tombolo-shell",
            "tombolo-control",
            "tombolo-apiserver",
            "tombolo-lab",
        ],
    ),
    ("tombolo-judge", &["tombolo-apiserver", "tombolo-shell"]),
    ("xtask", &[]),
];
/// What only tests may depend on beyond that: the stateful fake, its judge, and the process kit's test half.
const IN_TESTS: [&str; 3] = ["tombolo-apiserver", "tombolo-judge", "tombolo-shell"];
/// All that the core may take from others: nothing that reads, writes, waits or encodes.
const OF_CORE: [&str; 2] = ["ipnet", "rand"];
/// What the data plane must never see.
const NOT_IN_PROXY: [&str; 2] = ["kube", "k8s-openapi"];

/// Every dependency that no arrow allows.
pub(super) fn problems(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    packages.iter().flat_map(of_package).collect()
}

fn of_package(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!(
            "{name}: a new crate needs a decision note and its arrows here"
        )];
    };
    let mut problems = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let to = dependency["name"].as_str().unwrap_or_default();
        let in_tests = dependency["kind"] == "dev";
        let ours = ARROWS.iter().any(|(from, _)| *from == to);
        let arrow = allowed.contains(&to) || (in_tests && IN_TESTS.contains(&to));
        let foreign_in_core = name == "tombolo-core" && !in_tests && !OF_CORE.contains(&to);
        let kube_in_proxy = name == "tombolo-proxy" && NOT_IN_PROXY.contains(&to);
        if (ours && !arrow) || (!ours && foreign_in_core) || kube_in_proxy {
            problems.push(format!("{name} must not know {to}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_arrows_that_are_drawn_are_allowed() {
        for (from, to, kind, allowed) in [
            ("tombolo-control", "tombolo-k8s", None, true),
            ("tombolo-proxy", "tombolo-k8s", None, false),
            ("tombolo-proxy", "kube", None, false),
            ("tombolo-proxy", "hyper", None, true),
            ("tombolo-core", "tokio", None, false),
            ("tombolo-core", "proptest", Some("dev"), true),
            ("tombolo-core", "rand", None, true),
            ("tombolo-apiserver", "tombolo-core", None, false),
            ("tombolo-control", "tombolo-apiserver", None, false),
            ("tombolo-control", "tombolo-apiserver", Some("dev"), true),
            ("tombolo-wire", "tombolo-k8s", Some("dev"), false),
            ("tombolo-new", "serde", None, false),
        ] {
            let dependency = json!({"name": to, "kind": kind});
            let metadata = json!({"packages": [{"name": from, "dependencies": [dependency]}]});
            assert_eq!(problems(&metadata).is_empty(), allowed, "{from} -> {to}");
        }
    }
}
