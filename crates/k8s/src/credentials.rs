//! A Link's credentials: a Secret with a kubeconfig, read so strictly that what comes out can be used
//! as it is. Only what is inline is taken: no program is run and no file read on another's word.
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tombolo_core::link::Fault;

use crate::json::Reader;
use crate::names::{CREDENTIALS_KEY, CREDENTIALS_TYPE};

mod validity;

/// Credentials that were accepted.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// One cluster, one user, one context, everything inline.
    pub kubeconfig: Kubeconfig,
    /// When they end by themselves, if they do.
    pub expires: Option<Timestamp>,
}

/// Reads the credentials in a Secret.
///
/// # Errors
/// Names the object and the fields, all that can be found wrong at once.
pub fn read(secret: &Secret, now: Timestamp) -> Result<Credentials, Vec<Fault>> {
    let metadata = &secret.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut reader = Reader::new(format!("Secret {namespace}/{name}"));
    let kind = secret.type_.as_deref().unwrap_or_default();
    if kind != CREDENTIALS_TYPE {
        reader.fault("type", format!("{kind:?} is not {CREDENTIALS_TYPE:?}"));
    }
    let data = secret
        .data
        .as_ref()
        .and_then(|data| data.get(CREDENTIALS_KEY));
    let text = match data.map(|bytes| std::str::from_utf8(&bytes.0)) {
        Some(Ok(text)) if !text.trim().is_empty() => text,
        Some(Ok(_)) | None => {
            reader.fault("data.kubeconfig", "is missing or empty");
            return Err(reader.faults);
        }
        Some(Err(_)) => {
            reader.fault("data.kubeconfig", "is no text");
            return Err(reader.faults);
        }
    };
    let parsed = kubeconfig(&mut reader, text, now);
    match parsed {
        Some(credentials) if reader.faults.is_empty() => Ok(credentials),
        Some(_) | None => Err(reader.faults),
    }
}

/// Reads a Secret that may be malformed beyond what a typed client accepts.
///
/// # Errors
/// As [`read`].
pub fn read_value(secret: &Value, now: Timestamp) -> Result<Credentials, Vec<Fault>> {
    match serde_json::from_value::<Secret>(secret.clone()) {
        Ok(secret) => read(&secret, now),
        Err(error) => {
            let name = |field: &str| secret["metadata"][field].as_str().unwrap_or_default();
            let object = format!("Secret {}/{}", name("namespace"), name("name"));
            Err(vec![Fault {
                object,
                field: String::new(),
                why: error.to_string(),
            }])
        }
    }
}

/// What of a kubeconfig is taken.
struct Parts<'v> {
    context: &'v str,
    cluster: &'v Value,
    user: &'v Value,
}

fn kubeconfig(reader: &mut Reader, text: &str, now: Timestamp) -> Option<Credentials> {
    let config: Value = match serde_saphyr::from_str(text) {
        Ok(config @ Value::Object(_)) => config,
        Ok(_) => {
            reader.fault("data.kubeconfig", "is no kubeconfig: not an object");
            return None;
        }
        Err(error) => {
            // The cause may quote the text, which holds a token.
            let place = error.location().map(|at| format!(", line {}", at.line()));
            let place = place.unwrap_or_default();
            reader.fault(
                "data.kubeconfig",
                format!("is no kubeconfig: malformed YAML{place}"),
            );
            return None;
        }
    };
    let mut inner = Reader::new(String::new());
    let result = parts(&mut inner, &config).and_then(|parts| reduce(&mut inner, &parts, now));
    for fault in inner.faults {
        reader.fault(&format!("data.kubeconfig: {}", fault.field), fault.why);
    }
    let (reduced, expires) = result?;
    match serde_json::from_value(reduced) {
        Ok(kubeconfig) => Some(Credentials {
            kubeconfig,
            expires,
        }),
        Err(_) => {
            reader.fault("data.kubeconfig", "is no kubeconfig");
            None
        }
    }
}

fn parts<'v>(reader: &mut Reader, config: &'v Value) -> Option<Parts<'v>> {
    let Some(context) = reader.text(config, "current-context") else {
        reader.fault("current-context", "is empty");
        return None;
    };
    let chosen = named(
        reader,
        config,
        "contexts",
        "context",
        ("current-context", context),
    )?;
    let Some(cluster) = reader.text(chosen, "cluster") else {
        reader.fault(&format!("contexts: {context:?}: cluster"), "is empty");
        return None;
    };
    let Some(user) = reader.text(chosen, "user") else {
        reader.fault(&format!("contexts: {context:?}: user"), "is empty");
        return None;
    };
    let by = format!("contexts: {context:?}");
    let cluster = named(reader, config, "clusters", "cluster", (&by, cluster));
    let user = named(reader, config, "users", "user", (&by, user));
    Some(Parts {
        context,
        cluster: cluster?,
        user: user?,
    })
}

