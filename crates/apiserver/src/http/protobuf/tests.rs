use proptest::prelude::*;

use serde_json::json;

use super::*;

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend(bytes);
    out
}

fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC, &field(1, &types), &field(2, raw)].concat()
}

#[test]
fn object_is_the_same_as_its_json() {
    let metadata = [
        field(1, b"web"),
        field(3, b""),
        field(8, b""),
        field(11, &[field(1, b"app"), field(2, b"x")].concat()),
    ];
    let port = [
        &field(1, b""),
        &[3 << 3, 80][..],
        &field(4, &[1 << 3, 0, 2 << 3, 90]),
    ]
    .concat();
    let spec = [field(1, &port), vec![13 << 3, 0], vec![12 << 3, 0]].concat();
    let raw = [
        field(1, &metadata.concat()),
        field(2, &spec),
        field(3, &field(1, b"")),
    ]
    .concat();
    let value = decode(&body("v1", "Service", &raw)).unwrap();
    assert_eq!(
        value,
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"app": "x"}},
            "spec": {"ports": [{"port": 80, "targetPort": 90}]}, "status": {"loadBalancer": {}}})
    );
    // Said, though false: a pointer in Go.
    let raw = [field(1, &field(1, b"bot")), vec![4 << 3, 0]].concat();
    let value = decode(&body("v1", "ServiceAccount", &raw)).unwrap();
    assert_eq!(value["automountServiceAccountToken"], json!(false));
    let secret = [
        field(1, &field(1, b"s")),
        field(2, &[field(1, b"k"), field(2, b"v")].concat()),
    ];
    let value = decode(&body("v1", "Secret", &secret.concat())).unwrap();
    assert_eq!(value["data"], json!({"k": "dg=="}));
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for object in [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b", "c": ""},
            "managedFields": [{"manager": "m", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate":
            {"maxSurge": "25%", "maxUnavailable": 1}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec":
            {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
            "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"port": 80}, "initialDelaySeconds": -1}}]}}}, "status": {}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "AQID", "b": ""}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"renewTime": "2026-01-02T03:04:05.000006Z", "leaseDurationSeconds": 15}}),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {"user": "u", "extra": {"k": ["v", "w"]}}, "status": {"allowed": false}}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404}),
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "5"},
            "items": [{"metadata": {"name": "a"}, "data": {"x": "y"}}]}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
            "spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Cluster", "versions": [{"name": "v1",
            "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a":
            {"type": "array", "items": {"type": "string", "enum": ["x", 1]}, "minimum": 0.5},
            "b": {"additionalProperties": false, "default": {"c": null}}}}}}]},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}}),
    ] {
        let written = encode(&object).unwrap();
        assert_eq!(decode(&written).unwrap(), object);
    }
    assert!(encode(&json!({"apiVersion": "example.com/v1", "kind": "Link"})).is_none());
}

#[test]
fn every_kind_that_is_asked_for_in_protobuf_is_known() {
    for (version, kind) in [
        ("v1", "Namespace"),
        ("apps/v1", "Deployment"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("policy/v1", "Eviction"),
        ("v1", "DeleteOptions"),
    ] {
        assert!(decode(&body(version, kind, &[])).is_ok(), "{kind}");
    }
}

#[test]
fn what_is_no_such_body_is_refused() {
    assert!(decode(b"").is_err());
    assert!(decode(b"{}").is_err());
    assert!(
        decode(&body("example.com/v1", "Link", &[]))
            .unwrap_err()
            .contains("Link")
    );
    assert!(decode(&body("v1", "Pod", &[0x0a, 0xff])).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_object_or_refused(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in ["Pod", "Service", "Secret", "Event", "Node"] {
            if let Ok(value) = decode(&body("v1", kind, &raw[..raw.len().min(100)])) {
                prop_assert_eq!(&value["kind"], kind);
            }
        }
        prop_assert!(decode(&raw).is_err());
    }
}
