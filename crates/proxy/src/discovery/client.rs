//! The three services that discovery asks, as clients that are cloned freely.
use std::sync::Arc;

use tombolo_wire::proxy_api::destination::destination_client::DestinationClient;
use tombolo_wire::proxy_api::destination::{GetDestination, Update};
use tombolo_wire::proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use tombolo_wire::proxy_api::inbound::{PortSpec, Server};
use tombolo_wire::proxy_api::outbound::outbound_policies_client::OutboundPoliciesClient;
use tombolo_wire::proxy_api::outbound::{OutboundPolicy, TrafficSpec, traffic_spec};
use tombolo_wire::purpose::{self, Purpose};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::Wanted;

/// The largest message that is accepted: a set of endpoints of a large service.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The clients, and what they tell about this pod.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    destination: DestinationClient<Channel>,
    outbound: OutboundPoliciesClient<Channel>,
    inbound: InboundServerPoliciesClient<Channel>,
    workload: Arc<str>,
    context: Arc<str>,
}

impl Clients {
    pub(crate) fn new(
        destination: Channel,
        policy: Channel,
        workload: &str,
        context: &str,
    ) -> Self {
        Self {
            destination: DestinationClient::new(destination)
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            outbound: OutboundPoliciesClient::new(policy.clone()),
            inbound: InboundServerPoliciesClient::new(policy),
            workload: workload.into(),
            context: context.into(),
        }
    }

    pub(crate) async fn endpoints(
        &self,
        name: &str,
        purpose: Purpose,
    ) -> Result<Streaming<Update>, Status> {
        let wanted = GetDestination {
            scheme: "k8s".to_owned(),
            path: name.to_owned(),
            context_token: self.context.to_string(),
        };
        let request = on_behalf(purpose, wanted);
        Ok(self.destination.clone().get(request).await?.into_inner())
    }

    pub(crate) async fn outbound_policy(
        &self,
        wanted: &Wanted,
    ) -> Result<Streaming<OutboundPolicy>, Status> {
        let (target, purpose) = match wanted {
            Wanted::Addr(addr) => (traffic_spec::Target::Addr((*addr).into()), Purpose::Own),
            Wanted::Authority(name) => (by_name(name), Purpose::Own),
            Wanted::Gateway(name) => (by_name(name), Purpose::Gateway),
        };
        let spec = TrafficSpec {
            source_workload: self.workload.to_string(),
            target: Some(target),
        };
        let request = on_behalf(purpose, spec);
        Ok(self.outbound.clone().watch(request).await?.into_inner())
    }

    pub(crate) async fn inbound_policy(&self, port: u16) -> Result<Streaming<Server>, Status> {
        let request = PortSpec {
            workload: self.workload.to_string(),
            port: port.into(),
        };
        Ok(self.inbound.clone().watch_port(request).await?.into_inner())
    }
}

fn by_name(name: &str) -> traffic_spec::Target {
    traffic_spec::Target::Authority(name.to_owned())
}

fn on_behalf<T>(purpose: Purpose, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(value) = purpose.value() {
        let value = MetadataValue::from_static(value);
        request.metadata_mut().insert(purpose::KEY, value);
    }
    request
}
