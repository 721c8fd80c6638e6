//! What fuzzing does with a run of bytes: makes requests of it, for our API server in this process.
//!
//! Decides only that nothing panics, nothing takes long, and every watch line is one event. The targets of `fuzz/`
//! call [`Fuzz::run`]; the tests replay the committed corpora and changes of them. Must not know how requests are
//! carried out.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tombolo_apiserver::auth::User;
use tombolo_apiserver::db::Controllers;
use tombolo_apiserver::run::{Config, InProcess};

/// Inputs after which the server is a new one: what they made would pile up.
const INPUTS_MAX: usize = 500;
/// No input may keep the server busy longer, even without optimization.
const DEADLINE: Duration = Duration::from_secs(60);
/// Larger inputs find nothing that smaller ones do not.
pub const BYTES_MAX: usize = 64 * 1024;

/// What the bytes are made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A line with method and path, a line with the content type, a body.
    Request,
    /// A byte that chooses the type of patch and the object, and the patch.
    Patch,
    /// A byte that chooses the kind, and the body of a create.
    Protobuf,
    /// The schema of a custom resource, and an object of that kind.
    Crd,
    /// The query of a watch, and after a line end the value of an object that it sees.
    Watch,
}

impl Target {
    /// All of them, with the names of their corpora.
    pub const ALL: [(&'static str, Self); 5] = [
        ("request", Self::Request),
        ("patch", Self::Patch),
        ("protobuf", Self::Protobuf),
        ("crd", Self::Crd),
        ("watch", Self::Watch),
    ];
}

/// A server for one input after the other.
pub struct Fuzz {
    runtime: Runtime,
    server: Option<(kube::Client, InProcess)>,
    inputs: usize,
}

impl std::fmt::Debug for Fuzz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fuzz")
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

impl Fuzz {
    /// Without a server yet.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub fn new() -> Result<Self> {
        tombolo_shell::tls::install_provider();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        Ok(Self {
            runtime,
            server: None,
            inputs: 0,
        })
    }

    /// Has the server carry out what the bytes are made into.
    ///
    /// # Errors
    /// When it takes long, or answers what it must not.
    pub fn run(&mut self, target: Target, bytes: &[u8]) -> Result<()> {
        let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
        let client = self.client()?;
        let began = Instant::now();
        self.runtime.block_on(async {
            match target {
                Target::Request => request(&client, bytes).await,
                Target::Patch => patch(&client, bytes).await,
                Target::Protobuf => protobuf(&client, bytes).await,
                Target::Crd => crd(&client, bytes).await,
                Target::Watch => watch(&client, bytes).await,
            }
        })?;
        let took = began.elapsed();
        ensure!(took < DEADLINE, "it took {took:?}");
        Ok(())
    }

    fn client(&mut self) -> Result<kube::Client> {
        self.inputs += 1;
        if let Some((client, server)) = self.server.take() {
            if self.inputs < INPUTS_MAX {
                let again = client.clone();
                self.server = Some((client, server));
                return Ok(again);
            }
            self.runtime.block_on(server.stop());
        }
        self.inputs = 0;
        let config = Config {
            controllers: Controllers::Off,
            ..Config::memory()
        };
        let (client, server) = self.runtime.block_on(async {
            let server = InProcess::start(&config).await?;
            let client = kube::Client::new(server.client_service(User::admin()), "default");
            for (path, object) in OBJECTS {
                send(&client, Method::POST, path, JSON, object.as_bytes()).await?;
            }
            Ok::<_, anyhow::Error>((client, server))
        })?;
        self.server = Some((client.clone(), server));
        Ok(client)
    }
}

const JSON: &str = "application/json";

/// What there is to patch.
const OBJECTS: [(&str, &str); 3] = [
    (
        "/api/v1/namespaces/default/services",
        r#"{"metadata":{"name":"o"},"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":81}]}}"#,
    ),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        r#"{"metadata":{"name":"o"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"X","value":"1"}]}]}}}}"#,
    ),
    (
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"o","labels":{"set":"a"}},"data":{"k":"1"}}"#,
    ),
];

