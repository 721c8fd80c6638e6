//! What a method and a path ask for, in Kubernetes' terms. Pure; whether the resource exists is not asked here.

use http::Method;

use super::query::{Plus, Query, decode};
use crate::rbac::Attributes;

/// A request, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// Verb, group, version, resource, subresource, namespace and name; or only verb and path.
    pub(super) attributes: Attributes,
}

/// Takes a request apart; nothing if the path has more parts than any resource's.
pub(super) fn route(method: &Method, path: &str, query: &Query) -> Option<Route> {
    // An escaped slash is a slash.
    let decoded = decode(path, Plus::IsItself);
    if decoded.starts_with("//") {
        return Some(plain(method, &decoded));
    }
    let decoded = decoded.trim_matches('/');
    // An empty name of a namespace is none.
    let decoded = decoded.replacen("/namespaces//", "/", 1);
    if decoded.starts_with("api") && decoded.contains("//") {
        return None;
    }
    let parts: Vec<&str> = decoded.split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Some(plain(method, path)),
    };
    let mut attributes = Attributes {
        group: group.to_owned(),
        version: version.to_owned(),
        ..Attributes::default()
    };
    // The old way to ask for a watch.
    let (rest, watched) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (rest, true),
        rest => (rest, false),
    };
    let rest = match rest {
        // These two belong to the namespace itself; anything else below it is a resource in it.
        ["namespaces", name, tail @ ..] => {
            attributes.namespace = Some((*name).to_owned());
            match tail {
                [] | ["status" | "finalize"] => rest,
                other => other,
            }
        }
        other => other,
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        // Whatever follows belongs to the other side.
        [resource, name, "proxy", ..] => (*resource, *name, "proxy"),
        [resource, name, subresource] => (*resource, *name, *subresource),
        _ => return None,
    };
    resource.clone_into(&mut attributes.resource);
    name.clone_into(&mut attributes.name);
    subresource.clone_into(&mut attributes.subresource);
    attributes.verb = verb(method, name, query).to_owned();
    if watched && matches!(attributes.verb.as_str(), "get" | "list") {
        "watch".clone_into(&mut attributes.verb);
    }
    Some(Route { attributes })
}

fn plain(method: &Method, path: &str) -> Route {
    let attributes = Attributes {
        verb: method.as_str().to_lowercase(),
        path: path.to_owned(),
        ..Attributes::default()
    };
    Route { attributes }
}

fn verb(method: &Method, name: &str, query: &Query) -> &'static str {
    match (method.as_str(), name.is_empty()) {
        ("GET", true) if query.is_true("watch") => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "",
    }
}
