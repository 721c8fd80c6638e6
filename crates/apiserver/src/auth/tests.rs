use http::HeaderValue;
use rcgen::KeyPair;

use super::*;
use crate::auth::impersonate::requested;
use crate::token::{LEGACY_ISSUER, Named};

const NOW: i64 = 1_800_000_000;

/// Lives: account `ns/sa` of uid `u`, and the Secret `s` with the token that the test set.
#[derive(Default)]
struct World {
    secret: parking_lot::Mutex<String>,
}

impl Accounts for World {
    fn check(&self, bound: &Bound) -> Result<(), String> {
        let account = (
            bound.serviceaccount.name.as_str(),
            bound.serviceaccount.uid.as_str(),
        );
        if account == ("sa", "u") {
            Ok(())
        } else {
            Err("serviceaccount is gone".to_owned())
        }
    }

    fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> Result<(), String> {
        if claims.secret == "s" && *self.secret.lock() == token {
            Ok(())
        } else {
            Err("Token does not match server's copy".to_owned())
        }
    }
}

fn authenticator(world: Arc<World>) -> Authenticator {
    let key = TokenKey::from_pem(&KeyPair::generate().unwrap().serialize_pem()).unwrap();
    Authenticator::new(Arc::new(key), world)
}

fn claims(audience: &str) -> Claims {
    Claims {
        audiences: vec![audience.to_owned()],
        expires: NOW + 60,
        issued: NOW,
        issuer: ISSUER.to_owned(),
        id: String::new(),
        bound: Bound {
            namespace: "ns".to_owned(),
            serviceaccount: Named {
                name: "sa".to_owned(),
                uid: "u".to_owned(),
            },
            ..Bound::default()
        },
        not_before: NOW,
        subject: "system:serviceaccount:ns:sa".to_owned(),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
fn bearer_token_of_a_living_account_is_that_account() {
    let auth = authenticator(Arc::default());
    let token = auth.key().sign(&claims(ISSUER)).unwrap();
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    let user = auth
        .authenticate(&Certificate::Absent, &headers, NOW)
        .unwrap()
        .unwrap();
    assert_eq!(user.name, "system:serviceaccount:ns:sa");
    assert_eq!(
        user.groups,
        [
            "system:serviceaccounts",
            "system:serviceaccounts:ns",
            "system:authenticated"
        ]
    );
    assert!(
        auth.authenticate(&Certificate::Absent, &headers, NOW + 121)
            .is_err()
    );
}

#[test]
fn nothing_shown_is_nobody_and_garbage_is_refused() {
    let auth = authenticator(Arc::default());
    assert_eq!(
        auth.authenticate(&Certificate::Absent, &HeaderMap::new(), NOW),
        Ok(None)
    );
    for (header, is_nobody) in [
        ("Basic eDp5", true),
        ("Bearer", true),
        ("Bearer ", true),
        ("Bearer  x", true),
        ("Bearer x", false),
        ("bearer a.b.c", false),
    ] {
        let headers = headers(&[("authorization", header)]);
        let found = auth.authenticate(&Certificate::Absent, &headers, NOW);
        assert_eq!(found == Ok(None), is_nobody, "{header}: {found:?}");
        assert_eq!(found.is_err(), !is_nobody, "{header}: {found:?}");
        let refused = auth.authenticate(&Certificate::Refused, &headers, NOW);
        assert!(refused.is_err(), "{header}: {refused:?}");
    }
}

#[test]
fn token_for_another_audience_is_reviewed_but_not_let_in() {
    let auth = authenticator(Arc::default());
    let token = auth.key().sign(&claims("identity.l5d.io")).unwrap();
    let wanted = ["identity.l5d.io".to_owned(), "else".to_owned()];
    assert_eq!(
        auth.review(&token, &wanted, NOW).unwrap().audiences,
        ["identity.l5d.io"]
    );
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    assert!(matches!(
        auth.authenticate(&Certificate::Absent, &headers, NOW),
        Err(AuthError::Audience { .. })
    ));
}

#[test]
fn token_ends_with_its_account() {
    let auth = authenticator(Arc::default());
    let mut successor = claims(ISSUER);
    successor.bound.serviceaccount.uid = "another".to_owned();
    let token = auth.key().sign(&successor).unwrap();
    assert_eq!(
        auth.review(&token, &[ISSUER.to_owned()], NOW),
        Err(AuthError::Gone("serviceaccount is gone".to_owned()))
    );
}

#[test]
fn endless_token_lives_only_in_its_secret() {
    let world = Arc::new(World::default());
    let auth = authenticator(world.clone());
    let legacy = LegacyClaims {
        issuer: LEGACY_ISSUER.to_owned(),
        namespace: "ns".to_owned(),
        secret: "s".to_owned(),
        account: "sa".to_owned(),
        account_uid: "u".to_owned(),
        subject: "system:serviceaccount:ns:sa".to_owned(),
    };
    let token = auth.key().sign(&legacy).unwrap();
    assert!(auth.review(&token, &[ISSUER.to_owned()], NOW).is_err());
    world.secret.lock().clone_from(&token);
    assert!(auth.review(&token, &[ISSUER.to_owned()], NOW).is_ok());
}

/// Rules for the user `u` himself, or for one of his names.
struct Rules(Vec<Value>);

impl crate::rbac::Roles for Rules {
    fn bindings(&self, namespace: Option<&str>, visit: &mut dyn FnMut(&Value)) {
        if namespace.is_none() {
            let u = json!({"kind": "User", "name": "u"});
            let account = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "ns"});
            visit(&json!({"subjects": [u, account], "roleRef": {"kind": "ClusterRole"}}));
        }
    }

    fn role(&self, _: Option<&str>, _: &str, visit: &mut dyn FnMut(&Value)) -> bool {
        visit(&json!({"rules": self.0}));
        true
    }
}

