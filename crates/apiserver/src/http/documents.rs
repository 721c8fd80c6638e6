//! Paths that name no resource: health, version, discovery, OpenAPI, and the token issuer's public keys.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::access::method_not_allowed;
use super::call::{Answer, Call};
use super::negotiate::Form;
use super::{Body, respond};
use crate::token::ISSUER;
use crate::{discovery, openapi};

/// The version of Kubernetes whose behaviour this server follows.
const MINOR: &str = "32";

/// Answers a request for a path.
pub(super) fn answer(call: &Call) -> Answer {
    let attributes = &call.route.attributes;
    if !matches!(attributes.verb.as_str(), "get" | "head") {
        return Err(method_not_allowed());
    }
    let path = attributes.path.trim_matches('/');
    let registry = call.server.db.registry();
    let parts: Vec<&str> = path.split('/').collect();
    let found = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => return Ok(respond::text(StatusCode::OK, "ok")),
        ["version"] => version(),
        ["api" | "apis"] => match call.accept.form {
            Form::Discovery(version) => {
                let scope = if path == "api" {
                    discovery::Part::Core
                } else {
                    discovery::Part::Groups
                };
                return aggregated(
                    call,
                    &discovery::aggregated(&registry, scope, version),
                    version,
                );
            }
            _ if path == "api" => discovery::versions(),
            _ => discovery::groups(&registry),
        },
        ["apis", group] => return found(call, discovery::group(&registry, group)),
        ["api", version] => return found(call, discovery::resources(&registry, "", version)),
        ["apis", group, version] => {
            return found(call, discovery::resources(&registry, group, version));
        }
        ["openapi", "v2"] => return openapi_v2(call),
        ["openapi", "v3"] => openapi::index(&registry),
        ["openapi", "v3", "api", version] => {
            return found(call, openapi::document(&registry, "", version));
        }
        ["openapi", "v3", "apis", group, version] => {
            return found(call, openapi::document(&registry, group, version));
        }
        [".well-known", "openid-configuration"] => issuer(),
        ["openid", "v1", "jwks"] => call.server.authenticator.key().jwks(),
        [""] => {
            json!({"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3",
            "/readyz", "/version"]})
        }
        _ => return Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
    };
    tagged(call, &found)
}

fn found(call: &Call, value: Option<Value>) -> Answer {
    match value {
        Some(value) => tagged(call, &value),
        None => Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

/// The document, or 304 if the client has it.
fn tagged(call: &Call, value: &Value) -> Answer {
    let bytes = Bytes::from(value.to_string());
    let tag = format!("\"{}\"", openapi::hash(&bytes));
    let known = call
        .parts
        .headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::bytes(StatusCode::OK, bytes, call.accept.syntax)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn aggregated(call: &Call, value: &Value, version: &str) -> Answer {
    let mut response = tagged(call, value)?;
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(media) = HeaderValue::from_str(&media) {
        response.headers_mut().insert(CONTENT_TYPE, media);
    }
    Ok(response)
}

/// kubectl asks for protobuf, and falls back to version 3 of OpenAPI when it does not get it.
fn openapi_v2(call: &Call) -> Answer {
    tagged(call, &openapi::v2(&call.server.db.registry()))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+tombolo"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn issuer() -> Value {
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}
