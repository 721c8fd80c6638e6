//! Lists: whole or in pages, now or as they were at a version that the recent history still reaches.
//!
//! A page is cut from the list as it was when the first page was sent: what has changed since is undone, from the
//! history that watches read. So nothing is kept for a client that may never come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::negotiate::Form;
use super::objects;
use super::options::{self, Follow, ListOptions};
use super::respond::{self, ListHead};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::schema::syntax;
use crate::selector::Selectors;
use crate::store::{Removed, convert};
use crate::table;

/// The format of our continue tokens, which is Kubernetes'.
const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// More changes than this are not undone for one list.
const UNDONE_MAX: usize = 100_000;

/// A page, and what a client is told about the rest.
struct Page {
    items: Vec<Arc<Object>>,
    version: u64,
    next: Option<String>,
    remaining: Option<usize>,
}

/// Where a list goes on, and at which version; none is the newest.
struct Start {
    after: String,
    version: Option<u64>,
    at_least: u64,
}

/// Answers a list.
pub(super) fn answer(call: &Call, res: &Arc<Resource>) -> Answer {
    let asked = options::list(&call.query, Follow::No)?;
    let selectors = objects::selectors(call, res)?;
    show(call, res, &page(call, res, &selectors, &asked)?)
}

/// Answers with objects that are not stored, and so are of no version.
pub(super) fn of(call: &Call, res: &Arc<Resource>, items: Vec<Arc<Object>>) -> Answer {
    let page = Page {
        items,
        version: 0,
        next: None,
        remaining: None,
    };
    show(call, res, &page)
}

fn show(call: &Call, res: &Arc<Resource>, page: &Page) -> Answer {
    let head = ListHead {
        version: page.version,
        next: page.next.as_deref(),
        remaining: page.remaining,
    };
    let syntax = call.accept.syntax;
    match call.accept.form {
        Form::Object | Form::Discovery | Form::OpenApi(_) => {
            let bytes = respond::list(res, &head, &page.items);
            Ok(respond::bytes(StatusCode::OK, bytes, syntax))
        }
        Form::MetadataList => {
            let version = call.accept.version;
            let items = page.items.iter();
            let items: Vec<Value> = items
                .map(|object| objects::metadata_of(object, version))
                .collect();
            // Go's list of nothing.
            let items = (!items.is_empty()).then_some(items);
            let value = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": head.to_value(), "items": items,
            });
            Ok(respond::value(StatusCode::OK, &value, syntax))
        }
        Form::Metadata => Err(objects::wrong_form(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{})",
            options::internal_type(res, &res.list_kind)
        ))),
        Form::Table => {
            let list = crate::db::List {
                items: page.items.clone(),
                resource_version: page.version,
            };
            let mut table = table::of_list(res, &list, objects::table_options(call)?);
            table["metadata"] = head.to_value();
            objects::table_version(&mut table, call.accept.version);
            Ok(respond::value(StatusCode::OK, &table, syntax))
        }
    }
}

fn page(
    call: &Call,
    res: &Arc<Resource>,
    selectors: &Selectors,
    asked: &ListOptions,
) -> Result<Page, StatusError> {
    let start = start(asked)?;
    let namespace = call.namespace(res);
    let list = call.server.db.list(res, namespace, selectors);
    let now = list.resource_version;
    let mut items = list.items;
    let mut version = now;
    let wanted = start.version.unwrap_or(now).max(start.at_least);
    if wanted > now {
        return Err(too_large(wanted, now));
    }
    if let Some(wanted) = start.version.filter(|wanted| *wanted != now) {
        let changed = Undo {
            call,
            res,
            selectors,
        };
        items = changed
            .back_to(wanted, now, items)
            .ok_or_else(|| expired(asked, &start.after))?;
        version = wanted;
    }
    let key = |object: &Object| match namespace {
        None if res.is_namespaced() => format!("{}/{}", object.namespace(), object.name()),
        _ => object.name().to_owned(),
    };
    if namespace.is_none() && res.is_namespaced() {
        // As one key is before another: the slash between the two parts counts.
        items.sort_by_cached_key(|object| key(object));
    }
    if !start.after.is_empty() {
        items.retain(|object| key(object).as_str() >= start.after.as_str());
    }
    // A list from memory at any version comes whole.
    let limit = if asked.version == "0" { 0 } else { asked.limit };
    let (mut next, mut remaining) = (None, None);
    if limit > 0 && items.len() > limit {
        remaining = selectors.is_everything().then_some(items.len() - limit);
        items.truncate(limit);
        let last = items.last().map(|object| key(object)).unwrap_or_default();
        next = Some(token(version, &format!("/{last}\0")));
    }
    Ok(Page {
        items,
        version,
        next,
        remaining,
    })
}

