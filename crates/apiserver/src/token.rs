//! Service account tokens: signed, and checked as far as the token alone tells.
//!
//! A token is a JWT signed with ES256. This module decides its claims and whether signature, issuer and validity hold;
//! whether the account and the bound object still exist is the authenticator's question, who asks the store.
//! Must not know the store, HTTP or a clock: `now` is passed in. Start at [`TokenKey`].

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
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
    /// End of validity in seconds since 1970; a legacy token has none.
    #[serde(rename = "exp", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
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

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three base64 parts of JSON, or not ours.
    #[error("token is malformed: {0}")]
    Malformed(&'static str),
    /// Signed by another key, or altered.
    #[error("invalid token signature")]
    Signature,
    /// From another issuer.
    #[error("token issuer is invalid")]
    Issuer,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    NotYet,
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
        // Enough of a random public point to tell keys apart; nothing depends on how it is made.
        let key_id = URL_SAFE_NO_PAD.encode(&public[public.len().saturating_sub(32)..]);
        Ok(Self {
            signing,
            public,
            key_id,
        })
    }

    /// Signs the claims.
    ///
    /// # Errors
    /// When the key cannot sign, which a key that [`TokenKey::from_pem`] accepted can.
    pub fn sign(&self, claims: &Claims) -> anyhow::Result<String> {
        let header = serde_json::json!({"alg": "ES256", "kid": self.key_id});
        let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?));
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

    /// The claims of a token that we signed and whose time is now (in seconds since 1970).
    ///
    /// # Errors
    /// When it is malformed, not ours, expired or not yet valid.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Malformed("too long"));
        }
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or(TokenError::Malformed("not three parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .ok_or(TokenError::Malformed("not three parts"))?;
        let header: Value = part(header)?;
        if header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return Err(TokenError::Malformed("another algorithm"));
        }
        let claims: Claims = part(payload)?;
        if claims.issuer != ISSUER {
            return Err(TokenError::Issuer);
        }
        let raw = bytes(signature)?;
        let signature = der::from_raw(&raw).ok_or(TokenError::Signature)?;
        algorithm()
            .verify_signature(&self.public, signed.as_bytes(), &signature)
            .map_err(|_invalid| TokenError::Signature)?;
        if claims.expires.is_some_and(|expires| now >= expires) {
            return Err(TokenError::Expired);
        }
        if now < claims.not_before {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
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

/// True if the text looks like one of our tokens at all, so that its refusal is worth a reason.
pub fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
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
        .map_err(|_error| TokenError::Malformed("not base64"))
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&bytes(text)?)
        .map_err(|_error| TokenError::Malformed("not JSON of a token"))
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
