//! TokenRequest: a token for a service account, for an audience, for a time, perhaps bound to a Pod, a Secret or a Node.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::reviews::meta;
use super::{respond, subresources};
use crate::error::{Cause, StatusError};
use crate::object::Object;
use crate::store::json::{child, default, text};
use crate::store::meta::{new_uid, stamp};
use crate::token::{Bound, Claims, ISSUER, Named};

const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
const AUDIENCES_MAX: usize = 32;
/// Clients that ask for this much read their token again in time only since lately: theirs lasts longer and warns.
const SECONDS_WARNED: i64 = 3607;
const SECONDS_EXTENDED: i64 = 365 * 24 * 3600;

/// Answers a TokenRequest for this account.
pub(super) fn request(call: &Call, account: &Object, bytes: &[u8]) -> Answer {
    let mut value = subresources::typed(call, bytes, "authentication.k8s.io/v1", "TokenRequest")?;
    call.dry_run()?;
    default(
        child(&mut value, "spec"),
        "expirationSeconds",
        SECONDS_DEFAULT,
    );
    meta::own(call, &mut value, "token")?;
    place(account, &mut value, call.time())?;
    let spec = child(&mut value, "spec");
    if spec
        .get("audiences")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert("audiences".to_owned(), json!([ISSUER]));
    }
    spec.entry("boundObjectRef").or_insert(Value::Null);
    let spec = &value["spec"];
    let seconds = seconds(spec)?;
    let audiences = audiences(spec)?;
    let mut bound = Bound {
        namespace: account.namespace().to_owned(),
        serviceaccount: named(account),
        ..Bound::default()
    };
    bind(call, account, spec, &mut bound)?;
    let now = call.server.now();
    let mut lasts = seconds;
    if bound.pod.is_some() && seconds == SECONDS_WARNED && audiences == [ISSUER] {
        bound.warn_after = Some(now.saturating_add(seconds));
        lasts = SECONDS_EXTENDED;
    }
    let claims = Claims {
        audiences,
        expires: now.saturating_add(lasts),
        issued: now,
        issuer: ISSUER.to_owned(),
        id: new_uid(&mut StdRng::from_rng(&mut rand::rng())),
        bound,
        not_before: now,
        subject: format!(
            "system:serviceaccount:{}:{}",
            account.namespace(),
            account.name()
        ),
    };
    let end = Timestamp::from_second(now.saturating_add(seconds)).map_err(StatusError::internal)?;
    let key = call.server.authenticator.key();
    let token = key.sign(&claims).map_err(StatusError::internal)?;
    value["status"] = json!({"token": token, "expirationTimestamp": stamp(end)});
    Ok(respond::value(
        StatusCode::CREATED,
        &value,
        call.accept.syntax,
    ))
}

