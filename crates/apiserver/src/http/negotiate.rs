//! What form of answer a client accepts, and how Kubernetes says that there is none such. Pure.

use super::body::Syntax;
use super::protobuf;
use super::query::Query;
use crate::error::StatusError;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The object or list itself.
    Object,
    /// Rows and columns for people.
    Table,
    /// Only type and metadata, of one object.
    Metadata,
    /// Only type and metadata, of a list.
    MetadataList,
    /// All groups and resources in one document.
    Discovery,
    /// OpenAPI v2 of this media type, or in a form that it is not had in.
    OpenApi(Option<&'static str>),
}

/// What the first acceptable clause of an `Accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) form: Form,
    pub(super) syntax: Syntax,
    /// The version of `meta.k8s.io` in which tables and metadata are given.
    pub(super) version: &'static str,
}

/// Where an answer goes; a form that does not fit there is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One object of a resource.
    Object,
    /// A list of a resource, which could also be watched.
    List,
    /// A watch.
    Watch,
    /// `/api` and `/apis`.
    Discovery,
    /// `/openapi/v2`.
    OpenApi,
    /// The keys of tokens.
    Keys,
    /// Anything else.
    Other,
}

const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const STREAMS: &str =
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The names of OpenAPI v2 as protobuf; the second is the one that is valid.
const OPENAPI_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// The first clause that we can answer.
pub(super) fn accept(header: Option<&str>, place: Place) -> Result<Accept, StatusError> {
    let header = header.map_or(
        "*/*",
        |text| if text.trim().is_empty() { "*/*" } else { text },
    );
    let mut clauses: Vec<&str> = header.split(',').collect();
    clauses.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    let routed = matches!(
        place,
        Place::Object | Place::List | Place::Watch | Place::Discovery
    );
    if routed {
        // Where routes are chosen by what they produce, nothing is called so.
        clauses.retain(|clause| first(clause) != "application/*");
    }
    if let Some(accept) = clauses.iter().find_map(|clause| parse(clause, place)) {
        return Ok(accept);
    }
    if place == Place::OpenApi {
        // That one is refused without words.
        return Ok(Accept {
            form: Form::OpenApi(None),
            syntax: Syntax::Json,
            version: "v1",
        });
    }
    if routed && !clauses.iter().any(|clause| essence(clause).is_some()) {
        let streams = if matches!(place, Place::Object | Place::Discovery) {
            String::new()
        } else {
            format!(", {STREAMS}")
        };
        let mut error = refuse(format!(
            "406: Not Acceptable\n\nAvailable representations: {TYPES}{streams}"
        ));
        error.details = Some(serde_json::json!({}));
        return Err(error);
    }
    if place == Place::Keys {
        let why = "406: Not Acceptable\n\nAvailable representations: application/jwk-set+json";
        let mut error = refuse(why.to_owned());
        error.details = Some(serde_json::json!({}));
        return Err(error);
    }
    let accepted = if place == Place::Watch {
        STREAMS
    } else {
        TYPES
    };
    Err(refuse(format!(
        "only the following media types are accepted: {accepted}"
    )))
}

/// The same of a custom kind, which has no form in protobuf.
pub(super) fn accept_custom(header: Option<&str>, place: Place) -> Result<Accept, StatusError> {
    let clauses = header.unwrap_or_default().split(',');
    let rest: Vec<&str> = clauses
        .filter(|clause| essence(clause) != Some(Syntax::Protobuf))
        .collect();
    if rest.is_empty() {
        return Err(refuse(format!(
            "only the following media types are accepted: {TYPES}"
        )));
    }
    accept(Some(&rest.join(",")), place)
}

/// Whether an answer is to be read by people: they say so, or use a program of theirs.
pub(super) fn is_for_people(parts: &http::request::Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    if query.contains("pretty")
        && let Some(text) = Query::parse(query)
            .text("pretty")
            .filter(|text| !text.is_empty())
    {
        return matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = parts.headers.get(http::header::USER_AGENT);
    let agent = agent
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|program| agent.starts_with(program))
}

/// In which syntax a client is refused that never came to be answered.
pub(super) fn syntax(header: Option<&str>) -> Syntax {
    let clauses = header.unwrap_or_default().split(',');
    // A refusal is never a table.
    let plain = clauses.filter(|clause| !clause.contains("as="));
    plain.filter_map(essence).next().unwrap_or(Syntax::Json)
}

