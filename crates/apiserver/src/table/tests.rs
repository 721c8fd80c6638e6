use std::sync::Arc;

use super::*;
use crate::registry::{PrinterColumn, Registry};

const NOW: i64 = 1_800_000_000;

fn one(group: &str, plural: &str, mut value: Value) -> Vec<String> {
    let registry = Registry::with_builtin();
    let res = registry.find(group, "v1", plural).unwrap();
    value["metadata"]["creationTimestamp"] = "2027-01-15T07:59:00Z".into();
    let options = Options {
        include: Include::Metadata,
        now: NOW,
    };
    let object = Object::new(&value).unwrap();
    let table = of_list(
        &res,
        &List {
            items: vec![Arc::new(object)],
            resource_version: 1,
        },
        options,
    );
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    // Of addresses Kubernetes shows an age that it names no column for.
    assert_eq!(
        cells.len() - usize::from(plural == "ipaddresses"),
        table["columnDefinitions"].as_array().unwrap().len(),
        "{plural}"
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    cells
        .iter()
        .map(|cell| {
            cell.as_str()
                .map_or_else(|| cell.to_string(), str::to_owned)
        })
        .collect()
}

#[test]
fn every_built_in_kind_has_as_many_cells_as_columns_even_when_it_is_empty() {
    for res in Registry::with_builtin().all() {
        one(&res.group, &res.plural, json!({"metadata": {"name": "x"}}));
    }
}

#[test]
fn rows_say_what_kubernetes_says() {
    let meta = json!({"name": "x"});
    let pod = json!({"metadata": meta, "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
            {"ready": true, "state": {"running": {}}},
            {"ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"finishedAt": "2027-01-15T07:57:00Z"}}}]}});
    assert_eq!(
        one("", "pods", pod.clone()),
        [
            "x",
            "1/2",
            "CrashLoopBackOff",
            "3 (3m ago)",
            "60s",
            "10.0.0.1",
            "n",
            "<none>",
            "<none>"
        ]
    );
    let mut ending = pod;
    ending["metadata"]["deletionTimestamp"] = "2027-01-15T07:59:00Z".into();
    assert_eq!(one("", "pods", ending)[2], "Terminating");
    let service = json!({"metadata": meta, "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1",
        "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        "selector": {"app": "a"}}});
    assert_eq!(
        one("", "services", service),
        [
            "x",
            "LoadBalancer",
            "10.96.0.1",
            "<pending>",
            "80:30000/TCP,53/UDP",
            "60s",
            "app=a"
        ]
    );
    let deployment = json!({"metadata": meta, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
    assert_eq!(
        one("apps", "deployments", deployment),
        ["x", "2/3", "3", "2", "60s", "c", "i", "app=a"]
    );
}

#[test]
fn rows_of_the_cluster_say_what_kubernetes_says() {
    let meta = json!({"name": "x"});
    let slice = json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.2"]}, {"addresses": ["1.1.1.3"]},
            {"addresses": ["1.1.1.4"]}]});
    assert_eq!(
        one("discovery.k8s.io", "endpointslices", slice),
        [
            "x",
            "IPv4",
            "8080",
            "1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...",
            "60s"
        ]
    );
    let node = json!({"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "127.10.0.3"}],
        "nodeInfo": {"kubeletVersion": "v1"}}});
    assert_eq!(
        one("", "nodes", node)[..6],
        ["x", "Ready", "<none>", "60s", "v1", "127.10.0.3"].map(str::to_owned)
    );
    let event = json!({"metadata": meta, "type": "Warning", "reason": "Bad", "message": "m",
        "lastTimestamp": "2027-01-15T07:58:00Z",
        "involvedObject": {"kind": "Link", "name": "east"}});
    assert_eq!(
        one("", "events", event)[..4],
        ["2m", "Warning", "Bad", "link/east"].map(str::to_owned)
    );
}

#[test]
fn columns_of_a_custom_resource_are_its_own() {
    let base = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let column = |name: &str, kind: &str, path: &str| PrinterColumn {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        json_path: path.to_owned(),
    };
    let res = Resource {
        group: "example.com".to_owned(),
        custom: true,
        columns: vec![
            column("Cluster", "string", ".spec.cluster"),
            column(
                "Up",
                "string",
                ".status.conditions[?(@.type==\"Ready\")].status",
            ),
            column("Count", "integer", ".spec.count"),
            column("Absent", "string", ".spec.absent"),
            column("Age", "date", ".metadata.creationTimestamp"),
        ],
        ..(*base).clone()
    };
    let object = Object::new(&json!({
        "metadata": {"name": "x", "creationTimestamp": "2027-01-15T07:00:00Z"},
        "spec": {"cluster": "east", "count": 3},
        "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}}))
    .unwrap();
    let table = of_one(
        &res,
        &object,
        Options {
            include: Include::Nothing,
            now: NOW,
        },
    );
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["x", "east", "True", 3, null, "60m"])
    );
}

#[test]
fn durations_are_spelled_as_kubectl_spells_them() {
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (135, "2m15s"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 60, "5h1m"),
        (9 * 3600, "9h"),
        (49 * 3600, "2d1h"),
        (30 * 86400, "30d"),
        (3 * 365 * 86400, "3y"),
    ] {
        assert_eq!(text::duration(seconds), expected);
    }
}

#[test]
fn odd_paths_find_nothing_and_do_not_panic() {
    let value = json!({"a": {"b.c": [1, 2, 3]}, "l": [{"x": 1}, {"x": 2}]});
    for (path, expected) in [
        (".a.b\\.c[1]", "2"),
        (".a['b.c'][-1]", "3"),
        ("$.l[*].x", "1 2"),
        (".l[?(@.x==2)].x", "2"),
        (".", ""),
        ("..", ""),
        (".a[", ""),
        (".a[?(", ""),
        ("[", ""),
        (".l[99999999999999999999]", ""),
        (".l[-9]", ""),
    ] {
        assert_eq!(
            text::plain(&jsonpath::find(&value, path)),
            expected,
            "{path}"
        );
    }
}

/// The cells of an object of any kind, whether it is registered or not.
fn cells_of(group: &str, plural: &str, value: &Value) -> Vec<Value> {
    let base = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let res = Resource {
        group: group.to_owned(),
        plural: plural.to_owned(),
        ..(*base).clone()
    };
    let object = Object::new(value).unwrap();
    let options = Options {
        include: Include::Nothing,
        now: NOW,
    };
    let table = of_one(&res, &object, options);
    table["rows"][0]["cells"].as_array().unwrap().clone()
}

#[test]
fn every_layout_has_its_columns() {
    let all = [
        pods::LAYOUTS,
        workloads::LAYOUTS,
        scaling::LAYOUTS,
        network::LAYOUTS,
        storage::LAYOUTS,
        policy::LAYOUTS,
        cluster::LAYOUTS,
        devices::LAYOUTS,
    ];
    for layout in all.into_iter().flatten() {
        let value = json!({"metadata": {"name": "x"}});
        let cells = cells_of(layout.group, layout.plural, &value);
        let base = Registry::with_builtin()
            .find("", "v1", "configmaps")
            .unwrap();
        let res = Resource {
            group: layout.group.to_owned(),
            plural: layout.plural.to_owned(),
            ..(*base).clone()
        };
        assert!(columns::is_known_empty(&res), "{}", layout.plural);
        let more = usize::from(layout.plural == "ipaddresses");
        assert_eq!(
            cells.len() - more,
            columns::of(&res).len(),
            "{}",
            layout.plural
        );
    }
}

#[test]
fn kinds_beside_the_common_ones_say_what_kubernetes_says() {
    let rows = [
        (
            "networking.k8s.io",
            "ingresses",
            json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}],
            "tls": [{}]}, "status": {"loadBalancer": {"ingress": [{"hostname": "z"}, {"ip": "1.1.1.1"}]}}}),
            json!(["<none>", "a,b,c + 1 more...", "1.1.1.1,z", "80, 443"]),
        ),
        (
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "w"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}}),
            json!(["Deployment/w", "cpu: <unknown>/80%", "<unset>", 5]),
        ),
        (
            "",
            "resourcequotas",
            json!({"status": {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1"}}}),
            json!(["pods: 1/4", "limits.cpu: 0/2"]),
        ),
        (
            "",
            "persistentvolumeclaims",
            json!({"spec": {"storageClassName": "fast", "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
            json!([
                "Pending",
                "",
                "",
                "",
                "fast",
                "<unset>",
                "<unknown>",
                "Filesystem"
            ]),
        ),
        (
            "certificates.k8s.io",
            "certificatesigningrequests",
            json!({"spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}}),
            json!(["<unknown>", "s", "u", "60m", "Approved,Issued"]),
        ),
        (
            "apps",
            "controllerrevisions",
            json!({"revision": 3, "metadata": {"name": "x", "ownerReferences": [
            {"controller": true, "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s"}]}}),
            json!(["statefulset.apps/s", 3]),
        ),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            json!({"spec": {"scope": "Cluster", "group": "g",
            "names": {"kind": "K", "shortNames": ["k"]}, "versions": [{"name": "v1", "served": true, "storage": true}]}}),
            json!(["Cluster", "v1(storage)", null, "g", "K", "k", false]),
        ),
    ];
    for (group, plural, mut value, wanted) in rows {
        value["metadata"]["name"] = "x".into();
        let cells = cells_of(group, plural, &value);
        let wanted = wanted.as_array().unwrap();
        assert_eq!(&cells[1..=wanted.len()], wanted.as_slice(), "{plural}");
    }
}

#[test]
fn a_pod_that_has_ended_says_so_beside_its_cells() {
    let registry = Registry::with_builtin();
    let res = registry.find("", "v1", "pods").unwrap();
    for (phase, conditions) in [
        ("Running", json!(null)),
        (
            "Failed",
            json!([{"type": "Completed", "status": "True", "reason": "Failed",
            "message": "The pod failed."}]),
        ),
    ] {
        let pod = json!({"metadata": {"name": "x"}, "status": {"phase": phase}});
        let options = Options {
            include: Include::Nothing,
            now: NOW,
        };
        let table = of_one(&res, &Object::new(&pod).unwrap(), options);
        assert_eq!(table["rows"][0]["conditions"], conditions);
    }
}
