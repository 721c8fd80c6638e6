//! What is written, and that it is read back as what was wanted: the loop that planners rest on.
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Map;
use tombolo_core::name::{Namespace, ServiceName};
use tombolo_core::service::{Family, Labels, Protocol, SliceEndpoint};
use tombolo_core::world::{LocalService, LocalSlice, Uid};

use super::*;
use crate::{service, slice};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn key() -> ServiceKey {
    let namespace = Namespace::parse("ns1").unwrap();
    ServiceKey {
        namespace,
        name: ServiceName::parse("web-east").unwrap(),
    }
}

fn apply_service() -> Action {
    let port = |name: &str, port, target| ServicePort {
        name: Some(name.to_owned()),
        protocol: Protocol::Tcp,
        port,
        target,
    };
    Action::ApplyService {
        key: key(),
        precondition: Precondition::Uid(Uid("u1".into())),
        service: ManagedService {
            kind: ServiceKind::ClusterIp,
            labels: labels(&[("mirror.linkerd.io/mirrored-service", "true"), ("lk", "lv")]),
            annotations: labels(&[("a.b/c", "d")]),
            ports: vec![
                port("http", 80, TargetPort::Number(8080)),
                port("grpc", 90, TargetPort::Name("grpc".to_owned())),
            ],
        },
    }
}

fn apply_slice() -> Action {
    let endpoint = |address: &str, readiness| SliceEndpoint {
        address: address.parse().unwrap(),
        hostname: None,
        readiness,
    };
    Action::ApplySlice {
        key: SliceKey {
            service: key(),
            family: Family::V4,
        },
        precondition: Precondition::Absent,
        slice: ManagedSlice {
            labels: labels(&[("mirror.linkerd.io/mirrored-service", "true")]),
            annotations: labels(&[("mirror.linkerd.io/remote-svc-fq-name", "web.ns1.svc.x")]),
            ports: vec![
                SlicePort {
                    name: Some("http".to_owned()),
                    protocol: Protocol::Tcp,
                    port: 4143,
                },
                SlicePort {
                    name: None,
                    protocol: Protocol::Udp,
                    port: 4143,
                },
            ],
            endpoints: vec![
                endpoint("192.0.2.1", Readiness::Ready),
                endpoint("192.0.2.2", Readiness::NotReady),
            ],
        },
    }
}

/// The object as an API server would hold it after `body` was applied.
fn held(action: &Action) -> Value {
    let mut object = body(action).unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("uid");
    let mut fields = Map::new();
    for (of, names) in [
        ("labels", &metadata["labels"]),
        ("annotations", &metadata["annotations"]),
    ] {
        let names = names
            .as_object()
            .unwrap()
            .keys()
            .map(|key| (format!("f:{key}"), json!({})));
        fields.insert(format!("f:{of}"), Value::Object(names.collect()));
    }
    let mut owned = json!({ "f:metadata": fields });
    for atomic in ["addressType", "endpoints", "ports"] {
        if object.get(atomic).is_some() {
            owned[format!("f:{atomic}")] = json!({});
        }
    }
    if let Some(ports) = object.pointer("/spec/ports").and_then(Value::as_array) {
        let port = |port: &Value| {
            let key = json!({ "port": port["port"], "protocol": port["protocol"] });
            let fields = port
                .as_object()
                .unwrap()
                .keys()
                .map(|key| (format!("f:{key}"), json!({})));
            (format!("k:{key}"), Value::Object(fields.collect()))
        };
        owned["f:spec"] = json!({ "f:ports": Value::Object(ports.iter().map(port).collect()) });
    }
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".to_owned(), json!("u1"));
    metadata.insert(
        "managedFields".to_owned(),
        json!([
            { "manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {} },
            {
                "manager": "tombolo", "operation": "Apply", "apiVersion": object_version(action),
                "fieldsType": "FieldsV1", "fieldsV1": owned,
            },
        ]),
    );
    object
}

fn object_version(action: &Action) -> Value {
    body(action).unwrap()["apiVersion"].clone()
}

fn ours(object: Value) -> ManagedService {
    match read(object) {
        LocalService::Ours { uid, managed, .. } => {
            assert_eq!(uid, Uid("u1".into()));
            managed
        }
        LocalService::Left { .. } | LocalService::Foreign(_) => panic!("is ours"),
    }
}

fn read(object: Value) -> LocalService {
    let mut object: Service = serde_json::from_value(object).unwrap();
    service::trim(&mut object);
    let (read, local) = service::local(&object).unwrap();
    assert_eq!(read, key());
    local
}

#[test]
fn a_service_is_written_whole_and_with_its_uid() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&body(&apply_service()).unwrap()).unwrap(), @r#"
    {
      "apiVersion": "v1",
      "kind": "Service",
      "metadata": {
        "annotations": {
          "a.b/c": "d"
        },
        "labels": {
          "lk": "lv",
          "mirror.linkerd.io/mirrored-service": "true"
        },
        "name": "web-east",
        "namespace": "ns1",
        "uid": "u1"
      },
      "spec": {
        "ports": [
          {
            "name": "http",
            "port": 80,
            "protocol": "TCP",
            "targetPort": 8080
          },
          {
            "name": "grpc",
            "port": 90,
            "protocol": "TCP",
            "targetPort": "grpc"
          }
        ]
      }
    }
    "#);
}

