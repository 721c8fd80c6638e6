//! What form of answer a client accepts. Pure.

use super::body::Syntax;
use crate::error::StatusError;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The object or list itself.
    Object,
    /// Rows and columns for people.
    Table,
    /// Only type and metadata.
    Metadata,
    /// All groups and resources in one document (`v2` or `v2beta1`).
    Discovery(&'static str),
}

/// What the first acceptable clause of an `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) form: Form,
    pub(super) syntax: Syntax,
}

/// Where an answer goes; a form that does not fit there is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One object or many of a resource, read.
    Read,
    /// `/api` and `/apis`.
    Discovery,
    /// Anything else.
    Other,
}

/// The first clause that we can answer.
pub(super) fn accept(header: Option<&str>, place: Place) -> Result<Accept, StatusError> {
    let header = header.map_or(
        "*/*",
        |text| if text.trim().is_empty() { "*/*" } else { text },
    );
    header
        .split(',')
        .find_map(|clause| parse(clause, place))
        .ok_or_else(|| {
            StatusError::new(
                406,
                "NotAcceptable",
                "only the following media types are accepted: application/json, application/yaml, \
             application/json;stream=watch",
            )
        })
}

fn parse(clause: &str, place: Place) -> Option<Accept> {
    let mut parts = clause.split(';').map(str::trim);
    let syntax = match parts.next()? {
        "application/json" | "application/*" | "*/*" => Syntax::Json,
        "application/yaml" => Syntax::Yaml,
        // The log of a pod is text, whatever else may be asked.
        "text/plain" | "text/*" if place == Place::Other => Syntax::Json,
        _ => return None,
    };
    let (mut wanted, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => wanted = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let form = match (wanted, group, version, place) {
        ("", _, _, _) => Form::Object,
        ("Table", "meta.k8s.io", "v1", Place::Read) => Form::Table,
        (
            "PartialObjectMetadata" | "PartialObjectMetadataList",
            "meta.k8s.io",
            "v1",
            Place::Read,
        ) => Form::Metadata,
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", Place::Discovery) => {
            Form::Discovery("v2")
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1", Place::Discovery) => {
            Form::Discovery("v2beta1")
        }
        _ => return None,
    };
    Some(Accept { form, syntax })
}
