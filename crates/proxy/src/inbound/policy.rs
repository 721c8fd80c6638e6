//! Who may reach a port: the newest answer of the policy service, or the default until it answers.
//! What was answered once is kept while the control plane is away.
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tombolo_shell::task::Tasks;
use tombolo_wire::proxy_api::inbound::{Authn, Authz, Network, Server, authn};
use tonic::{Code, Status};

use crate::config::DefaultPolicy;
use crate::control;
use crate::discovery::Clients;

use ports::{Keep, Lookup, Ports};

mod ports;

/// Ports whose policy is followed besides the pod's own; a peer may ask for any.
const PORTS_MAX: usize = 256;

/// The policies of this pod's ports. Each is followed from the first time that it is asked for.
pub(crate) struct Policies {
    clients: Clients,
    tasks: Tasks,
    ports: Mutex<Ports>,
}

/// Who may reach one port, always by the newest rules.
#[derive(Debug)]
pub(crate) struct Policy {
    rules: ArcSwap<Vec<Rule>>,
}

/// Admits the clients of certain networks and names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    networks: Vec<Block>,
    clients: Admitted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    net: IpNet,
    except: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Admitted {
    /// All, which here means all with a certificate of ours: nobody else comes this far.
    Meshed,
    Named {
        names: Vec<String>,
        suffixes: Vec<String>,
    },
}

impl Policies {
    /// Follows `ports` from the start.
    pub(crate) fn new(
        clients: Clients,
        default: &DefaultPolicy,
        tasks: &Tasks,
        ports: &[u16],
    ) -> Self {
        let policies = Self {
            clients,
            tasks: tasks.child(),
            ports: Mutex::new(Ports::new(PORTS_MAX, default_rules(default))),
        };
        for port in ports {
            policies.look_up(*port, Keep::Always);
        }
        policies
    }

    /// The policy of `port`, which is followed for as long as it is held. Called per connection.
    pub(crate) fn find(&self, port: u16) -> Arc<Policy> {
        self.look_up(port, Keep::WhileUsed)
    }

    fn look_up(&self, port: u16, keep: Keep) -> Arc<Policy> {
        match self.ports.lock().find(port, keep, &self.tasks) {
            Lookup::Known(policy) => policy,
            Lookup::New(policy, tasks) => {
                let following = follow(self.clients.clone(), port, Arc::downgrade(&policy));
                tasks.spawn_one("inbound policy", following);
                policy
            }
            Lookup::Full(nobody) => {
                tracing::warn!(port, "so many ports are in use that this one admits nobody");
                nobody
            }
        }
    }
}

impl Policy {
    fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
        }
    }

    /// Whether `client`, connected from `addr`, may reach the port.
    pub(crate) fn admits(&self, client: &str, addr: IpAddr) -> bool {
        self.rules
            .load()
            .iter()
            .any(|rule| rule.admits(client, addr))
    }
}

impl Rule {
    fn admits(&self, client: &str, addr: IpAddr) -> bool {
        let near = self.networks.iter().any(|block| {
            block.net.contains(&addr) && !block.except.iter().any(|net| net.contains(&addr))
        });
        near && match &self.clients {
            Admitted::Meshed => true,
            Admitted::Named { names, suffixes } => {
                names.iter().any(|name| name == client || name == "*")
                    || suffixes.iter().any(|suffix| is_below(client, suffix))
            }
        }
    }
}

/// Whether `name` is in the domain `suffix`; everything is in the empty one.
fn is_below(name: &str, suffix: &str) -> bool {
    let Some(rest) = name.strip_suffix(suffix) else {
        return false;
    };
    suffix.is_empty() || rest.is_empty() || rest.ends_with('.')
}

async fn follow(clients: Clients, port: u16, policy: Weak<Policy>) {
    let mut backoff = control::stream_backoff();
    loop {
        let status = match clients.inbound_policy(port).await {
            Err(status) => status,
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(server)) => {
                        backoff.succeeded();
                        let Some(policy) = policy.upgrade() else {
                            return;
                        };
                        policy.rules.store(Arc::new(rules(server)));
                    }
                    Ok(None) => break Status::ok("the stream ended"),
                    Err(status) => break status,
                }
            },
        };
        tracing::debug!(port, code = ?status.code(), "the inbound policy stream ended");
        if matches!(
            status.code(),
            Code::InvalidArgument | Code::NotFound | Code::Unimplemented
        ) {
            // An answer, if not a helpful one: the default stays, and asking faster will not help.
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
        control::pause(&mut backoff).await;
    }
}

fn default_rules(policy: &DefaultPolicy) -> Vec<Rule> {
    let networks = match policy {
        DefaultPolicy::Deny => return Vec::new(),
        DefaultPolicy::Networks(networks) => networks.clone(),
        DefaultPolicy::Meshed => everywhere(),
    };
    let networks = networks
        .into_iter()
        .map(|net| Block {
            net,
            except: Vec::new(),
        })
        .collect();
    vec![Rule {
        networks,
        clients: Admitted::Meshed,
    }]
}

