//! The headers with which one user asks to be taken for another: what they say, and which rights that needs. Pure.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::{AUTHENTICATED, User, split_account};
use crate::rbac::Attributes;

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom the request wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// The user it becomes, if it may.
    pub user: User,
    /// All that it must be allowed to do for that, each with the verb `impersonate`.
    pub needs: Vec<Attributes>,
}

/// What the headers ask for; nothing if they ask for nothing.
///
/// # Errors
/// When they ask for groups, a uid or extra without a user, or for anything that cannot be read: whoever means to
/// be somebody else must not be taken for himself, nor lose a group on the way.
pub fn requested(headers: &HeaderMap) -> Result<Option<Impersonation>, &'static str> {
    let unreadable = headers
        .iter()
        .any(|(name, value)| name.as_str().starts_with(PREFIX) && value.to_str().is_err());
    if unreadable {
        return Err("impersonation headers must be printable ASCII");
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let groups: Vec<&str> = headers
        .get_all(GROUP)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let uid = text(UID).unwrap_or_default();
    let extra = extra(headers);
    let Some(name) = text(USER).filter(|name| !name.is_empty()) else {
        let anything = !groups.is_empty() || !uid.is_empty() || !extra.is_empty();
        return if anything {
            Err("requested groups, uid or extra without impersonating a user")
        } else {
            Ok(None)
        };
    };
    let mut needs = Vec::new();
    let mut user = if let Some((namespace, account)) = split_account(name) {
        let mut need = need("", "serviceaccounts", account);
        need.namespace = Some(namespace.to_owned());
        needs.push(need);
        User::service_account(namespace, account)
    } else {
        needs.push(need("", "users", name));
        User::new(name, &[])
    };
    if !groups.is_empty() {
        user.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        needs.extend(groups.iter().map(|group| need("", "groups", group)));
        if !user.is_in(AUTHENTICATED) {
            user.groups.push(AUTHENTICATED.to_owned());
        }
    }
    if !uid.is_empty() {
        needs.push(need("authentication.k8s.io", "uids", uid));
        uid.clone_into(&mut user.uid);
    }
    for (key, values) in &extra {
        needs.extend(values.iter().map(|value| {
            let mut need = need("authentication.k8s.io", "userextras", value);
            need.subresource.clone_from(key);
            need
        }));
    }
    user.extra = extra;
    Ok(Some(Impersonation { user, needs }))
}

fn need(group: &str, resource: &str, name: &str) -> Attributes {
    Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else {
            continue;
        };
        if let Ok(value) = value.to_str() {
            extra
                .entry(key.replace("%2f", "/"))
                .or_default()
                .push(value.to_owned());
        }
    }
    extra
}
