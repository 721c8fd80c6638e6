//! Objects that a Linkerd left, made ours: who manages which field is written anew, so that what is applied
//! afterwards replaces all that was there. The mark that stays says that somebody else began it.
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Map, Value, json};
use tombolo_core::keys::MIRRORED_SERVICE;
use tombolo_core::service::{ManagedService, ServiceKey};
use tombolo_core::world::{LocalService, Uid};

use crate::names::{FIELD_MANAGER, TAKEN_OVER_MANAGER};
use crate::service;

/// Makes all fields of a Service ours, if it still is that one and was left.
pub(super) async fn take_over(
    api: &Api<Service>,
    key: &ServiceKey,
    uid: &Uid,
) -> Result<(), kube::Error> {
    let name = key.name.as_str();
    // Adds nothing, and gives back the object as it is now.
    let nothing = Patch::Merge(json!({ "metadata": { "uid": uid.0.as_ref() } }));
    let present = api.patch(name, &PatchParams::default(), &nothing).await?;
    let Some((_, LocalService::Left { managed, .. })) = service::local(&present) else {
        // Somebody was quicker: the next plan sees what came of it.
        return Ok(());
    };
    let whole = json!({ "metadata": {
        "uid": uid.0.as_ref(),
        "resourceVersion": present.metadata.resource_version,
        "managedFields": managers(&managed),
    } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(whole))
        .await
        .map(drop)
}

fn managers(managed: &ManagedService) -> Value {
    let entry = |manager: &str, operation: &str, fields: Value| {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    };
    let mark = json!({ "f:metadata": { "f:labels": { format!("f:{MIRRORED_SERVICE}"): {} } } });
    json!([
        entry(FIELD_MANAGER, "Apply", fields(managed)),
        entry(TAKEN_OVER_MANAGER, "Update", mark),
    ])
}

fn fields(managed: &ManagedService) -> Value {
    let all = |keys: &mut dyn Iterator<Item = &str>| -> Map<String, Value> {
        keys.map(|key| (format!("f:{key}"), json!({}))).collect()
    };
    let labels = all(&mut managed.labels.keys().map(String::as_str));
    // What `kubectl apply` wrote down is not read, and goes too.
    let applied = std::iter::once("kubectl.kubernetes.io/last-applied-configuration");
    let annotations = all(&mut managed
        .annotations
        .keys()
        .map(String::as_str)
        .chain(applied));
    let port = |port: &tombolo_core::service::ServicePort| {
        let key = json!({ "port": port.port, "protocol": port.protocol.to_string() });
        let mut fields = json!({ ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} });
        if port.name.is_some() {
            fields["f:name"] = json!({});
        }
        (format!("k:{key}"), fields)
    };
    let ports: Map<String, Value> = managed.ports.iter().map(port).collect();
    json!({
        "f:metadata": { "f:labels": labels, "f:annotations": annotations },
        "f:spec": { "f:ports": ports },
    })
}

/// Deletes Endpoints, and the slices that were made of them, whether or not somebody else would.
pub(super) async fn delete_old_endpoints(
    client: &Client,
    key: &ServiceKey,
    slices: &BTreeSet<String>,
) -> Result<(), kube::Error> {
    let namespace = key.namespace.as_str();
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), namespace);
    delete(&endpoints, key.name.as_str()).await?;
    let of_it: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    for slice in slices {
        delete(&of_it, slice).await?;
    }
    Ok(())
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), kube::Error>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
