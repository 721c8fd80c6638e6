//! Service account tokens: signed, and checked as far as the token alone tells.
//!
//! A token is a JWT signed with ES256. This module decides its claims and whether signature, issuer and validity hold;
//! whether the account and the bound object still exist is the authenticator's question, who asks the store.
//! Must not know the store, HTTP or a clock: `now` is passed in. Start at [`TokenKey`].

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod der;

/// The issuer, and the audience that the API server itself answers to.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The issuer of tokens that live in Secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// Clocks may differ by this many seconds.
const LEEWAY: i64 = 60;
/// A token longer than this is not looked at.
const TOKEN_MAX: usize = 16 * 1024;

/// An object named inside a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid, which a successor of the same name does not have.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The part of the claims that is Kubernetes' own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Named,
    /// The pod whose end is the token's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// The node on which that pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// The Secret whose end is the token's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// From when on its use deserves a warning, in seconds since 1970.
    #[serde(rename = "warnafter", default, skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<i64>,
}

/// What a token says that lives in a Secret and has no end of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    /// Always [`LEGACY_ISSUER`].
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The account's namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    /// The Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    /// The account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    /// The account's uid.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
    /// `system:serviceaccount:<namespace>:<name>`.
    #[serde(rename = "sub")]
    pub subject: String,
}

/// The claims of a token that we signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// One that was asked for.
    Bound(Box<Claims>),
    /// One from a Secret.
    Legacy(LegacyClaims),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom the token is.
    #[serde(
        rename = "aud",
        default,
        with = "audience",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub audiences: Vec<String>,
    /// End of validity in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires: i64,
    /// When it was issued.
    #[serde(rename = "iat", default)]
    pub issued: i64,
    /// Who issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The token's own id.
    #[serde(rename = "jti", default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Account and bound object.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    /// Start of validity.
    #[serde(rename = "nbf", default)]
    pub not_before: i64,
    /// `system:serviceaccount:<namespace>:<name>`.
    #[serde(rename = "sub")]
    pub subject: String,
}

impl Claims {
    /// Whether the token's time is now, as far as clocks agree.
    ///
    /// # Errors
    /// When it is over, or has not come.
    pub fn check_time(&self, now: i64) -> Result<(), TokenError> {
        if now.saturating_sub(LEEWAY) > self.expires {
            Err(TokenError::Expired)
        } else if now.saturating_add(LEEWAY) < self.not_before {
            Err(TokenError::NotYet)
        } else if now.saturating_add(LEEWAY) < self.issued {
            Err(TokenError::Future)
        } else {
            Ok(())
        }
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// None of ours at all: not three parts, or from another issuer.
    #[error("this is no token of this server")]
    Malformed,
    /// Signed by a key that we do not know.
    #[error("invalid signature, no keys found")]
    Key,
    /// Not signed by our key, or altered.
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Signature,
    /// Signed by us, and yet not what it should say.
    #[error(
        "service account token claims could not be validated due to unexpected validation error"
    )]
    Claims,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    NotYet,
    /// It comes from the future.
    #[error("service account token is issued in the future")]
    Future,
}

/// The key that signs tokens and checks them.
#[derive(Clone, Debug)]
pub struct TokenKey {
    signing: Arc<dyn SigningKey>,
    public: Vec<u8>,
    key_id: String,
}

impl TokenKey {
    /// Reads a P-256 key from PKCS#8 PEM.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let pair = KeyPair::from_pem(pem).context("read the token signing key sa.key")?;
        let public = pair.public_key_raw().to_vec();
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .context("read the token signing key sa.key")?;
        let signing = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(der)
            .context("load the token signing key sa.key")?;
        let key_id = URL_SAFE_NO_PAD.encode(sha256(&pair.subject_public_key_info()));
        Ok(Self {
            signing,
            public,
            key_id,
        })
    }

    /// Signs claims, [`Claims`] or [`LegacyClaims`].
    ///
    /// # Errors
    /// When the key cannot sign, which a key that [`TokenKey::from_pem`] accepted can.
    pub fn sign(&self, claims: &impl Serialize) -> anyhow::Result<String> {
        let header = serde_json::json!({"alg": "ES256", "kid": self.key_id});
        let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
        text.push('.');
        // By way of a value, which sorts the fields.
        let claims = serde_json::to_value(claims)?;
        text.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signer = self
            .signing
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
            .context("the token signing key is no P-256 key")?;
        let signature = signer.sign(text.as_bytes()).context("sign a token")?;
        let raw = der::to_raw(&signature).context("encode a token's signature")?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(raw));
        Ok(text)
    }

    /// The claims of a token that we signed. Whether its time is now is [`Claims::check_time`]'s question.
    ///
    /// # Errors
    /// When it is malformed or not ours.
    pub fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let (header, claims): (Value, Value) = (part(header)?, part(payload)?);
        let issuer = claims["iss"].as_str().unwrap_or_default().to_owned();
        if issuer != ISSUER && issuer != LEGACY_ISSUER {
            return Err(TokenError::Malformed);
        }
        let key_id = header["kid"].as_str().unwrap_or_default();
        if !key_id.is_empty() && key_id != self.key_id {
            return Err(TokenError::Key);
        }
        if header["alg"] != "ES256" {
            return Err(TokenError::Signature);
        }
        let signature = bytes(signature).map_err(|_garbage| TokenError::Signature)?;
        let signature = der::from_raw(&signature).ok_or(TokenError::Signature)?;
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        algorithm()
            .verify_signature(&self.public, signed.as_bytes(), &signature)
            .map_err(|_invalid| TokenError::Signature)?;
        let verified = if issuer == ISSUER {
            serde_json::from_value(claims).map(|claims| Verified::Bound(Box::new(claims)))
        } else {
            serde_json::from_value(claims).map(Verified::Legacy)
        };
        verified.map_err(|_other| TokenError::Claims)
    }

    /// The public key as a JSON Web Key Set, for others who check our tokens.
    pub fn jwks(&self) -> Value {
        let (x, y) = self.public.get(1..65).unwrap_or(&[0; 64]).split_at(32);
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

/// SHA-256, by the TLS library: the only one here that hashes.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.expect("this one is of TLS 1.3");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

fn algorithm() -> &'static dyn SignatureVerificationAlgorithm {
    let supported = aws_lc_rs::default_provider().signature_verification_algorithms;
    supported
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)
        .and_then(|(_, algorithms)| {
            // TLS 1.2 lists other curves for this scheme too; the first is P-256, which TLS 1.3 demands.
            algorithms.first().copied()
        })
        .expect("the provider knows P-256, which TLS 1.3 demands")
}

fn bytes(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_error| TokenError::Malformed)
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&bytes(text)?).map_err(|_error| TokenError::Malformed)
}

/// `aud` is a text or a list of texts.
mod audience {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(list: &[String], to: S) -> Result<S::Ok, S::Error> {
        list.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        Ok(match Either::deserialize(from)? {
            Either::One(one) => vec![one],
            Either::Many(many) => many,
        })
    }
}

#[cfg(test)]
mod tests;
