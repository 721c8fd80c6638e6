//! How versions are converted. Webhooks are checked, and never called.
use serde_json::{Value, json};

use super::names::{dns1035, dns1123};
use super::{forbidden, invalid, required};
use crate::crd::path::Path;
use crate::error::Cause;
use crate::store::json::{list, text};

/// Checks a conversion.
pub(super) fn check(conversion: &Value, causes: &mut Vec<Cause>) {
    if !conversion.is_object() {
        return;
    }
    let path = Path::new("spec.conversion");
    let strategies = ["None", "Webhook"];
    match text(conversion, "strategy") {
        "" => causes.push(required(&path.child("strategy"), "")),
        strategy if strategies.contains(&strategy) => {}
        strategy => causes.push(Cause::unsupported(
            path.child("strategy").to_string(),
            &json!(strategy),
            &strategies,
        )),
    }
    let webhook = &conversion["webhook"];
    let (client, reviews) = (
        &webhook["clientConfig"],
        list(webhook, "conversionReviewVersions"),
    );
    let client_path = path.child("webhookClientConfig");
    let reviews_path = path.child("conversionReviewVersions");
    if text(conversion, "strategy") != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_object() {
            causes.push(forbidden(&client_path, why));
        }
        if !reviews.is_empty() {
            causes.push(forbidden(&reviews_path, why));
        }
        return;
    }
    if !client.is_object() {
        causes.push(required(
            &client_path,
            "required when strategy is set to Webhook",
        ));
    } else if client["url"].is_string() == client["service"].is_object() {
        causes.push(required(
            &client_path,
            "exactly one of url or service is required",
        ));
    } else if let Some(text) = client["url"].as_str() {
        url(text, &client_path.child("url"), causes);
    } else {
        service(&client["service"], &client_path.child("service"), causes);
    }
    review_versions(reviews, &reviews_path, causes);
}

fn url(text: &str, path: &Path, causes: &mut Vec<Cause>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        causes.push(invalid(path, &scheme.into(), &why));
    }
    if host.is_empty() || scheme.is_empty() {
        causes.push(invalid(
            path,
            &"".into(),
            &format!("host must be specified{FORM}"),
        ));
    }
    if let Some((user, _)) = host.split_once('@') {
        let why = "user information is not permitted in the URL";
        causes.push(invalid(path, &user.into(), why));
    }
    if let Some((_, fragment)) = rest.split_once('#') {
        causes.push(invalid(
            path,
            &fragment.into(),
            "fragments are not permitted in the URL",
        ));
    }
    if let Some((_, query)) = rest.split('#').next().unwrap_or_default().split_once('?') {
        causes.push(invalid(
            path,
            &query.into(),
            "query parameters are not permitted in the URL",
        ));
    }
}

/// Kubernetes takes name and namespace for each other here.
fn service(service: &Value, path: &Path, causes: &mut Vec<Cause>) {
    if text(service, "namespace").is_empty() {
        causes.push(required(&path.child("name"), ""));
    }
    if text(service, "name").is_empty() {
        causes.push(required(&path.child("namespace"), ""));
    }
    let port = service["port"].as_i64().unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        causes.push(invalid(&path.child("port"), &port.into(), why));
    }
    let Some(found) = service["path"]
        .as_str()
        .filter(|path| !path.is_empty() && *path != "/")
    else {
        return;
    };
    let path = path.child("path");
    if found == "//" {
        return causes.push(invalid(&path, &found.into(), "segment[0] may not be empty"));
    }
    if !found.starts_with('/') {
        causes.push(invalid(&path, &found.into(), "must start with a '/'"));
    }
    let mut chars = found.chars();
    chars.next();
    let rest = chars.as_str();
    for (at, step) in rest
        .strip_suffix('/')
        .unwrap_or(rest)
        .split('/')
        .enumerate()
    {
        if step.is_empty() {
            causes.push(invalid(
                &path,
                &found.into(),
                &format!("segment[{at}] may not be empty"),
            ));
        } else if let Some(why) = dns1123(step) {
            causes.push(invalid(
                &path,
                &found.into(),
                &format!("segment[{at}]: {why}"),
            ));
        }
    }
}

fn review_versions(reviews: &[Value], path: &Path, causes: &mut Vec<Cause>) {
    if reviews.is_empty() {
        return causes.push(required(path, ""));
    }
    for (at, version) in reviews.iter().enumerate() {
        if reviews[..at].contains(version) {
            causes.push(invalid(&path.key(at), version, "duplicate version"));
        } else if let Some(why) = dns1035(version.as_str().unwrap_or_default()) {
            causes.push(invalid(&path.key(at), version, &why));
        }
    }
    if !reviews
        .iter()
        .any(|version| version == "v1" || version == "v1beta1")
    {
        causes.push(invalid(
            path,
            &json!(reviews),
            "must include at least one of v1, v1beta1",
        ));
    }
}
