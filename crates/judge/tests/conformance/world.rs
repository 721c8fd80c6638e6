//! What every case has: a client, a namespace of its own, and short ways to ask.
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams, WatchEvent,
    WatchParams,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tombolo_judge::Cluster;

/// What one case may take; the real controllers are in no hurry on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) type Done = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: Box<dyn Fn(World) -> Done + Send + Sync>,
}

impl Case {
    pub(crate) fn new<F>(name: &'static str, body: fn(World) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            name,
            body: Box::new(move |world| Box::pin(body(world))),
        }
    }
}

/// Functions as cases, by their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::world::Case::new(stringify!($name), $name)),*]
    };
}
pub(crate) use cases;

/// A client and a namespace.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) client: kube::Client,
    pub(crate) config: kube::Config,
    pub(crate) namespace: String,
}

impl World {
    pub(crate) async fn new(cluster: &Cluster, case: &str) -> Result<Self> {
        let config = tombolo_judge::config(&cluster.kubeconfig()).await?;
        let client = kube::Client::try_from(config.clone())?;
        let namespace = case.replace('_', "-");
        let namespace = namespace.chars().take(60).collect::<String>();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .context("create a namespace")?;
        let world = Self {
            client,
            config,
            namespace,
        };
        // What every namespace gets is there before the case begins, so that nothing comes in between.
        eventually(async || Ok(world.maps().get_opt("kube-root-ca.crt").await?)).await?;
        Ok(world)
    }

    /// Objects of the case's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of the case's namespace, without their type.
    pub(crate) fn dynamic(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(crate) fn maps(&self) -> Api<ConfigMap> {
        self.api()
    }

    /// Creates ConfigMaps with these names.
    pub(crate) async fn make_maps(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.maps()
                .create(&PostParams::default(), &map(name)?)
                .await?;
        }
        Ok(())
    }

    /// The path of a collection of the core group in the case's namespace.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// A raw request with a JSON body (none: without one): the answer, or the refusal.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, kube::Error> {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }

    /// Follows ConfigMaps from a version.
    pub(crate) async fn events(
        &self,
        params: &WatchParams,
        version: &str,
        wanted: usize,
    ) -> Result<Vec<WatchEvent<ConfigMap>>> {
        events(&self.maps(), params, version, wanted).await
    }

    /// The version of the newest ConfigMap list.
    pub(crate) async fn version(&self) -> Result<String> {
        let list = self.maps().list(&ListParams::default()).await?;
        list.metadata.resource_version.context("a version")
    }
}

/// Takes so many events of a watch.
pub(crate) async fn events<K>(
    api: &Api<K>,
    params: &WatchParams,
    version: &str,
    wanted: usize,
) -> Result<Vec<WatchEvent<K>>>
where
    K: Clone + Debug + DeserializeOwned,
{
    let stream = api.watch(params, version).await?;
    let seen: Vec<WatchEvent<K>> = stream.take(wanted).try_collect().await?;
    ensure!(seen.len() == wanted, "the watch ended after {seen:?}");
    Ok(seen)
}

/// A ConfigMap with a label and a value.
pub(crate) fn map(name: &str) -> Result<ConfigMap> {
    typed(json!({"metadata": {"name": name, "labels": {"set": "a"}}, "data": {"k": "1"}}))
}

/// A value as a type.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_json::from_value(value)?)
}

/// Fails with both unless they are the same.
pub(crate) fn same<L: Debug + PartialEq<R>, R: Debug>(left: L, right: R) -> Result<()> {
    ensure!(left == right, "{left:?} is not {right:?}");
    Ok(())
}

/// A refusal: its code, reason and message.
pub(crate) fn refusal<T: Debug>(answer: Result<T, kube::Error>) -> Result<(u16, String, String)> {
    match answer {
        Err(kube::Error::Api(status)) => {
            Ok((status.code, status.reason.clone(), status.message.clone()))
        }
        Err(other) => Err(other.into()),
        Ok(answer) => bail!("it was not refused: {answer:?}"),
    }
}

/// Whether it was refused with this code and reason.
pub(crate) fn refused<T: Debug>(
    answer: Result<T, kube::Error>,
    code: u16,
    reason: &str,
) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(
        (found.0, found.1.as_str()) == (code, reason),
        "{found:?} is not {code} {reason}"
    );
    Ok(())
}

/// Waits until something is there; the case's deadline ends it.
pub(crate) async fn eventually<T, F>(mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// An event in a word and the object's name.
pub(crate) fn told(event: &WatchEvent<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(map) => format!("ADDED {}", name(map)),
        WatchEvent::Modified(map) => format!("MODIFIED {}", name(map)),
        WatchEvent::Deleted(map) => format!("DELETED {}", name(map)),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(status) => format!("ERROR {}", status.code),
    }
}
