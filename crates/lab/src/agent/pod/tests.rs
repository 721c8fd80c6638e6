use serde_json::json;

use super::*;

pub(crate) fn object(value: serde_json::Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn pod() -> serde_json::Value {
    json!({
        "metadata": {"name": "frontend-1", "namespace": "mc-demo", "uid": "u1"},
        "spec": {
            "terminationGracePeriodSeconds": 7,
            "containers": [{
                "name": "frontend", "image": "registry.example:5000/tombolo/echo:v1",
                "args": ["--text", "$(WHO) at $(POD_IP) for $$(WHO) and $(NOBODY)"],
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "WHO", "value": "me@$(POD_IP)"},
                ],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2},
                "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            }],
        },
    })
}

#[test]
fn a_pod_is_read_with_its_probe_ports_and_times() {
    let spec = PodSpec::read(&object(pod())).unwrap();
    assert_eq!(
        (spec.grace, spec.life),
        (Duration::from_secs(7), Life::Wanted)
    );
    assert_eq!(spec.service_account, "default");
    let container = &spec.containers[0];
    assert_eq!((container.kind, container.port), (Kind::Echo, Some(8080)));
    assert_eq!(container.pre_stop, Duration::from_secs(1));
    let probe = container.probe.as_ref().unwrap();
    assert_eq!(
        probe.check,
        Check::Http {
            port: 8080,
            path: "/healthz".to_owned()
        }
    );
    assert_eq!(
        (probe.period, probe.failures_max),
        (Duration::from_secs(2), 3)
    );
}

#[test]
fn references_are_replaced_as_kubernetes_does() {
    let spec = PodSpec::read(&object(pod())).unwrap();
    let facts = Facts {
        pod: &spec,
        address: Ipv4Addr::new(127, 100, 0, 9),
        node_name: "west-node",
        node_address: Ipv4Addr::new(127, 10, 0, 3),
    };
    let (env, args) = facts.resolve(&spec.containers[0]);
    assert_eq!(env["WHO"], "me@127.100.0.9");
    assert_eq!(
        args[1],
        "me@127.100.0.9 at 127.100.0.9 for $(WHO) and $(NOBODY)"
    );
}

#[test]
fn images_are_known_by_name_whatever_their_registry_and_tag() {
    for (image, kind) in [
        ("tombolo/echo", Kind::Echo),
        ("tombolo/echo:1", Kind::Echo),
        ("localhost:5000/tombolo/proxy", Kind::Proxy),
        ("registry.k8s.io/pause:3.2", Kind::Pause),
        ("tombolo/pause", Kind::Pause),
        ("nginx", Kind::Unknown),
        ("", Kind::Unknown),
        ("mytombolo/echo", Kind::Unknown),
    ] {
        assert_eq!(Kind::of(image), kind, "{image:?}");
    }
}

#[test]
fn nonsense_in_a_pod_is_harmless() {
    let mut value = pod();
    value["spec"]["terminationGracePeriodSeconds"] = json!(-3);
    value["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(123_456);
    let spec = PodSpec::read(&object(value)).unwrap();
    assert_eq!(spec.grace, GRACE_DEFAULT);
    assert_eq!(
        spec.containers[0].probe, None,
        "a probe of a port that is none"
    );
    assert!(PodSpec::read(&object(json!({"metadata": {"name": "a"}}))).is_none());
}
