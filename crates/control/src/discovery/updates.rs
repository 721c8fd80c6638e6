//! What a stream has to say next, given what it said: one combined first message, then differences.
//!
//! Pure: (what was sent, what is) -> messages. Equal states say nothing.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tombolo_wire::proxy_api::destination::{AddrSet, NoEndpoints, Update, WeightedAddrSet, update};

use super::endpoints::{Endpoint, tcp};
use super::place::Client;
use super::view::EndpointSet;

/// What there is to say about a Service and port.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// These endpoints, perhaps none.
    Endpoints(Arc<EndpointSet>),
    /// There is no such Service.
    Absent,
}

/// What a stream has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: Option<State>,
    hostname: Option<Arc<str>>,
    /// Where the client is.
    client: Client,
    /// Where it was when that was said.
    was: Client,
}

impl Said {
    /// Nothing yet, on a stream of such a client that asks for one host only, or for all.
    pub(crate) fn nothing(hostname: Option<Arc<str>>, client: Client) -> Self {
        Self {
            last: None,
            hostname,
            was: client.clone(),
            client,
        }
    }

    /// The node of the client.
    pub(crate) const fn node(&self) -> Option<&Arc<str>> {
        self.client.node.as_ref()
    }

    /// The client's node is in this zone.
    pub(crate) fn is_in(&mut self, zone: Option<Arc<str>>) {
        self.client.zone = zone;
    }

    /// The messages that lead a client from what was said to `now`.
    pub(crate) fn next(&mut self, now: State) -> Vec<Update> {
        let messages = match (&self.last, &now) {
            (Some(State::Endpoints(old)), State::Endpoints(new)) => {
                if Arc::ptr_eq(old, new) && self.was == self.client {
                    return Vec::new();
                }
                self.difference(old, new)
            }
            (Some(State::Absent), State::Absent) => Vec::new(),
            (_, State::Absent) => vec![no_endpoints(NoEndpoints { exists: false })],
            (_, State::Endpoints(new)) => {
                let all = self.visible(new, &self.client);
                if all.is_empty() {
                    vec![no_endpoints(NoEndpoints { exists: true })]
                } else {
                    vec![self.add(new, all)]
                }
            }
        };
        self.last = Some(now);
        self.was.clone_from(&self.client);
        messages
    }

    fn difference(&self, old: &EndpointSet, new: &EndpointSet) -> Vec<Update> {
        let before: BTreeMap<_, _> = self.visible(old, &self.was).into_iter().collect();
        let after: BTreeMap<_, _> = self.visible(new, &self.client).into_iter().collect();
        if after.is_empty() {
            return match before.is_empty() {
                true => Vec::new(),
                false => vec![no_endpoints(NoEndpoints { exists: true })],
            };
        }
        let relabelled = old.labels != new.labels || self.was != self.client;
        let changed: Vec<_> = after
            .iter()
            .filter(|(addr, endpoint)| relabelled || before.get(*addr) != Some(*endpoint))
            .map(|(addr, endpoint)| (*addr, *endpoint))
            .collect();
        let gone: Vec<_> = before
            .keys()
            .filter(|addr| !after.contains_key(*addr))
            .map(|addr| tcp(**addr))
            .collect();
        // What is new comes before what is gone: a client never sees fewer than it must.
        let mut messages = Vec::new();
        if !changed.is_empty() {
            messages.push(self.add(new, changed));
        }
        if !gone.is_empty() {
            messages.push(Update {
                update: Some(update::Update::Remove(AddrSet { addrs: gone })),
            });
        }
        messages
    }

    fn visible<'a>(
        &self,
        set: &'a EndpointSet,
        client: &Client,
    ) -> Vec<(&'a SocketAddr, &'a Endpoint)> {
        let asked = set
            .endpoints
            .iter()
            .filter(|(_, endpoint)| self.hostname.is_none() || self.hostname == endpoint.hostname);
        client.chosen(asked.collect())
    }

    fn add(&self, set: &EndpointSet, endpoints: Vec<(&SocketAddr, &Endpoint)>) -> Update {
        let told = endpoints.into_iter();
        Update {
            update: Some(update::Update::Add(WeightedAddrSet {
                addrs: told
                    .map(|(_, endpoint)| self.client.told(endpoint))
                    .collect(),
                metric_labels: set
                    .labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            })),
        }
    }
}

fn no_endpoints(message: NoEndpoints) -> Update {
    Update {
        update: Some(update::Update::NoEndpoints(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::plain;
    use super::*;

    fn set(addrs: &[&str]) -> State {
        let endpoint = |addr: SocketAddr| Endpoint {
            told: plain(addr),
            hostname: (addr.port() == 1).then(|| "p1".into()),
            pod: None,
            place: None,
        };
        State::Endpoints(Arc::new(EndpointSet {
            endpoints: addrs
                .iter()
                .map(|a| a.parse().unwrap())
                .map(|a| (a, endpoint(a)))
                .collect(),
            labels: BTreeMap::new(),
        }))
    }

    fn show(messages: &[Update]) -> String {
        let one = |message: &Update| match message.update.as_ref().unwrap() {
            update::Update::Add(set) => format!("+{}", set.addrs.len()),
            update::Update::Remove(set) => format!("-{}", set.addrs.len()),
            update::Update::NoEndpoints(n) => format!("none:{}", n.exists),
        };
        messages.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_message_holds_everything_and_later_ones_the_difference() {
        let mut said = Said::nothing(None, Client::default());
        let mut next = |state| show(&said.next(state));
        assert_eq!(next(set(&["1.0.0.1:1", "1.0.0.2:2"])), "+2");
        assert_eq!(next(set(&["1.0.0.1:1", "1.0.0.2:2"])), "");
        assert_eq!(next(set(&["1.0.0.2:2", "1.0.0.3:2"])), "+1 -1");
        assert_eq!(next(set(&["1.0.0.3:2"])), "-1");
        assert_eq!(next(set(&[])), "none:true");
        assert_eq!(next(set(&[])), "");
        assert_eq!(next(set(&["1.0.0.3:2"])), "+1");
        assert_eq!(next(State::Absent), "none:false");
        assert_eq!(next(State::Absent), "");
        assert_eq!(next(set(&["1.0.0.3:2"])), "+1");
    }

    #[test]
    fn an_empty_service_is_said_to_exist_at_once() {
        assert_eq!(
            show(&Said::nothing(None, Client::default()).next(set(&[]))),
            "none:true"
        );
        assert_eq!(
            show(&Said::nothing(None, Client::default()).next(State::Absent)),
            "none:false"
        );
    }

    #[test]
    fn a_client_whose_zone_becomes_known_is_told_anew() {
        let mut said = Said::nothing(None, Client::default());
        assert_eq!(show(&said.next(set(&["1.0.0.1:2"]))), "+1");
        said.is_in(Some("a".into()));
        assert_eq!(show(&said.next(set(&["1.0.0.1:2"]))), "+1");
        said.is_in(Some("a".into()));
        assert_eq!(show(&said.next(set(&["1.0.0.1:2"]))), "");
    }

    #[test]
    fn a_stream_for_one_host_hears_of_that_host_only() {
        let mut said = Said::nothing(Some("p1".into()), Client::default());
        let mut next = |state| show(&said.next(state));
        assert_eq!(next(set(&["1.0.0.1:1", "1.0.0.2:2"])), "+1");
        assert_eq!(next(set(&["1.0.0.1:1"])), "");
        assert_eq!(next(set(&["1.0.0.2:2"])), "none:true");
    }
}
