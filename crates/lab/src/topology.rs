//! The addresses of the lab: which cluster has which ranges of loopback, and who sits where in them.
//!
//! Decides nothing at run time and knows no process. Everything that needs an address of the lab asks
//! here, so that the plan of the scenario is written down once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;

/// The namespace of the control plane and of the gateway, in every cluster.
pub const CONTROL_NAMESPACE: &str = "tombolo";
/// The namespace of the scenario's services.
pub const DEMO_NAMESPACE: &str = "mc-demo";
/// The cluster domain, and the trust domain of identities.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Where a proxy accepts meshed traffic; on the gateway, the gateway's port.
pub const INBOUND_PORT: u16 = 4143;
/// Where a proxy accepts traffic that it sends on.
pub const OUTBOUND_PORT: u16 = 4140;
/// Where a proxy and the control plane answer `/ready`.
pub const ADMIN_PORT: u16 = 4191;
/// Where the control plane serves the destination API.
pub const DESTINATION_PORT: u16 = 8086;
/// Where the control plane serves the identity API, unless something else on the machine holds it.
pub const IDENTITY_PORT: u16 = 8080;
/// Where the control plane serves the policy API.
pub const POLICY_PORT: u16 = 8090;
/// Where the API servers listen.
pub const API_PORT: u16 = 6443;
/// Where the node agents serve the logs of their pods.
pub const KUBELET_PORT: u16 = 10250;
/// The port of the scenario's services, unless the user asks for another.
pub const SERVICE_PORT: u16 = 8080;

/// One cluster of the lab: its name and its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// `west`, `east` or `north`.
    pub name: &'static str,
    /// The addresses of its nodes; the first four are the API server, control, agent and node proxy.
    pub nodes: Ipv4Net,
    /// The addresses of its pods.
    pub pods: Ipv4Net,
    /// The addresses of its Services.
    pub services: Ipv4Net,
}

impl ClusterPlan {
    const fn new(name: &'static str, node: u8, pod: u8, service: u8) -> Self {
        Self {
            name,
            nodes: Ipv4Net::new_assert(Ipv4Addr::new(127, node, 0, 0), 20),
            pods: Ipv4Net::new_assert(Ipv4Addr::new(127, pod, 0, 0), 14),
            services: Ipv4Net::new_assert(Ipv4Addr::new(127, service, 0, 0), 20),
        }
    }

    fn node(&self, host: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.nodes.network().octets();
        Ipv4Addr::new(a, b, c, host)
    }

    /// Where the API server listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.node(1)), API_PORT)
    }

    /// The address of the control plane.
    #[must_use]
    pub fn control(&self) -> Ipv4Addr {
        self.node(2)
    }

    /// The address of the node, and of its agent.
    #[must_use]
    pub fn node_address(&self) -> Ipv4Addr {
        self.node(3)
    }

    /// The address of the node's own proxy.
    #[must_use]
    pub fn node_proxy(&self) -> Ipv4Addr {
        self.node(4)
    }

    /// The name of its only node.
    #[must_use]
    pub fn node_name(&self) -> String {
        format!("{}-node", self.name)
    }
}

/// The clusters of the scenario, in the order in which they are shown.
#[must_use]
pub fn clusters() -> [ClusterPlan; 3] {
    [
        ClusterPlan::new("west", 10, 100, 104),
        ClusterPlan::new("east", 20, 108, 112),
        ClusterPlan::new("north", 30, 116, 120),
    ]
}

/// The place of a cluster among those that are shown; others come last.
#[must_use]
pub fn place(name: &str) -> usize {
    let clusters = clusters();
    let found = clusters.iter().position(|cluster| cluster.name == name);
    found.unwrap_or(clusters.len())
}

/// One directional link of the scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// The cluster in which the Link lies.
    pub source: &'static str,
    /// The cluster that it points to.
    pub target: &'static str,
    /// Its name, which is the suffix of its mirrors.
    pub name: &'static str,
    /// Whether it leads through the target's gateway.
    pub route: Route,
}

/// How a Link of the scenario reaches its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Pod to pod: remote discovery and federation, no gateway.
    Flat,
    /// Through the gateway: mirrors only, or federated services would join twice.
    Gateway,
}

/// The eight Links of the scenario: a full mesh of flat ones, and `east-gw` in the other two.
#[must_use]
pub fn links() -> Vec<LinkPlan> {
    let names = clusters().map(|cluster| cluster.name);
    let mut links = Vec::new();
    for source in names {
        for target in names.into_iter().filter(|target| *target != source) {
            links.push(LinkPlan {
                source,
                target,
                name: target,
                route: Route::Flat,
            });
        }
    }
    for source in ["west", "north"] {
        links.push(LinkPlan {
            source,
            target: "east",
            name: "east-gw",
            route: Route::Gateway,
        });
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_clusters_do_not_overlap() {
        let all: Vec<Ipv4Net> = clusters()
            .iter()
            .flat_map(|c| [c.nodes, c.pods, c.services])
            .collect();
        for (i, a) in all.iter().enumerate() {
            assert!(a.addr().is_loopback() && a.addr() == a.network(), "{a}");
            for b in &all[i + 1..] {
                assert!(!a.contains(b) && !b.contains(a), "{a} and {b}");
            }
        }
    }

    #[test]
    fn the_scenario_has_six_flat_links_and_two_to_the_gateway() {
        let links = links();
        assert_eq!(links.iter().filter(|l| l.route == Route::Flat).count(), 6);
        let gateway: Vec<_> = links
            .iter()
            .filter(|l| l.route == Route::Gateway)
            .map(|l| l.source)
            .collect();
        assert_eq!(gateway, ["west", "north"]);
        assert_eq!(clusters()[1].api().to_string(), "127.20.0.1:6443");
    }
}
