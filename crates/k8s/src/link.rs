//! Link objects, read from JSON: whatever is in one, reading it ends in a value. A malformed field
//! refuses the part of the spec that needs it, by name, and nothing else.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tombolo_core::link::{Fault, Gateway, GatewayHost, Link, LinkKey, LinkSpec, Part, Probe};
use tombolo_core::name::{ClusterName, Namespace, check_dns_label};
use tombolo_core::selector::{Exclusions, Selector};
use tombolo_core::world::{ClusterUid, CreatedAt};

use crate::json::Reader;

mod duration;
mod selector;

pub(crate) use duration::parse as parse_duration;

/// A Link object, read.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkObject {
    /// Its namespace and name.
    pub key: LinkKey,
    /// Its uid, for Events about it.
    pub uid: Option<String>,
    /// When it was created.
    pub created: CreatedAt,
    /// Its spec, accepted or refused.
    pub spec: LinkSpec,
    /// What its status says the cluster behind it is known by.
    pub cluster_uid: Option<ClusterUid>,
    /// Its status as it is written.
    pub status: Value,
    /// Its resourceVersion, by which an earlier state is told from a later one.
    pub version: Option<u64>,
}

/// Reads a Link; none where the object has no proper namespace and name, which no API server serves.
#[must_use]
pub fn read(object: &Value) -> Option<LinkObject> {
    let metadata = object.get("metadata")?;
    let namespace = Namespace::parse(metadata.get("namespace")?.as_str()?).ok()?;
    let name = metadata
        .get("name")?
        .as_str()
        .filter(|name| !name.is_empty())?;
    let created = metadata.get("creationTimestamp").and_then(Value::as_str);
    let created = created.and_then(|text| text.parse::<Timestamp>().ok());
    let cluster_uid = object.pointer("/status/clusterUid").and_then(Value::as_str);
    Some(LinkObject {
        uid: metadata
            .get("uid")
            .and_then(Value::as_str)
            .map(str::to_owned),
        // An age that cannot be read is no seniority.
        created: CreatedAt(created.map_or(i64::MAX, Timestamp::as_second)),
        spec: spec(object, format!("Link {namespace}/{name}")),
        cluster_uid: cluster_uid
            .filter(|uid| !uid.is_empty())
            .map(|uid| ClusterUid(uid.into())),
        status: object.get("status").cloned().unwrap_or(Value::Null),
        version: version(metadata.get("resourceVersion").and_then(Value::as_str)),
        key: LinkKey {
            namespace,
            name: name.into(),
        },
    })
}

