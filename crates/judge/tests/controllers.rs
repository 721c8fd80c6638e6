//! kube-controller-manager runs against our API server in place of our own controllers, and does its job.
//!
//! Without the real programs its tests count as ignored, unless `TOMBOLO_REAL=required` makes that a failure.
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tombolo_judge::{Kind, Managed};

/// What comes, comes before this once the controllers are at work.
const PATIENCE: Duration = Duration::from_secs(90);
/// The controllers are at work before this.
const START: Duration = Duration::from_secs(300);
/// How often a write is tried again because somebody else wrote first.
const CONFLICTS_MAX: usize = 100;

const TESTS: &[&str] = &[
    "a_deployment_becomes_pods_behind_a_service",
    "an_owner_that_goes_takes_its_own_along",
    "a_namespace_gets_its_account_and_goes_with_everything",
    "a_job_runs_to_its_end",
];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let can_run = Kind::available()?.contains(&Kind::Real);
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let wanted = TESTS.iter().any(|name| name.contains(filter));
    let trials = if arguments.list || !can_run || !wanted {
        let ignored = |name: &&str| Trial::test(*name, || Ok(())).with_ignored_flag(!can_run);
        TESTS.iter().map(ignored).collect()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(run())?
    };
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

async fn run() -> Result<Vec<Trial>> {
    let cluster = Managed::start("managed").await?;
    let api = Client(cluster.client().await?);
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let begun = api
        .within(START, account, "the default account", |found| {
            !found.is_null()
        })
        .await;
    begun.with_context(|| cluster.log())?;
    let outcomes = tokio::join!(deployment(&api), owner(&api), namespace(&api), job(&api));
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
    let log = cluster.log();
    let trial = |(name, outcome): (&&str, Result<()>)| {
        let told = outcome.map_err(|error| Failed::from(format!("{error:#}\n{log}")));
        Trial::test(*name, move || told)
    };
    Ok(TESTS.iter().zip(outcomes).map(trial).collect())
}

struct Client(kube::Client);

impl Client {
    async fn send(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body)?)?;
        let text = self.0.request_text(request).await;
        let text = text.with_context(|| format!("{method} {path}"))?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        let text = self.0.request_text(request).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Changes the status of what is at a path, which the controllers change at the same time.
    async fn set_status(&self, path: &str, change: impl Fn(&mut Value)) -> Result<()> {
        for _ in 0..CONFLICTS_MAX {
            let mut object = self.get(path).await?;
            change(&mut object);
            let put = self.send("PUT", &format!("{path}/status"), object).await;
            let Err(error) = put else { return Ok(()) };
            match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) if status.code == 409 => {}
                _ => return Err(error),
            }
        }
        bail!("{path} was changed {CONFLICTS_MAX} times meanwhile")
    }

    /// What is at a path, once it is as it shall be; what is not there is null.
    async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        self.within(PATIENCE, path, what, holds).await
    }

    async fn within(
        &self,
        patience: Duration,
        path: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.get(path).await.unwrap_or(Value::Null);
            if holds(&found) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{path} did not come to have {what}: {found:#}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn template(app: &str, restart: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"restartPolicy": restart,
        "containers": [{"name": "c", "image": "i"}]}})
}

async fn deployment(api: &Client) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    api.send("POST", "/api/v1/nodes", node).await?;
    let default = "/api/v1/namespaces/default";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    api.send("POST", &format!("{default}/services"), service)
        .await?;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                 "template": template("web", "Always")}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.send("POST", deployments, deployment).await?;
    let pods = format!("{default}/pods?labelSelector=app%3Dweb");
    let found = api
        .until(&pods, "two Pods", |list| items(list).len() == 2)
        .await?;
    for (at, pod) in items(&found).iter().enumerate() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": "n1"}});
        let path = format!("{default}/pods/{name}");
        api.send("POST", &format!("{path}/binding"), binding)
            .await?;
        let ip = format!("10.1.0.{}", at + 1);
        let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        api.set_status(&path, |pod| pod["status"] = status.clone())
            .await?;
    }
    api.until(&format!("{deployments}/web"), "two that serve", |found| {
        found["status"]["availableReplicas"] == 2
    })
    .await?;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    api.until(slices, "two endpoints", |list| {
        let endpoints = items(list)
            .iter()
            .filter_map(|slice| slice["endpoints"].as_array());
        endpoints.map(Vec::len).sum::<usize>() == 2
    })
    .await?;
    Ok(())
}

async fn owner(api: &Client) -> Result<()> {
    let maps = "/api/v1/namespaces/default/configmaps";
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}});
    let owner = api.send("POST", maps, owner).await?;
    let kid = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kid",
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
                             "uid": owner["metadata"]["uid"]}]}});
    api.send("POST", maps, kid).await?;
    api.send("DELETE", &format!("{maps}/owner"), json!({}))
        .await?;
    api.until(&format!("{maps}/kid"), "gone", Value::is_null)
        .await?;
    Ok(())
}

async fn namespace(api: &Client) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short"}});
    api.send("POST", "/api/v1/namespaces", namespace).await?;
    let path = "/api/v1/namespaces/short";
    let account = format!("{path}/serviceaccounts/default");
    api.until(&account, "an account", |found| !found.is_null())
        .await?;
    let map = format!("{path}/configmaps/kube-root-ca.crt");
    api.until(&map, "the root's certificate", |found| !found.is_null())
        .await?;
    api.send("DELETE", path, json!({})).await?;
    api.until(path, "gone", Value::is_null).await?;
    Ok(())
}

async fn job(api: &Client) -> Result<()> {
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
        "spec": {"template": template("once", "Never")}});
    api.send("POST", jobs, job).await?;
    let pods = "/api/v1/namespaces/default/pods?labelSelector=job-name%3Donce";
    let found = api
        .until(pods, "a Pod", |list| items(list).len() == 1)
        .await?;
    let pod = &items(&found)[0];
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    api.set_status(&path, |pod| pod["status"]["phase"] = json!("Succeeded"))
        .await?;
    api.until(&format!("{jobs}/once"), "its end", |found| {
        found["status"]["completionTime"].is_string()
    })
    .await?;
    Ok(())
}
