//! The outbound side's doors: applications connect here, in plain HTTP/1.1 or HTTP/2, and where they
//! wanted to go decides the destination of all requests of their connection.
//!
//! Where they wanted to go is the address that they dialled; at the proxy's own outbound port, which
//! is nobody's destination, it is the authority of each request. Start at [`Listeners::run`].
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tombolo_shell::drain::Drain;
use tombolo_shell::net;
use tombolo_shell::task::Tasks;

use crate::body::Body;
use crate::config::OutboundConfig;
use crate::discovery::{Directory, Found, NoDestination, Sought, Wanted};
use crate::outbound::Outbound;
use crate::respond::{self, Reach};
use crate::serve::{H2_PREFACE, Handler, Prefixed, serve_h1, serve_h2};
use crate::stats::SideStats;

pub(crate) mod stdin;

/// What all outbound listeners share.
pub(crate) struct Listeners {
    config: OutboundConfig,
    directory: Directory,
    outbound: Outbound,
    stats: SideStats,
    drain: Drain,
    tasks: Tasks,
    permits: Arc<Semaphore>,
}

/// The other ends of the outbound side, to make [`Listeners`] of.
pub(crate) struct Parts {
    pub(crate) directory: Directory,
    pub(crate) outbound: Outbound,
    pub(crate) stats: SideStats,
    pub(crate) drain: Drain,
    pub(crate) tasks: Tasks,
}

/// One client's connection.
struct Client {
    listeners: Arc<Listeners>,
    /// Where all its requests go; none if each names its own authority.
    sought: Option<(SocketAddr, Result<Sought, NoDestination>)>,
}

/// The protocol that a client begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Listeners {
    pub(crate) fn new(config: OutboundConfig, parts: Parts) -> Arc<Self> {
        let Parts {
            directory,
            outbound,
            stats,
            drain,
            tasks,
        } = parts;
        let permits = Arc::new(Semaphore::new(config.connections_max));
        Arc::new(Self {
            config,
            directory,
            outbound,
            stats,
            drain,
            tasks,
            permits,
        })
    }

    /// Serves `listener` until the drain starts or the caller drops this future.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = self.drain.started() => return,
                accepted = net::accept(&listener) => accepted,
            };
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                self.stats.refused("too-many");
                continue;
            };
            self.stats.accepted.inc();
            self.stats.open.inc();
            let listeners = self.clone();
            self.tasks.spawn_one("outbound connection", async move {
                if let Err(why) = listeners.serve(stream).await {
                    tracing::debug!(%peer, why, "an outbound connection was refused");
                    listeners.stats.refused(why);
                }
                listeners.stats.open.dec();
                drop(permit);
            });
        }
    }

    /// Looks for what is behind `addr` before anybody asks, so that the first request finds it warm.
    pub(crate) fn expect(&self, addr: SocketAddr) -> Result<Sought, NoDestination> {
        self.directory.find(&Wanted::Addr(addr))
    }

    async fn serve(self: &Arc<Self>, stream: TcpStream) -> Result<(), &'static str> {
        let dialled = net::original_destination(&stream).map_err(|_gone| "gone")?;
        net::set_keep_alive(&stream, self.config.accept_keep_alive).map_err(|_gone| "gone")?;
        let sought = if self.config.listen.contains(&dialled) {
            None
        } else {
            Some((dialled, self.directory.find(&Wanted::Addr(dialled))))
        };
        let client = Client {
            listeners: self.clone(),
            sought,
        };
        let detected = tokio::select! {
            biased;
            () = self.drain.started() => return Ok(()),
            detected = tokio::time::timeout(self.config.detect_timeout, detect(stream)) => detected,
        };
        let (protocol, io) = match detected {
            Err(_elapsed) => return Err("timeout"),
            // A client that leaves without a word (a probe of the port) is no event.
            Ok(None) => return Ok(()),
            Ok(Some(detected)) => detected,
        };
        match protocol {
            Protocol::Http1 => {
                serve_h1(io, &client, self.config.head_timeout, &self.drain).await;
            }
            Protocol::Http2 => serve_h2(io, &client, &self.drain).await,
        }
        Ok(())
    }
}

/// Reads until it is certain which protocol it is; nothing if the client left before that.
async fn detect(mut stream: TcpStream) -> Option<(Protocol, Prefixed<TcpStream>)> {
    let mut buf = BytesMut::with_capacity(1024);
    loop {
        match stream.read_buf(&mut buf).await {
            Ok(0) | Err(_) => return None,
            Ok(_read) => {}
        }
        let seen = buf.len().min(H2_PREFACE.len());
        if buf[..seen] != H2_PREFACE[..seen] {
            return Some((Protocol::Http1, Prefixed::new(buf, stream)));
        }
        if seen == H2_PREFACE.len() {
            return Some((Protocol::Http2, Prefixed::new(buf, stream)));
        }
    }
}

impl Handler for Client {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let listeners = &*self.listeners;
        let Some(_flight) = listeners.stats.begin() else {
            let reason = "too many requests are under way in this proxy";
            return respond::error(StatusCode::SERVICE_UNAVAILABLE, reason, Reach::Unsent);
        };
        let response = self.call(request).await;
        listeners.stats.answered(response.status());
        response
    }
}

impl Client {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let listeners = &*self.listeners;
        match &self.sought {
            Some((_, Ok(sought))) => {
                // The usual way: neither allocates nor waits.
                if let Found::Destination(destination) = sought.now() {
                    return listeners.outbound.call(&destination, request).await;
                }
                self.call_unknown(request, sought).await
            }
            Some((addr, Err(reason))) => refuse(&addr.to_string(), *reason),
            None => {
                let Some(authority) = authority(&request) else {
                    let reason = "this port takes requests that name their service";
                    return respond::error(StatusCode::BAD_REQUEST, reason, Reach::Unsent);
                };
                match listeners
                    .directory
                    .find(&Wanted::Authority(authority.clone()))
                {
                    Ok(sought) => self.call_unknown(request, &sought).await,
                    Err(reason) => refuse(&authority, reason),
                }
            }
        }
    }

    async fn call_unknown(&self, request: Request<Body>, sought: &Sought) -> Response<Body> {
        let listeners = &*self.listeners;
        match sought.destination(listeners.directory.wait()).await {
            Ok(destination) => listeners.outbound.call(&destination, request).await,
            Err(reason) => {
                let addr = self.sought.as_ref().map(|(addr, _)| addr.to_string());
                let name = addr.or_else(|| authority(&request).map(|name| name.to_string()));
                refuse(&name.unwrap_or_default(), reason)
            }
        }
    }
}

/// The service that a request names, with its port.
fn authority(request: &Request<Body>) -> Option<Arc<str>> {
    let named = request.uri().authority().map(http::uri::Authority::as_str);
    let host = named.or_else(|| {
        request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok())
    })?;
    let with_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if with_port {
        host.into()
    } else {
        format!("{host}:80").into()
    })
}

fn refuse(name: &str, reason: NoDestination) -> Response<Body> {
    let status = match reason {
        NoDestination::Nothing => StatusCode::BAD_GATEWAY,
        NoDestination::Unanswered => StatusCode::GATEWAY_TIMEOUT,
        NoDestination::Full => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond::error(status, &format!("{name}: {reason}"), Reach::Unsent)
}
