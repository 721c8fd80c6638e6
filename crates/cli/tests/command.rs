//! The command as a process: who it dies with, what it says, how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

const TOMBOLO: &str = env!("CARGO_BIN_EXE_tombolo");

/// An address of a test's own, at which nobody else would come upon the same port.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(
        127,
        high % 50 + 130,
        low,
        NEXT.fetch_add(1, Ordering::SeqCst),
    );
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Waits until `condition` holds; the deadline is far beyond what a busy machine needs.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

/// The child of a child, which is killed if the test fails: it may not be there any more if it does not.
struct Grandchild(String);

impl Grandchild {
    fn signal(&self, signal: &str) -> bool {
        let status = Command::new("kill").args([signal, &self.0]).status();
        status.unwrap().success()
    }
}

impl Drop for Grandchild {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.signal("-KILL");
        }
    }
}

/// A shell that starts an echo as its child and waits for it.
fn shell_with_echo(address: SocketAddr) -> Process {
    let script =
        "TOMBOLO_PARENT_PID=$$ \"$0\" echo --listen \"$1\" --text 'a from west' & echo $!; wait";
    let shell = Command::new("sh")
        .args(["-c", script, TOMBOLO, &address.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    Process(shell.unwrap())
}

fn echo_of(shell: &mut Process) -> Grandchild {
    use std::io::{BufRead as _, BufReader};
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    Grandchild(line.trim().to_owned())
}

fn run(args: &[&str]) -> Output {
    Command::new(TOMBOLO).args(args).output().unwrap()
}

#[test]
fn a_child_dies_with_its_killed_parent_even_when_it_is_stopped() {
    for stopped in ["running", "stopped"] {
        let address = free_address();
        let mut shell = shell_with_echo(address);
        let echo = echo_of(&mut shell);
        until("the echo listens", || TcpStream::connect(address).is_ok());
        if stopped == "stopped" {
            assert!(echo.signal("-STOP"));
        }
        drop(shell);
        until("the echo is gone", || TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_child_whose_parent_is_gone_before_it_starts_ends_at_once() {
    let output = Command::new(TOMBOLO)
        .args([
            "echo",
            "--listen",
            &free_address().to_string(),
            "--text",
            "a",
        ])
        .env("TOMBOLO_PARENT_PID", "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("parent"));
}

#[test]
fn an_address_in_use_is_named_once_and_the_exit_code_says_failure() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let output = run(&["echo", "--listen", &address, "--text", "a"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches(&address).count(), 1, "{text}");
    assert!(text.contains("--listen"), "{text}");
}

#[test]
fn a_lab_without_its_proxy_says_so_before_it_starts_anything() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("tombolo");
    std::fs::copy(TOMBOLO, &alone).unwrap();
    let lab = dir.path().join("lab");
    let output = Command::new(&alone)
        .args(["demo", "--dir", lab.to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cargo build -p tombolo-proxy"), "{text}");
    assert!(!lab.exists());
}

#[test]
fn a_directory_without_a_lab_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for args in [
        &["lab", "status", "--dir", path][..],
        &["lab", "heal", "east", "--dir", path],
    ] {
        let output = run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && text.contains(path) && text.contains("lab up"),
            "{text}"
        );
    }
}

#[test]
fn what_a_killed_lab_has_left_is_deleted_by_down_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("lab");
    std::fs::create_dir(&dir).unwrap();
    for name in [".tombolo-lab", "kubeconfig", "trust-anchor.key", "lock"] {
        std::fs::write(dir.join(name), "").unwrap();
    }
    std::fs::write(dir.join("notes"), "mine").unwrap();
    assert!(
        run(&["lab", "down", "--dir", dir.to_str().unwrap()])
            .status
            .success()
    );
    let left: Vec<_> = dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes"]);
}

#[test]
fn a_demo_in_a_directory_of_somebody_else_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "mine").unwrap();
    let output = run(&["demo", "--dir", dir.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--dir"), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_a_demo_cannot_do_is_refused_by_name() {
    for (option, value) in [
        ("--rate", "0"),
        ("--duration", "5s"),
        ("--only", "c"),
        ("--port", "0"),
    ] {
        let output = run(&["demo", option, value]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && text.contains(option),
            "{option} {value}: {text}"
        );
    }
}

#[test]
fn an_apiserver_says_that_it_needs_a_place_for_its_data() {
    let output = run(&["apiserver", "--kubeconfig", "never-written"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        text.contains("--data") && text.contains("--memory"),
        "{text}"
    );
}

#[test]
fn an_apiserver_alone_writes_a_private_kubeconfig_and_ends_cleanly() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let address = free_address();
    let server = Command::new(TOMBOLO)
        .args(["apiserver", "--memory", "--listen", &address.to_string()])
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stderr(Stdio::null())
        .spawn();
    let mut server = Process(server.unwrap());
    until("the API server listens", || {
        TcpStream::connect(address).is_ok() && kubeconfig.exists()
    });
    let mode = kubeconfig.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    assert!(text.contains(&format!("https://{address}")), "{text}");
    let second = dir.path().join("second");
    let output = Command::new(TOMBOLO)
        .args(["apiserver", "--memory", "--listen", &address.to_string()])
        .arg("--kubeconfig")
        .arg(&second)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success()
            && text.contains(&address.to_string())
            && text.contains("--listen"),
        "{text}"
    );
    assert!(
        !second.exists(),
        "a server that never ran wrote a kubeconfig"
    );
    let id = server.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

#[test]
fn help_teaches_by_examples_and_completions_name_every_command() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("tombolo lab break east --way freeze"),
        "{help}"
    );
    let script = String::from_utf8(run(&["completions", "bash"]).stdout).unwrap();
    assert!(script.contains("apiserver") && script.contains("demo"));
    let version = String::from_utf8(run(&["version"]).stdout).unwrap();
    assert_eq!(version, format!("tombolo {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn plaintext_is_refused_where_other_machines_could_reach_it() {
    for address in ["0.0.0.0", "0.0.0.0:8086", "[::]:8086", "192.0.2.1:8086"] {
        let args = [
            "control",
            "--kubeconfig",
            "none",
            "--plaintext",
            "--listen",
            address,
        ];
        let output = run(&args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("loopback"), "{text}");
    }
}

#[test]
fn without_plaintext_certificates_are_asked_for() {
    let args = ["control", "--kubeconfig", "none", "--listen", "127.0.0.1"];
    let output = run(&args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for flag in ["--trust-anchors", "--issuer-cert", "--issuer-key"] {
        assert!(text.contains(flag), "{text}");
    }
}

#[test]
fn manifests_are_printed_for_kubectl() {
    for (what, kinds) in [
        ("crds", &["CustomResourceDefinition"][..]),
        (
            "control",
            &[
                "Namespace",
                "ServiceAccount",
                "ClusterRole",
                "ClusterRoleBinding",
            ],
        ),
        (
            "remote-access",
            &[
                "Namespace",
                "ServiceAccount",
                "ClusterRole",
                "ClusterRoleBinding",
                "Secret",
            ],
        ),
    ] {
        let output = run(&["manifests", what, "--namespace", "mesh"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<_> = text
            .lines()
            .filter_map(|l| l.strip_prefix("kind: "))
            .collect();
        assert_eq!(found, kinds, "{text}");
        assert_eq!(text.contains("mesh"), what != "crds", "{text}");
    }
}

#[test]
fn causes_are_said_once_and_an_authority_must_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    let path = file.display().to_string();
    let said = || {
        let output = run(&[
            "control",
            "--plaintext",
            "--listen=127.0.0.1",
            "--kubeconfig",
            &path,
        ]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said();
    assert_eq!(text.matches("os error 2").count(), 1, "{text}");
    std::fs::write(
        &file,
        "current-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: u}\n\
         clusters:\n- name: k\n  cluster:\n    server: https://127.0.0.1:1\n    \
         certificate-authority-data: Z2FyYmFnZQ==\n\
         users:\n- name: u\n  user:\n    token: opaque\n",
    )
    .unwrap();
    let text = said();
    let words = "clusters.certificate-authority-data: holds no certificate";
    assert!(text.contains(words), "{text}");
}
