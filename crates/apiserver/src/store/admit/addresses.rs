//! Which ClusterIPs and node ports are taken, and by whom.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::object::Object;
use crate::store::json::list;

/// Where node ports come from.
pub(crate) const NODE_PORTS: RangeInclusive<i64> = 30000..=32767;

/// Namespace and name of a Service.
pub(crate) type Owner = (Box<str>, Box<str>);

/// The addresses and ports that Services hold. Derived from the Services, never stored.
#[derive(Debug)]
pub(crate) struct ServiceAddresses {
    range: IpNet,
    taken: BTreeMap<IpAddr, Owner>,
    ports: BTreeMap<i64, Owner>,
}

impl ServiceAddresses {
    /// None is taken.
    pub(crate) fn new(range: IpNet) -> Self {
        Self {
            range,
            taken: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }

    /// Whether ClusterIPs are IPv4 addresses.
    pub(crate) fn is_ipv4(&self) -> bool {
        matches!(self.range, IpNet::V4(_))
    }

    /// Notes what a Service has.
    pub(crate) fn take_all(&mut self, service: &Object) {
        let value = service.value();
        let owner: Owner = (service.namespace().into(), service.name().into());
        for address in addresses_of(&value) {
            self.taken.insert(address, owner.clone());
        }
        for port in ports_of(&value) {
            self.ports.insert(port, owner.clone());
        }
    }

    /// Forgets what a Service has.
    pub(crate) fn release_all(&mut self, service: &Object) {
        let value = service.value();
        for address in addresses_of(&value) {
            self.taken.remove(&address);
        }
        for port in ports_of(&value) {
            self.ports.remove(&port);
        }
    }

    /// Why an address that a Service asks for cannot be had; none if it can.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<String> {
        let why = if !self.range.contains(&address) {
            "the provided network does not match the current range".to_owned()
        } else if address == self.range.network() || address == self.range.broadcast() {
            let range = self.range.trunc();
            format!("provided IP is not in the valid range. The range of valid IPs is {range}")
        } else if self.taken.contains_key(&address) {
            "provided IP is already allocated".to_owned()
        } else {
            return None;
        };
        Some(format!("failed to allocate IP {address}: {why}"))
    }

    /// Why a node port that a Service asks for cannot be had; none if it can.
    pub(crate) fn port_refusal(&self, port: i64, owner: &Owner) -> Option<String> {
        if !NODE_PORTS.contains(&port) {
            return Some(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                NODE_PORTS.start(),
                NODE_PORTS.end()
            ));
        }
        let taken = self.ports.get(&port).is_some_and(|found| found != owner);
        taken.then(|| "provided port is already allocated".to_owned())
    }

    /// A free node port that is not among a few others; none if all are taken.
    pub(crate) fn free_port(&self, rng: &mut StdRng, but: &[i64]) -> Option<i64> {
        let size = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let start = i64::from(rng.next_u32()) % size;
        (0..size)
            .map(|step| NODE_PORTS.start() + (start + step) % size)
            .find(|port| !self.ports.contains_key(port) && !but.contains(port))
    }

    /// A free address; none if all are taken. The first of the range stays free for the API server.
    pub(crate) fn free(&self, rng: &mut StdRng) -> Option<IpAddr> {
        let (first, size) = match self.range {
            IpNet::V4(range) => {
                let bits = 32 - u32::from(range.prefix_len());
                (u128::from(u32::from(range.network())), 1u128 << bits)
            }
            IpNet::V6(range) => {
                let bits = (128 - u32::from(range.prefix_len())).min(16);
                (u128::from(range.network()), 1u128 << bits)
            }
        };
        // Neither the network's own address, nor the first, nor the last (broadcast).
        let usable = size.checked_sub(3).filter(|usable| *usable > 0)?;
        let start = u128::from(rng.next_u64()) % usable;
        (0..usable)
            .map(|step| first + 2 + (start + step) % usable)
            .find_map(|number| {
                let address = match self.range {
                    IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).ok()?)),
                    IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
                };
                (!self.taken.contains_key(&address)).then_some(address)
            })
    }
}

fn addresses_of(service: &Value) -> Vec<IpAddr> {
    let all = list(&service["spec"], "clusterIPs").iter();
    all.filter_map(|one| one.as_str()?.parse().ok()).collect()
}

fn ports_of(service: &Value) -> Vec<i64> {
    let spec = &service["spec"];
    let ports = list(spec, "ports").iter().map(|port| &port["nodePort"]);
    ports
        .chain([&spec["healthCheckNodePort"]])
        .filter_map(Value::as_i64)
        .collect()
}
