//! What was acknowledged is there: the server as a child, killed under load, and on a disk that is full.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::process::{Child, Command};
use tombolo_apiserver::run::{Config, Running};

use crate::harness::{Cluster, DEADLINE, eventually, free_address};

/// The server alone, which cargo builds for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo-apiserver");

/// A server in a process of its own. What it writes beyond a limit fails, and does not end it.
struct Server {
    dir: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

impl Server {
    fn start() -> Self {
        tombolo_shell::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let child = spawn(&dir, address);
        Self {
            dir,
            address,
            child,
        }
    }

    async fn kill_and_start_again(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(&self.dir, self.address);
    }

    async fn client(&self) -> kube::Client {
        client(self.dir.path()).await
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("data/store.log")
    }

    /// No file of the server may become larger; none: as large as it likes.
    async fn limit(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let status = Command::new("prlimit")
            .arg(format!("--pid={}", self.child.id().unwrap()))
            .arg(format!("--fsize={limit}:"))
            .status()
            .await
            .unwrap();
        assert!(status.success());
    }
}

fn spawn(dir: &tempfile::TempDir, address: SocketAddr) -> Child {
    spawn_with(dir, address, Stdio::null)
}

fn spawn_with(dir: &tempfile::TempDir, address: SocketAddr, log: impl Fn() -> Stdio) -> Child {
    Command::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(PROGRAM)
        .arg("apiserver")
        .arg(format!("--data={}", dir.path().join("data").display()))
        .arg(format!("--listen={address}"))
        .arg(format!(
            "--kubeconfig={}",
            dir.path().join("kubeconfig").display()
        ))
        .stdout(log())
        .stderr(log())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A client that tries nothing twice, once the server of a directory answers.
async fn client(dir: &Path) -> kube::Client {
    eventually("the server", || async {
        let file = Kubeconfig::read_from(dir.join("kubeconfig")).ok()?;
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .ok()?;
        config.default_retry = false;
        let client = kube::Client::try_from(config).ok()?;
        client.apiserver_version().await.ok()?;
        Some(client)
    })
    .await
}

fn config_map(name: &str, bytes: usize) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"set": "a"}},
        "data": {"k": "x".repeat(bytes)}}))
    .unwrap()
}