/// The request's metadata become those of the account, and must not say anything else.
fn place(account: &Object, value: &mut Value, now: Timestamp) -> Result<(), StatusError> {
    let metadata = child(value, "metadata");
    let said = |name: &str| {
        let said = metadata.get(name).and_then(Value::as_str);
        said.unwrap_or_default().to_owned()
    };
    let (name, namespace, uid) = (said("name"), said("namespace"), said("uid"));
    if !namespace.is_empty() && namespace != account.namespace() {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !name.is_empty() && name != account.name() {
        let why = "must match the service account name if specified";
        let cause = Cause::invalid("metadata.name", &json!(name), why);
        return Err(invalid(account.name(), &cause));
    }
    if !uid.is_empty() && uid != account.uid() {
        let why = format!(
            "the UID in the token request ({uid}) does not match the UID of the service account ({})",
            account.uid()
        );
        return Err(conflict(
            "TokenRequest.authentication.k8s.io",
            account.name(),
            &why,
        ));
    }
    for (field, own) in [
        ("name", account.name()),
        ("namespace", account.namespace()),
        ("uid", account.uid()),
    ] {
        metadata.insert(field.to_owned(), own.into());
    }
    metadata.insert("creationTimestamp".to_owned(), stamp(now).into());
    Ok(())
}

fn named(object: &Object) -> Named {
    Named {
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
    }
}

fn seconds(spec: &Value) -> Result<i64, StatusError> {
    let asked = &spec["expirationSeconds"];
    let refused = |why| {
        let cause = Cause::invalid("spec.expirationSeconds", asked, why);
        Err(invalid("", &cause))
    };
    match asked.as_i64() {
        None => refused("must be a number"),
        Some(seconds) if seconds < SECONDS_MIN => {
            refused("may not specify a duration less than 10 minutes")
        }
        Some(seconds) if seconds > SECONDS_MAX => {
            refused("may not specify a duration larger than 2^32 seconds")
        }
        Some(seconds) => Ok(seconds),
    }
}

fn audiences(spec: &Value) -> Result<Vec<String>, StatusError> {
    let list = spec["audiences"].as_array();
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<String> = list
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if texts.len() < list.len() || texts.len() > AUDIENCES_MAX {
        let why = "must be a list of at most 32 names";
        let cause = Cause::invalid("spec.audiences", &spec["audiences"], why);
        return Err(invalid("", &cause));
    }
    Ok(texts)
}

/// The object whose end shall be the token's end must live, and must be the account's.
fn bind(call: &Call, account: &Object, spec: &Value, bound: &mut Bound) -> Result<(), StatusError> {
    let reference = &spec["boundObjectRef"];
    if reference.is_null() {
        return Ok(());
    }
    let (kind, version) = (text(reference, "kind"), text(reference, "apiVersion"));
    let find = |plural: &str, namespace, name: &str| -> Result<Arc<Object>, StatusError> {
        if name.is_empty() {
            return Err(StatusError::bad_request("Name parameter required."));
        }
        let res = call.server.db.registry().find("", "v1", plural);
        let res = res.ok_or_else(super::access::no_such_resource)?;
        call.server.db.get(&res, namespace, name)
    };
    let name = text(reference, "name");
    let within = Some(account.namespace());
    let object = match kind {
        // A version alone names the core group.
        _ if version.contains('/') => Err(unbindable(version, kind)),
        "Pod" => find("pods", within, name),
        "Secret" => find("secrets", within, name),
        "Node" => find("nodes", None, name),
        _ => Err(unbindable(version, kind)),
    }?;
    if kind == "Pod" {
        let value = object.value();
        if value["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default")
            != account.name()
        {
            return Err(StatusError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                account.name()
            )));
        }
        let node = text(&value["spec"], "nodeName");
        bound.node = (!node.is_empty()).then(|| Named {
            name: node.to_owned(),
            uid: find("nodes", None, node)
                .map_or_else(|_none| String::new(), |node| node.uid().to_owned()),
        });
    }
    let uid = text(reference, "uid");
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object \
             might have been deleted and then recreated"
        );
        return Err(conflict(kind, name, &why));
    }
    let place = match kind {
        "Pod" => &mut bound.pod,
        "Secret" => &mut bound.secret,
        _ => &mut bound.node,
    };
    *place = Some(named(&object));
    Ok(())
}

fn unbindable(version: &str, kind: &str) -> StatusError {
    // As Kubernetes prints a group, a version and a kind.
    let version = match version {
        "" => "/".to_owned(),
        version if version.contains('/') => version.to_owned(),
        version => format!("/{version}"),
    };
    StatusError::bad_request(format!(
        "cannot bind token to object of type {version}, Kind={kind}"
    ))
}

/// 409 of a kind that is named as if it were a resource.
fn conflict(kind: &str, name: &str, why: &str) -> StatusError {
    let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
    let mut error = StatusError::new(409, "Conflict", message);
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let mut details = json!({"name": name, "kind": kind});
    if !group.is_empty() {
        details["group"] = group.into();
    }
    error.details = Some(details);
    error
}

fn invalid(name: &str, cause: &Cause) -> StatusError {
    let Cause {
        reason,
        message,
        field,
    } = cause;
    let text =
        format!("TokenRequest.authentication.k8s.io {name:?} is invalid: {field}: {message}");
    let mut error = StatusError::new(422, "Invalid", text);
    let mut details = json!({"group": "authentication.k8s.io", "kind": "TokenRequest",
        "causes": [{"reason": reason, "message": message, "field": field}]});
    if !name.is_empty() {
        details["name"] = name.into();
    }
    error.details = Some(details);
    error
}
