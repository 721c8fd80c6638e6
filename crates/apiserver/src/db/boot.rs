//! The objects that exist in every cluster from the start.
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Db, Options};
use crate::error::StatusError;
use crate::registry::Resource;
use crate::store::facts::LoopbackEndpoints;
use crate::store::request::{Patch, Subresource, Target, WriteOptions};
use crate::store::{Moment, Store, meta};

/// Namespaces, and how the API server shares itself among its clients.
const OBJECTS: &str = include_str!("boot.json");
const WRITER: &str = "kube-apiserver";

/// Creates what is missing, in one commit.
pub(super) async fn boot(db: &Db, options: &Options) -> anyhow::Result<()> {
    let mut objects: Vec<Value> = serde_json::from_str(OBJECTS)?;
    objects.extend(of_this_cluster(options));
    db.write(move |store, moment| {
        for object in objects {
            ensure(store, moment, object)?;
        }
        Ok(())
    })
    .await?;
    Ok(())
}

/// What depends on the cluster's facts.
fn of_this_cluster(options: &Options) -> Vec<Value> {
    let range = options.service_cidr;
    let first = range.hosts().next().map(|address| address.to_string());
    let today = (options.clock)().strftime("%Y-%m-%d").to_string();
    let mut objects = vec![json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": { "name": "kubernetes",
            "finalizers": ["networking.k8s.io/service-cidr-finalizer"] },
        "spec": { "cidrs": [range.trunc().to_string()] },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes Service CIDR is ready" }] },
    })];
    // A database that stands behind an API server, and is not alone.
    if let Some(pem) = &options.root_ca_pem {
        let map = |name: &str, data: Value| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "namespace": "kube-system", "name": name }, "data": data })
        };
        objects.push(map(
            "extension-apiserver-authentication",
            json!({ "client-ca-file": pem }),
        ));
        objects.push(map(
            "kube-apiserver-legacy-service-account-token-tracking",
            json!({ "since": today }),
        ));
    }
    // A lab's node listens on every port of every Service, and nobody may on this one.
    if let (LoopbackEndpoints::Refused, Some(first)) = (options.loopback_endpoints, first) {
        let family = if range.addr().is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        objects.push(json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "namespace": "default", "name": "kubernetes",
                "labels": { "component": "apiserver", "provider": "kubernetes" } },
            "spec": { "clusterIP": first, "sessionAffinity": "None",
                "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] } }));
        objects.push(
            json!({ "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": { "name": first, "labels": {
                "ipaddress.kubernetes.io/ip-family": family,
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io" } },
            "spec": { "parentRef": { "resource": "services", "namespace": "default",
                "name": "kubernetes" } } }),
        );
    }
    objects
}

/// The resource of an object, if it is served.
fn resource_of(store: &Store, object: &Value) -> Option<Arc<Resource>> {
    let full = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = full.split_once('/').unwrap_or(("", full));
    let kind = object["kind"].as_str().unwrap_or_default();
    store.registry().find_kind(group, version, kind)
}

fn ensure(store: &mut Store, moment: &mut Moment<'_>, object: Value) -> Result<(), StatusError> {
    let Some(res) = resource_of(store, &object) else {
        return Ok(());
    };
    let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let key = namespace.as_deref().unwrap_or_default();
    if store.head().get(&res.storage, key, &name).is_some() {
        return Ok(());
    }
    let writer = match res.group.as_str() {
        "flowcontrol.apiserver.k8s.io" => "api-priority-and-fairness-config-producer-v1",
        _ => WRITER,
    };
    let options = WriteOptions::by(writer);
    let status = object.get("status").cloned();
    let inside = namespace.as_deref();
    let made = store.create(moment, (&res, inside), object, &options)?;
    let Some(mut status) = status.filter(|_| res.subresources.status) else {
        return Ok(());
    };
    let now = meta::stamp(moment.now);
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["lastTransitionTime"] = now.clone().into();
    }
    let target = Target::new(&res, inside, &name).sub(Subresource::Status);
    if writer != WRITER && status.as_object().is_some_and(|status| status.is_empty()) {
        return Ok(());
    }
    if writer != WRITER {
        let config = json!({"apiVersion": res.api_version(), "kind": res.kind,
            "metadata": {"name": name}, "status": status});
        let options = WriteOptions::by("api-priority-and-fairness-config-consumer-v1");
        store.patch(moment, target, Patch::Apply(config), &options)?;
        return Ok(());
    }
    let mut whole = made.value();
    whole["status"] = status;
    store.update(moment, target, whole, &options)?;
    Ok(())
}
