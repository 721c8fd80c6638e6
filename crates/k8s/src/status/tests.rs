//! A status is written when it says something new, and keeps its times where it does not.
use tombolo_core::name::{Namespace, ServiceName};
use tombolo_core::status::Reason;
use tombolo_core::world::ClusterUid;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn key(name: &str) -> ServiceKey {
    let namespace = Namespace::parse("ns1").unwrap();
    ServiceKey {
        namespace,
        name: ServiceName::parse(name).unwrap(),
    }
}

fn condition(kind: ConditionType, truth: Truth, reason: Reason, message: &str) -> Condition {
    Condition {
        kind,
        truth,
        reason,
        message: message.to_owned(),
    }
}

fn status() -> LinkStatus {
    let mirrored = condition(ConditionType::Mirrored, Truth::True, Reason::Mirrored, "");
    let missing = condition(
        ConditionType::Mirrored,
        Truth::False,
        Reason::MissingNamespace,
        "Namespace does not exist",
    );
    LinkStatus {
        cluster_uid: Some(ClusterUid("c1".into())),
        conditions: vec![condition(
            ConditionType::Synced,
            Truth::True,
            Reason::Synced,
            "",
        )],
        mirrors: vec![
            ServiceStatus {
                remote: key("a"),
                local: Some(key("a-east")),
                conditions: vec![mirrored],
            },
            ServiceStatus {
                remote: key("b"),
                local: None,
                conditions: vec![missing],
            },
        ],
        federated: vec![],
    }
}

#[test]
fn the_shape_is_linkerds() {
    let value = changed(&status(), None, at(0)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&patch(&value)).unwrap(), @r#"
    {
      "status": {
        "clusterUid": "c1",
        "conditions": [
          {
            "lastTransitionTime": "2023-11-14T22:13:20Z",
            "message": "",
            "reason": "Synced",
            "status": "True",
            "type": "Synced"
          }
        ],
        "federatedServices": [],
        "mirrorServices": [
          {
            "conditions": [
              {
                "lastTransitionTime": "2023-11-14T22:13:20Z",
                "localRef": {
                  "group": "core",
                  "kind": "Service",
                  "name": "a-east",
                  "namespace": "ns1"
                },
                "message": "",
                "reason": "Mirrored",
                "status": "True",
                "type": "Mirrored"
              }
            ],
            "controllerName": "linkerd.io/service-mirror",
            "remoteRef": {
              "group": "core",
              "kind": "Service",
              "name": "a",
              "namespace": "ns1"
            }
          },
          {
            "conditions": [
              {
                "lastTransitionTime": "2023-11-14T22:13:20Z",
                "message": "Namespace does not exist",
                "reason": "MissingNamespace",
                "status": "False",
                "type": "Mirrored"
              }
            ],
            "controllerName": "linkerd.io/service-mirror",
            "remoteRef": {
              "group": "core",
              "kind": "Service",
              "name": "b",
              "namespace": "ns1"
            }
          }
        ]
      }
    }
    "#);
}

#[test]
fn nothing_new_is_not_written() {
    let first = changed(&status(), None, at(0)).unwrap();
    assert_eq!(changed(&status(), Some(&first), at(60)), None);
}

#[test]
fn only_what_turned_gets_a_new_time() {
    let first = changed(&status(), None, at(0)).unwrap();
    let mut later = status();
    later.mirrors[1].conditions[0].truth = Truth::True;
    later.mirrors[0].conditions[0].message = "kept as it was".to_owned();
    let second = changed(&later, Some(&first), at(60)).unwrap();
    let time = |value: &Value, of: usize| {
        value["mirrorServices"][of]["conditions"][0]["lastTransitionTime"].clone()
    };
    assert_eq!(time(&second, 0), time(&first, 0));
    assert_ne!(time(&second, 1), time(&first, 1));
}

#[test]
fn the_last_entry_of_a_list_can_go() {
    // A merge patch keeps a list that it does not name.
    let first = changed(&status(), None, at(0)).unwrap();
    let empty = LinkStatus {
        mirrors: vec![],
        ..status()
    };
    assert_eq!(
        changed(&empty, Some(&first), at(1)).unwrap()["mirrorServices"],
        json!([])
    );
}

#[test]
fn a_previous_status_that_makes_no_sense_is_replaced() {
    for previous in [
        json!(null),
        json!(7),
        json!({ "mirrorServices": "x", "conditions": [1] }),
    ] {
        assert!(changed(&status(), Some(&previous), at(0)).is_some());
    }
}
