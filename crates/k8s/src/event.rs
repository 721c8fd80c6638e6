//! Problems as Events of the local cluster: its users are the ones who look for them there.
use jiff::Timestamp;
use serde_json::{Value, json};
use tombolo_core::plan::{About, Problem};
use tombolo_core::service::ServiceKey;
use tombolo_core::status::Reason;

use crate::names::{EVENT_SKIPPED, LINK_API_VERSION};

/// An Event about a problem, to be applied under our field manager: its name follows from what it
/// says, so that the same problem is the same Event, also after a restart. `uid` is that of the object
/// that it is about, where known.
#[must_use]
pub fn of(problem: &Problem, uid: Option<&str>, now: Timestamp) -> Value {
    let (mut involved, namespace, name) = match &problem.about {
        About::Link(key) => {
            let involved = json!({ "apiVersion": LINK_API_VERSION, "kind": "Link" });
            (involved, key.namespace.as_str(), key.name.as_ref())
        }
        About::Service(key) => {
            let involved = json!({ "apiVersion": "v1", "kind": "Service" });
            (involved, key.namespace.as_str(), key.name.as_str())
        }
    };
    involved["namespace"] = json!(namespace);
    involved["name"] = json!(name);
    if let Some(uid) = uid {
        involved["uid"] = json!(uid);
    }
    let (kind, reason) = kind_and_reason(problem.reason);
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": event_name(name, problem, uid) },
        "involvedObject": involved,
        "type": kind,
        "reason": reason,
        "message": problem.message,
        "source": { "component": "tombolo-control" },
        "reportingComponent": "tombolo-control",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

/// An Event of the cluster linked to, about a Service there that `cluster`'s Link does not mirror: worded, and
/// told apart, as Linkerd does it.
#[must_use]
pub fn skipped(
    (service, uid): (&ServiceKey, &str),
    cluster: &str,
    why: &str,
    now: Timestamp,
) -> Value {
    let message = format!("Skipped mirroring service: {why}");
    let mut hash = Fnv::new();
    for text in [uid, cluster, &message] {
        hash.write(text.as_bytes());
    }
    let (namespace, name) = (service.namespace.as_str(), service.name.as_str());
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let component = format!("linkerd-service-mirror-{cluster}");
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": format!("{name}.{:016x}", hash.0) },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name, "uid": uid,
        },
        "type": "Normal",
        "reason": EVENT_SKIPPED,
        "message": message,
        "source": { "component": component },
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

fn kind_and_reason(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::MissingNamespace => ("Normal", EVENT_SKIPPED),
        Reason::InvalidService
        | Reason::NameConflict
        | Reason::NameTooLong
        | Reason::UnknownMode => ("Warning", EVENT_SKIPPED),
        Reason::Mirrored
        | Reason::Error
        | Reason::PortConflict
        | Reason::Accepted
        | Reason::NothingSelected
        | Reason::InvalidSpec
        | Reason::InvalidCredentials
        | Reason::DuplicateTarget
        | Reason::Synced
        | Reason::NeverSynced
        | Reason::Unreachable
        | Reason::GatewayUp
        | Reason::GatewayDown
        | Reason::NotProbed
        | Reason::NoGateway => ("Warning", reason.as_str()),
    }
}

/// `<object>.<hash>`, as Kubernetes names its own.
fn event_name(name: &str, problem: &Problem, uid: Option<&str>) -> String {
    let mut hash = Fnv::new();
    for text in [
        uid.unwrap_or_default(),
        problem.reason.as_str(),
        &problem.message,
    ] {
        hash.write(text.as_bytes());
    }
    format!("{name}.{:016x}", hash.0)
}

/// FNV-1a: the same in every build, unlike the standard library's.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        // The zero keeps neighbouring texts apart.
        for byte in bytes.iter().chain([&0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Event;
    use tombolo_core::link::LinkKey;
    use tombolo_core::name::Namespace;

    use super::*;

    fn problem(message: &str) -> Problem {
        let namespace = Namespace::parse("tombolo").unwrap();
        let about = About::Link(LinkKey {
            namespace,
            name: "east".into(),
        });
        Problem {
            about,
            reason: Reason::MissingNamespace,
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_same_problem_is_the_same_event() {
        let name = |problem: &Problem, uid, second| {
            let event = of(problem, uid, Timestamp::from_second(second).unwrap());
            serde_json::from_value::<Event>(event.clone()).unwrap();
            event["metadata"]["name"].clone()
        };
        let first = name(&problem("x"), Some("u1"), 0);
        assert_eq!(first, name(&problem("x"), Some("u1"), 99));
        assert_ne!(first, name(&problem("y"), Some("u1"), 0));
        assert_ne!(first, name(&problem("x"), Some("u2"), 0));
    }

    #[test]
    fn the_owner_of_a_service_finds_an_event_beside_it() {
        let service = ServiceKey {
            namespace: Namespace::parse("demo").unwrap(),
            name: tombolo_core::name::ServiceName::parse("web").unwrap(),
        };
        let why = "namespace does not exist";
        let event = |uid, cluster| skipped((&service, uid), cluster, why, Timestamp::UNIX_EPOCH);
        let first = event("u1", "east");
        serde_json::from_value::<Event>(first.clone()).unwrap();
        assert_eq!(
            first["message"],
            "Skipped mirroring service: namespace does not exist"
        );
        assert_eq!(first["source"]["component"], "linkerd-service-mirror-east");
        assert_ne!(first["metadata"], event("u2", "east")["metadata"]);
        assert_ne!(first["metadata"], event("u1", "north")["metadata"]);
    }

    #[test]
    fn users_of_linkerd_find_what_they_look_for() {
        let event = of(&problem("Skipped"), None, Timestamp::UNIX_EPOCH);
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["reason"], "ServiceMirroringSkipped");
        assert_eq!(event["involvedObject"]["name"], "east");
    }
}
