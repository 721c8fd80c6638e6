//! Paths that name no resource: health, version, discovery, OpenAPI, and the token issuer's public keys.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HOST, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::access::{method_not_allowed, no_such_resource};
use super::body::Syntax;
use super::call::{Answer, Call, is_built_in};
use super::negotiate::Form;
use super::{Body, compress, health, metrics, packed, respond};
use crate::error::StatusError;
use crate::token::ISSUER;
use crate::{discovery, openapi};

/// The version of Kubernetes whose behaviour this server follows.
const VERSION: &str = r#"{
  "major": "1",
  "minor": "37",
  "emulationMajor": "1",
  "emulationMinor": "37",
  "minCompatibilityMajor": "1",
  "minCompatibilityMinor": "36",
  "gitVersion": "v1.37.2",
  "gitCommit": "$Format:%H$",
  "gitTreeState": "",
  "buildDate": "1970-01-01T00:00:00Z",
  "goVersion": "go1.26.8",
  "compiler": "gc",
  "platform": "linux/amd64"
}"#;

/// Paths besides those of discovery and health.
const PATHS: &[&str] = &[
    "/.well-known/openid-configuration",
    "/flagz",
    "/metrics",
    "/metrics/slis",
    "/statusz",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/version",
];

/// Answers a request for a path.
pub(super) fn answer(call: &Call) -> Answer {
    let attributes = &call.route.attributes;
    let health = ["/healthz", "/livez", "/readyz"];
    let asks_health = health.iter().any(|one| attributes.path.starts_with(one));
    // Whoever asks for health is told it, whatever his method is.
    if !asks_health && !matches!(attributes.verb.as_str(), "get" | "head") {
        return Err(method_not_allowed());
    }
    let path = attributes.path.trim_matches('/');
    let registry = call.server.db.registry();
    let parts: Vec<&str> = path.split('/').collect();
    if let (["readyz"], Some(why)) = (parts.as_slice(), call.server.db.trouble()) {
        return Ok(health::failed(&why));
    }
    match parts.as_slice() {
        [kind @ ("healthz" | "livez" | "readyz"), check @ ..] => {
            Ok(health::answer(&call.query, kind, &check.join("/")))
        }
        ["version"] => plain_json(call, VERSION.to_owned()),
        ["api" | "apis"] if matches!(call.accept.form, Form::Discovery) => {
            let part = if path == "api" {
                discovery::Part::Core
            } else {
                discovery::Part::Groups
            };
            aggregated(call, discovery::aggregated(&registry, part))
        }
        ["api"] => json_text(call, discovery::versions(host(call))),
        ["apis"] => json_text(call, discovery::groups(&registry)),
        ["apis", group] => match discovery::group(&registry, group) {
            Some(text) => json_text(call, text),
            None => Ok(not_found()),
        },
        ["api", version] => versioned(call, "", version),
        ["apis", group, version] => versioned(call, group, version),
        ["openapi", "v2"] => openapi_v2(call),
        // Without a type of its own: Go looks at its beginning.
        ["openapi", "v3"] => Ok(respond::text(
            StatusCode::OK,
            openapi::index(&registry).to_string(),
        )),
        ["openapi", "v3", rest @ ..] => openapi_v3(call, &rest.join("/")),
        [".well-known", "openid-configuration"] => plain_json(call, issuer(host(call))),
        ["openid", "v1", "jwks"] => {
            plain_json(call, call.server.authenticator.key().jwks().to_string())
        }
        ["metrics"] => Ok(metrics::answer(&call.server)),
        [""] => plain_json(call, root(call)),
        _ => Ok(not_found()),
    }
}

