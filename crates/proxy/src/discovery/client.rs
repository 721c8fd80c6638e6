//! The three services that discovery asks, as clients that are cloned freely.
use std::sync::Arc;

use tombolo_wire::proxy_api::destination::destination_client::DestinationClient;
use tombolo_wire::proxy_api::destination::{GetDestination, Update};
use tombolo_wire::proxy_api::inbound::inbound_server_policies_client::InboundServerPoliciesClient;
use tombolo_wire::proxy_api::inbound::{PortSpec, Server};
use tombolo_wire::proxy_api::outbound::outbound_policies_client::OutboundPoliciesClient;
use tombolo_wire::proxy_api::outbound::{OutboundPolicy, TrafficSpec, traffic_spec};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::Wanted;

/// Beside a lookup, says that it is made on behalf of another cluster, which may only reach what is
/// exported. Control planes that do not know it ignore it.
const PURPOSE_KEY: &str = "tombolo-purpose";
/// The largest message that is accepted: a set of endpoints of a large service.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// On whose behalf a destination is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// This pod's application.
    Own,
    /// A peer that came to this gateway.
    Gateway,
}

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
        let mut request = Request::new(GetDestination {
            scheme: "k8s".to_owned(),
            path: name.to_owned(),
            context_token: self.context.to_string(),
        });
        if purpose == Purpose::Gateway {
            request
                .metadata_mut()
                .insert(PURPOSE_KEY, MetadataValue::from_static("gateway"));
        }
        Ok(self.destination.clone().get(request).await?.into_inner())
    }

    pub(crate) async fn outbound_policy(
        &self,
        wanted: &Wanted,
    ) -> Result<Streaming<OutboundPolicy>, Status> {
        let target = match wanted {
            Wanted::Addr(addr) => traffic_spec::Target::Addr((*addr).into()),
            Wanted::Authority(name) | Wanted::Gateway(name) => {
                traffic_spec::Target::Authority(name.to_string())
            }
        };
        let request = TrafficSpec {
            source_workload: self.workload.to_string(),
            target: Some(target),
        };
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
