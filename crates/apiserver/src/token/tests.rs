use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn key() -> TokenKey {
    TokenKey::from_pem(&KeyPair::generate().unwrap().serialize_pem()).unwrap()
}

fn claims() -> Claims {
    Claims {
        audiences: vec![ISSUER.to_owned()],
        expires: NOW + 60,
        issued: NOW,
        issuer: ISSUER.to_owned(),
        id: "1".to_owned(),
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

#[test]
fn signed_token_verifies_again_and_again() {
    // Signatures are random: leading zeros of r or s occur once in 128.
    let key = key();
    for _ in 0..300 {
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.verify(&token), Ok(Verified::Bound(Box::new(claims()))));
    }
}

#[test]
fn expired_early_foreign_and_altered_tokens_are_refused_with_the_reason() {
    let key = key();
    let token = key.sign(&claims()).unwrap();
    let at = |now| match key.verify(&token) {
        Ok(Verified::Bound(claims)) => claims.check_time(now),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(NOW + 120), Ok(()), "clocks may differ by a minute");
    assert_eq!(at(NOW + 121), Err(TokenError::Expired));
    assert_eq!(at(NOW - 61), Err(TokenError::NotYet));
    // Whoever does not say by which key gets no hint.
    assert_eq!(self::key().verify(&token), Err(TokenError::Key));
    let other = key
        .sign(&Claims {
            issuer: "https://other".to_owned(),
            ..claims()
        })
        .unwrap();
    assert_eq!(key.verify(&other), Err(TokenError::Malformed));
    let parts: Vec<&str> = token.split('.').collect();
    let payload = serde_json::to_vec(&Claims {
        subject: "root".to_owned(),
        ..claims()
    })
    .unwrap();
    let forged = format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(payload),
        parts[2]
    );
    assert_eq!(key.verify(&forged), Err(TokenError::Signature));
    let unnamed = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
    let foreign = self::key().sign(&claims()).unwrap();
    let foreign = foreign.split_once('.').unwrap().1;
    let foreign = key.verify(&format!("{unnamed}.{foreign}"));
    assert_eq!(foreign, Err(TokenError::Signature));
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert!(key.verify(&format!("{none}.{}.", parts[1])).is_err());
    assert!(key.verify(&"a".repeat(TOKEN_MAX + 1)).is_err());
}

#[test]
fn audience_may_be_one_text() {
    let mut value = serde_json::to_value(claims()).unwrap();
    value["aud"] = "one".into();
    let read: Claims = serde_json::from_value(value).unwrap();
    assert_eq!(read.audiences, ["one"]);
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(text in "[a-zA-Z0-9._-]{0,80}") {
        let key = key();
        prop_assert!(key.verify(&text).is_err());
    }

    #[test]
    fn both_spellings_of_a_signature_say_the_same(raw in prop::collection::vec(any::<u8>(), 64)) {
        let der = der::from_raw(&raw).unwrap();
        prop_assert_eq!(der::to_raw(&der).unwrap().to_vec(), raw);
    }

    #[test]
    fn any_bytes_are_a_signature_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(raw) = der::to_raw(&bytes) {
            prop_assert!(der::from_raw(&raw).is_some());
        }
    }
}
