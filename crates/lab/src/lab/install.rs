//! Writing the scenario's objects to the clusters.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use futures_util::future::try_join_all;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};
use tombolo_k8s::manifest::CONTROL;

use super::STEP;
use crate::cluster::Cluster;
use crate::manifests::{self, GATEWAY, REMOTE_ACCESS, SERVICES, TargetFacts};
use crate::pki::write_private;
use crate::topology::{CONTROL_NAMESPACE, LinkPlan, Route, links as planned_links};

const MANAGER: &str = "tombolo-lab";
/// How long the credential of a Link, or of a control plane, is valid.
const CREDENTIAL_SECONDS: i64 = 7 * 24 * 3600;
/// How long a gateway may take to have an address.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a definition may take to be served.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes one kubeconfig with the contexts of all clusters.
pub(super) fn kubeconfig(clusters: &[Cluster], path: &Path) -> Result<()> {
    let mut all = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "current-context": clusters.first().map_or("", |cluster| cluster.plan.name),
        "clusters": [], "users": [], "contexts": [],
    });
    for cluster in clusters {
        let path = cluster.kubeconfig();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let one: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        for list in ["clusters", "users", "contexts"] {
            let entries = one[list].as_array().cloned().unwrap_or_default();
            if let Some(into) = all[list].as_array_mut() {
                into.extend(entries);
            }
        }
    }
    let text = serde_saphyr::to_string(&all).context("encode the kubeconfig")?;
    write_private(path, text.as_bytes())
}

/// What a cluster has before its control plane starts, and the kubeconfig by which that does its work.
pub(super) async fn base(cluster: &Cluster) -> Result<()> {
    let name = || format!("install {}", cluster.plan.name);
    let client = cluster.client().await?;
    for object in manifests::base() {
        apply(&client, object).await.with_context(name)?;
    }
    let token = token(&client, CONTROL).await.with_context(name)?;
    let admin = cluster.kubeconfig();
    let text =
        std::fs::read_to_string(&admin).with_context(|| format!("read {}", admin.display()))?;
    let text =
        with_token(&text, CONTROL, &token).with_context(|| format!("use {}", admin.display()))?;
    write_private(&cluster.control_kubeconfig(), text.as_bytes())
}

/// The kubeconfig of a service account for the cluster of another kubeconfig. Of the latter's user nothing
/// is taken over.
fn with_token(kubeconfig: &str, account: &str, token: &str) -> Result<String> {
    let from: Value = serde_saphyr::from_str(kubeconfig).context("read the kubeconfig")?;
    let cluster = from
        .pointer("/clusters/0")
        .context("a kubeconfig without a cluster")?;
    let user = json!({ "name": account, "user": { "token": token } });
    let context = json!({
        "name": account, "context": { "cluster": cluster["name"], "user": account },
    });
    let all = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": account,
        "clusters": [cluster], "users": [user], "contexts": [context],
    });
    serde_saphyr::to_string(&all).context("encode the kubeconfig")
}

/// The gateway of a cluster, if a Link leads through it.
pub(super) async fn gateway(cluster: &Cluster) -> Result<()> {
    let through =
        |link: &LinkPlan| link.target == cluster.plan.name && link.route == Route::Gateway;
    if planned_links().iter().any(through) {
        deploy(cluster, manifests::gateway()).await?;
    }
    Ok(())
}

/// The services that the scenario has in a cluster.
pub(super) async fn services(cluster: &Cluster, port: u16) -> Result<()> {
    let here = |plan: &&manifests::ServicePlan| plan.clusters.contains(&cluster.plan.name);
    let plans = SERVICES.iter().filter(here);
    deploy(
        cluster,
        plans.flat_map(|plan| manifests::service(plan, port)),
    )
    .await
}

async fn deploy(cluster: &Cluster, objects: impl IntoIterator<Item = Value>) -> Result<()> {
    let client = cluster.client().await?;
    for object in objects {
        apply(&client, object)
            .await
            .with_context(|| format!("deploy to {}", cluster.plan.name))?;
    }
    Ok(())
}

/// All Links with their credentials.
pub(super) async fn links(clusters: &[Cluster]) -> Result<()> {
    let find = |name: &str| {
        let found = clusters.iter().find(|cluster| cluster.plan.name == name);
        found.with_context(|| format!("there is no cluster {name}"))
    };
    let plans = planned_links();
    let made = plans.iter().map(async |plan| {
        let (source, target) = (find(plan.source)?, find(plan.target)?);
        link(plan, source, target)
            .await
            .with_context(|| format!("link {} to {}", plan.source, plan.name))
    });
    try_join_all(made).await.map(drop)
}