/// Who `requestor` becomes by these headers, or what he lacks: verb, resource and name.
fn become_him(
    rules: &[(&str, &str)],
    requestor: &User,
    asked: &[(&'static str, &str)],
) -> Result<User, String> {
    let rules = rules.iter().map(
        |(verb, resource)| json!({"verbs": [verb], "apiGroups": ["*"], "resources": [resource]}),
    );
    let wanted = requested(&headers(asked))?.expect("the headers name a user");
    let request = crate::rbac::Attributes {
        verb: "list".to_owned(),
        resource: "pods".to_owned(),
        ..Default::default()
    };
    let ways = impersonate::Ways::default();
    let became = ways.choose(&Rules(rules.collect()), requestor, (&wanted, &request));
    became.map_err(|refused| {
        let lacked = refused.attributes;
        format!("{} {} {}", lacked.verb, lacked.resource, lacked.name)
    })
}

#[test]
fn impersonation_needs_a_right_for_each_thing_it_claims() {
    let u = User::new("u", &[]);
    let asked = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "ops"),
        ("impersonate-extra-scopes", "view"),
        ("impersonate-uid", "7"),
    ];
    let rights = ["users", "groups", "userextras/scopes", "uids"].map(|what| ("impersonate", what));
    let jane = become_him(&rights, &u, &asked).unwrap();
    assert_eq!(jane.groups, ["dev", "ops", "system:authenticated"]);
    assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("jane", "7"));
    assert_eq!(jane.extra["scopes"], ["view"]);
    for without in 0..rights.len() {
        let mut fewer = rights.to_vec();
        fewer.remove(without);
        let lacked = become_him(&fewer, &u, &asked).unwrap_err();
        assert_eq!(lacked, "impersonate-on:user-info:list pods ", "{without}");
    }
}

#[test]
fn each_way_to_be_another_has_its_own_verbs_and_groups() {
    let u = User::new("u", &[]);
    let mut on_node = User::service_account("ns", "bot");
    let node_name = "authentication.kubernetes.io/node-name".to_owned();
    on_node.extra.insert(node_name, vec!["n1".to_owned()]);
    let name = |name| [("impersonate-user", name)];
    let table = [
        (
            &u,
            "system:node:n1",
            "arbitrary-node",
            "nodes",
            &["system:nodes"][..],
        ),
        (
            &on_node,
            "system:node:n1",
            "associated-node",
            "nodes",
            &["system:nodes"],
        ),
        (&u, "jane", "user-info", "users", &[]),
        (
            &u,
            "system:serviceaccount:ns:a",
            "serviceaccount",
            "serviceaccounts",
            &["system:serviceaccounts", "system:serviceaccounts:ns"],
        ),
    ];
    for (requestor, who, way, what, groups) in table {
        let (on, be) = (
            format!("impersonate-on:{way}:list"),
            format!("impersonate:{way}"),
        );
        let user = become_him(&[(&on, "pods"), (&be, what)], requestor, &name(who)).unwrap();
        let mut groups = groups.to_vec();
        groups.push("system:authenticated");
        assert_eq!(user.groups, groups, "{way}");
        let lacked = become_him(&[(&on, "pods")], requestor, &name(who)).unwrap_err();
        assert!(lacked.starts_with(&format!("{be} {what}")), "{lacked}");
        assert!(become_him(&[(&be, what)], requestor, &name(who)).is_err());
    }
    let old = become_him(&[("impersonate", "users")], &u, &name("system:node:n1")).unwrap();
    assert_eq!(old.groups, ["system:authenticated"]);
    let nobody = become_him(&[("impersonate", "users")], &u, &name("system:anonymous")).unwrap();
    assert_eq!(nobody.groups, ["system:unauthenticated"]);
}

#[test]
fn masters_are_impersonated_only_in_the_old_way() {
    let u = User::new("u", &[]);
    let asked = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "system:masters"),
    ];
    let new = [
        ("impersonate-on:user-info:list", "pods"),
        ("impersonate:user-info", "*"),
    ];
    let lacked = become_him(&new, &u, &asked).unwrap_err();
    assert_eq!(lacked, "impersonate:user-info groups system:masters");
    assert!(become_him(&[("impersonate", "*")], &u, &asked).is_ok());
}

#[test]
fn groups_without_a_user_are_refused_and_shown() {
    assert_eq!(requested(&HeaderMap::new()), Ok(None));
    assert_eq!(
        requested(&headers(&[("impersonate-extra-a%2fb", "c")])),
        Err(
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string(nil), \
             Extra:map[string][]string{\"a/b\":[]string{\"c\"}}} without impersonating a user name"
                .to_owned()
        )
    );
    let bad = requested(&headers(&[
        ("impersonate-group", "dev"),
        ("impersonate-extra-%zz", "c"),
    ]));
    assert!(bad.unwrap_err().contains("%zz"));
}

#[test]
fn whom_nobody_can_read_is_not_taken_for_the_one_who_asks() {
    for name in ["impersonate-user", "impersonate-group"] {
        let mut asked = headers(&[("impersonate-user", "jane")]);
        asked.insert(name, HeaderValue::from_bytes(b"jos\xc3\xa9").unwrap());
        assert!(requested(&asked).is_err(), "{name}");
    }
}
