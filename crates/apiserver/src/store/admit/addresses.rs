//! Which ClusterIPs are taken, and by whom.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rand::Rng;
use rand::rngs::StdRng;

use crate::object::Object;
use crate::store::json::list;

/// The addresses that Services hold. Derived from the Services, never stored.
#[derive(Debug)]
pub(crate) struct ServiceAddresses {
    range: IpNet,
    taken: BTreeMap<IpAddr, (Box<str>, Box<str>)>,
}

impl ServiceAddresses {
    /// None is taken.
    pub(crate) fn new(range: IpNet) -> Self {
        Self {
            range,
            taken: BTreeMap::new(),
        }
    }

    /// Notes the addresses of a Service.
    pub(crate) fn take_all(&mut self, service: &Object) {
        let value = service.value();
        for address in list(&value["spec"], "clusterIPs") {
            if let Some(address) = address.as_str().and_then(|text| text.parse().ok()) {
                let owner = (service.namespace().into(), service.name().into());
                self.taken.insert(address, owner);
            }
        }
    }

    /// Forgets the addresses of a Service.
    pub(crate) fn release_all(&mut self, service: &Object) {
        let value = service.value();
        for address in list(&value["spec"], "clusterIPs") {
            if let Some(address) = address.as_str().and_then(|text| text.parse().ok()) {
                self.taken.remove(&address);
            }
        }
    }

    /// Why an address that a Service asks for cannot be had; none if it can.
    pub(crate) fn refusal(&self, address: IpAddr, namespace: &str, name: &str) -> Option<String> {
        if !self.range.contains(&address) {
            return Some(format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid \
                 range. The range of valid IPs is {}",
                self.range.trunc()
            ));
        }
        let owner = self.taken.get(&address)?;
        ((&*owner.0, &*owner.1) != (namespace, name))
            .then(|| format!("failed to allocate IP {address}: provided IP is already allocated"))
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