fn everywhere() -> Vec<IpNet> {
    vec![
        IpNet::V4(ipnet::Ipv4Net::default()),
        IpNet::V6(ipnet::Ipv6Net::default()),
    ]
}

/// The rules of a server; what is malformed in them admits nobody.
fn rules(server: Server) -> Vec<Rule> {
    server.authorizations.into_iter().filter_map(rule).collect()
}

fn rule(authz: Authz) -> Option<Rule> {
    let clients = admitted(authz.authentication?)?;
    let networks = authz.networks.into_iter().filter_map(block).collect();
    Some(Rule { networks, clients })
}

fn block(network: Network) -> Option<Block> {
    let net = IpNet::try_from(network.net?).ok()?;
    // An exception that cannot be read must not widen the rule.
    let except: Result<Vec<_>, _> = network.except.into_iter().map(IpNet::try_from).collect();
    Some(Block {
        net,
        except: except.ok()?,
    })
}

fn admitted(authentication: Authn) -> Option<Admitted> {
    use authn::permit_mesh_tls::Clients as Meshed;
    match authentication.permit? {
        authn::Permit::Unauthenticated(_) => Some(Admitted::Meshed),
        authn::Permit::MeshTls(mesh) => match mesh.clients? {
            Meshed::Unauthenticated(_) => Some(Admitted::Meshed),
            Meshed::Identities(identities) => Some(Admitted::Named {
                names: identities
                    .identities
                    .into_iter()
                    .map(|identity| identity.name)
                    .collect(),
                suffixes: identities
                    .suffixes
                    .into_iter()
                    .map(|suffix| suffix.parts.join("."))
                    .collect(),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use tombolo_wire::proxy_api::inbound::authn::permit_mesh_tls::Clients as Meshed;
    use tombolo_wire::proxy_api::inbound::authn::{
        Permit, PermitMeshTls, PermitUnauthenticated, permit_mesh_tls::PermitClientIdentities,
    };
    use tombolo_wire::proxy_api::inbound::{Identity, IdentitySuffix};

    use super::*;

    fn authz(networks: &[&str], permit: Option<Permit>) -> Authz {
        let network = |net: &&str| Network {
            net: Some(net.parse::<IpNet>().unwrap().into()),
            except: Vec::new(),
        };
        Authz {
            networks: networks.iter().map(network).collect(),
            authentication: Some(Authn { permit }),
            ..Authz::default()
        }
    }

    fn named(names: &[&str], suffixes: &[&[&str]]) -> Option<Permit> {
        let identities = names
            .iter()
            .map(|name| Identity {
                name: (*name).into(),
            })
            .collect();
        let suffixes = suffixes
            .iter()
            .map(|parts| IdentitySuffix {
                parts: parts.iter().map(|p| (*p).into()).collect(),
            })
            .collect();
        let clients = Meshed::Identities(PermitClientIdentities {
            identities,
            suffixes,
        });
        Some(Permit::MeshTls(PermitMeshTls {
            clients: Some(clients),
        }))
    }

    #[test]
    fn rules_admit_by_network_and_name() {
        let any = Some(Permit::Unauthenticated(PermitUnauthenticated {}));
        for (authz, want) in [
            (authz(&["0.0.0.0/0"], any.clone()), true),
            (authz(&["10.0.0.0/8"], any.clone()), true),
            (authz(&["11.0.0.0/8"], any), false),
            (authz(&["0.0.0.0/0"], None), false),
            (authz(&["0.0.0.0/0"], named(&["web.shop.mesh"], &[])), true),
            (authz(&["0.0.0.0/0"], named(&["api.shop.mesh"], &[])), false),
            (
                authz(&["0.0.0.0/0"], named(&[], &[&["shop", "mesh"]])),
                true,
            ),
            (
                authz(&["0.0.0.0/0"], named(&[], &[&["hop", "mesh"]])),
                false,
            ),
            (authz(&["0.0.0.0/0"], named(&[], &[&[]])), true),
        ] {
            let server = Server {
                authorizations: vec![authz.clone()],
                ..Server::default()
            };
            let policy = Policy::new(rules(server));
            let admitted = policy.admits("web.shop.mesh", "10.1.2.3".parse().unwrap());
            assert_eq!(admitted, want, "{authz:?}");
        }
        assert!(!Policy::new(rules(Server::default())).admits("a", "10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn exceptions_narrow_a_network() {
        let mut authz = authz(
            &["10.0.0.0/8"],
            Some(Permit::Unauthenticated(PermitUnauthenticated {})),
        );
        authz.networks[0].except = vec!["10.1.0.0/16".parse::<IpNet>().unwrap().into()];
        let policy = Policy::new(rules(Server {
            authorizations: vec![authz],
            ..Server::default()
        }));
        assert!(policy.admits("a", "10.2.0.1".parse().unwrap()));
        assert!(!policy.admits("a", "10.1.0.1".parse().unwrap()));
    }
}