fn maps(client: &kube::Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

async fn names(client: &kube::Client) -> BTreeSet<String> {
    let labelled = ListParams::default().labels("set=a");
    let list = maps(client).list(&labelled).await.unwrap();
    list.items.iter().map(ResourceExt::name_any).collect()
}

async fn ready(client: &kube::Client) -> (StatusCode, String) {
    let request = Request::get("/readyz").body(Vec::new()).unwrap();
    match client.request_text(request).await {
        Ok(text) => (StatusCode::OK, text),
        Err(kube::Error::Api(status)) => (
            StatusCode::from_u16(status.code).unwrap(),
            status.message.clone(),
        ),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_refuses_writes_and_says_so_until_there_is_room() {
    let mut server = Server::start();
    let client = server.client().await;
    let mut there = BTreeSet::new();
    maps(&client)
        .create(&PostParams::default(), &config_map("before", 10))
        .await
        .unwrap();
    there.insert("before".to_owned());
    server
        .limit(Some(std::fs::metadata(server.store()).unwrap().len()))
        .await;
    let refused = loop {
        let name = format!("m{}", there.len());
        let map = config_map(&name, 200_000);
        match maps(&client).create(&PostParams::default(), &map).await {
            Ok(_) => there.insert(name),
            Err(kube::Error::Api(status)) => break status,
            Err(other) => panic!("{other}"),
        };
        assert!(there.len() < 500, "the limit is not felt");
    };
    assert_eq!(refused.code, 503);
    assert!(refused.message.contains("store.log"), "{refused:?}");
    // Nothing that was refused is seen, reads go on, and the server says that it is not ready.
    assert_eq!(names(&client).await, there);
    let (code, text) = ready(&client).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{text}");

    server.limit(None).await;
    eventually("a write", || async {
        let map = config_map("after", 10);
        let made = maps(&client).create(&PostParams::default(), &map).await;
        made.ok().map(|_map| ())
    })
    .await;
    there.insert("after".to_owned());
    assert_eq!(ready(&client).await, (StatusCode::OK, "ok".to_owned()));

    // Now the write itself fails, and nobody can say what is on disk: the file is written anew.
    server.limit(Some(16 * 1024)).await;
    let refused = maps(&client)
        .create(&PostParams::default(), &config_map("lost", 10))
        .await;
    let Err(kube::Error::Api(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.code, 503, "{refused:?}");
    server.limit(None).await;
    eventually("a write", || async {
        let map = config_map("again", 10);
        let made = maps(&client).create(&PostParams::default(), &map).await;
        made.ok().map(|_map| ())
    })
    .await;
    there.insert("again".to_owned());
    server.kill_and_start_again().await;
    let client = server.client().await;
    assert_eq!(names(&client).await, there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_under_load() {
    let mut server = Server::start();
    for round in 0..3 {
        let client = server.client().await;
        let (told, count) = tokio::sync::mpsc::channel(4096);
        let killed = AtomicBool::new(false);
        let writers: Vec<_> = (0..4)
            .map(|writer| write(maps(&client), (round, writer), told.clone(), &killed))
            .collect();
        drop(told);
        let both = async {
            tokio::join!(
                futures_util::future::join_all(writers),
                kill_after(&mut server, (count, &killed), 20 + 15 * round)
            )
        };
        let done = tokio::time::timeout(DEADLINE, both).await;
        let (told, ()) = done.expect("the writers end once the server is killed");
        let client = server.client().await;
        let there = names(&client).await;
        for (counter, created, counted) in told {
            for name in created {
                assert!(there.contains(&name), "{name} was acknowledged and is lost");
            }
            let Some(counted) = counted else { continue };
            let found = maps(&client).get(&counter).await.unwrap();
            let found: u32 = found.data.unwrap()["count"].parse().unwrap();
            assert!(found >= counted, "{counter}: {found} instead of {counted}");
        }
    }
}

/// An acknowledged write, or why there are no more.
type Written = Result<(), kube::Error>;

/// Kills the server when so many writes have been acknowledged.
async fn kill_after(
    server: &mut Server,
    (mut count, killed): (tokio::sync::mpsc::Receiver<Written>, &AtomicBool),
    writes: usize,
) {
    for _ in 0..writes {
        let written = count.recv().await.expect("somebody writes");
        written.unwrap_or_else(|error| panic!("a write failed before the kill: {error}"));
    }
    count.close();
    server.kill_and_start_again().await;
    // Who was between two writes may never see an error.
    killed.store(true, Ordering::Relaxed);
}

/// Creates ConfigMaps and counts in one until the server is gone: what it was told to be there.
async fn write(
    maps: Api<ConfigMap>,
    (round, writer): (usize, usize),
    told: tokio::sync::mpsc::Sender<Written>,
    killed: &AtomicBool,
) -> (String, Vec<String>, Option<u32>) {
    let counter = format!("counter-{round}-{writer}");
    let (mut created, mut counted) = (Vec::new(), None);
    let first = config_map(&counter, 1);
    if let Err(error) = maps.create(&PostParams::default(), &first).await {
        told.send(Err(error)).await.ok();
        return (counter, created, counted);
    }
    for number in 1u32.. {
        if killed.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("m-{round}-{writer}-{number}");
        let map = config_map(&name, 100);
        if let Err(error) = maps.create(&PostParams::default(), &map).await {
            told.send(Err(error)).await.ok();
            break;
        }
        created.push(name);
        let count = Patch::Merge(json!({"data": {"count": number.to_string()}}));
        let params = PatchParams::default();
        if let Err(error) = maps.patch(&counter, &params, &count).await {
            told.send(Err(error)).await.ok();
            break;
        }
        counted = Some(number);
        // Once it has been counted enough, nobody listens.
        told.send(Ok(())).await.ok();
    }
    (counter, created, counted)
}

/// What became of a server on a damaged file: what it serves, or what it says when it ends.
async fn outcome(mut server: Server) -> Result<BTreeSet<String>, String> {
    let log = server.dir.path().join("log");
    server.child = spawn_with(&server.dir, server.address, || {
        let mut file = std::fs::File::options();
        file.create(true).append(true).open(&log).unwrap().into()
    });
    let ended = tokio::select! {
        ended = server.child.wait() => ended.unwrap(),
        client = client(server.dir.path()) => return Ok(names(&client).await),
    };
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!ended.success(), "it ends as if all were well: {said}");
    Err(said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_file_is_refused_by_its_name_or_survived() {
    let mut server = Server::start();
    let client = server.client().await;
    for number in 0..6 {
        let map = config_map(&format!("m{number}"), 30_000);
        maps(&client)
            .create(&PostParams::default(), &map)
            .await
            .unwrap();
    }
    server.child.kill().await.unwrap();
    let whole = std::fs::read(server.store()).unwrap();
    let all: BTreeSet<String> = (0..6).map(|number| format!("m{number}")).collect();
    let size = whole.len();
    let mut damaged: Vec<(String, Vec<u8>)> =
        [0, 1, 100, 4096, size / 4, size / 2, size - 4096, size - 1]
            .into_iter()
            .map(|kept| (format!("cut to {kept} of {size}"), whole[..kept].to_vec()))
            .collect();
    let mut text = whole.clone();
    text[..64].fill(b'#');
    damaged.push(("another beginning".to_owned(), text));
    drop(server);
    for (what, bytes) in damaged {
        let mut server = Server::start();
        server.client().await;
        server.child.kill().await.unwrap();
        std::fs::write(server.store(), &bytes).unwrap();
        std::fs::remove_file(server.dir.path().join("kubeconfig")).unwrap();
        match outcome(server).await {
            // An empty file is a new store; of any other everything is there.
            Ok(there) => assert!(there == all || bytes.is_empty(), "{what}: {there:?}"),
            Err(said) => {
                assert!(said.contains("store.log"), "{what}: {said}");
                assert!(!said.contains("panicked"), "{what}: {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_starts_again_leaves_its_files_as_they_are_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = Cluster::start().await;
    let files = ["data/agent.kubeconfig", "kubeconfig"].map(|name| cluster.dir.path().join(name));
    let texts = || files.each_ref().map(|path| std::fs::read(path).unwrap());
    let before = texts();
    for (name, expected) in [
        ("data", 0o700),
        ("data/pki", 0o700),
        ("data/store.log", 0o600),
    ] {
        let path = cluster.dir.path().join(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
    let mut config = Config {
        listen: cluster.running.address(),
        ..cluster.config.clone()
    };
    cluster.running.stop().await;
    let again = Running::start(&config).await.unwrap();
    assert!(before == texts(), "they were as good as new ones");
    again.stop().await;
    // Of another cluster they are not.
    config.cluster = "other".to_owned();
    std::fs::remove_file(&files[1]).unwrap();
    Running::start(&config).await.unwrap().stop().await;
    let after = texts();
    assert!(
        after
            .iter()
            .zip(&before)
            .all(|(after, before)| after != before)
    );
}

#[tokio::test]
async fn kubeconfig_in_no_directory_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("nowhere");
    let config = Config {
        kubeconfig: Some(parent.join("kubeconfig")),
        ..Config::memory()
    };
    let refused = Running::start(&config).await.unwrap_err().to_string();
    let words = format!("there is no directory {}", parent.display());
    assert!(refused.contains(&words), "{refused}");
    assert!(!parent.exists());
}

#[tokio::test]
async fn somebody_elses_kubeconfig_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let theirs = "clusters:\n- name: tombolo\n- name: production\n";
    std::fs::write(&path, theirs).unwrap();
    let config = Config {
        kubeconfig: Some(path.clone()),
        ..Config::memory()
    };
    let refused = Running::start(&config).await.unwrap_err().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs);
}
