//! How outbound reaches peers: TCP from the pod's own address, then mTLS with the transport's ALPN.
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tombolo_shell::net;
use tombolo_shell::tls::ClientTls;

use crate::config::Config;
use crate::outbound::{Connecting, Connector, Io, Target};

/// Connects to peers.
#[derive(Debug)]
pub(crate) struct PeerConnector {
    tls: ClientTls,
    /// The pod's address, where it is known: peers' policies go by it.
    from: Option<IpAddr>,
    deadline: Duration,
}

impl PeerConnector {
    /// From whatever address the kernel picks.
    #[cfg(test)]
    pub(crate) fn anywhere(tls: ClientTls, deadline: Duration) -> Self {
        Self {
            tls,
            from: None,
            deadline,
        }
    }

    pub(crate) fn new(tls: ClientTls, config: &Config) -> Self {
        let from = Some(config.inbound.listen.ip()).filter(|ip| !ip.is_unspecified());
        Self {
            tls,
            from,
            deadline: config.outbound.connect_timeout,
        }
    }
}

impl Connector for PeerConnector {
    fn connect(&self, target: &Target) -> Connecting {
        let (target, tls) = (target.clone(), self.tls.clone());
        let (from, deadline) = (self.from, self.deadline);
        Box::pin(async move {
            let stream = match from {
                Some(from) if from.is_ipv4() == target.addr.is_ipv4() => {
                    net::connect_from(from, target.addr, deadline).await
                }
                _ => net::connect(target.addr, deadline).await,
            };
            let stream = stream.map_err(io::Error::other)?;
            let connected = tls.connect(stream, &target.identity, deadline).await;
            let connected = connected.map_err(|error| {
                io::Error::other(format!("{} at {}: {error}", target.identity, target.addr))
            })?;
            Ok(Box::new(connected.stream) as Box<dyn Io>)
        })
    }
}
