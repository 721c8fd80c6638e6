//! The machine's own kubectl, as a user types it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::harness::{Cluster, DEADLINE, eventually};

/// kubectl with the cluster's kubeconfig and no other file of this machine's user.
struct Kubectl {
    cluster: Cluster,
    home: PathBuf,
}

/// Nothing, and said loudly, where there is no kubectl.
async fn kubectl() -> Option<Kubectl> {
    if std::process::Command::new("kubectl")
        .arg("help")
        .output()
        .is_err()
    {
        use std::io::Write as _;
        // Not by a macro: those are silent in a test that passes.
        let required = std::env::var_os("TOMBOLO_REAL").is_some_and(|value| value == "required");
        assert!(
            !required,
            "kubectl is required, and not on this machine: cargo xtask kube"
        );
        let said = b"NOT RUN: there is no kubectl on this machine; nothing of it was tested\n";
        std::io::stderr().write_all(said).unwrap();
        return None;
    }
    let cluster = Cluster::start().await;
    let home = cluster.dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    Some(Kubectl { cluster, home })
}

impl Kubectl {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(line.split_whitespace().map(|word| word.replace('~', " ")))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", &self.home)
            .env("KUBECACHEDIR", self.home.join("cache"))
            .kill_on_drop(true);
        command
    }

    async fn output(&self, line: &str, input: &str) -> Output {
        let mut command = self.command(line);
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        tokio::time::timeout(DEADLINE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("kubectl {line} within {DEADLINE:?}"))
            .unwrap()
    }

    /// What it prints; it must succeed. In a line `~` stands for a space inside a word.
    async fn run(&self, line: &str) -> String {
        self.feed(line, "").await
    }

    async fn feed(&self, line: &str, input: &str) -> String {
        let output = self.output(line, input).await;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {line}: {errors}{text}");
        text
    }

    /// What it says when it fails, which it must.
    async fn refused(&self, line: &str) -> String {
        let output = self.output(line, "").await;
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert!(
            !output.status.success(),
            "kubectl {line} succeeded: {output:?}"
        );
        text
    }

    async fn apply(&self, value: &Value) -> String {
        self.feed("apply --server-side -f -", &value.to_string())
            .await
    }
}

/// The words of a printed table's line.
fn words(table: &str, line: usize) -> Vec<&str> {
    table
        .lines()
        .nth(line)
        .unwrap_or_default()
        .split_whitespace()
        .collect()
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "demo"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}})
}