const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Asks, and reads what there is of the answer. What cannot be sent as a request is none.
async fn send(
    client: &kube::Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Option<Vec<u8>>> {
    let built = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(Body::from(body.to_vec()));
    let Ok(request) = built else { return Ok(None) };
    let response = client.send(request).await?;
    let mut body = response.into_body();
    let mut all = Vec::new();
    // A watch never ends by itself: what it has to say at once is there at once.
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(20), body.frame()).await
    {
        let frame = frame.map_err(|error| anyhow::anyhow!("{error}"))?;
        all.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    Ok(Some(all))
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

async fn request(client: &kube::Client, bytes: &[u8]) -> Result<()> {
    let (line, rest) = split(bytes);
    let (content_type, body) = split(rest);
    let line = String::from_utf8_lossy(line);
    let (method, path) = line.split_once(' ').unwrap_or(("GET", &line));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return Ok(());
    };
    let content_type = String::from_utf8_lossy(content_type);
    send(client, method, path, &content_type, body).await?;
    Ok(())
}

async fn patch(client: &kube::Client, bytes: &[u8]) -> Result<()> {
    let Some((choice, body)) = bytes.split_first() else {
        return Ok(());
    };
    let choice = usize::from(*choice);
    let (path, _) = OBJECTS[choice / PATCHES.len() % OBJECTS.len()];
    let path = format!("{path}/o?fieldManager=fuzz&force=true&dryRun=All");
    let path = if choice % PATCHES.len() == 3 {
        path
    } else {
        path.replace("&force=true", "")
    };
    let content_type = PATCHES[choice % PATCHES.len()];
    send(client, Method::PATCH, &path, content_type, body).await?;
    Ok(())
}

async fn protobuf(client: &kube::Client, bytes: &[u8]) -> Result<()> {
    let Some((choice, body)) = bytes.split_first() else {
        return Ok(());
    };
    let (path, _) = OBJECTS[usize::from(*choice) % OBJECTS.len()];
    let content_type = "application/vnd.kubernetes.protobuf";
    let body = [b"k8s\0", body].concat();
    send(client, Method::POST, path, content_type, &body).await?;
    Ok(())
}

async fn crd(client: &kube::Client, bytes: &[u8]) -> Result<()> {
    let (schema, object) = split(bytes);
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else {
        return Ok(());
    };
    let value: Value = serde_json::from_slice(object).unwrap_or_default();
    tombolo_apiserver::exercise_schema(&schema, &json!({}), &value);
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget"});
    let definition = json!({
        "metadata": {"name": "widgets.fuzz.example.com"},
        "spec": {"group": "fuzz.example.com", "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}}]}});
    let definition = definition.to_string();
    send(client, Method::POST, crds, JSON, definition.as_bytes()).await?;
    let widgets = "/apis/fuzz.example.com/v1/namespaces/default/widgets";
    let mut object = if value.is_object() { value } else { json!({}) };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("metadata".to_owned(), json!({"name": "w"}));
    }
    let object = object.to_string();
    send(client, Method::POST, widgets, JSON, object.as_bytes()).await?;
    for path in [
        format!("{widgets}/w"),
        format!("{crds}/widgets.fuzz.example.com"),
    ] {
        send(client, Method::DELETE, &path, JSON, b"").await?;
    }
    Ok(())
}

async fn watch(client: &kube::Client, bytes: &[u8]) -> Result<()> {
    let (query, value) = split(bytes);
    let query = String::from_utf8_lossy(query);
    let value = String::from_utf8_lossy(value);
    let (maps, _) = OBJECTS[2];
    let change = json!({"data": {"k": value}}).to_string();
    let one = format!("{maps}/o");
    send(client, Method::PATCH, &one, PATCHES[1], change.as_bytes()).await?;
    let path = format!("{maps}?watch=1&{query}");
    let Some(answer) = send(client, Method::GET, &path, JSON, b"").await? else {
        return Ok(());
    };
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        let event: Value = serde_json::from_slice(line).context("a line is not JSON")?;
        let whole = event["type"].is_string() && event["object"].is_object();
        let refused = event["kind"] == "Status" || event["kind"].is_string();
        ensure!(whole || refused, "a line is no event: {event}");
    }
    Ok(())
}
