//! What no file may say: paths of somebody's machine, hosts nobody else can reach, unfinished work.
use super::File;

/// Whoever is linked to must be public, and is named here once.
const HOSTS: [&str; 17] = [
    "github.com",
    "docs.rs",
    "crates.io",
    "doc.rust-lang.org",
    "rust-lang.github.io",
    "sh.rustup.rs",
    "rustup.rs",
    "kubernetes.io",
    "linkerd.io",
    "www.apache.org",
    "apache.org",
    "www.rfc-editor.org",
    "json-schema.org",
    "keepachangelog.com",
    "kubernetes.default.svc",
    "localhost",
    "example.com",
];
const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Everything that a file says and should not.
pub(super) fn problems(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| !file.path.ends_with("tidy/words.rs"))
    {
        for (n, line) in file.text.lines().enumerate() {
            // Code may name any host in its tests; what it tells a reader is in its comments.
            let read_by_humans = !file.is_rust() || line.trim_start().starts_with("//");
            for fault in faults(line, read_by_humans) {
                problems.push(format!("{}:{}: {fault}", file.path, n + 1));
            }
        }
    }
    problems
}

fn faults(line: &str, read_by_humans: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for path in ["/home/", "/root/", "/work/", "/Users/"] {
        if line.contains(path) {
            faults.push(format!("{path} is a path of somebody's machine"));
        }
    }
    for word in ["TODO", "FIXME", "XXX"] {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
        if words.any(|part| part == word) {
            faults.push(format!("{word}: finish it, or open an issue"));
        }
    }
    let foreign = |host: &&str| {
        let name = host.split(':').next().unwrap_or(host);
        let number = name.starts_with(|c: char| c.is_ascii_digit() || c == '[');
        !number && !HOSTS.contains(&name) && !name.ends_with(".cluster.local")
    };
    for host in hosts(line)
        .into_iter()
        .filter(foreign)
        .filter(|_| read_by_humans)
    {
        faults.push(format!("{host} is no host that this project links to"));
    }
    if line.trim_start().starts_with("source = \"") && !line.contains(INDEX) {
        faults.push("a dependency comes from elsewhere than crates.io".to_owned());
    }
    faults
}

/// The hosts of all URLs in a line. What is put together at run time is no URL yet.
fn hosts(line: &str) -> Vec<&str> {
    let urls = line
        .split("http://")
        .skip(1)
        .chain(line.split("https://").skip(1));
    let end = |c: char| !(c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    let hosts = urls.filter_map(|rest| rest.split(end).next());
    hosts
        .map(|host| host.trim_end_matches(['.', ':']))
        .filter(|host| host.contains('.'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found_and_nothing_else() {
        for (line, count) in [
            (
                "see https://kubernetes.io/docs and http://127.0.0.1:8080/ready",
                0,
            ),
            ("https://registry.intern.example/index", 1),
            ("format!(\"http://{address}/ready\")", 0),
            ("https://frontend.mc-demo.svc.cluster.local:8080", 0),
            ("cd /home/ada/tombolo", 1),
            ("// TODO: later", 1),
            ("the TODOs of others", 0),
            (
                "source = \"registry+https://github.com/rust-lang/crates.io-index\"",
                0,
            ),
            ("source = \"git+https://github.com/a/b\"", 1),
        ] {
            assert_eq!(faults(line, true).len(), count, "{line}");
        }
    }
}