fn refuse(message: String) -> StatusError {
    StatusError::new(406, "NotAcceptable", message)
}

/// How much a client wants what a clause names.
fn quality(clause: &str) -> f64 {
    let mut parts = clause.split(';').skip(1).map(str::trim);
    let told = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
    told.unwrap_or(1.0)
}

/// The media type of a clause.
fn first(clause: &str) -> &str {
    clause.split(';').next().unwrap_or_default().trim()
}

/// The syntax of a clause, whatever its parameters are.
fn essence(clause: &str) -> Option<Syntax> {
    match first(clause) {
        "application/json" | "application/*" | "*/*" => Some(Syntax::Json),
        "application/yaml" => Some(Syntax::Yaml),
        protobuf::MEDIA_TYPE => Some(Syntax::Protobuf),
        _ => None,
    }
}

fn parse(clause: &str, place: Place) -> Option<Accept> {
    let mut parts = clause.split(';').map(str::trim);
    let first = parts.next()?;
    if place == Place::OpenApi && OPENAPI_PROTOBUF.contains(&first) {
        return Some(Accept {
            form: Form::OpenApi(Some(OPENAPI_PROTOBUF[1])),
            syntax: Syntax::Json,
            version: "v1",
        });
    }
    let syntax = match essence(first) {
        // Events are only told as JSON.
        Some(Syntax::Yaml | Syntax::Protobuf) if place == Place::Watch => return None,
        Some(Syntax::Yaml | Syntax::Protobuf) if place == Place::OpenApi => return None,
        Some(Syntax::Protobuf) if place == Place::Discovery || clause.contains("as=") => {
            return None;
        }
        Some(syntax) => syntax,
        // The log of a pod is text, whatever else may be asked.
        None if place == Place::Other && matches!(first, "text/plain" | "text/*") => Syntax::Json,
        None => return None,
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
    let meta = match (group, version) {
        ("meta.k8s.io", "v1") => Some("v1"),
        ("meta.k8s.io", "v1beta1") => Some("v1beta1"),
        _ => None,
    };
    let of_resource = matches!(place, Place::Object | Place::List | Place::Watch);
    let form = match (wanted, meta.filter(|_| of_resource)) {
        ("", _) => Form::Object,
        ("Table", Some(_)) => Form::Table,
        ("PartialObjectMetadata", Some(_)) => Form::Metadata,
        ("PartialObjectMetadataList", Some(_)) => Form::MetadataList,
        ("APIGroupDiscoveryList", _) => match (place, group, version) {
            (Place::Discovery, "apidiscovery.k8s.io", "v2") => Form::Discovery,
            _ => return None,
        },
        _ => return None,
    };
    Some(Accept {
        form,
        syntax,
        version: meta.unwrap_or("v1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_clause_that_fits_is_taken() {
        let table = "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/yaml";
        let found = accept(Some(table), Place::List).unwrap();
        assert_eq!((found.form, found.version), (Form::Table, "v1beta1"));
        let found = accept(Some(table), Place::Other).unwrap();
        assert_eq!((found.form, found.syntax), (Form::Object, Syntax::Yaml));
        assert_eq!(accept(None, Place::Other).unwrap().form, Form::Object);
    }

    #[test]
    fn openapi_is_had_as_protobuf_where_it_is_served() {
        for header in OPENAPI_PROTOBUF {
            let found = accept(Some(header), Place::OpenApi).unwrap();
            assert!(matches!(found.form, Form::OpenApi(Some(_))));
            accept(Some(header), Place::Other).unwrap_err();
        }
        let refused = accept(Some("application/yaml"), Place::OpenApi).unwrap();
        assert_eq!(refused.form, Form::OpenApi(None));
    }

    #[test]
    fn what_is_wanted_most_is_given() {
        let header = "application/json;q=0.1, application/yaml;q=0.9, text/html";
        let given = accept(Some(header), Place::Object).unwrap();
        assert_eq!(given.syntax, Syntax::Yaml);
    }

    #[test]
    fn a_refusal_says_what_could_be_had() {
        for (header, place, wanted) in [
            (
                "text/html",
                Place::Object,
                "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ),
            (
                "application/json;as=Nothing;v=v1;g=meta.k8s.io",
                Place::Object,
                "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ),
            (
                "application/yaml",
                Place::Watch,
                "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
            ),
        ] {
            assert_eq!(accept(Some(header), place).unwrap_err().message, wanted);
        }
    }
}
