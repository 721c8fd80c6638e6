//! Who asks: the user behind a client certificate, a token or an impersonation header.
//!
//! Decides names and groups, not rights (those are [`crate::rbac`]'s). Whether the objects behind a token still exist is
//! asked through [`Accounts`], so that this module knows no store. Start at [`Authenticator::authenticate`].

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::token::{Bound, Claims, ISSUER, LegacyClaims, TokenError, TokenKey, Verified};

pub mod certificate;
pub mod impersonate;

/// The group of cluster administrators, whom no rule binds.
pub const MASTERS: &str = "system:masters";
/// The group of nodes.
pub const NODES: &str = "system:nodes";
/// The group of everybody who has proved who he is.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who have not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The name of those who have shown nothing.
pub const ANONYMOUS: &str = "system:anonymous";
/// The extra that says by which certificate or token a user is known.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

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
            name: ANONYMOUS.to_owned(),
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

/// What a token's objects are asked of: do they exist, with that uid, and not as mere remains?
pub trait Accounts: Send + Sync {
    /// # Errors
    /// When one of the token's objects does not live: which.
    fn check(&self, bound: &Bound) -> Result<(), String>;
    /// Whether account and Secret of a legacy token live, and the Secret holds this token.
    ///
    /// # Errors
    /// When not: why.
    fn check_legacy(&self, claims: &LegacyClaims, token: &str) -> Result<(), String>;
}

/// Why a request or a reviewed token is refused; the peer sees only that it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The client certificate.
    #[error("the client certificate does not hold")]
    Certificate,
    /// The token itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// For somebody else.
    #[error(
        "token audiences {} is invalid for the target audiences {}",
        quoted(have),
        quoted(want)
    )]
    Audience {
        /// For whom it is.
        have: Vec<String>,
        /// Whom it was shown to.
        want: Vec<String>,
    },
    /// Account or bound object is gone.
    #[error("{0}")]
    Gone(String),
}

fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

/// What the client certificate of a connection says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// There is none.
    #[default]
    Absent,
    /// It does not hold, or names nobody.
    Refused,
    /// It is this user's.
    Of(User),
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
    /// When it shows a token that does not hold, or only a certificate that does not.
    pub fn authenticate(
        &self,
        certificate: &Certificate,
        headers: &HeaderMap,
        now: i64,
    ) -> Result<Option<User>, AuthError> {
        if let Certificate::Of(user) = certificate {
            return Ok(Some(user.clone()));
        }
        let header = headers.get(AUTHORIZATION);
        let Some(token) = header.and_then(|header| bearer(header.as_bytes())) else {
            return match certificate {
                Certificate::Refused => Err(AuthError::Certificate),
                _ => Ok(None),
            };
        };
        let token = std::str::from_utf8(token).map_err(|_no_text| TokenError::Malformed)?;
        Ok(Some(self.review(token, &[ISSUER.to_owned()], now)?.user))
    }

    /// Whose token it is, and for which of these audiences.
    ///
    /// # Errors
    /// When it does not hold, or is for none of them.
    pub fn review(&self, token: &str, wanted: &[String], now: i64) -> Result<Reviewed, AuthError> {
        let verified = self.key.verify(token)?;
        let have = match &verified {
            Verified::Bound(claims) => claims.audiences.clone(),
            Verified::Legacy(_) => Vec::new(),
        };
        // A token that names no audience is for the API server.
        let have = if have.is_empty() {
            vec![ISSUER.to_owned()]
        } else {
            have
        };
        let audiences: Vec<String> = have
            .iter()
            .filter(|audience| wanted.contains(audience))
            .cloned()
            .collect();
        if audiences.is_empty() {
            return Err(AuthError::Audience {
                have,
                want: wanted.to_vec(),
            });
        }
        let user = match &verified {
            Verified::Bound(claims) => {
                claims.check_time(now)?;
                self.accounts
                    .check(&claims.bound)
                    .map_err(AuthError::Gone)?;
                user_of(claims)
            }
            Verified::Legacy(claims) => {
                let held = self.accounts.check_legacy(claims, token);
                held.map_err(AuthError::Gone)?;
                let mut user = User::service_account(&claims.namespace, &claims.account);
                user.uid.clone_from(&claims.account_uid);
                user
            }
        };
        Ok(Reviewed { user, audiences })
    }
}

/// The token of a header, if it is one for tokens and has one: whoever shows another kind of credential shows nothing.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let mut parts = header.trim_ascii().splitn(3, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
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
