//! What the node owes to Services: listeners for their ClusterIPs, and addresses for LoadBalancers.
//!
//! Pure: a function of the objects.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use serde_json::json;

use super::write::Write;

/// How many addresses the node's proxy listens on at most.
const LISTENERS_MAX: usize = 4096;

/// The line that tells the node's proxy where to listen: every TCP port of every ClusterIP, sorted.
pub(super) fn listeners<'a>(services: impl Iterator<Item = &'a Service>) -> String {
    let mut all = BTreeSet::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let address = spec
            .cluster_ip
            .as_deref()
            .and_then(|text| text.parse::<IpAddr>().ok());
        let Some(address) = address else { continue };
        for port in spec.ports.as_deref().unwrap_or_default() {
            let tcp = port
                .protocol
                .as_deref()
                .is_none_or(|protocol| protocol == "TCP");
            if let (true, Ok(port)) = (tcp, u16::try_from(port.port)) {
                all.insert(SocketAddr::new(address, port));
            }
        }
    }
    if all.len() > LISTENERS_MAX {
        tracing::warn!(
            ports = all.len(),
            max = LISTENERS_MAX,
            "too many ports of Services"
        );
    }
    let texts: Vec<String> = all
        .iter()
        .take(LISTENERS_MAX)
        .map(ToString::to_string)
        .collect();
    json!(texts).to_string()
}

/// The writes that give Services of type LoadBalancer the address of a ready pod behind them.
///
/// A Service keeps its address while that pod exists, and when nothing is ready: its users are told of a
/// new address, not of none.
pub(super) fn ingress_writes<'a>(
    services: impl Iterator<Item = &'a Service>,
    pods: impl Iterator<Item = &'a Pod> + Clone,
) -> Vec<Write> {
    services
        .filter_map(|service| ingress_write(service, pods.clone()))
        .collect()
}

fn ingress_write<'a>(service: &Service, pods: impl Iterator<Item = &'a Pod>) -> Option<Write> {
    let spec = service.spec.as_ref()?;
    let selector = spec
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())?;
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return None;
    }
    let namespace = service.namespace()?;
    let behind = |pod: &&Pod| {
        pod.namespace().as_ref() == Some(&namespace)
            && selector
                .iter()
                .all(|(key, value)| pod.labels().get(key) == Some(value))
            && is_ready(pod)
    };
    let ready: Vec<String> = pods
        .filter(behind)
        .filter_map(|pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone()))
        .collect();
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let present = balancer.and_then(|b| b.ingress.as_ref()?.first()?.ip.clone());
    if present.as_ref().is_some_and(|ip| ready.contains(ip)) {
        return None;
    }
    let address = ready.into_iter().min()?;
    let patch = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
    Some(Write::Ingress {
        namespace,
        name: service.name_any(),
        patch,
    })
}

/// Whether the pod's status says that it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let ready = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|conditions| conditions.iter().any(ready))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn service(name: &str, spec: &Value, status: &Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "namespace": "n", "name": name }, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn pod(ip: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "namespace": "n", "name": "gateway-1", "labels": { "app": "gateway" } },
            "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    #[test]
    fn every_tcp_port_of_every_cluster_ip_is_listened_on() {
        let spec = json!({ "clusterIP": "127.104.0.9", "ports": [
            { "port": 8081 }, { "port": 8080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" },
        ] });
        let headless = json!({ "clusterIP": "None", "ports": [{ "port": 80 }] });
        let all = [
            service("b", &spec, &json!({})),
            service("a", &headless, &json!({})),
        ];
        assert_eq!(
            listeners(all.iter()),
            r#"["127.104.0.9:8080","127.104.0.9:8081"]"#
        );
    }

    #[test]
    fn a_load_balancer_has_the_address_of_a_ready_pod_and_keeps_it() {
        let spec = json!({ "type": "LoadBalancer", "selector": { "app": "gateway" } });
        let without = service("gateway", &spec, &json!({}));
        let with = |ip: &str| {
            service(
                "gateway",
                &spec,
                &json!({ "loadBalancer": { "ingress": [{ "ip": ip }] } }),
            )
        };
        let address = |service: &Service, pods: &[Pod]| {
            let writes = ingress_writes(std::iter::once(service), pods.iter());
            writes.first().map(|write| match write {
                Write::Ingress { patch, .. } => patch["status"]["loadBalancer"]["ingress"][0]["ip"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                other => panic!("{other:?}"),
            })
        };
        let (ready, unready) = (pod("127.108.0.1", "True"), pod("127.108.0.1", "False"));
        assert_eq!(address(&without, std::slice::from_ref(&unready)), None);
        assert_eq!(
            address(&without, std::slice::from_ref(&ready)),
            Some("127.108.0.1".to_owned())
        );
        assert_eq!(address(&with("127.108.0.1"), &[ready]), None);
        assert_eq!(
            address(&with("127.108.0.1"), &[unready]),
            None,
            "no address is no better"
        );
        let other = pod("127.108.0.2", "True");
        assert_eq!(
            address(&with("127.108.0.1"), &[other]),
            Some("127.108.0.2".to_owned())
        );
    }
}