/// Where to begin, from the token or the version that the client names.
fn start(asked: &ListOptions) -> Result<Start, StatusError> {
    let named =
        match asked.version.as_str() {
            "" => None,
            text => Some(options::version(text).map_err(|why| {
                StatusError::bad_request(format!("invalid resource version: {why}"))
            })?),
        };
    if !asked.continue_token.is_empty() {
        let start = read_token(&asked.continue_token).map_err(|why| {
            StatusError::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        })?;
        if named.is_some_and(|version| version != 0) {
            return Err(StatusError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        return Ok(start);
    }
    // Without a word about it, a limit makes a version an exact one.
    let exact = match asked.version_match.as_str() {
        "Exact" => true,
        "NotOlderThan" => false,
        _ => asked.limit > 0,
    };
    let version = named.filter(|version| *version != 0);
    Ok(Start {
        after: String::new(),
        version: version.filter(|_| exact),
        at_least: version.unwrap_or(0),
    })
}

/// Bits that are left over at the end are not looked at.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    NO_PAD.with_decode_allow_trailing_bits(true),
);

fn token(version: u64, after: &str) -> String {
    let token = json!({"v": TOKEN_VERSION, "rv": version, "start": after});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(text: &str) -> Result<Start, String> {
    let bytes = LENIENT
        .decode(text)
        .map_err(|error| illegal_base64(text, &error))?;
    let token: Value = serde_json::from_slice(&bytes)
        .map_err(|_error| syntax::problem(&bytes).unwrap_or_default())?;
    let known = token["v"].as_str().unwrap_or_default();
    if known != TOKEN_VERSION {
        return Err(format!(
            "server does not recognize this encoded version {known}"
        ));
    }
    let version = token["rv"].as_i64().unwrap_or(0);
    if version == 0 {
        return Err(format!(
            "incorrect encoded start resourceVersion (version {TOKEN_VERSION})"
        ));
    }
    let after = token["start"].as_str().unwrap_or_default();
    if after.is_empty() {
        return Err(format!("encoded start key empty (version {TOKEN_VERSION})"));
    }
    let rooted = after.strip_prefix('/').unwrap_or(after);
    if rooted
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(after.to_owned());
    }
    Ok(Start {
        after: rooted.to_owned(),
        // Less than nothing asks for the newest version: the rest of a list whose beginning is older.
        version: u64::try_from(version).ok(),
        at_least: 0,
    })
}

/// Where Kubernetes' decoder stumbles.
fn illegal_base64(text: &str, error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) => *at,
        _ if text.len() % 4 == 1 => text.len() - 1,
        _ => text.len(),
    };
    format!("illegal base64 data at input byte {at}")
}

/// 410, with a token for the rest as it is now if there was one.
fn expired(asked: &ListOptions, after: &str) -> StatusError {
    if asked.continue_token.is_empty() {
        return StatusError::new(
            410,
            "Expired",
            "The resourceVersion for the provided list is too old.",
        );
    }
    let mut error = StatusError::new(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of \
         the results. Continuing with the provided token results in an inconsistent list - objects that were \
         created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let token = json!({"v": TOKEN_VERSION, "rv": -1, "start": format!("/{after}")});
    error.continue_token = Some(URL_SAFE_NO_PAD.encode(token.to_string()).into());
    error
}

/// 504: the version is still to come.
pub(super) fn too_large(asked: u64, now: u64) -> StatusError {
    let text = format!("Timeout: Too large resource version: {asked}, current: {now}");
    let mut error = StatusError::new(504, "Timeout", text);
    error.details = Some(json!({"causes": [{"reason": "ResourceVersionTooLarge",
        "message": "Too large resource version"}]}));
    error.retry_after = Some(1);
    error
}

/// Takes changes back.
struct Undo<'a> {
    call: &'a Call,
    res: &'a Arc<Resource>,
    selectors: &'a Selectors,
}

impl Undo<'_> {
    /// The list as it was at an older version; none if the history does not reach that far.
    fn back_to(&self, wanted: u64, now: u64, items: Vec<Arc<Object>>) -> Option<Vec<Arc<Object>>> {
        let db = &self.call.server.db;
        let events = db.changes_after(&self.res.storage, wanted, UNDONE_MAX)?;
        if events.len() == UNDONE_MAX {
            return None;
        }
        let key = |object: &Object| (object.namespace().to_owned(), object.name().to_owned());
        let mut all: BTreeMap<(String, String), Arc<Object>> = items
            .into_iter()
            .map(|object| (key(&object), object))
            .collect();
        let namespace = self.call.namespace(self.res);
        for event in events.iter().rev() {
            let change = &event.change;
            let outside = namespace.is_some_and(|inside| inside != change.new.namespace());
            if outside || event.version() > now {
                continue;
            }
            debug_assert!(change.removed == Removed::No || change.old.is_some());
            let old = change
                .old
                .as_ref()
                .filter(|old| self.selectors.matches(old));
            match old.and_then(|old| convert::shown(self.res, Arc::clone(old)).ok()) {
                Some(old) => all.insert(key(&old), old),
                None => all.remove(&key(&change.new)),
            };
        }
        Some(all.into_values().collect())
    }
}
