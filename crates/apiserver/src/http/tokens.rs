//! TokenRequest: a token for a service account, for an audience, for a time, perhaps bound to a Pod or a Secret.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::{respond, subresources};
use crate::db::DryRun;
use crate::error::StatusError;
use crate::object::Object;
use crate::token::{Bound, Claims, ISSUER, Named};

const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
const AUDIENCES_MAX: usize = 32;

/// Answers a TokenRequest for this account.
pub(super) fn request(call: &Call, account: &Object, bytes: &[u8]) -> Answer {
    let mut value = subresources::typed(call, bytes, "authentication.k8s.io/v1", "TokenRequest")?;
    let now = call.server.now();
    let spec = &value["spec"];
    let seconds = seconds(spec)?;
    let mut bound = Bound {
        namespace: account.namespace().to_owned(),
        serviceaccount: Named {
            name: account.name().to_owned(),
            uid: account.uid().to_owned(),
        },
        ..Bound::default()
    };
    bind(call, account, spec, &mut bound)?;
    let audiences = audiences(spec)?;
    let claims = Claims {
        audiences: audiences.clone(),
        expires: Some(now.saturating_add(seconds)),
        issued: now,
        issuer: ISSUER.to_owned(),
        id: format!("{:032x}", rand::random::<u128>()),
        bound,
        not_before: now,
        subject: format!(
            "system:serviceaccount:{}:{}",
            account.namespace(),
            account.name()
        ),
    };
    let end = Timestamp::from_second(now.saturating_add(seconds)).map_err(StatusError::internal)?;
    value["spec"]["audiences"] = audiences.into();
    value["spec"]["expirationSeconds"] = seconds.into();
    let token = match call.dry_run()? {
        DryRun::All => String::new(),
        DryRun::No => call
            .server
            .authenticator
            .key()
            .sign(&claims)
            .map_err(StatusError::internal)?,
    };
    value["status"] = json!({"token": token, "expirationTimestamp": end.to_string()});
    if value["metadata"].get("name").is_none() {
        value["metadata"] = json!({"name": account.name(), "namespace": account.namespace()});
    }
    Ok(respond::value(
        StatusCode::CREATED,
        &value,
        call.accept.syntax,
    ))
}

fn seconds(spec: &Value) -> Result<i64, StatusError> {
    let seconds = match &spec["expirationSeconds"] {
        Value::Null => SECONDS_DEFAULT,
        other => other
            .as_i64()
            .ok_or_else(|| invalid("expirationSeconds", other, "must be a number"))?,
    };
    if seconds < SECONDS_MIN {
        let why = "may not specify a duration less than 10 minutes";
        return Err(invalid(
            "expirationSeconds",
            &spec["expirationSeconds"],
            why,
        ));
    }
    if seconds > SECONDS_MAX {
        let why = "may not specify a duration larger than 2^32 seconds";
        return Err(invalid(
            "expirationSeconds",
            &spec["expirationSeconds"],
            why,
        ));
    }
    Ok(seconds)
}

fn audiences(spec: &Value) -> Result<Vec<String>, StatusError> {
    let list = match &spec["audiences"] {
        Value::Null => Vec::new(),
        Value::Array(list) if list.len() <= AUDIENCES_MAX => list.clone(),
        other => {
            return Err(invalid(
                "audiences",
                other,
                "must be a list of at most 32 names",
            ));
        }
    };
    let mut audiences = Vec::new();
    for audience in &list {
        match audience.as_str() {
            Some(text) if !text.is_empty() => audiences.push(text.to_owned()),
            _ => return Err(invalid("audiences", audience, "must be a name")),
        }
    }
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    Ok(audiences)
}

/// The object whose end shall be the token's end must live, and must be the account's.
fn bind(call: &Call, account: &Object, spec: &Value, bound: &mut Bound) -> Result<(), StatusError> {
    let reference = &spec["boundObjectRef"];
    if reference.is_null() {
        return Ok(());
    }
    let kind = reference["kind"].as_str().unwrap_or_default();
    let plural = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        _ => {
            return Err(invalid(
                "boundObjectRef.kind",
                &reference["kind"],
                "must be Pod or Secret",
            ));
        }
    };
    let registry = call.server.db.registry();
    let res = registry
        .find("", "v1", plural)
        .ok_or_else(super::access::no_such_resource)?;
    let name = reference["name"].as_str().unwrap_or_default();
    let object = call.server.db.get(&res, Some(account.namespace()), name)?;
    let uid = reference["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object \
             might have been deleted and then recreated"
        );
        return Err(StatusError::conflict(&res, name, &why));
    }
    let named = Named {
        name: name.to_owned(),
        uid: object.uid().to_owned(),
    };
    if kind == "Secret" {
        bound.secret = Some(named);
        return Ok(());
    }
    let value = object.value();
    let owner = value["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or("default");
    if owner != account.name() {
        let why = format!(
            "cannot bind token for serviceaccount {:?} to pod {name:?} running with different serviceaccount name.",
            account.name()
        );
        return Err(StatusError::forbidden(&res, name, &why));
    }
    bound.pod = Some(named);
    if let Some(node) = value["spec"]["nodeName"]
        .as_str()
        .filter(|node| !node.is_empty())
    {
        bound.node = Some(Named {
            name: node.to_owned(),
            uid: String::new(),
        });
    }
    Ok(())
}

fn invalid(field: &str, value: &Value, why: &str) -> StatusError {
    let message = format!(
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.{field}: Invalid value: {value}: {why}"
    );
    let mut error = StatusError::new(422, "Invalid", message);
    error.details = Some(
        json!({"group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [
        {"reason": "FieldValueInvalid", "message": format!("Invalid value: {value}: {why}"),
            "field": format!("spec.{field}")}]}),
    );
    error
}