/// The entry of `list` that `by.0` calls `by.1`.
fn named<'v>(
    reader: &mut Reader,
    config: &'v Value,
    list: &str,
    kind: &str,
    by: (&str, &str),
) -> Option<&'v Value> {
    let entries = reader.list(config, list);
    let entry = entries
        .iter()
        .find(|entry| entry["name"] == by.1)
        .map(|entry| &entry[kind]);
    if entry.is_none_or(|entry| !entry.is_object()) {
        reader.fault(
            by.0,
            format!("names the {kind} {:?}, which {list} does not have", by.1),
        );
        return None;
    }
    entry
}

/// A kubeconfig of nothing but what was understood.
fn reduce(
    reader: &mut Reader,
    parts: &Parts<'_>,
    now: Timestamp,
) -> Option<(Value, Option<Timestamp>)> {
    let mut cluster = json!({});
    match reader.text(parts.cluster, "server") {
        Some(server) if is_https(server) => cluster["server"] = json!(server),
        Some(server) => reader.fault("clusters.server", format!("{server:?} is no https URL")),
        None => reader.fault("clusters.server", "is empty"),
    }
    const AUTHORITY: &str = "clusters.certificate-authority-data";
    let unverified = parts.cluster["insecure-skip-tls-verify"] == true;
    match (
        reader.text(parts.cluster, "certificate-authority-data"),
        unverified,
    ) {
        (Some(data), false) => {
            validity::authorities(reader, AUTHORITY, data, now);
            cluster["certificate-authority-data"] = json!(data);
        }
        (Some(_), true) => {
            let why = "contradicts the authority that is given";
            reader.fault("clusters.insecure-skip-tls-verify", why);
        }
        (None, false) => reader.fault(AUTHORITY, "is empty: the authority must be inline"),
        // Whoever wrote the Secret said so; whoever listens says so again.
        (None, true) => cluster["insecure-skip-tls-verify"] = json!(true),
    }
    if let Some(name) = reader.text(parts.cluster, "tls-server-name") {
        cluster["tls-server-name"] = json!(name);
    }
    let (user, expires) = user(reader, parts.user, now);
    let context = json!({ "cluster": "cluster", "user": "user" });
    let reduced = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": parts.context,
        "contexts": [{ "name": parts.context, "context": context }],
        "clusters": [{ "name": "cluster", "cluster": cluster }],
        "users": [{ "name": "user", "user": user }],
    });
    Some((reduced, expires))
}

fn user(reader: &mut Reader, user: &Value, now: Timestamp) -> (Value, Option<Timestamp>) {
    const NOT_INLINE: [&str; 8] = [
        "tokenFile",
        "client-certificate",
        "client-key",
        "exec",
        "auth-provider",
        "username",
        "password",
        "as",
    ];
    for field in NOT_INLINE
        .iter()
        .filter(|field| user.get(*field).is_some_and(|v| !v.is_null()))
    {
        let why = "is not allowed: only an inline token or client certificate is";
        reader.fault(&format!("users.{field}"), why);
    }
    let mut reduced = json!({});
    let mut expires = None;
    let token = reader.text(user, "token");
    if let Some(token) = token {
        expires = validity::token(reader, "users.token", token, now);
        reduced["token"] = json!(token);
    }
    let certificate = reader.text(user, "client-certificate-data");
    let key = reader.text(user, "client-key-data");
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let until =
                validity::certificate(reader, "users.client-certificate-data", certificate, now);
            expires = expires.into_iter().chain(until).min();
            reduced["client-certificate-data"] = json!(certificate);
            reduced["client-key-data"] = json!(key);
        }
        (Some(_), None) => reader.fault("users.client-key-data", "is empty"),
        (None, Some(_)) => reader.fault("users.client-certificate-data", "is empty"),
        (None, None) if token.is_none() => {
            reader.fault(
                "users.token",
                "is empty, and there is no client certificate either",
            );
        }
        (None, None) => {}
    }
    (reduced, expires)
}

fn is_https(server: &str) -> bool {
    let rest = server.strip_prefix("https://");
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        && server
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.authority().is_some())
}

#[cfg(test)]
mod tests;
