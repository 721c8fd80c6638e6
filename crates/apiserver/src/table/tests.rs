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
    assert_eq!(
        cells.len(),
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
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
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
