//! The headers with which one user asks to be taken for another: what they say, and which rights that needs. Pure.
//!
//! There are five ways to be somebody else, each with its verb: as the node that one runs on, as any node, as a
//! service account, as any other user (all four only to do what is allowed to be done so), and the old way, as anybody.
//! The first way that the rules allow is taken.

use std::collections::BTreeMap;

use http::HeaderMap;
use parking_lot::Mutex;

use super::{ANONYMOUS, AUTHENTICATED, MASTERS, NODES, UNAUTHENTICATED, User, split_account};
use crate::rbac::{Attributes, Roles, decide};
use crate::selector::{is_dns_label, is_dns_subdomain};

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_PREFIX: &str = "system:node:";
const AUTHENTICATION: &str = "authentication.k8s.io";
/// Users whose way is remembered.
const KNOWN_MAX: usize = 10_000;

/// Whom the headers name, exactly as they do; nothing if they name nobody.
///
/// # Errors
/// When they ask for groups, a uid or extra without a user, or for anything that cannot be read: whoever means to
/// be somebody else must not be taken for himself, nor lose a group on the way.
pub fn requested(headers: &HeaderMap) -> Result<Option<User>, String> {
    let unreadable = headers
        .iter()
        .any(|(name, value)| name.as_str().starts_with(PREFIX) && value.to_str().is_err());
    if unreadable {
        return Err("impersonation headers must be printable ASCII".to_owned());
    }
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let groups = headers.get_all(GROUP).iter();
    let wanted = User {
        name: text(USER),
        uid: text(UID),
        groups: groups
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect(),
        extra: extra(headers),
    };
    if !wanted.name.is_empty() {
        return Ok(Some(wanted));
    }
    if is_only_a_name(&wanted) {
        return Ok(None);
    }
    Err(format!(
        "requested {} without impersonating a user name",
        shown(&wanted)
    ))
}

/// Why somebody may not be somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What he would have to be allowed to.
    pub attributes: Box<Attributes>,
    /// What else there is to say, or nothing.
    pub reason: String,
}

impl Refused {
    fn new(attributes: Attributes, reason: impl Into<String>) -> Self {
        Self {
            attributes: Box::new(attributes),
            reason: reason.into(),
        }
    }
}

/// A way to be somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OwnNode,
    AnyNode,
    Account,
    UserInfo,
    Legacy,
}

const WAYS: [Way; 5] = [
    Way::OwnNode,
    Way::AnyNode,
    Way::Account,
    Way::UserInfo,
    Way::Legacy,
];

/// Which way each user went last, so that he is refused in its words.
#[derive(Debug, Default)]
pub struct Ways(Mutex<BTreeMap<String, Way>>);

impl Ways {
    /// Who the requestor becomes for this request.
    ///
    /// # Errors
    /// When no way is allowed to him: what the first one lacked.
    pub fn choose(
        &self,
        roles: &dyn Roles,
        requestor: &User,
        (wanted, request): (&User, &Attributes),
    ) -> Result<User, Refused> {
        let last = self.0.lock().get(&requestor.name).copied();
        let others = WAYS.into_iter().filter(|way| Some(*way) != last);
        let mut first = None;
        for way in last.into_iter().chain(others) {
            if !way.fits(requestor, wanted) {
                continue;
            }
            match way.go(roles, requestor, (wanted, request)) {
                Ok(user) => {
                    self.remember(&requestor.name, way);
                    return Ok(user);
                }
                Err(refused) => first = first.or(Some(refused)),
            }
        }
        // The old way fits everybody, so there was one.
        Err(first.unwrap_or_else(|| Refused::new(request.clone(), "")))
    }