/// Creates namespace `demo` with a deployment `web` of two pods.
async fn demo(k: &Kubectl) {
    k.run("create namespace demo").await;
    k.run("-n demo create deployment web --image=i --replicas=2")
        .await;
    k.run("-n demo wait deployment web --for=jsonpath={.status.replicas}=2 --timeout=20s")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_what_it_has_verbs_for() {
    let Some(k) = kubectl().await else { return };
    let rbac = "rbac.authorization.k8s.io";
    for (line, said) in [
        ("create namespace demo", "namespace/demo created".to_owned()),
        (
            "-n demo create deployment web --image=i",
            "deployment.apps/web created".to_owned(),
        ),
        (
            "-n demo expose deployment web --port=80",
            "service/web exposed".to_owned(),
        ),
        (
            "-n demo create serviceaccount bot",
            "serviceaccount/bot created".to_owned(),
        ),
        (
            "-n demo create configmap c --from-literal=a=1",
            "configmap/c created".to_owned(),
        ),
        (
            "-n demo create secret generic s --from-literal=a=1",
            "secret/s created".to_owned(),
        ),
        (
            "-n demo create job j --image=i",
            "job.batch/j created".to_owned(),
        ),
        (
            "create clusterrole reader --verb=get,list --resource=pods,services",
            format!("clusterrole.{rbac}/reader created"),
        ),
        (
            "create clusterrolebinding reader --clusterrole=reader --serviceaccount=demo:bot",
            format!("clusterrolebinding.{rbac}/reader created"),
        ),
        (
            "-n demo create role r --verb=get --resource=pods",
            format!("role.{rbac}/r created"),
        ),
        ("-n demo run p --image=i", "pod/p created".to_owned()),
    ] {
        assert_eq!(k.run(line).await, said, "{line}");
    }
    assert_eq!(
        k.run("-n demo create token bot").await.split('.').count(),
        3
    );
    let role = k.run("get clusterrole reader -o jsonpath={.rules}").await;
    let rules: Value = serde_json::from_str(&role).unwrap();
    assert_eq!(
        rules,
        json!([{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]}])
    );
    assert_eq!(
        k.refused("create namespace demo").await,
        "Error from server (AlreadyExists): namespaces \"demo\" already exists"
    );
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_in_every_form() {
    let Some(k) = kubectl().await else { return };
    demo(&k).await;
    let table = k.run("-n demo get deployments -o wide").await;
    let head = "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR";
    assert_eq!(words(&table, 0).join(" "), head);
    assert_eq!(words(&table, 1)[..2], ["web", "0/2"]);
    let pods = k.run("get pods -A -l app=web").await;
    assert_eq!(
        words(&pods, 0)[..4].join(" "),
        "NAMESPACE NAME READY STATUS"
    );
    assert_eq!(pods.lines().count(), 3);
    assert_eq!(
        words(&k.run("-n demo get cm,secret,sa").await, 0).join(" "),
        "NAME DATA AGE"
    );
    assert!(
        k.run("-n demo get all")
            .await
            .contains("deployment.apps/web")
    );
    let json: Value = serde_json::from_str(&k.run("-n demo get deploy web -o json").await).unwrap();
    assert_eq!(
        (&json["kind"], &json["spec"]["replicas"]),
        (&"Deployment".into(), &2.into())
    );
    assert!(
        k.run("-n demo get deploy web -o yaml")
            .await
            .contains("kind: Deployment")
    );
    let replicas = "-n demo get deploy web -o jsonpath={.spec.replicas}";
    assert_eq!(k.run(replicas).await, "2");
    let names = k
        .run("get namespaces -o jsonpath={.items[*].metadata.name}")
        .await;
    assert_eq!(
        names,
        "default demo kube-node-lease kube-public kube-system"
    );
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_deletes() {
    let Some(k) = kubectl().await else { return };
    demo(&k).await;
    let template = r#"{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"j"}]}}}}"#;
    let tier = r#"[{"op":"replace","path":"/metadata/labels/tier","value":"back"}]"#;
    let strategic = format!("patch deployment web --type=strategic -p {template}");
    let json = format!("patch deployment web --type=json -p {tier}");
    for (line, said) in [
        ("label deployment web tier=front", "labeled"),
        ("annotate deployment web note=x", "annotated"),
        ("scale deployment web --replicas=1", "scaled"),
        (strategic.as_str(), "patched"),
        (
            r#"patch deployment web --type=merge -p {"spec":{"replicas":3}}"#,
            "patched",
        ),
        (json.as_str(), "patched"),
    ] {
        let line = format!("-n demo {line}");
        assert_eq!(
            k.run(&line).await,
            format!("deployment.apps/web {said}"),
            "{line}"
        );
    }
    // Until the rollout is where it stops, the controllers write between what kubectl reads and what it patches.
    let again = r#"-n demo patch deployment web --type=merge -p {"spec":{"replicas":3}}"#;
    eventually("nothing to change", || async {
        let said = k.run(again).await;
        (said == "deployment.apps/web patched (no change)").then_some(())
    })
    .await;
    let path = "jsonpath={.spec.replicas},{.metadata.labels.tier},{.metadata.annotations.note}";
    let shown = k
        .run(&format!("-n demo get deploy -l tier=back -o {path}"))
        .await;
    assert_eq!(shown, ",,", "a list has no such fields");
    let shown = k.run(&format!("-n demo get deploy web -o {path}")).await;
    assert_eq!(shown, "3,back,x");
    let path = "jsonpath={.spec.template.spec.containers[*].image}";
    let images = k.run(&format!("-n demo get deploy web -o {path}")).await;
    assert!(
        images.contains('i') && images.contains('j'),
        "merged by name: {images}"
    );
    assert_eq!(
        k.run("-n demo delete deployment web").await,
        "deployment.apps \"web\" deleted"
    );
    assert_eq!(
        k.refused("-n demo get deployment web").await,
        "Error from server (NotFound): deployments.apps \"web\" not found"
    );
    k.run("delete namespace demo --timeout=20s").await;
    assert_eq!(k.run("get all -n demo").await, "");
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applies_server_side_and_names_who_is_in_the_way() {
    let Some(k) = kubectl().await else { return };
    let map = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "m", "namespace": "default"}, "data": {"k": value}})
    };
    assert_eq!(k.apply(&map("1")).await, "configmap/m serverside-applied");
    assert_eq!(k.apply(&map("1")).await, "configmap/m serverside-applied");
    std::fs::write(k.home.join("m.json"), map("2").to_string()).unwrap();
    let file = k.home.join("m.json").display().to_string();
    let apply = format!("apply --server-side --field-manager=other -f {file}");
    let conflict = k.refused(&apply).await;
    assert!(
        conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.k"),
        "{conflict}"
    );
    k.run(&format!("{apply} --force-conflicts")).await;
    assert_eq!(k.run("get cm m -o jsonpath={.data.k}").await, "2");
    assert_eq!(
        k.run(&format!(
            "apply --server-side --dry-run=server --force-conflicts -f {file}"
        ))
        .await,
        "configmap/m serverside-applied (server dry run)"
    );
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "links.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "links", "singular": "link", "kind": "Link", "listKind": "LinkList", "shortNames": ["ln"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"cluster": {"type": "string"}}}}}},
                "additionalPrinterColumns": [{"name": "Cluster", "type": "string", "jsonPath": ".spec.cluster"}]}]}});
    k.apply(&crd).await;
    k.run("wait crd/links.example.com --for=condition=Established --timeout=20s")
        .await;
    k.apply(&json!({"apiVersion": "example.com/v1", "kind": "Link",
        "metadata": {"name": "east", "namespace": "default"}, "spec": {"cluster": "east"}}))
        .await;
    let table = k.run("get ln").await;
    assert_eq!(
        (words(&table, 0), words(&table, 1)),
        (vec!["NAME", "CLUSTER"], vec!["east", "east"])
    );
    let resources = k.run("api-resources").await;
    for line in [
        "deployments deploy apps/v1 true Deployment",
        "links ln example.com/v1 true Link",
        "tokenreviews authentication.k8s.io/v1 false TokenReview",
    ] {
        let wanted: Vec<&str> = line.split(' ').collect();
        let found = resources
            .lines()
            .any(|own| own.split_whitespace().collect::<Vec<_>>() == wanted);
        assert!(found, "{line} in\n{resources}");
    }
    assert!(k.run("api-versions").await.contains("example.com/v1"));
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_and_waits() {
    let Some(k) = kubectl().await else { return };
    k.apply(&pod("one")).await;
    let mut watch = k.command("get pods -w");
    let mut child = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = tokio::time::timeout(DEADLINE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line().await, ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(line().await[..3], ["one", "0/1", "Pending"]);
    let waiting = k.run("wait pod one --for=condition=Ready --timeout=20s");
    let status = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"c","ready":true,"restartCount":0,"image":"i","imageID":"","state":{"running":{}}}]}}"#;
    let line_of_patch = format!("patch pod one --subresource=status --type=merge -p {status}");
    let patching = k.run(&line_of_patch);
    let (waited, patched) = tokio::join!(waiting, patching);
    assert_eq!(
        (waited.as_str(), patched.as_str()),
        ("pod/one condition met", "pod/one patched")
    );
    assert_eq!(line().await[..3], ["one", "1/1", "Running"]);
    k.run("delete pod one --grace-period=0 --force").await;
    assert_eq!(line().await[0], "one", "its last state");
    child.kill().await.unwrap();
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_who_may_what() {
    let Some(k) = kubectl().await else { return };
    k.run("create serviceaccount bot").await;
    k.run("create rolebinding bot --clusterrole=view --serviceaccount=default:bot")
        .await;
    assert_eq!(k.run("auth can-i create pods").await, "yes");
    let bot = "--as=system:serviceaccount:default:bot";
    assert_eq!(k.run(&format!("auth can-i list pods {bot}")).await, "yes");
    let output = k.output(&format!("auth can-i delete pods {bot}"), "").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "no");
    assert!(
        k.run(&format!("auth can-i --list {bot}"))
            .await
            .contains("pods/log")
    );
    assert!(k.run("auth whoami").await.contains("kubernetes-admin"));
    assert_eq!(
        k.refused(&format!("delete pod x {bot}")).await,
        "Error from server (Forbidden): pods \"x\" is forbidden: User \"system:serviceaccount:default:bot\" \
         cannot delete resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let greedy = format!(
        "create rolebinding greedy --clusterrole=cluster-admin --serviceaccount=default:bot {bot}"
    );
    assert!(k.refused(&greedy).await.contains("is forbidden"));
    k.cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_logs_through_the_node() {
    let Some(k) = kubectl().await else { return };
    let port = node_agent(&k.cluster).await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    k.apply(&node).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.40.8.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    k.run(&format!(
        "patch node n --subresource=status --type=merge -p {status}"
    ))
    .await;
    k.apply(&pod("one")).await;
    assert_eq!(
        k.run("logs one --tail=2").await,
        "GET /containerLogs/default/one/c?container=c&tailLines=2 HTTP/1.1"
    );
    assert_eq!(
        k.run("logs -f one").await.split('?').next(),
        Some("GET /containerLogs/default/one/c")
    );
    assert!(
        k.refused("logs absent")
            .await
            .contains("pods \"absent\" not found")
    );
    assert!(
        k.refused("logs one -c nothing")
            .await
            .contains("container nothing is not valid for pod one")
    );
    k.cluster.running.stop().await;
}

/// A log server as the node agent's: demands a client certificate, answers with the request's first line.
async fn node_agent(cluster: &Cluster) -> u16 {
    let pki = cluster.dir.path().join("data/pki");
    let read = |name: &str| std::fs::read(pki.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&read("ca.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&read("kubelet.crt")).unwrap()],
            PrivateKeyDer::from_pem_slice(&read("kubelet.key")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.40.8.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            let mut text = String::new();
            while !text.contains("\r\n\r\n") {
                let mut bytes = [0; 1024];
                let length = tls.read(&mut bytes).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            let line = text.lines().next().unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}",
                line.len()
            );
            tls.write_all(answer.as_bytes()).await.unwrap();
            tls.shutdown().await.unwrap();
        }
    };
    tombolo_shell::task::Tasks::new().spawn("node agent", serve);
    port
}
