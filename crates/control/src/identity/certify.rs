//! The gRPC service `Identity`: a token proves who asks, a signing request names the key.
//!
//! Decides whether a caller gets the certificate it wants. Tokens are reviewed by the API server of
//! this cluster, never here, and are never logged.
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tombolo_core::limits::OUTSIDE_WAIT;
use tombolo_wire::proxy_api::identity::identity_server::Identity;
use tombolo_wire::proxy_api::identity::{CertifyRequest, CertifyResponse};
use tonic::{Request, Response, Status};

use super::csr;
use super::issuer::{Issuer, Leaf};
use super::name::{self, Scheme};

/// The audience that a token must have been issued for.
pub(crate) const AUDIENCE: &str = "identity.l5d.io";
/// Bytes of a token that are looked at at all.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The service `Identity` of this cluster.
pub(crate) struct Certifier {
    /// Where tokens are reviewed.
    pub(crate) client: kube::Client,
    /// What identities look like.
    pub(crate) scheme: Scheme,
    /// The issuer of the moment.
    pub(crate) issuer: watch::Receiver<Arc<Issuer>>,
}

/// Why a token does not prove the identity that is asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// The API server does not know the token.
    #[error("the token is not authenticated: {0}")]
    Unknown(String),
    /// The token was issued for something else.
    #[error("the token was not issued for the audience {AUDIENCE}")]
    Audience,
    /// The token is not one of a service account.
    #[error("the token does not belong to a service account")]
    NoServiceAccount,
    /// The token belongs to another service account.
    #[error("the token belongs to {actual}, not to {wanted}")]
    OtherIdentity {
        /// Whose it is.
        actual: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// What a review says about the caller: is the token the one of `wanted`?
pub(crate) fn judge(
    status: &TokenReviewStatus,
    scheme: &Scheme,
    wanted: &str,
) -> Result<(), TokenError> {
    if status.authenticated != Some(true) {
        let why = status.error.clone().unwrap_or_default();
        return Err(TokenError::Unknown(why));
    }
    let audiences = status.audiences.as_deref().unwrap_or_default();
    if !audiences.iter().any(|audience| audience == AUDIENCE) {
        return Err(TokenError::Audience);
    }
    let username = status
        .user
        .as_ref()
        .and_then(|user| user.username.as_deref());
    let (namespace, account) = username
        .and_then(name::service_account)
        .ok_or(TokenError::NoServiceAccount)?;
    let actual = scheme.identity(namespace, account);
    if actual != wanted {
        return Err(TokenError::OtherIdentity {
            actual,
            wanted: wanted.into(),
        });
    }
    Ok(())
}

impl Certifier {
    async fn review(&self, token: &[u8]) -> Result<TokenReviewStatus, Status> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(Status::invalid_argument("the token is empty or too long"));
        }
        let token = std::str::from_utf8(token)
            .map_err(|_utf8| Status::invalid_argument("the token is no text"))?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.trim().to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let answer = tokio::time::timeout(OUTSIDE_WAIT, api.create(&params, &review))
            .await
            .map_err(|_elapsed| Status::unavailable("the API server does not answer"))?
            .map_err(|error| {
                tracing::warn!(%error, "a token could not be reviewed");
                Status::unavailable("the API server could not review the token")
            })?;
        answer
            .status
            .ok_or_else(|| Status::unavailable("the API server gave a review without a status"))
    }

    async fn decide(&self, request: CertifyRequest) -> Result<Leaf, Status> {
        let CertifyRequest {
            identity,
            token,
            certificate_signing_request,
        } = request;
        if identity.is_empty() || identity.len() > 253 {
            return Err(Status::invalid_argument(
                "the identity is empty or longer than 253 bytes",
            ));
        }
        let key = csr::check(&certificate_signing_request, &identity)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let status = self.review(&token).await?;
        judge(&status, &self.scheme, &identity)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        let issuer = Arc::clone(&self.issuer.borrow());
        issuer
            .sign(&identity, &key, Timestamp::now())
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[tonic::async_trait]
impl Identity for Certifier {
    async fn certify(
        &self,
        request: Request<CertifyRequest>,
    ) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        let identity = request.identity.clone();
        let leaf = self.decide(request).await.inspect_err(|status| {
            tracing::warn!(identity, code = ?status.code(), because = status.message(), "not certified");
        })?;
        tracing::info!(identity, valid_until = %leaf.valid_until, "certified");
        Ok(Response::new(CertifyResponse {
            leaf_certificate: leaf.certificate.to_vec(),
            intermediate_certificates: leaf.intermediates.iter().map(|c| c.to_vec()).collect(),
            valid_until: Some(prost_types::Timestamp {
                seconds: leaf.valid_until.as_second(),
                nanos: 0,
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(user: &str, audience: &str) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(UserInfo {
                username: Some(user.to_owned()),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn a_token_proves_one_identity_for_one_audience() {
        let scheme = Scheme {
            control_namespace: "tombolo".into(),
            linkerd_namespace: "linkerd".into(),
            trust_domain: "cluster.local".into(),
        };
        let wanted = scheme.identity("ns", "sa");
        let mine = "system:serviceaccount:ns:sa";
        assert_eq!(judge(&status(mine, AUDIENCE), &scheme, &wanted), Ok(()));
        assert_eq!(
            judge(&status(mine, "https://kubernetes"), &scheme, &wanted),
            Err(TokenError::Audience)
        );
        assert_eq!(
            judge(&status("admin", AUDIENCE), &scheme, &wanted),
            Err(TokenError::NoServiceAccount)
        );
        let other = status("system:serviceaccount:ns:other", AUDIENCE);
        assert!(matches!(
            judge(&other, &scheme, &wanted),
            Err(TokenError::OtherIdentity { .. })
        ));
        let mut unknown = status(mine, AUDIENCE);
        unknown.authenticated = Some(false);
        assert!(matches!(
            judge(&unknown, &scheme, &wanted),
            Err(TokenError::Unknown(_))
        ));
        let mut silent = status(mine, AUDIENCE);
        silent.audiences = None;
        assert_eq!(judge(&silent, &scheme, &wanted), Err(TokenError::Audience));
    }
}
