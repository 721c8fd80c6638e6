//! Watches: events of the store as JSON lines, as many as are ready in one piece.
//!
//! A watch ends with its time, with the server, when the store says so (its error is the last line) or with its client.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::call::{Answer, Call};
use super::negotiate::Form;
use super::options::{self, Follow, ListOptions};
use super::{Body, objects, respond};
use crate::db::{Bookmarks, From, Watch, WatchEvent, WatchOptions};
use crate::error::StatusError;
use crate::object::Object;
use crate::registry::Resource;
use crate::schema::order;
use crate::selector::FieldSelector;
use crate::table;

/// A piece is sent when it is this large, even if more events are ready.
const PIECE: usize = 64 * 1024;
/// Without `timeoutSeconds` a watch ends somewhere between once and twice this, as Kubernetes' do.
const SECONDS_DEFAULT: u64 = 1800;
/// A version that is still to come is waited for this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Begins a watch.
pub(super) fn answer(call: &Call, res: &Arc<Resource>, permit: OwnedSemaphorePermit) -> Answer {
    let asked = options::list(&call.query, Follow::Yes)?;
    let mut selectors = objects::selectors(call, res)?;
    if !call.route.attributes.name.is_empty() {
        selectors.fields = FieldSelector::name(&call.route.attributes.name);
    }
    let options = options(call, &asked)?;
    let framing = Framing {
        res: Arc::clone(res),
        form: call.accept.form,
        version: call.accept.version,
        table: objects::table_options(call)?,
        first: First::Yes,
        // Who asks for everything that exists and for no bookmarks is not told where it ends.
        silent: asked.initial_events == Some(true) && options.bookmarks == Bookmarks::Off,
    };
    let from = match options.from {
        From::Version(version) => version,
        From::Now | From::InitialEvents => 0,
    };
    let early = from > call.server.db.resource_version();
    let namespace = call.namespace(res);
    let late = || StatusError::new(500, "InternalError", "context deadline exceeded");
    let source = match call.server.db.watch(res, namespace, &selectors, options) {
        Ok(_) if asked.overdue => Source::Refused(late()),
        Ok(watch) => Source::Watch(watch),
        // A version that is gone is told inside the stream, where every watch client looks for it.
        Err(error) if error.code == 410 && early => Source::Early(Instant::now() + PATIENCE, error),
        Err(error) if error.code == 410 => Source::Refused(error),
        Err(error) => return Err(error),
    };
    let spread = rand::random::<u64>() % SECONDS_DEFAULT;
    let default = Duration::from_secs(SECONDS_DEFAULT + spread);
    let running = Running {
        watch: source,
        framing,
        end: Box::pin(tokio::time::sleep(asked.timeout.unwrap_or(default))),
        stopped: Box::pin(call.server.stop.clone().cancelled_owned()),
        _permit: permit,
    };
    let pieces = stream::unfold(running, |mut running| async move {
        running.piece().await.map(|piece| (Ok(piece), running))
    });
    Ok(respond::lines(Body::stream(pieces)))
}

fn options(call: &Call, asked: &ListOptions) -> Result<WatchOptions, StatusError> {
    let bookmarks = if call.query.is_true("allowWatchBookmarks") {
        Bookmarks::On
    } else {
        Bookmarks::Off
    };
    let version = match asked.version.as_str() {
        "" => None,
        text => Some(options::version(text).map_err(options::no_version)?),
    };
    let from = match (asked.initial_events, version) {
        (Some(true), _) => From::InitialEvents,
        // Nothing of what exists, only what comes.
        (Some(false), None | Some(0)) => From::Version(call.server.db.resource_version()),
        (None, None | Some(0)) => From::Now,
        (_, Some(version)) => From::Version(version),
    };
    Ok(WatchOptions { from, bookmarks })
}

enum Source {
    Watch(Watch),
    Refused(StatusError),
    /// The same, once it is clear that the version does not come.
    Early(Instant, StatusError),
    Ended,
}

struct Running {
    watch: Source,
    framing: Framing,
    end: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    /// The next piece: waits for one event, then takes those that are ready.
    async fn piece(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        let watch = match &mut self.watch {
            Source::Ended => return None,
            Source::Early(at, error) => {
                tokio::select! {
                    biased;
                    () = self.stopped.as_mut() => return None,
                    () = self.end.as_mut() => return None,
                    () = tokio::time::sleep_until(*at) => {}
                }
                put_error(&mut out, error);
                self.watch = Source::Ended;
                return Some(out.freeze());
            }
            Source::Refused(error) => {
                put_error(&mut out, error);
                self.watch = Source::Ended;
                return Some(out.freeze());
            }
            Source::Watch(watch) => watch,
        };
        let first = tokio::select! {
            biased;
            () = self.stopped.as_mut() => return None,
            // Before the next event, or a busy watch would never end.
            () = self.end.as_mut() => return None,
            next = watch.next() => next?,
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
    version: &'static str,
    silent: bool,
    table: table::Options,
    first: First,
}

impl Framing {
    fn put(&mut self, out: &mut BytesMut, event: &WatchEvent) {
        match event {
            WatchEvent::Added(object) => self.put_object(out, "ADDED", object),
            WatchEvent::Modified(object) => self.put_object(out, "MODIFIED", object),
            WatchEvent::Deleted(object) => self.put_object(out, "DELETED", object),
            WatchEvent::Bookmark { .. } if self.silent => {}
            WatchEvent::Bookmark {
                resource_version,
                initial_events_end,
            } => {
                let mut metadata = json!({"resourceVersion": resource_version.to_string()});
                if *initial_events_end {
                    metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                put_line(out, "BOOKMARK", &order::encode(&self.bookmark(metadata)));
            }
            WatchEvent::Error(error) => put_error(out, error),
        }
    }

    fn bookmark(&self, metadata: Value) -> Value {
        let version = format!("meta.k8s.io/{}", self.version);
        match self.form {
            Form::Object | Form::Discovery | Form::OpenApi(_) => json!({
                "kind": self.res.kind, "apiVersion": self.res.api_version(), "metadata": metadata,
            }),
            Form::Metadata | Form::MetadataList => json!({
                "kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata,
            }),
            Form::Table => json!({
                "kind": "Table", "apiVersion": version, "metadata": metadata,
                "columnDefinitions": null, "rows": [],
            }),
        }
    }

    fn put_object(&mut self, out: &mut BytesMut, kind: &str, object: &Object) {
        match self.form {
            Form::Object | Form::Discovery | Form::OpenApi(_) => {
                put_line(out, kind, object.bytes())
            }
            Form::Metadata => {
                let value = objects::metadata_of(object, self.version);
                put_line(out, kind, &order::encode(&value));
            }
            // One object is no list: nobody is told anything.
            Form::MetadataList => {}
            Form::Table => {
                let mut value = table::of_one(&self.res, object, self.table);
                objects::table_version(&mut value, self.version);
                if self.first == First::No {
                    value["columnDefinitions"] = Value::Null;
                }
                self.first = First::No;
                put_line(out, kind, &order::encode(&value));
            }
        }
    }
}

fn put_error(out: &mut BytesMut, error: &StatusError) {
    put_line(out, "ERROR", &order::encode(&error.to_value()));
}

fn put_line(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 32);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}
