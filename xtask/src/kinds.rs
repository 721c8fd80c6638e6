//! `cargo xtask kinds`: what the API server knows of Kubernetes' own kinds, taken from Kubernetes.
//!
//! Discovery and OpenAPI come from a real server that the judge starts; field names, types and numbers come from
//! the Go modules of the same version. Written to `crates/apiserver/data`, and committed; `--check` only compares.

mod go;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::cargo::root;
use crate::say;

/// The release that all of it belongs to.
const STAGING: &str = "v0.37.2";
/// Modules with types.
const MODULES: &[&str] = &[
    "api",
    "apimachinery",
    "apiextensions-apiserver",
    "kube-aggregator",
];
/// Types that belong to no resource.
const META: &[&str] = &[
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "PatchOptions",
    "Status",
    "UpdateOptions",
    "WatchEvent",
];

/// Kubernetes' OpenAPI documents, packed.
const OPENAPI_FILE: &str = "openapi.lzma";
/// The media type of OpenAPI v2 as protobuf.
const OPENAPI: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What becomes of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// They take the place of those that are there.
    Write,
    /// Those that are there must say the same.
    Compare,
}

/// Makes all files anew.
///
/// # Errors
/// When a tool is missing, the real server cannot be asked, or a file that is compared says something else.
pub(crate) fn run(then: Then) -> Result<()> {
    let data = root().join("crates/apiserver/data");
    std::fs::create_dir_all(&data).context("make the directory of the data")?;
    let modules = modules()?;
    let real = Real::start()?;
    let discovery = discovery(&real)?;
    let types = table::table(&table::Sources { modules }, &roots(&discovery))?;
    let archive = openapi(&real)?;
    let files = [
        ("types.txt", types.into_bytes()),
        ("discovery.json", pretty(&discovery)?.into_bytes()),
        (OPENAPI_FILE, archive),
    ];
    drop(real);
    let mut stale = Vec::new();
    for (name, bytes) in files {
        let path = data.join(name);
        match then {
            Then::Write if name == OPENAPI_FILE => write(&path, &compressed(&bytes)?)?,
            Then::Write => write(&path, &bytes)?,
            Then::Compare if text_of(&path)? == bytes => say(format!("{name} is as it was")),
            Then::Compare => stale.push(name),
        }
    }
    ensure!(
        stale.is_empty(),
        "Kubernetes says something else now than {} in {}: run cargo xtask kinds, and look at the difference",
        stale.join(" and "),
        data.display()
    );
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
    say(format!("{} ({} bytes)", path.display(), bytes.len()));
    Ok(())
}

/// What a file says, without its compression: another xz may pack the same in another way.
fn text_of(path: &Path) -> Result<Vec<u8>> {
    if !path.ends_with(OPENAPI_FILE) {
        return std::fs::read(path).with_context(|| format!("read {}", path.display()));
    }
    xz(&["--format=lzma", "--decompress", "--stdout"], path)
}

fn pretty(value: &Value) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

/// A real cluster, as long as this lives.
struct Real {
    judge: Child,
    kubeconfig: String,
}

impl Real {
    fn start() -> Result<Self> {
        let mut judge = Command::new("cargo")
            .args(["run", "-q", "-p", "tombolo-judge", "--", "--real"])
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the judge's real cluster")?;
        let stdout = judge.stdout.take().context("the judge has no output")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("listen to the judge")?;
        let kubeconfig = line
            .trim()
            .strip_prefix("export KUBECONFIG=")
            .map(str::to_owned);
        let kubeconfig = kubeconfig.context("the judge began no real cluster")?;
        Ok(Self { judge, kubeconfig })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let output = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig, "get", "--raw", path])
            .output()
            .context("run kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl get --raw {path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// In a form that kubectl does not ask for by itself.
    fn get_as(&self, path: &str, form: &str) -> Result<Vec<u8>> {
        let mut proxy = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig, "proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .context("run kubectl proxy")?;
        let fetched = fetch(&mut proxy, path, form);
        proxy.kill().ok();
        proxy.wait().ok();
        fetched
    }

    fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(&self.get(path)?).with_context(|| format!("read {path}"))
    }
}

