//! Where endpoints and clients are: which endpoints of the own cluster a client is told, and how near each is.
//!
//! Pure. Linkerd's order: traffic that stays on its node, then hints of zones, which count only where every
//! endpoint has some and one of them is for the client. Endpoints of other clusters are told to everybody.
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use tombolo_wire::labels;
use tombolo_wire::proxy_api::destination::WeightedAddr;

use super::endpoints::Endpoint;

/// The label of an endpoint that says how near it is to whoever is told of it.
const LOCALITY: &str = "zone_locality";

/// How far traffic of a Service may go: its `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere in the cluster.
    #[default]
    Cluster,
    /// To pods on the client's node.
    Node,
}

/// Where an endpoint of the own cluster is, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its node.
    pub(crate) node: Option<Arc<str>>,
    /// The zones that it is meant for; none: nobody said.
    pub(crate) for_zones: Vec<Arc<str>>,
    /// How far traffic to it may come from.
    pub(crate) reach: Reach,
}

/// Where a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its node, as it says.
    pub(crate) node: Option<Arc<str>>,
    /// The zone of that node.
    pub(crate) zone: Option<Arc<str>>,
}

impl Client {
    /// Reads the context token of a request, as injectors write it; what is none says nothing.
    pub(crate) fn parse(token: &str) -> Self {
        #[derive(Deserialize)]
        struct Context {
            #[serde(default, rename = "nodeName")]
            node: String,
        }
        let context: Option<Context> = serde_json::from_str(token).ok();
        let node = context.map(|context| context.node);
        Self {
            node: node.filter(|node| !node.is_empty()).map(Arc::from),
            zone: None,
        }
    }

    /// Of these endpoints, those that it is told of.
    pub(crate) fn chosen<'e>(
        &self,
        mut endpoints: Vec<(&'e SocketAddr, &'e Endpoint)>,
    ) -> Vec<(&'e SocketAddr, &'e Endpoint)> {
        endpoints.retain(|(_, endpoint)| match &endpoint.place {
            Some(place) if place.reach == Reach::Node => {
                place.node.is_some() && place.node == self.node
            }
            Some(_) | None => true,
        });
        let mut placed = endpoints.iter().filter_map(|(_, e)| e.place.as_ref());
        let hinted = |place: &Place| !place.for_zones.is_empty();
        if !placed.clone().all(hinted) || !placed.any(|place| self.is_meant(place)) {
            return endpoints;
        }
        endpoints.retain(|(_, endpoint)| {
            let place = endpoint.place.as_ref();
            place.is_none_or(|place| self.is_meant(place))
        });
        endpoints
    }

    fn is_meant(&self, place: &Place) -> bool {
        let zone = self.zone.as_ref();
        zone.is_some_and(|zone| place.for_zones.contains(zone))
    }

    /// An endpoint, as this client is told of it.
    pub(crate) fn told(&self, endpoint: &Endpoint) -> WeightedAddr {
        let mut told = endpoint.told.clone();
        // Only pods have one.
        let zone = told.metric_labels.get(labels::ZONE);
        let near = match zone.zip(self.zone.as_ref()) {
            Some((theirs, own)) if **own == **theirs => "local",
            Some(_) => "remote",
            None => "unknown",
        };
        told.metric_labels
            .insert(LOCALITY.to_owned(), near.to_owned());
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::plain;
    use super::*;

    /// `node zones reach`, where `-` is nothing; `elsewhere` is an endpoint of another cluster.
    fn endpoint(text: &str) -> Endpoint {
        let words: Vec<_> = text.split(' ').collect();
        let place = (text != "elsewhere").then(|| Place {
            node: (words[0] != "-").then(|| words[0].into()),
            for_zones: words[1]
                .split(',')
                .filter(|z| *z != "-")
                .map(Arc::from)
                .collect(),
            reach: match words.get(2) {
                Some(_) => Reach::Node,
                None => Reach::Cluster,
            },
        });
        Endpoint {
            told: plain(([10, 0, 0, 1], 80).into()),
            hostname: None,
            pod: None,
            place,
        }
    }

    #[test]
    fn what_a_client_is_told_of() {
        // The client is on node n in zone z.
        for (endpoints, want) in [
            (&["n -", "m -"][..], &[0, 1][..]),
            (&["n z", "m y"], &[0]),
            (&["n z,y", "m y,z"], &[0, 1]),
            (&["n z", "m -"], &[0, 1]),
            (&["n y", "m y"], &[0, 1]),
            (&["n z", "m y", "elsewhere"], &[0, 2]),
            (&["n - local", "m - local", "- - local"], &[0]),
            (&["m - local", "elsewhere"], &[1]),
            (&["n y local", "m z local"], &[0]),
            (&["elsewhere"], &[0]),
            (&[], &[]),
        ] {
            let all: Vec<_> = endpoints.iter().map(|text| endpoint(text)).collect();
            let addrs: Vec<SocketAddr> = (0..all.len())
                .map(|n| SocketAddr::from(([10, 0, 0, 1], u16::try_from(n).unwrap())))
                .collect();
            let client = Client {
                node: Some("n".into()),
                zone: Some("z".into()),
            };
            let chosen = client.chosen(addrs.iter().zip(&all).collect());
            let found: Vec<_> = chosen.iter().map(|(addr, _)| addr.port()).collect();
            assert_eq!(found, want, "{endpoints:?}");
        }
    }

    #[test]
    fn a_client_that_does_not_say_where_it_is() {
        let client = Client::default();
        let (hinted, local) = (endpoint("n z"), endpoint("n - local"));
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        assert_eq!(client.chosen(vec![(&addr, &hinted)]).len(), 1);
        assert_eq!(client.chosen(vec![(&addr, &local)]).len(), 0);
    }

    #[test]
    fn only_a_node_name_is_read() {
        for (token, want) in [
            (r#"{"ns":"a","nodeName":"n","pod":"p"}"#, Some("n")),
            (r#"{"ns":"a","nodeName":""}"#, None),
            (r#"{"ns":"a"}"#, None),
            (r#"{"nodeName":7}"#, None),
            ("ns:a", None),
            ("", None),
        ] {
            assert_eq!(Client::parse(token).node.as_deref(), want, "{token}");
        }
    }
}
