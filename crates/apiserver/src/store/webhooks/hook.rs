//! A webhook as it is asked: compiled, and read.
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Does;
use crate::store::json::{list, text};
use crate::store::policy::compiled::{Expression, OnFailure, Scopes};
use crate::store::policy::matching::Match;

/// How long a webhook gets that does not say.
const TIMEOUT_SECONDS: u64 = 10;
const PORT: u16 = 443;

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// At a URL.
    Url(String),
    /// Behind a Service.
    Service {
        namespace: String,
        name: String,
        path: String,
        port: u16,
    },
}

/// In which version a webhook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    /// Whose answers are looked at less closely.
    V1beta1,
}

/// A webhook, ready to be asked.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) does: Does,
    pub(crate) place: Place,
    /// Whom it is believed by: PEM; empty means whom the system believes.
    pub(crate) authority: Vec<u8>,
    pub(crate) timeout: Duration,
    pub(crate) version: Option<Version>,
    /// Its configuration.
    pub(super) of: String,
    pub(super) on_failure: OnFailure,
    /// Whether it may be asked of what only pretends to be written.
    pub(super) takes_dry_run: bool,
    /// Whether it is asked again when others have changed the object after it.
    pub(super) again: bool,
    pub(super) concerns: Match,
    pub(super) conditions: Vec<Expression>,
}

impl Hook {
    /// Reads and compiles a webhook of a stored configuration.
    pub(super) fn new(does: Does, of: &str, hook: &Value) -> Self {
        let scopes = Scopes::new(&Value::Null);
        let conditions = list(hook, "matchConditions").iter();
        let client = &hook["clientConfig"];
        let authority = STANDARD.decode(text(client, "caBundle"));
        let mut versions = list(hook, "admissionReviewVersions").iter();
        Self {
            name: text(hook, "name").to_owned(),
            does,
            place: place(client),
            authority: authority.unwrap_or_default(),
            timeout: Duration::from_secs(
                hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS),
            ),
            version: versions.find_map(|version| match version.as_str() {
                Some("v1") => Some(Version::V1),
                Some("v1beta1") => Some(Version::V1beta1),
                _ => None,
            }),
            of: of.to_owned(),
            on_failure: OnFailure::of(hook),
            takes_dry_run: matches!(text(hook, "sideEffects"), "None" | "NoneOnDryRun"),
            again: hook["reinvocationPolicy"] == "IfNeeded",
            concerns: Match::of_webhook(hook),
            conditions: conditions
                .map(|one| Expression::condition(text(one, "expression"), &scopes))
                .collect(),
        }
    }
}

fn place(client: &Value) -> Place {
    let service = &client["service"];
    if !service.is_object() {
        return Place::Url(text(client, "url").to_owned());
    }
    let port = service["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    Place::Service {
        namespace: text(service, "namespace").to_owned(),
        name: text(service, "name").to_owned(),
        path: text(service, "path").to_owned(),
        port: port.unwrap_or(PORT),
    }
}
