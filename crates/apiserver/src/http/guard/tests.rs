use base64::Engine as _;
use bytes::Bytes;
use futures_util::future::join4;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::Service as _;

use crate::auth::User;
use crate::db::Storage;
use crate::run::{Config, InProcess};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// A server, and Jane, who may do what her roles say.
struct World {
    server: InProcess,
    jane: User,
    _dir: tempfile::TempDir,
}

impl World {
    /// On disk, so that writes queue before their owner.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            storage: Storage::Dir(dir.path().join("data")),
            ..Config::memory()
        };
        Self {
            server: InProcess::start(&config).await.unwrap(),
            jane: User::new("jane", &["dev"]),
            _dir: dir,
        }
    }

    /// What this user is answered.
    async fn say(
        &self,
        user: &User,
        (method, content, path): (&str, &str, &str),
        body: &Value,
    ) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let mut service = self.server.client_service(user.clone());
        let response = service.call(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap())
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let (code, answer) = self.say(&User::admin(), (method, JSON, path), body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        answer
    }

    /// Gives Jane a role of these rules.
    async fn allow(&self, name: &str, rules: Value) {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.admin("POST", &format!("{RBAC}/clusterroles"), &role)
            .await;
        let binding = json!({"metadata": {"name": name},
            "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}});
        self.admin("POST", &format!("{RBAC}/clusterrolebindings"), &binding)
            .await;
    }
}

fn rule(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[tokio::test]
async fn role_that_was_narrowed_in_between_is_not_widened_by_who_only_collects() {
    let world = World::start().await;
    let roles = rule(
        "rbac.authorization.k8s.io",
        &["clusterroles"],
        &[],
        &["get", "update", "patch"],
    );
    world.allow("role-keeper", json!([roles])).await;
    let wide = json!({"metadata": {"name": "shrinks"}, "rules": [rule("*", &["*"], &[], &["*"])]});
    let path = format!("{RBAC}/clusterroles/shrinks");
    let mut seen = world
        .admin("POST", &format!("{RBAC}/clusterroles"), &wide)
        .await;
    let narrow = json!({"metadata": {"name": "shrinks"}, "rules": []});
    // What Jane sends changes nothing of the role as everybody sees it.
    seen["metadata"]["finalizers"] = json!(["example.com/hers"]);
    seen["metadata"]["resourceVersion"].take();
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let db = world.server.db();
    let held = db.write(move |_store, _moment| {
        assert!(
            closed.recv().is_ok(),
            "the owner waits until all have queued"
        );
        Ok(())
    });
    let narrowed = world.admin("PUT", &path, &narrow);
    let widened = world.say(&world.jane, ("PUT", JSON, &path), &seen);
    let (held, _, (code, answer), ()) = join4(held, narrowed, widened, async {
        open.send(()).unwrap();
    })
    .await;
    held.unwrap();
    assert_eq!(
        (code, &answer["reason"]),
        (403, &json!("Forbidden")),
        "{answer}"
    );
    let left = world.admin("GET", &path, &Value::Null).await;
    assert_eq!(left["rules"], json!([]), "{left}");
    world.server.stop().await;
}

#[tokio::test]
async fn whatever_changes_a_role_gives_no_more_than_its_writer_has() {
    let world = World::start().await;
    let roles = rule(
        "rbac.authorization.k8s.io",
        &["clusterroles"],
        &[],
        &["get", "update", "patch"],
    );
    world.allow("role-keeper", json!([roles])).await;
    let role = json!({"metadata": {"name": "hers"}, "rules": []});
    let all = format!("{RBAC}/clusterroles");
    world.admin("POST", &all, &role).await;
    let everything = json!([rule("*", &["*"], &[], &["*"])]);
    let wide = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": everything})
    };
    let (hers, new) = (format!("{all}/hers"), format!("{all}/new"));
    let applied = format!("{hers}?fieldManager=jane&force=true");
    let made = format!("{new}?fieldManager=jane");
    let steps = json!([{"op": "replace", "path": "/rules", "value": everything}]);
    let merged = json!({"rules": everything});
    let label = json!({"metadata": {"finalizers": ["example.com/hers"]}});
    for (method, content, path, body, code) in [
        ("PUT", JSON, &hers, &wide("hers"), 403),
        ("PATCH", "application/json-patch+json", &hers, &steps, 403),
        ("PATCH", "application/merge-patch+json", &hers, &merged, 403),
        ("PATCH", APPLY, &applied, &wide("hers"), 403),
        ("PATCH", "application/merge-patch+json", &hers, &label, 200),
        // Neither may she make one.
        ("PUT", JSON, &new, &wide("new"), 403),
        ("PATCH", APPLY, &made, &wide("new"), 403),
        (
            "PATCH",
            APPLY,
            &made,
            &json!({"apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole", "metadata": {"name": "new"}, "rules": []}),
            403,
        ),
    ] {
        let (got, answer) = world.say(&world.jane, (method, content, path), body).await;
        assert_eq!(got, code, "{method} {content} {path}: {answer}");
    }
    let left = world.admin("GET", &hers, &Value::Null).await;
    assert_eq!(left["rules"], json!([]), "{left}");
    world.server.stop().await;
}

#[tokio::test]
async fn request_for_a_certificate_names_who_has_asked_however_it_is_made() {
    let world = World::start().await;
    let group = "certificates.k8s.io";
    let requests = rule(
        group,
        &["certificatesigningrequests"],
        &[],
        &["create", "patch"],
    );
    world.allow("requestor", json!([requests])).await;
    let request = |name: &str| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name}, "spec": {
                "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K",
                "signerName": "example.com/ours", "usages": ["client auth"],
                "username": "system:node:a", "groups": ["system:masters"], "uid": "1",
                "extra": {"a": ["b"]}}})
    };
    let applied = format!("{REQUESTS}/applied?fieldManager=jane");
    for (how, name) in [
        (("POST", JSON, REQUESTS), "posted"),
        (("PATCH", APPLY, applied.as_str()), "applied"),
    ] {
        let (code, answer) = world.say(&world.jane, how, &request(name)).await;
        assert_eq!(code, 201, "{answer}");
        let spec = &answer["spec"];
        assert_eq!(spec["username"], "jane", "{name}: {spec}");
        let groups = json!(["dev", "system:authenticated"]);
        assert_eq!(spec["groups"], groups, "{name}: {spec}");
        assert!(
            spec["uid"].is_null() && spec["extra"].is_null(),
            "{name}: {spec}"
        );
    }
    world.server.stop().await;
}

