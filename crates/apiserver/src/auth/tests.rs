use http::HeaderValue;
use rcgen::KeyPair;

use super::*;
use crate::auth::impersonate::requested;
use crate::token::Named;

const NOW: i64 = 1_800_000_000;

/// Lives: account `ns/sa` of uid `u`, and the Secret `s` with the token that the test set.
#[derive(Default)]
struct World {
    secret: parking_lot::Mutex<String>,
}

impl Accounts for World {
    fn missing(&self, bound: &Bound) -> Option<&'static str> {
        let account = (
            bound.serviceaccount.name.as_str(),
            bound.serviceaccount.uid.as_str(),
        );
        (account != ("sa", "u")).then_some("serviceaccount is gone")
    }

    fn secret_holds(&self, _namespace: &str, secret: &str, token: &str) -> bool {
        secret == "s" && *self.secret.lock() == token
    }
}

fn authenticator(world: Arc<World>) -> Authenticator {
    let key = TokenKey::from_pem(&KeyPair::generate().unwrap().serialize_pem()).unwrap();
    Authenticator::new(Arc::new(key), world)
}

fn claims(audience: &str) -> Claims {
    Claims {
        audiences: vec![audience.to_owned()],
        expires: Some(NOW + 60),
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
    let user = auth.authenticate(None, &headers, NOW).unwrap().unwrap();
    assert_eq!(user.name, "system:serviceaccount:ns:sa");
    assert_eq!(
        user.groups,
        [
            "system:serviceaccounts",
            "system:serviceaccounts:ns",
            "system:authenticated"
        ]
    );
    assert!(auth.authenticate(None, &headers, NOW + 60).is_err());
}

#[test]
fn nothing_shown_is_nobody_and_garbage_is_refused() {
    let auth = authenticator(Arc::default());
    assert_eq!(auth.authenticate(None, &HeaderMap::new(), NOW), Ok(None));
    for header in [
        "Basic eDp5",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
    ] {
        let headers = headers(&[("authorization", header)]);
        assert!(auth.authenticate(None, &headers, NOW).is_err(), "{header}");
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
        auth.authenticate(None, &headers, NOW),
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
        Err(AuthError::Gone("serviceaccount is gone"))
    );
}

#[test]
fn endless_token_lives_only_in_its_secret() {
    let world = Arc::new(World::default());
    let auth = authenticator(world.clone());
    let mut legacy = claims(ISSUER);
    legacy.audiences.clear();
    legacy.expires = None;
    legacy.bound.secret = Some(Named {
        name: "s".to_owned(),
        uid: String::new(),
    });
    let token = auth.key().sign(&legacy).unwrap();
    assert!(auth.review(&token, &[ISSUER.to_owned()], NOW).is_err());
    world.secret.lock().clone_from(&token);
    assert!(auth.review(&token, &[ISSUER.to_owned()], NOW).is_ok());
}

#[test]
fn impersonation_needs_a_right_for_each_thing_it_claims() {
    let asked = requested(&headers(&[
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "ops"),
        ("impersonate-extra-scopes", "view"),
    ]));
    let asked = asked.unwrap().unwrap();
    assert_eq!(asked.user.groups, ["dev", "ops", "system:authenticated"]);
    let needs: Vec<String> = asked
        .needs
        .iter()
        .map(|need| format!("{}/{}/{}", need.resource, need.subresource, need.name))
        .collect();
    assert_eq!(
        needs,
        [
            "users//jane",
            "groups//dev",
            "groups//ops",
            "userextras/scopes/view"
        ]
    );
    let account = requested(&headers(&[(
        "impersonate-user",
        "system:serviceaccount:ns:sa",
    )]));
    let account = account.unwrap().unwrap();
    assert_eq!(account.needs[0].namespace.as_deref(), Some("ns"));
    assert!(account.user.is_in("system:serviceaccounts:ns"));
    assert_eq!(requested(&HeaderMap::new()), Ok(None));
    assert!(requested(&headers(&[("impersonate-group", "dev")])).is_err());
}

#[test]
fn whom_nobody_can_read_is_not_taken_for_the_one_who_asks() {
    for name in ["impersonate-user", "impersonate-group"] {
        let mut asked = headers(&[("impersonate-user", "jane")]);
        asked.insert(name, HeaderValue::from_bytes(b"jos\xc3\xa9").unwrap());
        assert!(requested(&asked).is_err(), "{name}");
    }
}