async fn link(plan: &LinkPlan, source: &Cluster, target: &Cluster) -> Result<()> {
    let remote = target.client().await?;
    let path = target.kubeconfig();
    let config = kube::config::Kubeconfig::read_from(&path)
        .with_context(|| format!("read {}", path.display()))?;
    let authority = config
        .clusters
        .first()
        .and_then(|named| named.cluster.as_ref()?.certificate_authority_data.clone())
        .context("a kubeconfig without the data of a certificate authority")?;
    let authority = base64::engine::general_purpose::STANDARD
        .decode(&authority)
        .context("the certificate authority")?;
    let facts = TargetFacts {
        server: format!("https://{}", target.plan.api()),
        authority_pem: String::from_utf8(authority).context("the certificate authority")?,
        token: token(&remote, REMOTE_ACCESS).await?,
        gateway: match plan.route {
            Route::Flat => None,
            Route::Gateway => Some(gateway_address(&remote).await?),
        },
    };
    let client = source.client().await?;
    for object in manifests::link(plan, &facts)? {
        apply(&client, object).await?;
    }
    Ok(())
}

async fn token(remote: &kube::Client, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(remote.clone(), CONTROL_NAMESPACE);
    let request: TokenRequest = serde_json::from_value(json!({
        "metadata": {}, "spec": { "audiences": [], "expirationSeconds": CREDENTIAL_SECONDS },
    }))
    .context("build a token request")?;
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .with_context(|| format!("token of service account {CONTROL_NAMESPACE}/{account}"))?;
    answer
        .status
        .and_then(|status| status.token)
        .context("an answer without a token")
}

/// Waits until the gateway has an address; its Service.
async fn gateway_address(remote: &kube::Client) -> Result<Value> {
    let services: Api<Service> = Api::namespaced(remote.clone(), CONTROL_NAMESPACE);
    let deadline = Instant::now() + GATEWAY_TIMEOUT;
    loop {
        let service = services
            .get(GATEWAY)
            .await
            .context("the gateway's Service")?;
        let balancer = service
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref());
        if balancer.is_some_and(|b| b.ingress.as_ref().is_some_and(|list| !list.is_empty())) {
            return serde_json::to_value(service).context("the gateway's Service");
        }
        anyhow::ensure!(Instant::now() < deadline, "the gateway got no address");
        tokio::time::sleep(STEP).await;
    }
}

/// Server-side apply, as our user would do it; a definition that is not served yet is waited for.
async fn apply(client: &kube::Client, object: Value) -> Result<()> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    let deadline = Instant::now() + APPLY_TIMEOUT;
    loop {
        let Err(error) = api.patch(&name, &params, &Patch::Apply(&object)).await else {
            return Ok(());
        };
        let not_served = matches!(&error, kube::Error::Api(status) if status.code == 404);
        if !not_served || Instant::now() > deadline {
            return Err(error).with_context(|| format!("apply {kind} {name}"));
        }
        tokio::time::sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_of_an_account_holds_nothing_of_the_administrator() {
        let admin = "apiVersion: v1\nkind: Config\ncurrent-context: west\n\
            clusters:\n- name: west\n  cluster:\n    server: https://127.10.0.1:6443\n    \
            certificate-authority-data: Q0E=\n\
            contexts:\n- name: west\n  context:\n    cluster: west\n    user: west-admin\n\
            users:\n- name: west-admin\n  user:\n    client-certificate-data: Q0VSVA==\n    \
            client-key-data: S0VZ\n";
        let text = with_token(admin, "control", "a.b.c").unwrap();
        for secret in ["Q0VSVA==", "S0VZ", "admin"] {
            assert!(!text.contains(secret), "{text}");
        }
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let token = json!([{ "name": "control", "user": { "token": "a.b.c" } }]);
        assert_eq!(config["users"], token);
        let cluster = &config["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://127.10.0.1:6443");
        assert_eq!(cluster["certificate-authority-data"], "Q0E=");
        let context = &config["contexts"][0];
        assert_eq!(config["current-context"], context["name"]);
        assert_eq!(
            context["context"],
            json!({ "cluster": "west", "user": "control" })
        );
    }
}