#[tokio::test]
async fn requests_are_approved_and_signed_only_by_who_may_do_so_for_their_signer() {
    let world = World::start().await;
    let group = "certificates.k8s.io";
    let parts = [
        "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
    ];
    let signers = |verb: &str, name: &str| rule(group, &["signers"], &[name], &[verb]);
    let rules = json!([
        rule(group, &parts, &[], &["update", "patch"]),
        signers("approve", "one.com/a"),
        signers("sign", "all.com/*"),
    ]);
    world.allow("signer", rules).await;
    for (name, signer, approves, signs) in [
        ("one", "one.com/a", 200, 403),
        ("other", "one.com/b", 403, 403),
        ("all", "all.com/a", 403, 200),
    ] {
        let request = json!({"metadata": {"name": name}, "spec": {
            "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K",
            "signerName": signer, "usages": ["client auth"]}});
        let mut object = world.admin("POST", REQUESTS, &request).await;
        object["metadata"]["resourceVersion"].take();
        let approved = json!({"conditions": [{"type": "Approved", "status": "True"}]});
        let signed = json!({"certificate": issued()});
        for (sub, verb, status, code) in [
            ("status", "sign", signed, signs),
            ("approval", "approve", approved, approves),
        ] {
            object["status"] = status.clone();
            let merge = json!({"status": status});
            let path = format!("{REQUESTS}/{name}/{sub}");
            for (how, body) in [
                (("PUT", JSON, path.as_str()), &object),
                (("PATCH", "application/merge-patch+json", &path), &merge),
            ] {
                let (got, answer) = world.say(&world.jane, how, body).await;
                assert_eq!(got, code, "{how:?} {answer}");
                let why =
                    format!("user not permitted to {verb} requests with signerName {signer:?}");
                let said = answer["message"].as_str().unwrap_or_default();
                assert!(code == 200 || said.ends_with(&why), "{answer}");
            }
        }
        // What is neither certificate nor condition is anybody's.
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let path = format!("{REQUESTS}/{name}/status");
        let how = ("PATCH", "application/merge-patch+json", path.as_str());
        assert_eq!(world.say(&world.jane, how, &label).await.0, 200, "{name}");
    }
    world.server.stop().await;
}

