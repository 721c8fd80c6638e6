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
    ManagedService, ManagedSlice, Readiness, ServiceKey, ServiceKind, ServicePort, SliceKey,
    SlicePort, TargetPort,
};

use crate::names::FIELD_MANAGER;
use crate::ownership;

mod takeover;

/// A write that failed, in the words of Linkerd's status messages.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server refused it, or did not answer.
    #[error("Failed to {what} {object}: {}", said(source))]
    Refused {
        /// What was to be done to what, as in `create mirror service`.
        what: &'static str,
        /// Its namespace and name.
        object: String,
        /// What came back.
        source: kube::Error,
    },
    /// Somebody created an object of that name in the meantime; it is as it was.
    #[error("Failed to {what} {object}: somebody else has just created it")]
    Taken {
        /// What was to be done to what, as in `create mirror service`.
        what: &'static str,
        /// Its namespace and name.
        object: String,
    },
}

impl WriteError {
    /// Whether the object is not what the plan took it for: plan again rather than insist.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Refused { source, .. } => {
                matches!(source, kube::Error::Api(status) if status.code == 409)
            }
            Self::Taken { .. } => true,
        }
    }
}

/// What an API server said, without the whole status object around it.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
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
            let taken = match precondition {
                Precondition::Left(uid) => takeover::take_over(&api, key, uid).await,
                Precondition::Absent | Precondition::Uid(_) => Ok(()),
            };
            match taken {
                Ok(()) => apply(&api, key.name.as_str(), precondition, action).await,
                Err(error) => Err(error),
            }
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
        Action::DeleteOldEndpoints { key, slices } => {
            takeover::delete_old_endpoints(client, key, slices)
                .await
                .map(|()| Written::AsPlanned)
        }
        Action::DeleteSlice { key, uid } => {
            let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
            delete(&api, &key.name(), &uid.0).await
        }
    };
    let (what, object) = describe(action);
    match result {
        Ok(Written::AsPlanned) => Ok(()),
        Ok(Written::IntoAnothers) => Err(WriteError::Taken { what, object }),
        Err(source) => Err(WriteError::Refused {
            what,
            object,
            source,
        }),
    }
}

/// What a write came upon.
enum Written {
    /// What the plan took it for.
    AsPlanned,
    /// An object that somebody made after the plan; ours was taken out of it again.
    IntoAnothers,
}

async fn apply<K>(
    api: &Api<K>,
    name: &str,
    precondition: &Precondition,
    action: &Action,
) -> Result<Written, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply(FIELD_MANAGER);
    // Deletions have no body and do not come here.
    let body = body(action).unwrap_or(Value::Null);
    let force = match precondition {
        Precondition::Absent => params.clone(),
        Precondition::Uid(_) | Precondition::Left(_) => params.clone().force(),
    };
    let written = api.patch(name, &force, &Patch::Apply(&body)).await?;
    let only_ours = written
        .meta()
        .managed_fields
        .iter()
        .flatten()
        .all(ownership::is_ours);
    if *precondition == Precondition::Absent && !only_ours {
        // Nothing in server-side apply says "only if there is none". Applying nothing gives back
        // all that we added.
        let nothing = json!({
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": { "namespace": body["metadata"]["namespace"], "name": name },
        });
        api.patch(name, &params, &Patch::Apply(&nothing)).await?;
        return Ok(Written::IntoAnothers);
    }
    Ok(Written::AsPlanned)
}

async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<Written, kube::Error>
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
        Ok(_) => Ok(Written::AsPlanned),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::AsPlanned),
        Err(error) => Err(error),
    }
}

fn describe(action: &Action) -> (&'static str, String) {
    let verb = |precondition: &Precondition| match precondition {
        Precondition::Absent => "create",
        Precondition::Uid(_) | Precondition::Left(_) => "update",
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
        Action::DeleteOldEndpoints { key, .. } => ("delete", format!("endpoints {key}")),
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
        Action::DeleteService { .. }
        | Action::DeleteSlice { .. }
        | Action::DeleteOldEndpoints { .. } => None,
    }
}

fn with_uid(mut body: Value, precondition: &Precondition) -> Value {
    if let Precondition::Uid(uid) | Precondition::Left(uid) = precondition {
        body["metadata"]["uid"] = json!(uid.0.as_ref());
    }
    body
}

fn service_body(key: &ServiceKey, service: &ManagedService) -> Value {
    let ManagedService {
        kind,
        labels,
        annotations,
        ports,
    } = service;
    let ports: Vec<_> = ports.iter().map(service_port).collect();
    let mut spec = json!({ "ports": ports });
    if *kind == ServiceKind::Headless {
        spec["clusterIP"] = json!("None");
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": key.namespace.as_str(),
            "name": key.name.as_str(),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
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
        let address = endpoint.address.to_string();
        let mut value = json!({ "addresses": [address], "conditions": { "ready": ready } });
        if let Some(name) = &endpoint.hostname {
            value["hostname"] = json!(name.as_str());
        }
        value
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
