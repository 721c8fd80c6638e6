//! Reviews: questions in the shape of objects that are answered and never stored.
//!
//! TokenReview (whose token is this?), the access reviews (may he?), and what one may oneself.

use http::StatusCode;
use serde_json::{Value, json};

use super::access::method_not_allowed;
use super::call::{Answer, Call};
use super::{respond, subresources};
use crate::auth::{AuthError, User};
use crate::error::StatusError;
use crate::rbac::{Attributes, Found, decide, together, visit_rules};
use crate::store::json::{child, list, text};
use crate::store::meta::stamp;
use crate::token::{ISSUER, TokenError};
use check::{About, check};

mod check;
pub(super) mod meta;

/// One kind of review, as discovery shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: Namespaced,
}

/// Whether the question is asked within a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaced {
    Yes,
    No,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

const fn review(group: &'static str, kind: &'static str, plural: &'static str) -> Review {
    Review {
        group,
        kind,
        plural,
        namespaced: Namespaced::No,
    }
}

/// Every kind of review.
pub(crate) const REVIEWS: [Review; 6] = [
    review(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews"),
    review(AUTHENTICATION, "TokenReview", "tokenreviews"),
    Review {
        namespaced: Namespaced::Yes,
        ..review(
            AUTHORIZATION,
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
        )
    },
    review(
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
    ),
    review(
        AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
    ),
    review(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews"),
];

/// Is this a question rather than an object?
pub(super) fn is_review(attributes: &Attributes) -> bool {
    find(attributes).is_some()
}

fn find(attributes: &Attributes) -> Option<&'static Review> {
    REVIEWS.iter().find(|review| {
        review.group == attributes.group
            && review.plural == attributes.resource
            && attributes.version == "v1"
    })
}

/// Answers a review.
pub(super) fn answer(call: &Call, bytes: &[u8]) -> Answer {
    let attributes = &call.route.attributes;
    let Some(review) = find(attributes) else {
        return Err(super::access::no_such_resource());
    };
    let within = attributes.namespace.is_some();
    if !attributes.name.is_empty() || within != (review.namespaced == Namespaced::Yes) {
        return Err(super::access::no_such_resource());
    }
    if attributes.verb != "create" {
        return Err(method_not_allowed());
    }
    call.dry_run()?;
    let mut value = subresources::typed(call, bytes, &format!("{}/v1", review.group), review.kind)?;
    place(call, review, &mut value)?;
    meta::own(call, &mut value, "")?;
    let spec = &value["spec"];
    let status = match review.kind {
        "SelfSubjectReview" => {
            value["metadata"] = json!({"creationTimestamp": stamp(call.time())});
            json!({"userInfo": call.user.to_value()})
        }
        "TokenReview" => token(call, spec)?,
        "SelfSubjectRulesReview" => {
            let status = rules(call, spec)?;
            value["spec"] = json!({});
            value["metadata"] = json!({});
            status
        }
        "SelfSubjectAccessReview" => {
            check(About::Oneself, &value)?;
            access(call, &call.user, spec)
        }
        "SubjectAccessReview" => {
            check(About::Anybody, &value)?;
            access(call, &subject(spec), spec)
        }
        _ => {
            check(About::Within, &value)?;
            access(call, &subject(spec), spec)
        }
    };
    value["status"] = status;
    Ok(respond::value(
        StatusCode::CREATED,
        &value,
        call.accept.syntax,
    ))
}

/// The namespace in the question is that of the path.
fn place(call: &Call, review: &Review, value: &mut Value) -> Result<(), StatusError> {
    let within = call.route.attributes.namespace.as_deref();
    let within = within.filter(|_| review.namespaced == Namespaced::Yes);
    let metadata = child(value, "metadata");
    let named = metadata.get("namespace").and_then(Value::as_str);
    let named = named.unwrap_or_default();
    let Some(within) = within else {
        metadata.remove("namespace");
        return Ok(());
    };
    if !named.is_empty() && named != within {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    metadata.insert("namespace".to_owned(), within.into());
    Ok(())
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn token(call: &Call, spec: &Value) -> Result<Value, StatusError> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(StatusError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked = texts(&spec["audiences"]);
    let wanted = if asked.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        asked
    };
    let authenticator = &call.server.authenticator;
    Ok(
        match authenticator.review(token, &wanted, call.server.now()) {
            Ok(reviewed) => json!({"authenticated": true, "user": reviewed.user.to_value(),
                "audiences": reviewed.audiences}),
            Err(AuthError::Token(TokenError::Malformed)) => {
                json!({"user": {}, "error": "invalid bearer token"})
            }
            Err(error) => json!({"user": {}, "error": format!("[invalid bearer token, {error}]")}),
        },
    )
}

/// Whom a SubjectAccessReview asks about.
fn subject(spec: &Value) -> User {
    let extra = spec["extra"].as_object();
    User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: texts(&spec["groups"]),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), texts(value)))
            .collect(),
    }
}

fn access(call: &Call, user: &User, spec: &Value) -> Value {
    let (resource, plain) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let field = |name: &str| text(resource, name).to_owned();
    let attributes = if resource.is_null() {
        Attributes {
            verb: text(plain, "verb").to_owned(),
            path: text(plain, "path").to_owned(),
            ..Attributes::default()
        }
    } else {
        Attributes {
            verb: field("verb"),
            group: field("group"),
            version: field("version"),
            resource: field("resource"),
            subresource: field("subresource"),
            namespace: Some(field("namespace")).filter(|namespace| !namespace.is_empty()),
            name: field("name"),
            path: String::new(),
        }
    };
    let decision = decide(call.server.roles(), user, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    status
}

fn rules(call: &Call, spec: &Value) -> Result<Value, StatusError> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(StatusError::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    visit_rules(
        call.server.roles(),
        &call.user,
        Some(namespace),
        &mut |found| match found {
            Found::Rule(rule, _) if !list(rule, "nonResourceURLs").is_empty() => {
                paths.push(rule.clone());
            }
            Found::Rule(rule, _) => resources.push(rule.clone()),
            Found::Lost(role) => lost.push(role),
        },
    );
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if let Some(lost) = together(lost) {
        status["evaluationError"] = lost.into();
    }
    Ok(status)
}
