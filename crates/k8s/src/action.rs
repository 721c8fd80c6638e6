//! Actions, as writes to an API server: server-side apply under our field manager, deletions with the
//! uid as precondition. What to write is decided elsewhere.
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tombolo_core::keys::{LOCAL_DISCOVERY, REMOTE_DISCOVERY};
use tombolo_core::plan::{Action, Precondition};
use tombolo_core::service::{
    ManagedService, ManagedSlice, Readiness, ServiceKey, ServicePort, SliceKey, SlicePort,
    TargetPort,
};

use crate::names::FIELD_MANAGER;

/// A write that failed, in the words of Linkerd's status messages.
#[derive(Debug, thiserror::Error)]
#[error("Failed to {what} {object}: {source}")]
pub struct WriteError {
    what: &'static str,
    object: String,
    source: kube::Error,
}

impl WriteError {
    /// Whether the object is not what the plan took it for: plan again rather than insist.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if status.code == 409)
    }
}

/// Carries out one action. What is to be deleted and is gone already is done.
///
/// # Errors
/// Says what failed, and why.
pub async fn carry_out(client: &Client, action: &Action) -> Result<(), WriteError> {
    let namespace = action.service().namespace.as_str();
    let result = match action {
        Action::ApplyService {
            key, precondition, ..
        } => {
            let api: Api<Service> = Api::namespaced(client.clone(), namespace);
            apply(&api, key.name.as_str(), precondition, action).await
        }
        Action::ApplySlice {
            key, precondition, ..
        } => {
            let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
            apply(&api, &key.name(), precondition, action).await
        }
        Action::DeleteService { key, uid } => {
            let api: Api<Service> = Api::namespaced(client.clone(), namespace);
            delete(&api, key.name.as_str(), &uid.0).await
        }
        Action::DeleteSlice { key, uid } => {
            let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
            delete(&api, &key.name(), &uid.0).await
        }
    };
    result.map_err(|source| {
        let (what, object) = describe(action);
        WriteError {
            what,
            object,
            source,
        }
    })
}

async fn apply<K>(
    api: &Api<K>,
    name: &str,
    precondition: &Precondition,
    action: &Action,
) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply(FIELD_MANAGER);
    let params = match precondition {
        Precondition::Absent => params,
        Precondition::Uid(_) => params.force(),
    };
    // Deletions have no body and do not come here.
    let body = body(action).unwrap_or(Value::Null);
    api.patch(name, &params, &Patch::Apply(&body))
        .await
        .map(|_| ())
}

async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let preconditions = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

fn describe(action: &Action) -> (&'static str, String) {
    let verb = |precondition: &Precondition| match precondition {
        Precondition::Absent => "create",
        Precondition::Uid(_) => "update",
    };
    match action {
        Action::ApplyService {
            key,
            precondition,
            service,
        } => {
            let is_federated = [LOCAL_DISCOVERY, REMOTE_DISCOVERY]
                .iter()
                .any(|annotation| service.annotations.contains_key(*annotation));
            let what = if is_federated {
                "federated service"
            } else {
                "mirror service"
            };
            (verb(precondition), format!("{what} {key}"))
        }
        Action::ApplySlice {
            key, precondition, ..
        } => (verb(precondition), format!("mirror endpoints {key}")),
        Action::DeleteService { key, .. } => ("delete", format!("service {key}")),
        Action::DeleteSlice { key, .. } => ("delete", format!("mirror endpoints {key}")),
    }
}

/// What is applied; none for a deletion.
///
/// Where the object must be a certain one its uid is part of what is applied: an API server answers a
/// conflict if it is another.
#[must_use]
pub fn body(action: &Action) -> Option<Value> {
    match action {
        Action::ApplyService {
            key,
            precondition,
            service,
        } => Some(with_uid(service_body(key, service), precondition)),
        Action::ApplySlice {
            key,
            precondition,
            slice,
        } => Some(with_uid(slice_body(key, slice), precondition)),
        Action::DeleteService { .. } | Action::DeleteSlice { .. } => None,
    }
}

fn with_uid(mut body: Value, precondition: &Precondition) -> Value {
    if let Precondition::Uid(uid) = precondition {
        body["metadata"]["uid"] = json!(uid.0.as_ref());
    }
    body
}

fn service_body(key: &ServiceKey, service: &ManagedService) -> Value {
    let ManagedService {
        labels,
        annotations,
        ports,
    } = service;
    let ports: Vec<_> = ports.iter().map(service_port).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": key.namespace.as_str(),
            "name": key.name.as_str(),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": { "ports": ports },
    })
}

fn service_port(port: &ServicePort) -> Value {
    let target = match &port.target {
        TargetPort::Number(number) => json!(number),
        TargetPort::Name(name) => json!(name),
    };
    let protocol = port.protocol.to_string();
    let mut object = json!({ "protocol": protocol, "port": port.port, "targetPort": target });
    if let Some(name) = &port.name {
        object["name"] = json!(name);
    }
    object
}

fn slice_body(key: &SliceKey, slice: &ManagedSlice) -> Value {
    let ManagedSlice {
        labels,
        annotations,
        ports,
        endpoints,
    } = slice;
    let endpoint = |endpoint: &tombolo_core::service::SliceEndpoint| {
        let ready = endpoint.readiness == Readiness::Ready;
        json!({ "addresses": [endpoint.address.to_string()], "conditions": { "ready": ready } })
    };
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    let ports: Vec<_> = ports.iter().map(slice_port).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": key.service.namespace.as_str(),
            "name": key.name(),
            "labels": labels,
            "annotations": annotations,
        },
        "addressType": key.family.address_type(),
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn slice_port(port: &SlicePort) -> Value {
    let name = port.name.as_deref().unwrap_or_default();
    json!({ "name": name, "protocol": port.protocol.to_string(), "port": port.port })
}

#[cfg(test)]
mod tests;
