//! Who asks: the user behind a client certificate, a token or an impersonation header.
//!
//! Decides names and groups, not rights (those are [`crate::rbac`]'s). Whether the objects behind a token still exist is
//! asked through [`Accounts`], so that this module knows no store. Start at [`Authenticator::authenticate`].

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::token::{Bound, Claims, ISSUER, TokenError, TokenKey};

pub mod certificate;
pub mod impersonate;

/// The group of cluster administrators, whom no rule binds.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who has proved who he is.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who have not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The uid, where the user is an object.
    pub uid: String,
    /// The groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// What else is known, such as the pod of a bound token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of these groups, who has proved it.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push(AUTHENTICATED.to_owned());
        Self {
            name: name.into(),
            uid: String::new(),
            groups,
            extra: BTreeMap::new(),
        }
    }

    /// The administrator of the cluster.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            extra: BTreeMap::new(),
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{namespace}"),
        ];
        Self::new(format!("{ACCOUNT_PREFIX}{namespace}:{name}"), &groups)
    }

    /// True if the user belongs to the group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// As `userInfo` and `user` of reviews have it.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"username": self.name});
        if !self.uid.is_empty() {
            value["uid"] = self.uid.clone().into();
        }
        if !self.groups.is_empty() {
            value["groups"] = self.groups.clone().into();
        }
        if !self.extra.is_empty() {
            value["extra"] = json!(self.extra);
        }
        value
    }
}

/// Namespace and name of the service account that a user name stands for.
pub fn split_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')
}

/// What a token's objects must be asked of: do they exist, with that uid, and not as mere remains?
pub trait Accounts: Send + Sync {
    /// Nothing if all objects of the token live, else what does not.
    fn missing(&self, bound: &Bound) -> Option<&'static str>;
    /// The account to which a legacy token Secret belongs is in the claims; the Secret must still hold the token.
    fn secret_holds(&self, namespace: &str, secret: &str, token: &str) -> bool;
}

/// Why a request or a reviewed token is refused; the peer sees only that it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A header that is no bearer token.
    #[error("the authorization header is no bearer token")]
    Header,
    /// The token itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// For somebody else.
    #[error("token audiences {have:?} is invalid for the target audiences {want:?}")]
    Audience {
        /// For whom it is.
        have: Vec<String>,
        /// Whom it was shown to.
        want: Vec<String>,
    },
    /// Account or bound object is gone.
    #[error("{0}")]
    Gone(&'static str),
}

/// A token that holds, and for which of the audiences asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Whose it is.
    pub user: User,
    /// Which of the asked audiences it is for.
    pub audiences: Vec<String>,
}

/// Finds out who asks.
#[derive(Clone)]
pub struct Authenticator {
    key: Arc<TokenKey>,
    accounts: Arc<dyn Accounts>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Checks tokens with `key` and their objects with `accounts`.
    pub fn new(key: Arc<TokenKey>, accounts: Arc<dyn Accounts>) -> Self {
        Self { key, accounts }
    }

    /// The key, for those who issue.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// The user of a request: its client certificate's, else its token's; nothing if it shows neither.
    ///
    /// # Errors
    /// When it shows a token that does not hold.
    pub fn authenticate(
        &self,
        certificate: Option<&User>,
        headers: &HeaderMap,
        now: i64,
    ) -> Result<Option<User>, AuthError> {
        if let Some(user) = certificate {
            return Ok(Some(user.clone()));
        }
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        let token = header
            .to_str()
            .ok()
            .and_then(bearer)
            .ok_or(AuthError::Header)?;
        Ok(Some(self.review(token, &[ISSUER.to_owned()], now)?.user))
    }

    /// Whose token it is, and for which of these audiences.
    ///
    /// # Errors
    /// When it does not hold, or is for none of them.
    pub fn review(&self, token: &str, wanted: &[String], now: i64) -> Result<Reviewed, AuthError> {
        let claims = self.key.verify(token, now)?;
        // A legacy token names no audience: it is for the API server.
        let have = if claims.audiences.is_empty() {
            vec![ISSUER.to_owned()]
        } else {
            claims.audiences.clone()
        };
        let audiences: Vec<String> = wanted
            .iter()
            .filter(|audience| have.contains(audience))
            .cloned()
            .collect();
        if audiences.is_empty() {
            return Err(AuthError::Audience {
                have,
                want: wanted.to_vec(),
            });
        }
        if let Some(what) = self.accounts.missing(&claims.bound) {
            return Err(AuthError::Gone(what));
        }
        self.legacy(&claims, token)?;
        Ok(Reviewed {
            user: user_of(&claims),
            audiences,
        })
    }

    /// A token without an end lives only in its Secret.
    fn legacy(&self, claims: &Claims, token: &str) -> Result<(), AuthError> {
        if claims.expires.is_some() {
            return Ok(());
        }
        let held = claims.bound.secret.as_ref().is_some_and(|secret| {
            self.accounts
                .secret_holds(&claims.bound.namespace, &secret.name, token)
        });
        if held {
            Ok(())
        } else {
            Err(AuthError::Gone(
                "service account token has been invalidated",
            ))
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn user_of(claims: &Claims) -> User {
    let Bound {
        namespace,
        serviceaccount,
        pod,
        node,
        ..
    } = &claims.bound;
    let mut user = User::service_account(namespace, &serviceaccount.name);
    user.uid.clone_from(&serviceaccount.uid);
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(
                format!("authentication.kubernetes.io/{key}"),
                vec![value.to_owned()],
            );
        }
    };
    if !claims.id.is_empty() {
        note("credential-id", &format!("JTI={}", claims.id));
    }
    if let Some(pod) = pod {
        note("pod-name", &pod.name);
        note("pod-uid", &pod.uid);
    }
    if let Some(node) = node {
        note("node-name", &node.name);
        note("node-uid", &node.uid);
    }
    user
}

#[cfg(test)]
mod tests;