/// A certificate as a signer gives it: each time another.
fn issued() -> String {
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let pem = crate::pki::Pki::open(None, now).unwrap();
    base64::engine::general_purpose::STANDARD.encode(pem.ca_pem())
}

#[tokio::test]
async fn whoever_signs_does_not_approve_and_nothing_is_taken_back() {
    let world = World::start().await;
    let request = json!({"metadata": {"name": "r"}, "spec": {
        "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K",
        "signerName": "example.com/ours", "usages": ["client auth"]}});
    world.admin("POST", REQUESTS, &request).await;
    let one =
        |kind: &str, message: &str| json!({"type": kind, "status": "True", "message": message});
    let approved = one("Approved", "first");
    let conditions = |list: Value| json!({"conditions": list});
    for (sub, status, refused) in [
        (
            "status",
            conditions(json!([approved])),
            "may not add a condition of type \"Approved\"",
        ),
        ("approval", conditions(json!([approved])), ""),
        (
            "approval",
            conditions(json!([])),
            "may not remove a condition of type \"Approved\"",
        ),
        ("status", conditions(json!([one("Approved", "other")])), ""),
        (
            "status",
            json!({"certificate": "LS0t"}),
            "must contain at least one CERTIFICATE PEM block",
        ),
        ("status", json!({"certificate": issued()}), ""),
        (
            "status",
            json!({"certificate": issued()}),
            "may not modify existing certificate",
        ),
    ] {
        let path = format!("{REQUESTS}/r/{sub}");
        let how = ("PATCH", "application/merge-patch+json", path.as_str());
        let body = json!({"status": status});
        let (code, answer) = world.say(&User::admin(), how, &body).await;
        let expected = if refused.is_empty() { 200 } else { 422 };
        assert_eq!(code, expected, "{body} {answer}");
        let said = answer["message"].as_str().unwrap_or_default();
        assert!(said.contains(refused), "{body} {answer}");
    }
    let left = world
        .admin("GET", &format!("{REQUESTS}/r"), &Value::Null)
        .await;
    let message = &left["status"]["conditions"][0]["message"];
    assert_eq!(message, &approved["message"], "{left}");
    world.server.stop().await;
}

#[tokio::test]
async fn nobody_gets_an_administrators_certificate_by_asking() {
    use base64::Engine as _;
    let world = World::start().await;
    let client = "kubernetes.io/kube-apiserver-client";
    let encoded = |groups: &[&str]| {
        let mut params = rcgen::CertificateParams::default();
        for group in groups {
            let kind = rcgen::DnType::OrganizationName;
            params.distinguished_name.push(kind, *group);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        base64::engine::general_purpose::STANDARD.encode(pem)
    };
    for (name, groups, signer, code) in [
        ("dev", ["dev"], client, 201),
        ("ours", ["system:masters"], "example.com/ours", 201),
        ("masters", ["system:masters"], client, 403),
    ] {
        let request = json!({"metadata": {"name": name}, "spec": {
            "request": encoded(&groups), "signerName": signer, "usages": ["client auth"]}});
        let how = ("POST", JSON, REQUESTS);
        let (got, answer) = world.say(&User::admin(), how, &request).await;
        assert_eq!(got, code, "{name}: {answer}");
    }
    world.server.stop().await;
}
