//! A cluster as a user sees it, and how others reach it.
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tombolo_judge::{Cluster, Kind, Parts};

/// What is waited for comes before this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) client: kube::Client,
    /// What RBAC has refused before the API server last ended.
    refused_before: f64,
}

impl Site {
    pub(crate) async fn start(kind: Kind, name: &str) -> Result<Self> {
        let cluster = Cluster::start(kind, name, Parts::ApiOnly).await?;
        let client = cluster.client().await?;
        Ok(Self {
            cluster,
            client,
            refused_before: 0.0,
        })
    }

    pub(crate) async fn stop_api(&mut self) {
        // One that is down or hangs has told already, or cannot.
        let counted = tokio::time::timeout(Duration::from_secs(5), self.refused()).await;
        if let Ok(Ok(count)) = counted {
            self.refused_before = count;
        }
        self.cluster.stop_api().await;
    }

    pub(crate) async fn start_api(&mut self) -> Result<()> {
        self.cluster.start_api().await
    }

    /// How many requests no rule of RBAC has allowed so far.
    pub(crate) async fn refused(&self) -> Result<f64> {
        let refused = |line: &str| {
            line.starts_with("authorization_attempts_total")
                && (line.contains("\"no-opinion\"") || line.contains("\"denied\""))
        };
        Ok(self.refused_before + self.sum(refused).await?)
    }

    /// A kubeconfig with a token of a service account, for whoever may do no more than that.
    pub(crate) async fn access(&self, namespace: &str, account: &str) -> Result<Value> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let answer = api.create_token_request(account, &params, &request).await?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .context("a token")?;
        let file = Kubeconfig::read_from(self.cluster.kubeconfig())?;
        let cluster = file.clusters.into_iter().next().context("a cluster")?;
        Ok(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "site",
            "clusters": [{"name": cluster.name, "cluster": cluster.cluster}],
            "contexts": [{"name": "site", "context": {"cluster": cluster.name, "user": account}}],
            "users": [{"name": account, "user": {"token": token}}],
        }))
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Link" => ("multicluster.linkerd.io", "v1alpha3"),
            "Server" => ("policy.linkerd.io", "v1beta3"),
            "EndpointSlice" => ("discovery.k8s.io", "v1"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
            "ClusterRole" | "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1"),
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Creates or replaces what `object` says.
    pub(crate) async fn apply(&self, object: Value) -> Result<Value> {
        let metadata = &object["metadata"];
        let (kind, name) = (object["kind"].as_str(), metadata["name"].as_str());
        let (kind, name) = kind.zip(name).context("an object has kind and name")?;
        let api = self.api(kind, metadata["namespace"].as_str().unwrap_or_default());
        let params = PatchParams::apply("user").force();
        let applied = api.patch(name, &params, &Patch::Apply(&object)).await;
        let applied = applied.with_context(|| format!("apply {kind} {name}"))?;
        if object.get("status").is_some() && kind == "Pod" {
            let status = json!({"status": object["status"]});
            let params = PatchParams::default();
            api.patch_status(name, &params, &Patch::Merge(status))
                .await?;
        }
        Ok(serde_json::to_value(applied)?)
    }

    /// Creates `object`, or puts it in the place of what there is: nothing else of that remains.
    pub(crate) async fn put(&self, mut object: Value) -> Result<()> {
        let metadata = &object["metadata"];
        let (kind, name) = (object["kind"].as_str(), metadata["name"].as_str());
        let (kind, name) = kind.zip(name).context("an object has kind and name")?;
        let api = self.api(kind, metadata["namespace"].as_str().unwrap_or_default());
        let (name, params) = (name.to_owned(), PostParams::default());
        // Its status may be written in between.
        for _ in 0..10 {
            let Some(present) = api.get_opt(&name).await? else {
                let object = serde_json::from_value(object.clone())?;
                return Ok(api.create(&params, &object).await.map(drop)?);
            };
            object["metadata"]["resourceVersion"] = json!(present.metadata.resource_version);
            let object = serde_json::from_value(object.clone())?;
            match api.replace(&name, &params, &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                done => return Ok(done.map(drop)?),
            }
        }
        bail!("{name} changes all the time");
    }

    pub(crate) async fn merge(
        &self,
        (kind, namespace, name): (&str, &str, &str),
        patch: Value,
    ) -> Result<()> {
        let api = self.api(kind, namespace);
        let patched = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched
            .map(drop)
            .with_context(|| format!("patch {kind} {namespace}/{name}"))
    }

    /// As if nobody had ever written its status.
    pub(crate) async fn wipe_status(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let params = PatchParams::default();
        let patch = Patch::Merge(json!({"status": null}));
        let api = self.api(kind, namespace);
        Ok(api.patch_status(name, &params, &patch).await.map(drop)?)
    }

    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        match self
            .api(kind, namespace)
            .delete(name, &DeleteParams::default())
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).with_context(|| format!("delete {kind} {namespace}/{name}")),
        }
    }

    pub(crate) async fn get(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        let found = self.api(kind, namespace).get_opt(name).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    pub(crate) async fn list(
        &self,
        kind: &str,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>> {
        let params = ListParams::default().labels(labels);
        let list = self.api(kind, namespace).list(&params).await?;
        let items = list.items.into_iter();
        Ok(items.map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// Waits until a kubeconfig may get something here: rules become known a moment after they are written.
    pub(crate) async fn lets(&self, access: &Value, resource: &str) -> Result<()> {
        let client = client(access).await?;
        let asked = async |_: &Self| Ok(may(&client, resource).await?.then_some(()));
        self.eventually(&format!("{resource} may be read"), asked)
            .await
    }

    /// Asks until there is an answer, or too long.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut last;
        loop {
            match ask(self).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => last = String::new(),
                Err(error) => last = format!(": {error:#}"),
            }
            if begun.elapsed() > PATIENCE {
                bail!("not within {PATIENCE:?}: {what}{last}");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub(crate) async fn service(&self, namespace: &str, name: &str) -> Result<Value> {
        let what = format!("Service {namespace}/{name} exists");
        self.eventually(&what, async |s: &Self| {
            s.get("Service", namespace, name).await
        })
        .await
    }

    pub(crate) async fn gone(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let what = format!("{kind} {namespace}/{name} is gone");
        let gone = async |s: &Self| Ok(s.get(kind, namespace, name).await?.is_none().then_some(()));
        self.eventually(&what, gone).await
    }

    /// The value of one of its metrics, summed over the lines that contain `part`.
    pub(crate) async fn metric(&self, part: &str) -> Result<f64> {
        self.sum(|line| line.contains(part)).await
    }

    /// The values of its metrics, summed over the lines that count.
    pub(crate) async fn sum(&self, counted: impl Fn(&str) -> bool) -> Result<f64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await?;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && counted(line));
        Ok(lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }
}

/// Who has this kubeconfig.
pub(crate) async fn client(access: &Value) -> Result<kube::Client> {
    let file: Kubeconfig = serde_json::from_value(access.clone())?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

async fn may(client: &kube::Client, resource: &str) -> Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some("list".to_owned()),
                resource: Some(resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

pub(crate) fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
