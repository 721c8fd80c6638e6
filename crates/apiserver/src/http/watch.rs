//! Watches: events of the store as JSON lines, as many as are ready in one piece.
//!
//! A watch ends with its time, with the server, when the store says so (its error is the last line) or with its client.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call};
use super::negotiate::Form;
use super::{Body, objects, respond};
use crate::db::{Bookmarks, From, Watch, WatchEvent, WatchOptions};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::selector::FieldSelector;
use crate::table;

/// A piece is sent when it is this large, even if more events are ready.
const PIECE: usize = 64 * 1024;
/// Without `timeoutSeconds` a watch ends somewhere between once and twice this, as Kubernetes' do.
const SECONDS_DEFAULT: u64 = 1800;
const SECONDS_MAX: u64 = 24 * 3600;

/// Begins a watch.
pub(super) fn answer(call: &Call, res: &Arc<Resource>, permit: OwnedSemaphorePermit) -> Answer {
    let mut selectors = objects::selectors(call, res)?;
    if !call.route.attributes.name.is_empty() {
        selectors.fields = FieldSelector::name(&call.route.attributes.name);
    }
    let options = options(call)?;
    let framing = Framing {
        res: Arc::clone(res),
        form: call.accept.form,
        table: objects::table_options(call)?,
        first: First::Yes,
    };
    let watch = match call
        .server
        .db
        .watch(res, call.namespace(res), &selectors, options)
    {
        Ok(watch) => Ok(watch),
        // A version that is gone is told inside the stream, where every watch client looks for it.
        Err(error) if error.code == 410 => Err(error),
        Err(error) => return Err(error),
    };
    let running = Running {
        watch: match watch {
            Ok(watch) => Source::Watch(watch),
            Err(error) => Source::Refused(error),
        },
        framing,
        until: Instant::now() + deadline(call)?,
        stop: call.server.stop.clone(),
        _permit: permit,
    };
    let pieces = stream::unfold(running, |mut running| async move {
        running.piece().await.map(|piece| (Ok(piece), running))
    });
    Ok(respond::lines(Body::stream(pieces)))
}

/// A resource version as requests write it.
pub(super) fn version(text: &str) -> Result<u64, StatusError> {
    text.parse().map_err(|_error| {
        StatusError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: must be a version that a list, watch or object gave"
        ))
    })
}

fn options(call: &Call) -> Result<WatchOptions, StatusError> {
    let query = &call.query;
    let bookmarks = if query.is_true("allowWatchBookmarks") {
        Bookmarks::On
    } else {
        Bookmarks::Off
    };
    let version = query.text("resourceVersion").map(version).transpose()?;
    let from = if query.is_true("sendInitialEvents") {
        if query.text("resourceVersionMatch") != Some("NotOlderThan") {
            return Err(StatusError::new(
                422,
                "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents \
                 requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        From::InitialEvents
    } else {
        match version {
            None | Some(0) => From::Now,
            Some(version) => From::Version(version),
        }
    };
    Ok(WatchOptions { from, bookmarks })
}

fn deadline(call: &Call) -> Result<Duration, StatusError> {
    let seconds = match call.query.text("timeoutSeconds") {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_error| {
            StatusError::bad_request(format!("timeoutSeconds: {text:?} is no number of seconds"))
        })?),
    };
    let spread = rand::random::<u64>() % SECONDS_DEFAULT;
    let seconds = seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or(SECONDS_DEFAULT + spread);
    Ok(Duration::from_secs(seconds.min(SECONDS_MAX)))
}

enum Source {
    Watch(Watch),
    Refused(StatusError),
    Ended,
}

struct Running {
    watch: Source,
    framing: Framing,
    until: Instant,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// The next piece: waits for one event, then takes those that are ready.
    async fn piece(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let watch = match &mut self.watch {
            Source::Ended => return None,
            Source::Refused(error) => {
                put_error(&mut out, error);
                self.watch = Source::Ended;
                return Some(out.freeze());
            }
            Source::Watch(watch) => watch,
        };
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            next = watch.next() => next?,
            () = tokio::time::sleep_until(self.until) => return None,
        };
        let mut next = Some(first);
        let mut ended = false;
        while let Some(event) = next {
            ended |= matches!(event, WatchEvent::Error(_));
            self.framing.put(&mut out, &event);
            next = if ended || out.len() >= PIECE {
                None
            } else {
                watch.try_next()
            };
        }
        if ended {
            self.watch = Source::Ended;
        }
        Some(out.freeze())
    }
}

/// Whether a table's columns have been told already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Yes,
    No,
}

struct Framing {
    res: Arc<Resource>,
    form: Form,
    table: table::Options,
    first: First,
}

impl Framing {
    fn put(&mut self, out: &mut BytesMut, event: &WatchEvent) {
        match event {
            WatchEvent::Added(object) => self.put_object(out, "ADDED", object),
            WatchEvent::Modified(object) => self.put_object(out, "MODIFIED", object),
            WatchEvent::Deleted(object) => self.put_object(out, "DELETED", object),
            WatchEvent::Bookmark {
                resource_version,
                initial_events_end,
            } => {
                let mut metadata = json!({"resourceVersion": resource_version.to_string(), "creationTimestamp": null});
                if *initial_events_end {
                    metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                put_line(
                    out,
                    "BOOKMARK",
                    self.bookmark(metadata).to_string().as_bytes(),
                );
            }
            WatchEvent::Error(error) => put_error(out, error),
        }
    }

    fn bookmark(&self, metadata: Value) -> Value {
        match self.form {
            Form::Object | Form::Discovery(_) => json!({
                "kind": self.res.kind, "apiVersion": self.res.api_version(), "metadata": metadata,
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            }),
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "columnDefinitions": null, "rows": [],
            }),
        }
    }

    fn put_object(&mut self, out: &mut BytesMut, kind: &str, object: &Object) {
        match self.form {
            Form::Object | Form::Discovery(_) => put_line(out, kind, object.bytes()),
            Form::Metadata => {
                put_line(
                    out,
                    kind,
                    objects::metadata_of(object).to_string().as_bytes(),
                );
            }
            Form::Table => {
                let mut value = table::of_one(&self.res, object, self.table);
                if self.first == First::No {
                    value["columnDefinitions"] = Value::Null;
                }
                self.first = First::No;
                put_line(out, kind, value.to_string().as_bytes());
            }
        }
    }
}

fn put_error(out: &mut BytesMut, error: &StatusError) {
    put_line(out, "ERROR", error.to_value().to_string().as_bytes());
}

fn put_line(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 32);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}
