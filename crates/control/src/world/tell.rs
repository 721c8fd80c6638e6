//! Events in other clusters: the owner of an exported Service looks beside it for why it is not mirrored, as
//! Linkerd writes it there. Only where the credentials allow it; nothing else is ever written elsewhere.
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::{Event, Service};
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;
use tombolo_core::limits::OUTSIDE_WAIT;
use tombolo_core::service::ServiceKey;

use super::feed::{self, causes};

/// A Service of another cluster that is not mirrored here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skipped {
    /// The Service there.
    pub(crate) service: ServiceKey,
    /// What this cluster calls the other one.
    pub(crate) cluster: String,
    /// Why, as Linkerd words it.
    pub(crate) why: &'static str,
}

/// Writes Events for ever, one after the other.
pub(crate) async fn tell(client: kube::Client, mut reports: mpsc::Receiver<Skipped>) {
    while let Some(skipped) = reports.recv().await {
        let service = skipped.service.clone();
        match tokio::time::timeout(OUTSIDE_WAIT, write(&client, &skipped)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%service, error = causes(&error), "an event could not be written");
            }
            Err(_elapsed) => tracing::debug!(%service, "an event takes too long to be written"),
        }
    }
}

async fn write(client: &kube::Client, skipped: &Skipped) -> Result<(), kube::Error> {
    let namespace = skipped.service.namespace.as_str();
    if !may_write(client, namespace).await? {
        return Ok(());
    }
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let Some(object) = services.get_opt(skipped.service.name.as_str()).await? else {
        return Ok(());
    };
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let event = tombolo_k8s::event::skipped(
        (&skipped.service, uid),
        &skipped.cluster,
        skipped.why,
        Timestamp::now(),
    );
    let event: Event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    match events.create(&PostParams::default(), &event).await {
        Ok(_) => Ok(()),
        // It was written before, by this process or the one before it.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether we may, without being denied it.
async fn may_write(client: &kube::Client, namespace: &str) -> Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        verb: Some("create".to_owned()),
        resource: Some("events".to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    match feed::ask::may(client, attributes).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => Ok(false),
        answer => answer,
    }
}
