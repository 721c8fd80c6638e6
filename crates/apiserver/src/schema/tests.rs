use serde_json::{Value, json};

use super::decode::Problems;
use super::*;
use crate::quantity;

fn decoded(group: &str, kind: &str, mut value: Value) -> (Value, Problems) {
    let of = type_of(group, "v1", kind).unwrap();
    let problems = decode::decode(of, &mut value);
    (value, problems)
}

#[track_caller]
fn mismatch(group: &str, kind: &str, value: Value, wanted: &str) {
    let (_, problems) = decoded(group, kind, value);
    assert_eq!(problems.mismatch.as_deref(), Some(wanted));
}

#[test]
fn values_of_another_type_are_named_as_go_names_them() {
    let field = |place: &str| format!("json: cannot unmarshal {place}");
    for (spec, wanted) in [
        (
            json!({"replicas": "3"}),
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"replicas": 3.5}),
            "number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!("y"),
            "string into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            json!({"template": {"spec": {"containers": {"a": 1}}}}),
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"template": {"spec": {"containers": [{"name": 3}]}}}),
            "number into Go struct field Container.spec.template.spec.containers.name of type string",
        ),
        (
            json!({"strategy": {"rollingUpdate": {"maxSurge": true}}}),
            "bool into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32",
        ),
        (
            json!({"template": {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": []}}}]}}}),
            "array into Go struct field HTTPGetAction.spec.template.spec.containers.livenessProbe.ProbeHandler.\
             httpGet.port of type int32",
        ),
    ] {
        mismatch("apps", "Deployment", json!({"spec": spec}), &field(wanted));
    }
    mismatch(
        "",
        "ConfigMap",
        json!({"data": {"a": 1}}),
        &field("number into Go struct field ConfigMap.data of type string"),
    );
    mismatch(
        "",
        "ConfigMap",
        json!({"binaryData": {"a": "%%%"}}),
        "illegal base64 data at input byte 0",
    );
    mismatch(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 80, "protocol": 1}]}}),
        &field("number into Go struct field ServicePort.spec.ports.protocol of type v1.Protocol"),
    );
    let limits = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "foo"}}}]}});
    mismatch("", "Pod", limits, quantity::PATTERN);
}

#[test]
fn unknown_fields_go_and_are_told_by_path() {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "foo": 1},
        "spec": {"containers": [{"name": "c", "bar": 1}]}, "Status": {}});
    let (value, problems) = decoded("", "Pod", pod);
    assert!(problems.mismatch.is_none());
    assert_eq!(
        problems.unknown,
        ["metadata.foo", "spec.containers[0].bar", "Status"]
    );
    assert_eq!(
        value,
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c", "resources": {}}]}, "status": {}})
    );
}

#[test]
fn what_says_nothing_is_written_as_go_writes_it() {
    let (value, _) = decoded(
        "",
        "Service",
        json!({"spec": {"ports": null, "selector": {}}}),
    );
    assert_eq!(value["spec"], json!({}));
    assert_eq!(value["status"], json!({"loadBalancer": {}}));
    let (value, _) = decoded("rbac.authorization.k8s.io", "ClusterRole", json!({}));
    assert_eq!(value["rules"], json!(null));
    let (value, _) = decoded("apps", "Deployment", json!({"spec": {"replicas": 0}}));
    assert_eq!(value["spec"]["replicas"], 0);
    assert_eq!(value["spec"]["selector"], json!(null));
    let requests = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": 0.5}}}]}});
    let (value, _) = decoded("", "Pod", requests);
    assert_eq!(
        value["spec"]["containers"][0]["resources"]["requests"]["cpu"],
        "500m"
    );
}

#[test]
fn making_typed_what_is_typed_changes_nothing() {
    for one in table::get().structs() {
        let of = table::get().find(one.key).unwrap();
        let mut once = json!({});
        decode::decode(of, &mut once);
        let mut twice = once.clone();
        let problems = decode::decode(of, &mut twice);
        assert_eq!(once, twice, "{}", one.key);
        assert!(
            problems.mismatch.is_none() && problems.unknown.is_empty(),
            "{}",
            one.key
        );
    }
}

#[test]
fn fields_that_a_document_has_twice_are_told_in_its_order() {
    let text = br#"{"metadata":{"foo":1},"spec":{"zoo":1,"a":1,"a":2,"l":[{"b":1,"b":1}]}}"#;
    let duplicates = document::duplicates(text).unwrap();
    assert_eq!(duplicates, ["spec.a", "spec.l[0].b"]);
    let unknown = ["metadata.foo", "spec.zoo"].map(str::to_owned).into();
    assert_eq!(
        document::in_order(text, &unknown, &duplicates),
        [
            "unknown field \"metadata.foo\"",
            "unknown field \"spec.zoo\"",
            "duplicate field \"spec.a\"",
            "duplicate field \"spec.l[0].b\""
        ]
    );
}