/// A resourceVersion as a number, which it is wherever versions can be compared.
#[must_use]
pub fn version(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

fn spec(object: &Value, name: String) -> LinkSpec {
    let mut reader = Reader::new(name.clone());
    let target = target(&mut reader, object);
    let mut of_gateway = Reader::new(name.clone());
    let (gateway, remarks) = gateway(&mut of_gateway, object);
    let gateway_selector = selector::read(&mut of_gateway, object, "spec.selector");
    let mut of_flat = Reader::new(name.clone());
    let flat_selector = selector::read(&mut of_flat, object, "spec.remoteDiscoverySelector");
    let mut of_federation = Reader::new(name.clone());
    let federated_selector =
        selector::read(&mut of_federation, object, "spec.federatedServiceSelector");
    let mut of_probe = Reader::new(name);
    let probe_port = port(&mut of_probe, object, "spec.probeSpec.port");
    let probe = probe(&mut of_probe, object, probe_port);
    let domain = domain(&mut reader, object);
    let secret = reader
        .text(object, "spec.clusterCredentialsSecret")
        .map(str::to_owned);
    let readers = [
        (Part::Gateway, of_gateway),
        (Part::Flat, of_flat),
        (Part::Federation, of_federation),
    ];
    let broken: BTreeMap<_, _> = { readers.into_iter() }
        .map(|(part, reader)| (part, reader.faults))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    // What is half read would match too much.
    let whole = |part: Part, selector| match broken.contains_key(&part) {
        true => Selector::nothing(),
        false => selector,
    };
    let excluded_labels = exclusions(&mut reader, object, "spec.excludedLabels");
    let excluded_annotations = exclusions(&mut reader, object, "spec.excludedAnnotations");
    match target {
        Some(target) if reader.faults.is_empty() => LinkSpec::Accepted(Link {
            credentials_secret: secret.unwrap_or_else(|| format!("cluster-credentials-{target}")),
            target,
            domain,
            gateway,
            probe: probe.filter(|_| of_probe.faults.is_empty()),
            probe_faults: of_probe.faults,
            gateway_selector: whole(Part::Gateway, gateway_selector),
            flat_selector: whole(Part::Flat, flat_selector),
            federated_selector: whole(Part::Federation, federated_selector),
            broken,
            remarks,
            excluded_labels,
            excluded_annotations,
        }),
        target => LinkSpec::Refused {
            target,
            faults: reader.faults,
        },
    }
}

fn target(reader: &mut Reader, object: &Value) -> Option<ClusterName> {
    const FIELD: &str = "spec.targetClusterName";
    let before = reader.faults.len();
    let Some(text) = reader.text(object, FIELD) else {
        if reader.faults.len() == before {
            reader.fault(FIELD, "is empty: which cluster is this a Link to?");
        }
        return None;
    };
    match ClusterName::parse(text) {
        Ok(target) => Some(target),
        Err(error) => {
            reader.fault(FIELD, format!("{text:?} {error}"));
            None
        }
    }
}

fn domain(reader: &mut Reader, object: &Value) -> String {
    const FIELD: &str = "spec.targetClusterDomain";
    let domain = reader.text(object, FIELD).unwrap_or("cluster.local");
    if !is_dns_name(domain) {
        reader.fault(FIELD, format!("{domain:?} is no DNS name"));
    }
    domain.to_owned()
}

/// The gateway, and what of its addresses is passed over because others can be used.
fn gateway(reader: &mut Reader, object: &Value) -> (Option<Gateway>, Vec<Fault>) {
    let (hosts, remarks) = hosts(reader, object);
    (gateway_at(reader, object, hosts), remarks)
}

fn gateway_at(reader: &mut Reader, object: &Value, hosts: Vec<GatewayHost>) -> Option<Gateway> {
    let port = port(reader, object, "spec.gatewayPort");
    let identity = reader
        .text(object, "spec.gatewayIdentity")
        .map(str::to_owned);
    if let Some(identity) = identity
        .as_deref()
        .filter(|identity| !is_dns_name(identity))
    {
        reader.fault(
            "spec.gatewayIdentity",
            format!("{identity:?} is no DNS name"),
        );
    }
    if hosts.is_empty() {
        return None;
    }
    let Some(port) = port else {
        if !reader
            .faults
            .iter()
            .any(|fault| fault.field == "spec.gatewayPort")
        {
            reader.fault(
                "spec.gatewayPort",
                "is empty, while spec.gatewayAddress is not",
            );
        }
        return None;
    };
    Some(Gateway {
        hosts,
        port,
        identity,
    })
}

fn hosts(reader: &mut Reader, object: &Value) -> (Vec<GatewayHost>, Vec<Fault>) {
    let before = reader.faults.len();
    let mut hosts = Vec::new();
    let list = reader
        .text(object, "spec.gatewayAddress")
        .unwrap_or_default();
    for text in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        match (text.parse(), is_dns_name(text)) {
            (Ok(address), _) => hosts.push(GatewayHost::Address(address)),
            (Err(_), true) => hosts.push(GatewayHost::Name(text.to_owned())),
            (Err(_), false) => {
                let why = format!("{text:?} is neither an IP address nor a DNS name");
                reader.fault("spec.gatewayAddress", why);
            }
        }
    }
    let remarks = match hosts.is_empty() {
        true => Vec::new(),
        false => reader.faults.split_off(before),
    };
    (hosts, remarks)
}

fn probe(reader: &mut Reader, object: &Value, port: Option<u16>) -> Option<Probe> {
    reader.object(object, "spec.probeSpec")?;
    let path = reader
        .text(object, "spec.probeSpec.path")
        .map(str::to_owned);
    let period = duration::read(reader, object, "spec.probeSpec.period");
    let timeout = duration::read(reader, object, "spec.probeSpec.timeout");
    let failure_threshold = reader
        .number(object, "spec.probeSpec.failureThreshold")
        .unwrap_or(3);
    let Ok(failure_threshold) = u32::try_from(failure_threshold.max(1)) else {
        let why = format!("{failure_threshold} is too large");
        reader.fault("spec.probeSpec.failureThreshold", why);
        return None;
    };
    let path = path?;
    if !path.starts_with('/') {
        reader.fault(
            "spec.probeSpec.path",
            format!("{path:?} must start with a '/'"),
        );
    }
    let Some(port) = port else {
        if !reader
            .faults
            .iter()
            .any(|fault| fault.field == "spec.probeSpec.port")
        {
            reader.fault(
                "spec.probeSpec.port",
                "is empty, while spec.probeSpec.path is not",
            );
        }
        return None;
    };
    Some(Probe {
        path,
        port,
        period: period.unwrap_or(duration::PROBE_PERIOD),
        timeout: timeout.unwrap_or(duration::PROBE_TIMEOUT),
        failure_threshold,
    })
}

fn port(reader: &mut Reader, object: &Value, field: &str) -> Option<u16> {
    let number = reader.number(object, field)?;
    match u16::try_from(number) {
        Ok(port) if port != 0 => Some(port),
        Ok(_) | Err(_) => {
            reader.fault(field, format!("{number} is no port: 1 to 65535"));
            None
        }
    }
}

fn exclusions(reader: &mut Reader, object: &Value, field: &str) -> Exclusions {
    let mut entries = Vec::new();
    for (index, entry) in reader.list(object, field).iter().enumerate() {
        match entry.as_str() {
            Some(entry) => entries.push(entry),
            None => reader.fault(&format!("{field}[{index}]"), "must be a string"),
        }
    }
    Exclusions::parse(entries)
}

/// Lower case labels with dots between them, at most 253 bytes.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| check_dns_label(label).is_ok())
}

#[cfg(test)]
mod tests;