    fn remember(&self, name: &str, way: Way) {
        let mut known = self.0.lock();
        if known.get(name) == Some(&way) {
            return;
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), way);
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::OwnNode => "associated-node",
            Self::AnyNode => "arbitrary-node",
            Self::Account => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn fits(self, requestor: &User, wanted: &User) -> bool {
        let (node, account) = (node_of(&wanted.name), account_of(&wanted.name));
        match self {
            Self::OwnNode => {
                let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
                is_only_a_name(wanted)
                    && account_of(&requestor.name).is_some()
                    && node.is_some_and(|node| own == Some(&[node.to_owned()]))
            }
            Self::AnyNode => is_only_a_name(wanted) && node.is_some(),
            Self::Account => is_only_a_name(wanted) && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }

    fn go(
        self,
        roles: &dyn Roles,
        requestor: &User,
        (wanted, request): (&User, &Attributes),
    ) -> Result<User, Refused> {
        let check = |attributes: Attributes| {
            let decision = decide(roles, requestor, &attributes);
            if decision.allowed {
                return Ok(());
            }
            Err(Refused::new(attributes, decision.reason))
        };
        let mut user = wanted.clone();
        if self != Self::Legacy {
            check(Attributes {
                verb: format!("impersonate-on:{}:{}", self.name(), request.verb),
                ..request.clone()
            })?;
        }
        check(self.to_be(&wanted.name))?;
        if wanted.groups.is_empty() {
            user.groups = self.fixed_groups(&wanted.name);
        }
        if !wanted.uid.is_empty() {
            check(self.need(AUTHENTICATION, "uids", &wanted.uid))?;
        }
        self.check_groups(&wanted.groups, &check)?;
        self.check_extra(&wanted.extra, &check)?;
        let everybody = if user.name == ANONYMOUS {
            UNAUTHENTICATED
        } else {
            AUTHENTICATED
        };
        if !user.is_in(UNAUTHENTICATED) && !user.is_in(everybody) {
            user.groups.push(everybody.to_owned());
        }
        Ok(user)
    }

    /// The right to use a name.
    fn to_be(self, name: &str) -> Attributes {
        if let Some((namespace, account)) = account_of(name) {
            let mut need = self.need(self.group(), "serviceaccounts", account);
            need.namespace = Some(namespace.to_owned());
            return need;
        }
        match node_of(name).filter(|_| self != Self::Legacy) {
            Some(_) if self == Self::OwnNode => self.need(self.group(), "nodes", "*"),
            Some(node) => self.need(self.group(), "nodes", node),
            None => self.need(self.group(), "users", name),
        }
    }

    /// Groups that come with a name.
    fn fixed_groups(self, name: &str) -> Vec<String> {
        if let Some((namespace, account)) = account_of(name) {
            let mut groups = User::service_account(namespace, account).groups;
            groups.retain(|group| group != AUTHENTICATED);
            return groups;
        }
        match node_of(name) {
            Some(_) if self != Self::Legacy => vec![NODES.to_owned()],
            _ => Vec::new(),
        }
    }

    fn check_groups(
        self,
        groups: &[String],
        check: &dyn Fn(Attributes) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let need = |group: &str| self.need(self.group(), "groups", group);
        if self != Self::Legacy {
            if groups.iter().any(String::is_empty) {
                return Err(Refused::new(
                    need(""),
                    "impersonating the empty string group is not allowed",
                ));
            }
            if groups.iter().any(|group| group == MASTERS) {
                return Err(Refused::new(
                    need(MASTERS),
                    "impersonating the system:masters group is not allowed",
                ));
            }
        }
        groups.iter().try_for_each(|group| check(need(group)))
    }

    fn check_extra(
        self,
        extra: &BTreeMap<String, Vec<String>>,
        check: &dyn Fn(Attributes) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let need = |key: &str, value: &str| {
            let mut need = self.need(AUTHENTICATION, "userextras", value);
            key.clone_into(&mut need.subresource);
            need
        };
        for (key, values) in extra {
            let why = if key.is_empty() {
                "impersonating the empty string key in extra is not allowed"
            } else if values.iter().any(String::is_empty) {
                "impersonating the empty string value in extra is not allowed"
            } else {
                ""
            };
            if self != Self::Legacy && !why.is_empty() {
                return Err(Refused::new(need("", ""), why));
            }
            values
                .iter()
                .try_for_each(|value| check(need(key, value)))?;
        }
        Ok(())
    }

    fn group(self) -> &'static str {
        if self == Self::Legacy {
            ""
        } else {
            AUTHENTICATION
        }
    }

    fn need(self, group: &str, resource: &str, name: &str) -> Attributes {
        let verb = if self == Self::Legacy {
            "impersonate".to_owned()
        } else {
            format!("impersonate:{}", self.name())
        };
        Attributes {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }
}

fn is_only_a_name(user: &User) -> bool {
    user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty()
}

/// The service account that a well-formed user name stands for.
fn account_of(user: &str) -> Option<(&str, &str)> {
    split_account(user)
        .filter(|(namespace, name)| is_dns_label(namespace) && is_dns_subdomain(name))
}

fn node_of(user: &str) -> Option<&str> {
    user.strip_prefix(NODE_PREFIX)
        .filter(|node| is_dns_subdomain(node))
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else {
            continue;
        };
        if let Ok(value) = value.to_str() {
            let key = unescaped(key).unwrap_or_else(|| key.to_owned());
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    extra
}

/// The text without percent escapes; nothing if one of them is none, or the whole is no text.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// As Kubernetes' texts show a user that it refuses to understand.
fn shown(user: &User) -> String {
    let list = |texts: &[String]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        format!("[]string{{{}}}", texts.join(", "))
    };
    let groups = match user.groups.as_slice() {
        [] => "[]string(nil)".to_owned(),
        groups => list(groups),
    };
    let extra: Vec<String> = user
        .extra
        .iter()
        .map(|(key, values)| format!("{key:?}:{}", list(values)))
        .collect();
    let extra = if extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        format!("map[string][]string{{{}}}", extra.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        user.name, user.uid
    )
}