/// Through a proxy that says where it serves.
fn fetch(proxy: &mut Child, path: &str, form: &str) -> Result<Vec<u8>> {
    let stdout = proxy.stdout.take().context("the proxy has no output")?;
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("listen to the proxy")?;
    let address = line.split_whitespace().last().unwrap_or_default();
    let output = Command::new("curl")
        .args(["-sSf", "-H", &format!("Accept: {form}")])
        .arg(format!("http://{address}{path}"))
        .output()
        .context("run curl")?;
    ensure!(
        output.status.success(),
        "{path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

impl Drop for Real {
    fn drop(&mut self) {
        // The end of its input ends the cluster.
        drop(self.judge.stdin.take());
        self.judge.wait().ok();
    }
}

/// Every group with its versions, in the order of `/apis`, and every version's resources in theirs.
fn discovery(real: &Real) -> Result<Value> {
    let services = real.json("/apis/apiregistration.k8s.io/v1/apiservices")?;
    let mut groups = vec![json!({"name": "", "versions": ["v1"]})];
    for group in real.json("/apis")?["groups"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let versions = group["versions"].as_array().into_iter().flatten();
        let versions: Vec<Value> = versions.map(|version| version["version"].clone()).collect();
        groups.push(json!({"name": group["name"], "versions": versions}));
    }
    for group in &mut groups {
        group["priorities"] = priorities(&services, group);
    }
    let mut resources = Map::new();
    for group in &groups {
        for version in group["versions"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().unwrap_or_default();
            let version = version.as_str().unwrap_or_default();
            let (path, key) = match name {
                "" => (format!("/api/{version}"), version.to_owned()),
                _ => (
                    format!("/apis/{name}/{version}"),
                    format!("{name}/{version}"),
                ),
            };
            resources.insert(key, real.json(&path)?["resources"].take());
        }
    }
    Ok(json!({"groups": groups, "resources": resources}))
}

/// For each version that has an APIService, the priorities of group and version.
fn priorities(services: &Value, group: &Value) -> Value {
    let services = services["items"].as_array().map_or(&[][..], Vec::as_slice);
    let versions = group["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let found = versions.iter().filter_map(|version| {
        let spec = services
            .iter()
            .map(|service| &service["spec"])
            .find(|spec| {
                let named = spec["group"].as_str().unwrap_or_default();
                group["name"] == named && spec["version"] == *version
            })?;
        Some(json!([
            spec["groupPriorityMinimum"],
            spec["versionPriority"]
        ]))
    });
    found.collect()
}

/// The types of everything that discovery names, and of their lists.
fn roots(discovery: &Value) -> BTreeSet<String> {
    let mut roots: BTreeSet<String> = META.iter().map(|name| format!("meta/v1.{name}")).collect();
    for (group_version, resources) in discovery["resources"].as_object().into_iter().flatten() {
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        for resource in resources.as_array().into_iter().flatten() {
            let kind = resource["kind"].as_str().unwrap_or_default();
            let group = resource["group"].as_str().unwrap_or(group);
            let version = resource["version"].as_str().unwrap_or(version);
            let package = match group.split('.').next() {
                None | Some("") => "core",
                Some(first) => first,
            };
            roots.insert(format!("{package}/{version}.{kind}"));
            roots.insert(format!("{package}/{version}.{kind}List"));
        }
    }
    roots
}

fn modules() -> Result<BTreeMap<String, PathBuf>> {
    let mut modules = BTreeMap::new();
    for module in MODULES {
        let output = Command::new("go")
            .args([
                "mod",
                "download",
                "-json",
                &format!("k8s.io/{module}@{STAGING}"),
            ])
            .output()
            .context("run go")?;
        let said: Value = serde_json::from_slice(&output.stdout).context("read what go says")?;
        let Some(directory) = said["Dir"].as_str() else {
            bail!("go has no module {module}: {said}");
        };
        modules.insert((*module).to_owned(), PathBuf::from(directory));
    }
    Ok(modules)
}

/// A line for each document, `PATH HASH LENGTH`, an empty line, and the documents one after the other.
fn openapi(real: &Real) -> Result<Vec<u8>> {
    let mut head = String::new();
    let mut documents = Vec::new();
    let mut append = |path: &str, hash: &str, document: &[u8]| {
        writeln!(head, "{path} {hash} {}", document.len()).ok();
        documents.extend_from_slice(document);
    };
    let index = real.json("/openapi/v3")?;
    for (path, entry) in index["paths"].as_object().into_iter().flatten() {
        let url = entry["serverRelativeURL"].as_str().unwrap_or_default();
        let hash = url.split_once("hash=").map_or("-", |(_, hash)| hash);
        append(&format!("v3/{path}"), hash, &real.get(url)?);
    }
    append("v2", "-", &real.get("/openapi/v2")?);
    append("v2-protobuf", "-", &real.get_as("/openapi/v2", OPENAPI)?);
    head.push('\n');
    Ok([head.as_bytes(), &documents].concat())
}

/// In the format of LZMA alone, which every xz writes.
fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("tombolo-kinds-{}", std::process::id()));
    std::fs::write(&path, bytes).context("write the documents")?;
    let packed = xz(
        &["--format=lzma", "--lzma1=preset=9e,dict=8MiB", "--stdout"],
        &path,
    );
    std::fs::remove_file(&path).ok();
    packed
}

fn xz(arguments: &[&str], file: &Path) -> Result<Vec<u8>> {
    let output = Command::new("xz").args(arguments).arg(file).output();
    let output = output.context("run xz")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "xz {}: {said}", file.display());
    Ok(output.stdout)
}
