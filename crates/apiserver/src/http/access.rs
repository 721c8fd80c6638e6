//! The gate of every request: who asks, as whom, for what, and may he. Reads no body and no object of the request.

use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;

use super::call::Call;
use super::negotiate::{Place, accept};
use super::query::Query;
use super::route::{Route, route};
use super::server::ApiServer;
use crate::auth::{User, impersonate};
use crate::error::StatusError;
use crate::rbac::{Attributes, allowed};

/// These answer anybody: whether the server lives is no secret.
const OPEN: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Lets a request in, or says why not.
pub(super) fn admit(
    server: Arc<ApiServer>,
    certificate: Option<&User>,
    parts: Parts,
) -> Result<Call, StatusError> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let user = server
        .authenticator
        .authenticate(certificate, &parts.headers, server.now())
        .map_err(|error| {
            tracing::debug!(%error, "credentials refused");
            unauthorized()
        })?;
    let route = route(&parts.method, parts.uri.path(), &query).ok_or_else(no_such_resource)?;
    let attributes = &route.attributes;
    let open = attributes.verb == "get" && is_open(&attributes.path);
    let user = match user {
        Some(user) => user,
        None if open => User::anonymous(),
        None => return Err(unauthorized()),
    };
    let user = become_another(&server, user, &parts)?;
    if attributes.verb.is_empty() {
        return Err(method_not_allowed());
    }
    if !open {
        authorize(&server, &user, attributes)?;
    }
    let accept = accept(
        parts
            .headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok()),
        place(&route),
    )?;
    Ok(Call {
        server,
        user,
        route,
        query,
        accept,
        parts,
        warnings: Default::default(),
    })
}

fn is_open(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    OPEN.iter().any(|open| {
        path == *open
            || (path
                .strip_prefix(open)
                .is_some_and(|rest| rest.starts_with('/'))
                && *open != "/version")
    })
}

fn place(route: &Route) -> Place {
    let Attributes {
        path,
        verb,
        subresource,
        ..
    } = &route.attributes;
    match (path.as_str(), verb.as_str()) {
        ("/api" | "/apis" | "/api/" | "/apis/", _) => Place::Discovery,
        ("", "get" | "list" | "watch") if subresource != "log" => Place::Read,
        _ => Place::Other,
    }
}

/// Refuses what no rule allows.
pub(super) fn authorize(
    server: &ApiServer,
    user: &User,
    attributes: &Attributes,
) -> Result<(), StatusError> {
    match allowed(server.roles(), user, attributes) {
        Some(_) => Ok(()),
        None => Err(denied(attributes, &attributes.denial(user))),
    }
}

/// 403 in Kubernetes' words.
pub(super) fn denied(attributes: &Attributes, why: &str) -> StatusError {
    let Attributes {
        group,
        resource,
        name,
        ..
    } = attributes;
    let dot = if group.is_empty() { "" } else { "." };
    let what = match (resource.is_empty(), name.is_empty()) {
        (true, _) => "forbidden".to_owned(),
        (false, true) => format!("{resource}{dot}{group} is forbidden"),
        (false, false) => format!("{resource}{dot}{group} {name:?} is forbidden"),
    };
    let mut error = StatusError::new(403, "Forbidden", format!("{what}: {why}"));
    let mut details = serde_json::json!({});
    for (key, value) in [("name", name), ("group", group), ("kind", resource)] {
        if !value.is_empty() {
            details[key] = value.clone().into();
        }
    }
    error.details = Some(details);
    error
}

fn become_another(server: &ApiServer, user: User, parts: &Parts) -> Result<User, StatusError> {
    let asked = impersonate::requested(&parts.headers)
        .map_err(|why| StatusError::new(400, "BadRequest", why))?;
    let Some(asked) = asked else { return Ok(user) };
    for need in &asked.needs {
        authorize(server, &user, need)?;
    }
    Ok(asked.user)
}

fn unauthorized() -> StatusError {
    StatusError::new(401, "Unauthorized", "Unauthorized")
}

/// 404 of a path that names no resource that is served.
pub(super) fn no_such_resource() -> StatusError {
    let mut error = StatusError::new(
        404,
        "NotFound",
        "the server could not find the requested resource",
    );
    error.details = Some(serde_json::json!({}));
    error
}

/// 405.
pub(super) fn method_not_allowed() -> StatusError {
    let mut error = StatusError::new(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    );
    error.details = Some(serde_json::json!({}));
    error
}