#[test]
fn a_slice_is_written_whole() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&body(&apply_slice()).unwrap()).unwrap(), @r#"
    {
      "addressType": "IPv4",
      "apiVersion": "discovery.k8s.io/v1",
      "endpoints": [
        {
          "addresses": [
            "192.0.2.1"
          ],
          "conditions": {
            "ready": true
          }
        },
        {
          "addresses": [
            "192.0.2.2"
          ],
          "conditions": {
            "ready": false
          }
        }
      ],
      "kind": "EndpointSlice",
      "metadata": {
        "annotations": {
          "mirror.linkerd.io/remote-svc-fq-name": "web.ns1.svc.x"
        },
        "labels": {
          "mirror.linkerd.io/mirrored-service": "true"
        },
        "name": "web-east.ipv4",
        "namespace": "ns1"
      },
      "ports": [
        {
          "name": "http",
          "port": 4143,
          "protocol": "TCP"
        },
        {
          "name": "",
          "port": 4143,
          "protocol": "UDP"
        }
      ]
    }
    "#);
}

#[test]
fn what_was_applied_is_read_back_as_it_was_wanted() {
    let Action::ApplyService { service, .. } = apply_service() else {
        unreachable!()
    };
    assert_eq!(ours(held(&apply_service())), service);

    let Action::ApplySlice { key, slice, .. } = apply_slice() else {
        unreachable!()
    };
    let object: EndpointSlice = serde_json::from_value(held(&apply_slice())).unwrap();
    let local = LocalSlice::Ours {
        uid: Uid("u1".into()),
        managed: slice,
    };
    assert_eq!(slice::local(&object), Some((key, local)));
}

#[test]
fn what_others_added_is_not_ours_and_what_they_changed_is_missing() {
    let Action::ApplyService { service, .. } = apply_service() else {
        unreachable!()
    };
    let mut object = held(&apply_service());
    object["metadata"]["labels"]["added"] = json!("by-a-user");
    let added = json!({ "name": "more", "protocol": "TCP", "port": 99, "targetPort": 99 });
    object["spec"]["ports"].as_array_mut().unwrap().push(added);
    assert_eq!(ours(object.clone()), service);

    // An edit moves the ownership of the field to the editor.
    let fields = object
        .pointer_mut("/metadata/managedFields/1/fieldsV1")
        .unwrap();
    fields["f:metadata"]["f:labels"]
        .as_object_mut()
        .unwrap()
        .remove("f:lk");
    let port = "k:{\"port\":80,\"protocol\":\"TCP\"}";
    fields["f:spec"]["f:ports"][port]
        .as_object_mut()
        .unwrap()
        .remove("f:targetPort");
    let edited = ours(object);
    assert!(!edited.labels.contains_key("lk"));
    assert_eq!(edited.ports, service.ports[1..]);
}

#[test]
fn ours_is_what_has_label_and_manager_both() {
    let is_ours = |object: Value| matches!(read(object), LocalService::Ours { .. });
    let base = held(&apply_service());
    assert!(is_ours(base.clone()));
    let set = |pointer: &str, value: Value| {
        let mut object = base.clone();
        *object.pointer_mut(pointer).unwrap() = value;
        object
    };
    assert!(!is_ours(set("/metadata/labels", json!({ "lk": "lv" }))));
    assert!(!is_ours(set(
        "/metadata/labels/mirror.linkerd.io~1mirrored-service",
        json!("false")
    )));
    assert!(!is_ours(set(
        "/metadata/managedFields/1/manager",
        json!("linkerd")
    )));
    assert!(!is_ours(set(
        "/metadata/managedFields/1/operation",
        json!("Update")
    )));
    assert!(!is_ours(set("/metadata/managedFields", json!([]))));
    let mut status_only = base.clone();
    status_only["metadata"]["managedFields"][1]["subresource"] = json!("status");
    assert!(!is_ours(status_only));
}

#[test]
fn slices_under_names_that_we_do_not_give_are_of_no_interest() {
    let mut object = held(&apply_slice());
    object["metadata"]["name"] = json!("web-east-x2k4z");
    let slice: EndpointSlice = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(slice::local(&slice), None);
    object["metadata"]["name"] = json!("web-east.ipv6");
    let slice: EndpointSlice = serde_json::from_value(object).unwrap();
    assert_eq!(
        slice::local(&slice).unwrap().1,
        LocalSlice::Foreign,
        "addressType is IPv4"
    );
}

#[test]
fn a_slice_is_ready_with_one_ready_endpoint() {
    let read = |endpoints: Value| {
        let object = json!({ "addressType": "IPv4", "metadata": {}, "endpoints": endpoints });
        slice::readiness(&serde_json::from_value::<EndpointSlice>(object).unwrap())
    };
    let endpoint =
        |ready: Value| json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } });
    assert_eq!(read(json!(null)), Readiness::NotReady);
    assert_eq!(read(json!([])), Readiness::NotReady);
    assert_eq!(read(json!([endpoint(json!(false))])), Readiness::NotReady);
    assert_eq!(
        read(json!([endpoint(json!(false)), endpoint(json!(true))])),
        Readiness::Ready
    );
    assert_eq!(read(json!([endpoint(json!(null))])), Readiness::Ready);
}
