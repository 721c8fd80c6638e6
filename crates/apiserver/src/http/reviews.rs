//! Reviews: questions in the shape of objects that are answered and never stored.
//!
//! TokenReview (whose token is this?), the access reviews (may he?), and what one may oneself.

use http::StatusCode;
use serde_json::{Value, json};

use super::access::method_not_allowed;
use super::call::{Answer, Call};
use super::{respond, subresources};
use crate::auth::User;
use crate::error::StatusError;
use crate::rbac::{Attributes, allowed, visit_rules};
use crate::token::ISSUER;

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
    if attributes.verb != "create" || !attributes.name.is_empty() {
        return Err(method_not_allowed());
    }
    let mut value = subresources::typed(call, bytes, &format!("{}/v1", review.group), review.kind)?;
    let spec = &value["spec"];
    let status = match review.kind {
        "SelfSubjectReview" => json!({"userInfo": call.user.to_value()}),
        "TokenReview" => token(call, spec)?,
        "SelfSubjectRulesReview" => rules(call, spec),
        "SelfSubjectAccessReview" => access(call, &call.user, spec)?,
        _ => {
            let local = review.namespaced == Namespaced::Yes;
            if local
                && spec["resourceAttributes"]["namespace"].as_str()
                    != attributes.namespace.as_deref()
            {
                return Err(StatusError::bad_request(
                    "spec.resourceAttributes.namespace must match metadata.namespace",
                ));
            }
            access(call, &subject(spec)?, spec)?
        }
    };
    value["status"] = status;
    if value.get("metadata").is_none() {
        value["metadata"] = json!({});
    }
    Ok(respond::value(
        StatusCode::CREATED,
        &value,
        call.accept.syntax,
    ))
}

fn token(call: &Call, spec: &Value) -> Result<Value, StatusError> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(StatusError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked: Vec<String> = spec["audiences"]
        .as_array()
        .map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    let wanted = if asked.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        asked
    };
    Ok(
        match call
            .server
            .authenticator
            .review(token, &wanted, call.server.now())
        {
            Ok(reviewed) => json!({"authenticated": true, "user": reviewed.user.to_value(),
            "audiences": reviewed.audiences}),
            Err(error) => json!({"authenticated": false, "user": {},
            "error": format!("[invalid bearer token, {error}]")}),
        },
    )
}

/// Whom a SubjectAccessReview asks about.
fn subject(spec: &Value) -> Result<User, StatusError> {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let name = spec["user"].as_str().unwrap_or_default();
    let groups = texts(&spec["groups"]);
    if name.is_empty() && groups.is_empty() {
        return Err(StatusError::new(
            422,
            "Invalid",
            "SubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.user: Invalid value: \"\": at least \
             one of user or group must be specified]",
        ));
    }
    let mut user = User {
        groups,
        ..User::new(name, &[])
    };
    if let Some(extra) = spec["extra"].as_object() {
        user.extra = extra
            .iter()
            .map(|(key, value)| (key.clone(), texts(value)))
            .collect();
    }
    Ok(user)
}

fn access(call: &Call, user: &User, spec: &Value) -> Result<Value, StatusError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = &spec["resourceAttributes"];
    let plain = &spec["nonResourceAttributes"];
    let attributes = if resource.is_object() {
        let namespace = text(&resource["namespace"]);
        Attributes {
            verb: text(&resource["verb"]),
            group: text(&resource["group"]),
            version: text(&resource["version"]),
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            namespace: (!namespace.is_empty()).then_some(namespace),
            name: text(&resource["name"]),
            path: String::new(),
        }
    } else if plain.is_object() {
        Attributes {
            verb: text(&plain["verb"]),
            path: text(&plain["path"]),
            ..Attributes::default()
        }
    } else {
        return Err(StatusError::bad_request(
            "exactly one of spec.nonResourceAttributes or spec.resourceAttributes must be specified",
        ));
    };
    Ok(match allowed(call.server.roles(), user, &attributes) {
        Some(grant) if grant.because.is_empty() => json!({"allowed": true}),
        Some(grant) => json!({"allowed": true, "reason": grant.because}),
        None => json!({"allowed": false}),
    })
}

fn rules(call: &Call, spec: &Value) -> Value {
    let namespace = spec["namespace"]
        .as_str()
        .filter(|namespace| !namespace.is_empty());
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    if call.user.is_in(crate::auth::MASTERS) {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    visit_rules(
        call.server.roles(),
        &call.user,
        namespace,
        &mut |rule, _| {
            if rule.get("nonResourceURLs").is_some() {
                paths.push(rule.clone());
            } else {
                resources.push(rule.clone());
            }
        },
    );
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