fn not_found() -> Response<Body> {
    respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A group that is known says in JSON that it has no such version.
fn versioned(call: &Call, group: &str, version: &str) -> Answer {
    let registry = call.server.db.registry();
    match discovery::resources(&registry, group, version) {
        Some(text) => json_text(call, text),
        None if !is_built_in(group) => Ok(not_found()),
        None => Err(no_such_resource()),
    }
}

/// An answer of the kind that has a type: it ends with a line end.
fn json_text(call: &Call, text: String) -> Answer {
    let text = Bytes::from(text);
    Ok(respond::bytes(StatusCode::OK, text, call.accept.syntax))
}

fn plain_json(call: &Call, text: String) -> Answer {
    Ok(respond::document(
        StatusCode::OK,
        Bytes::from(text),
        call.accept.syntax,
    ))
}

/// The address by which the client knows this server.
fn host(call: &Call) -> &str {
    let header = call.parts.headers.get(HOST);
    let header = header.and_then(|value| value.to_str().ok());
    let authority = call.parts.uri.authority().map(http::uri::Authority::as_str);
    authority.or(header).unwrap_or_default()
}

/// The document, or 304 if the client has it.
fn tagged(call: &Call, document: Vec<u8>, tag: Option<String>) -> Answer {
    let tag = format!("\"{}\"", tag.unwrap_or_else(|| openapi::hash(&document)));
    let known = call.parts.headers.get(IF_NONE_MATCH);
    let known = known.and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::document(StatusCode::OK, Bytes::from(document), call.accept.syntax)
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn aggregated(call: &Call, document: String) -> Answer {
    let mut response = tagged(call, document.into_bytes(), None)?;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        ),
    );
    let public = HeaderValue::from_static("public");
    response.headers_mut().insert(CACHE_CONTROL, public);
    Ok(response)
}

fn openapi_v2(call: &Call) -> Answer {
    match call.accept.form {
        Form::OpenApi(Some(kind)) => {
            let mut response = tagged(call, openapi::v2_protobuf(), None)?;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            Ok(response)
        }
        Form::OpenApi(None) => {
            let mut response = Response::new(Body::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
            Ok(response)
        }
        _ => whole_v2(call),
    }
}

/// Compressed, as it is kept, if the client takes it so.
fn whole_v2(call: &Call) -> Answer {
    let packed = packed::document(call.server.db.registry())?;
    let plain = call.accept.syntax == Syntax::Json;
    if plain && compress::is_accepted(&call.parts.headers) {
        let mut response = tagged(call, packed.bytes.to_vec(), Some(packed.tag))?;
        if response.status() == StatusCode::OK {
            compress::mark(&mut response);
        }
        return Ok(response);
    }
    let whole = compress::unpack(&packed.bytes).map_err(StatusError::internal)?;
    tagged(call, whole, Some(packed.tag))
}

/// A client that asks by the right hash may keep the answer; one with an old hash is sent to the new one.
fn openapi_v3(call: &Call, path: &str) -> Answer {
    let registry = call.server.db.registry();
    let Some(document) = openapi::document(&registry, path) else {
        // Refused without words.
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let asked = call.query.text("hash").map(str::to_owned);
    match asked {
        Some(hash) if hash != document.hash => {
            let mut response = Response::new(Body::whole(Bytes::new()));
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let place = format!("/openapi/v3/{path}?hash={}", document.hash);
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(LOCATION, place);
            }
            Ok(response)
        }
        asked => {
            let mut response = tagged(call, document.bytes, Some(document.hash))?;
            if asked.is_some() {
                let headers = response.headers_mut();
                let public = HeaderValue::from_static("public, immutable");
                headers.insert(CACHE_CONTROL, public);
                let expires = jiff::Timestamp::from_second(call.server.now() + 365 * 86_400);
                let expires =
                    expires.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
                if let Some(expires) = expires
                    .ok()
                    .and_then(|text| HeaderValue::from_str(&text).ok())
                {
                    headers.insert(EXPIRES, expires);
                }
            }
            Ok(response)
        }
    }
}

fn issuer(host: &str) -> String {
    let [issuer, keys] =
        [ISSUER.to_owned(), format!("https://{host}/openid/v1/jwks")].map(|text| json!(text));
    format!(
        "{{\"issuer\":{issuer},\"jwks_uri\":{keys},\"response_types_supported\":[\"id_token\"],\
         \"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\"]}}"
    )
}

/// `/`: every path that answers.
fn root(call: &Call) -> String {
    let registry = call.server.db.registry();
    let mut paths: Vec<String> = PATHS.iter().map(|&path| path.to_owned()).collect();
    paths.extend(["/api", "/apis", "/apis/"].map(str::to_owned));
    for (group, version) in discovery::group_versions(&registry) {
        if group.is_empty() {
            paths.push(format!("/api/{version}"));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    paths.extend(health::paths());
    paths.sort();
    paths.dedup();
    let paths: Value = paths.into();
    serde_json::to_string_pretty(&json!({"paths": paths})).unwrap_or_default()
}
