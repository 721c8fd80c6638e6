//! One request from arrival to response: pick, attempt, and, if the attempt failed and the request may
//! safely run again, once more elsewhere.
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use tombolo_core::rescue::{self, Failed, Progress, Refusal};

use super::attempt::{self, Broken, Place, Why};
use super::balancer::Balancer;
use super::cluster::Outcome;
use super::path::{Path, PathKind};
use super::pick::{Attempts, Picked, pick};
use super::replay::Replay;
use super::respond::{Failure, Lost};
use super::shared::Shared;
use super::template::{Template, Unsupported};
use crate::body::Body;
use crate::respond::{ORIG_PROTO, PROXY_ERROR, PROXY_UNSENT};

/// A request under way.
struct Flight<'a> {
    shared: &'a Arc<Shared>,
    balancer: &'a Balancer,
    template: Template,
    body: Option<Replay>,
    /// Whether there was a body at all.
    has_body: bool,
    start: Instant,
    sent: u32,
}

/// What the last attempt left behind.
enum Last {
    Nothing,
    /// The peer's own error response: the answer, if there is no better one.
    Answer(Response<Body>),
    Broken(Lost),
}

/// What a response is.
enum Judged {
    /// The answer.
    Answer(Response<Body>),
    /// A peer's error; another endpoint is tried, and this is the answer only if there is none.
    Again(Response<Body>),
}

/// Sends a request to the destination of `balancer`.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    balancer: &Balancer,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let template = match Template::new(parts) {
        Ok(template) => template,
        Err(unsupported) => {
            let what = match unsupported {
                Unsupported::Connect => "CONNECT",
                Unsupported::Upgrade => "protocol upgrade",
            };
            return Failure::Unsupported(what).response(&balancer.name, false);
        }
    };
    let has_body = !body.is_end_stream();
    let body = has_body.then(|| Replay::new(shared, body));
    let (start, sent) = (Instant::now(), 0);
    let mut flight = Flight {
        shared,
        balancer,
        template,
        body,
        has_body,
        start,
        sent,
    };
    match flight.run().await {
        Ok(response) => flight.answer(response),
        Err(failure) => failure.response(&balancer.name, flight.template.is_grpc),
    }
}

impl Flight<'_> {
    async fn run(&mut self) -> Result<Response<Body>, Failure> {
        let mut attempts = Attempts::default();
        let mut last = Last::Nothing;
        loop {
            let picked = pick(self.shared, self.balancer, &mut attempts, self.start).await;
            let picked = match (picked, last) {
                (Ok(picked), _) => picked,
                (Err(failure), Last::Nothing) => return Err(failure),
                (Err(_), Last::Answer(response)) => return Ok(response),
                (Err(_), Last::Broken(lost)) => return Err(Failure::Lost(lost)),
            };
            let path = picked.path.clone();
            self.sent += 1;
            // A connection that takes no more says nothing against its endpoint.
            let mut leaving = false;
            last = match self.attempt(picked).await {
                Ok(response) => match self.judge(&path, response) {
                    Judged::Answer(response) => return Ok(response),
                    Judged::Again(response) => Last::Answer(response),
                },
                Err(broken) => {
                    leaving = matches!(broken.why, Why::Leaving);
                    Last::Broken(self.lost(&path, broken)?)
                }
            };
            if !leaving {
                attempts.push(path);
            }
            if let Some(body) = &mut self.body {
                body.rewind();
            }
        }
    }

    async fn attempt(&mut self, picked: Picked) -> Result<Response<Body>, Broken> {
        let place = Place::new(picked.path, picked.line);
        let fallback = &self.balancer.authority;
        if place.path.key.kind == PathKind::Plain {
            let body = self
                .body
                .take()
                .map_or(Body::Empty, |body| Body::Kept(Box::new(body)));
            let request = self.template.for_application(fallback, body);
            return attempt::over_plain(self.shared, place, request, &mut self.body).await;
        }
        let canonical = &self.balancer.canonical;
        let request = self
            .template
            .for_mesh(picked.authority.as_ref(), canonical, fallback);
        let (kind, body) = (self.template.kind, &mut self.body);
        attempt::over_mesh(self.shared, place, kind, request, body).await
    }

    /// Whether a response is the answer or a peer's error after which another endpoint is tried.
    fn judge(&self, path: &Path, response: Response<Body>) -> Judged {
        let status = response.status();
        let gateway_error = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        let by_peer = gateway_error && path.key.kind != PathKind::Plain;
        if !by_peer || !response.headers().contains_key(PROXY_ERROR) {
            path.healthy();
            path.cluster.count(Outcome::Answered);
            return Judged::Answer(response);
        }
        path.sick(self.shared.ms(Instant::now()));
        let progress = if response.headers().contains_key(PROXY_UNSENT) {
            Progress::Unsent
        } else {
            Progress::Sent
        };
        match self.may_run_again(progress) {
            Ok(()) => {
                path.cluster.count(Outcome::Rescued);
                Judged::Again(response)
            }
            Err(_) => {
                path.cluster.count(Outcome::Failed);
                Judged::Answer(response)
            }
        }
    }

    /// Whether the request may run again after a broken attempt; fails if not.
    fn lost(&self, path: &Path, broken: Broken) -> Result<Lost, Failure> {
        if let Why::Client = broken.why {
            return Err(Failure::Client);
        }
        let refusal = self.may_run_again(broken.progress).err();
        let lost = Lost {
            cluster: path.cluster.name.clone(),
            peer: path.key.addr,
            why: broken.why.to_string(),
            status: broken.why.status(),
            refusal,
        };
        let outcome = if refusal.is_none() {
            Outcome::Rescued
        } else {
            Outcome::Failed
        };
        path.cluster.count(outcome);
        if refusal.is_none() {
            Ok(lost)
        } else {
            Err(Failure::Lost(lost))
        }
    }

    fn may_run_again(&self, progress: Progress) -> Result<(), Refusal> {
        let body = match &self.body {
            Some(body) => body.state(),
            None if self.has_body => rescue::Replay::Lost,
            None => rescue::Replay::Complete,
        };
        let (kind, attempts) = (self.template.kind, self.sent);
        rescue::may_run_again(&Failed {
            kind,
            progress,
            body,
            attempts,
        })?;
        self.shared.budget()
    }

    /// The response as the client gets it.
    fn answer(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.remove(ORIG_PROTO);
        headers.remove(PROXY_UNSENT);
        if self.template.version < Version::HTTP_2 {
            *response.version_mut() = Version::HTTP_11;
        }
        response
    }
}

/// A request that is counted among those in flight.
pub(super) struct Admitted<'a>(&'a Shared);

impl<'a> Admitted<'a> {
    /// Admits a request, if there is room.
    pub(super) fn new(shared: &'a Shared, most: usize) -> Result<Self, Failure> {
        shared.requests.fetch_add(1, Relaxed);
        let before = shared.in_flight.fetch_add(1, Relaxed);
        let admitted = Self(shared);
        if before >= most {
            Err(Failure::Busy)
        } else {
            Ok(admitted)
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
