//! What a client may do to a handful of ConfigMaps.
use anyhow::Result;
use http::{Method, Request};
use kube::client::Client;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

pub(crate) const FINALIZER: &str = "example.com/hold";

/// One request; each is of one object.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create(u8),
    /// With the version that was just read, or with an old one.
    Update(Version, u8),
    Merge(Value),
    /// Holds only for this value.
    Json(u8, u8),
    Apply {
        manager: &'static str,
        fields: Value,
        force: bool,
    },
    Delete(Option<&'static str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Newest,
    Old,
    None,
}

/// An operation, and which object it is done to.
pub(crate) type Step = (&'static str, Operation);

pub(crate) fn step() -> impl Strategy<Value = Step> {
    (select(vec!["a", "b", "c"]), operation())
}

fn operation() -> impl Strategy<Value = Operation> {
    let value = || 0u8..4;
    let version = select(vec![
        Version::Newest,
        Version::Newest,
        Version::Old,
        Version::None,
    ]);
    let data = (select(vec!["k", "l"]), value());
    let apply = (select(vec!["one", "two"]), data, any::<bool>());
    prop_oneof![
        3 => value().prop_map(Operation::Create),
        2 => (version, value()).prop_map(|(version, value)| Operation::Update(version, value)),
        1 => value().prop_map(|value| Operation::Merge(json!({"data": {"k": value.to_string()}}))),
        1 => Just(Operation::Merge(json!({"data": {"l": null}, "metadata": {"labels": {"x": "y"}}}))),
        1 => Just(Operation::Merge(json!({"metadata": {"finalizers": [FINALIZER]}}))),
        2 => Just(Operation::Merge(json!({"metadata": {"finalizers": null}}))),
        1 => (value(), value()).prop_map(|(old, new)| Operation::Json(old, new)),
        3 => apply.prop_map(|(manager, (key, value), force)| {
            let fields = json!({key: value.to_string()});
            Operation::Apply { manager, fields, force }
        }),
        2 => select(vec![None, Some("Background"), Some("Foreground"), Some("Orphan")])
            .prop_map(Operation::Delete),
    ]
}

/// Where the objects are.
pub(crate) fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

pub(crate) async fn make_namespace(client: &Client, name: &str) -> Result<(), kube::Error> {
    let body = json!({"metadata": {"name": name}});
    let media = "application/json";
    ask(client, Method::POST, "/api/v1/namespaces", (media, body)).await?;
    Ok(())
}

/// Does it once.
pub(crate) async fn perform(
    client: &Client,
    namespace: &str,
    (name, operation): &Step,
) -> Result<Value, kube::Error> {
    let all = collection(namespace);
    let one = format!("{all}/{name}");
    let plain = "application/json";
    match operation {
        Operation::Create(value) => {
            let path = format!("{all}?fieldManager=writer");
            ask(client, Method::POST, &path, (plain, map(name, *value))).await
        }
        Operation::Update(version, value) => {
            let found = ask(client, Method::GET, &one, (plain, Value::Null)).await?;
            let mut object = found;
            object["data"]["k"] = json!(value.to_string());
            match version {
                Version::Newest => {}
                Version::Old => object["metadata"]["resourceVersion"] = json!("1"),
                Version::None => object["metadata"]["resourceVersion"] = Value::Null,
            }
            let path = format!("{one}?fieldManager=writer");
            ask(client, Method::PUT, &path, (plain, object)).await
        }
        Operation::Merge(patch) => {
            let media = "application/merge-patch+json";
            let path = format!("{one}?fieldManager=writer");
            ask(client, Method::PATCH, &path, (media, patch.clone())).await
        }
        Operation::Json(old, new) => {
            let (old, new) = (old.to_string(), new.to_string());
            let patch = json!([{"op": "test", "path": "/data/k", "value": old},
                {"op": "replace", "path": "/data/k", "value": new}]);
            let path = format!("{one}?fieldManager=writer");
            ask(
                client,
                Method::PATCH,
                &path,
                ("application/json-patch+json", patch),
            )
            .await
        }
        Operation::Apply {
            manager,
            fields,
            force,
        } => {
            let path = format!("{one}?fieldManager={manager}&force={force}");
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": fields});
            ask(
                client,
                Method::PATCH,
                &path,
                ("application/apply-patch+yaml", object),
            )
            .await
        }
        Operation::Delete(propagation) => {
            let options = json!({"propagationPolicy": propagation});
            ask(client, Method::DELETE, &one, (plain, options)).await
        }
    }
}

fn map(name: &str, value: u8) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": value.to_string()}})
}

/// A request with a JSON body; null is none.
pub(crate) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    (media, body): (&str, Value),
) -> Result<Value, kube::Error> {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(body)
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
