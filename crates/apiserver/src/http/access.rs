//! The gate of every request: who asks, as whom, for what, and may he. Reads no body and no object of the request.

use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;

use super::call::Call;
use super::negotiate::{Place, accept};
use super::query::Query;
use super::route::{Route, route};
use super::server::ApiServer;
use crate::auth::{Certificate, User, impersonate};
use crate::error::StatusError;
use crate::rbac::{Attributes, decide};

/// These answer anybody: whether the server lives is no secret.
const OPEN: [&str; 3] = ["healthz", "livez", "readyz"];

/// Lets a request in, or says why not.
pub(super) fn admit(
    server: Arc<ApiServer>,
    certificate: &Certificate,
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
    let user = user.unwrap_or_else(User::anonymous);
    let asked = named(attributes, &query);
    let user = become_another(&server, user, &parts, &asked)?;
    if attributes.verb.is_empty() {
        return Err(method_not_allowed());
    }
    let let_in = match is_open(attributes) {
        true => Ok(()),
        false => authorize(&server, &user, &asked),
    };
    server.counts.decided(let_in.is_ok());
    let_in?;
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
        ahead: None,
    })
}

/// What is asked for, with the name of the one object to which a field selector restricts a list or a watch.
fn named(attributes: &Attributes, query: &Query) -> Attributes {
    let mut asked = attributes.clone();
    if asked.name.is_empty() && matches!(asked.verb.as_str(), "list" | "watch") {
        let terms = query.text("fieldSelector").unwrap_or_default().split(',');
        let name = terms
            .filter_map(|term| term.split_once('='))
            .find(|(field, _)| *field == "metadata.name")
            .map(|(_, name)| name.strip_prefix('=').unwrap_or(name));
        let valid = |name: &&str| !name.contains(['/', '%', '\\']) && *name != "." && *name != "..";
        name.filter(valid)
            .unwrap_or_default()
            .clone_into(&mut asked.name);
    }
    asked
}

fn is_open(attributes: &Attributes) -> bool {
    let path = attributes.path.strip_prefix('/').unwrap_or_default();
    attributes.resource.is_empty() && OPEN.contains(&path)
}

pub(super) fn place(route: &Route) -> Place {
    let Attributes {
        path,
        verb,
        subresource,
        ..
    } = &route.attributes;
    match (path.as_str(), verb.as_str()) {
        ("/api" | "/apis" | "/api/" | "/apis/", _) => Place::Discovery,
        ("/openid/v1/jwks", _) => Place::Keys,
        ("/openapi/v2" | "/openapi/v2/", _) => Place::OpenApi,
        ("", _) if subresource == "log" => Place::Other,
        ("", "watch") => Place::Watch,
        ("", "list") => Place::List,
        ("", _) => Place::Object,
        _ => Place::Other,
    }
}

/// Refuses what no rule allows.
pub(super) fn authorize(
    server: &ApiServer,
    user: &User,
    attributes: &Attributes,
) -> Result<(), StatusError> {
    let decision = decide(server.roles(), user, attributes);
    if decision.allowed {
        return Ok(());
    }
    Err(refusal(attributes, user, &decision.reason))
}

fn refusal(attributes: &Attributes, user: &User, reason: &str) -> StatusError {
    let denial = attributes.denial(user);
    if reason.is_empty() {
        denied(attributes, &denial)
    } else {
        denied(attributes, &format!("{denial}: {reason}"))
    }
}

/// 403 in Kubernetes' words.
fn denied(attributes: &Attributes, why: &str) -> StatusError {
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

fn become_another(
    server: &ApiServer,
    user: User,
    parts: &Parts,
    attributes: &Attributes,
) -> Result<User, StatusError> {
    let wanted = impersonate::requested(&parts.headers).map_err(StatusError::bad_request)?;
    let Some(wanted) = wanted else {
        return Ok(user);
    };
    let become_him = server
        .ways
        .choose(server.roles(), &user, (&wanted, attributes));
    become_him.map_err(|refused| refusal(&refused.attributes, &user, &refused.reason))
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
