//! The application beside the proxy: its connections, and the restoration of the protocol that its
//! client spoke. HTTP/1.1 over a pool of connections, or HTTP/2 over one.
//!
//! Bodies pass through frame by frame. A request is sent once: again only if not one byte of it was
//! written, which the first of two attempts on a connection that had gone stale can say for sure.
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tombolo_shell::net::{self, ConnectError};
use tombolo_shell::task::Tasks;

use crate::body::Body;
use crate::config::InboundConfig;
use crate::respond::{self, ORIG_PROTO, Reach};
use crate::serve::HEAD_BYTES_MAX;

mod restore;

/// Applications (ports of this pod) that are known at a time.
const APPLICATIONS_MAX: usize = 256;
/// How many pooled connections are looked at before a new one is made.
const PROBES_MAX: usize = 8;

/// The applications beside this proxy, by address.
pub(crate) struct Applications {
    limits: Limits,
    tasks: Tasks,
    known: Mutex<HashMap<SocketAddr, Arc<Application>>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Duration,
    idle: Duration,
    idle_max: usize,
}

/// One application.
pub(crate) struct Application {
    addr: SocketAddr,
    from: IpAddr,
    limits: Limits,
    tasks: Tasks,
    /// Connections that are free or will be, the longest used first. Locked only to take or give.
    pool: Mutex<VecDeque<Pooled>>,
    shared: Mutex<Option<http2::SendRequest<Body>>>,
}

struct Pooled {
    sender: http1::SendRequest<Body>,
    used: Instant,
}

/// Why the application did not answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("nothing was sent to the application: {0}")]
    Connect(#[from] ConnectError),
    #[error("nothing was sent to the application at {0}: it closed the connection")]
    Closed(SocketAddr),
    #[error("the application at {addr} broke off before it answered: {source}")]
    Broken {
        addr: SocketAddr,
        source: hyper::Error,
    },
}

impl Applications {
    pub(crate) fn new(config: &InboundConfig, tasks: &Tasks) -> Self {
        let limits = Limits {
            connect: config.connect_timeout,
            idle: config.pool_idle,
            idle_max: config.pool_idle_max,
        };
        Self {
            limits,
            tasks: tasks.child(),
            known: Mutex::default(),
        }
    }

    /// The application at `addr`, which is reached from the address `from`. Called per connection.
    pub(super) fn find(&self, addr: SocketAddr, from: IpAddr) -> Arc<Application> {
        let mut known = self.known.lock();
        if let Some(application) = known.get(&addr) {
            return application.clone();
        }
        let application = Arc::new(Application {
            addr,
            from,
            limits: self.limits,
            tasks: self.tasks.clone(),
            pool: Mutex::default(),
            shared: Mutex::default(),
        });
        // Ports beyond the bound are served too, only without a pool that outlives the connection.
        if known.len() < APPLICATIONS_MAX {
            known.insert(addr, application.clone());
        }
        application
    }

    /// Closes connections that have been idle for too long, for ever.
    pub(crate) async fn run(&self) {
        let mut interval = tokio::time::interval(self.limits.idle.max(Duration::from_millis(100)));
        loop {
            interval.tick().await;
            let known: Vec<_> = self.known.lock().values().cloned().collect();
            for application in known {
                application.sweep();
            }
        }
    }
}

impl Application {
    /// Sends one request and brings back one response; never fails.
    pub(super) async fn call(&self, mut request: Request<Body>) -> Response<Body> {
        if request.version() < Version::HTTP_2 {
            restore::drop_hop_headers(request.headers_mut());
        }
        let original = restore::original(request.headers_mut());
        let result = match &original {
            Some(original) => {
                restore::to_http1(&mut request, original);
                self.call_http1(request).await.map(restore::from_http1)
            }
            None if request.version() == Version::HTTP_2 => self.call_http2(request).await,
            None => self.call_http1(request).await.map(restore::from_http1),
        };
        match result {
            Ok(response) => {
                let mut response = response.map(Body::from);
                restore::drop_proxy_headers(response.headers_mut());
                if original.is_some() {
                    response.headers_mut().insert(ORIG_PROTO, HTTP1);
                }
                response
            }
            Err(error) => error.response(),
        }
    }

    async fn call_http1(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, CallError> {
        loop {
            let (mut sender, reused) = match self.take() {
                Some(sender) => (sender, true),
                None => (self.connect_http1().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.give(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    Some(_unsent) => return Err(CallError::Closed(self.addr)),
                    None => {
                        let source = error.into_error();
                        return Err(CallError::Broken {
                            addr: self.addr,
                            source,
                        });
                    }
                },
            }
        }
    }

    async fn call_http2(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, CallError> {
        for attempt in [Attempt::Shared, Attempt::Fresh] {
            let known = self
                .shared
                .lock()
                .clone()
                .filter(|sender| !sender.is_closed());
            let mut sender = match (known, attempt) {
                (Some(sender), Attempt::Shared) => sender,
                _ => self.connect_http2().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        let source = error.into_error();
                        return Err(CallError::Broken {
                            addr: self.addr,
                            source,
                        });
                    }
                },
            }
        }
        Err(CallError::Closed(self.addr))
    }

    async fn connect(&self) -> Result<TcpStream, CallError> {
        Ok(net::connect_from(self.from, self.addr, self.limits.connect).await?)
    }

    async fn connect_http1(&self) -> Result<http1::SendRequest<Body>, CallError> {
        let io = TokioIo::new(self.connect().await?);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(io)
            .await
            .map_err(|_closed| CallError::Closed(self.addr))?;
        self.tasks.spawn_one("application connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the application failed");
            }
        });
        Ok(sender)
    }

    async fn connect_http2(&self) -> Result<http2::SendRequest<Body>, CallError> {
        let io = TokioIo::new(self.connect().await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(|_closed| CallError::Closed(self.addr))?;
        self.tasks.spawn_one("application connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection to the application failed");
            }
        });
        *self.shared.lock() = Some(sender.clone());
        Ok(sender)
    }

    /// A pooled connection that is free now: the one that has waited longest is the likeliest.
    fn take(&self) -> Option<http1::SendRequest<Body>> {
        let mut pool = self.pool.lock();
        for _probe in 0..PROBES_MAX {
            let pooled = pool.pop_front()?;
            if pooled.sender.is_ready() {
                return Some(pooled.sender);
            }
            if !pooled.sender.is_closed() {
                pool.push_back(pooled);
            }
        }
        None
    }

    /// Gives back a connection whose response has begun; it becomes free when its body has ended.
    fn give(&self, sender: http1::SendRequest<Body>) {
        let mut pool = self.pool.lock();
        if pool.len() < self.limits.idle_max {
            pool.push_back(Pooled {
                sender,
                used: Instant::now(),
            });
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        let idle = self.limits.idle;
        self.pool.lock().retain(|pooled| {
            let free = pooled.sender.is_ready();
            let stale = free && now.duration_since(pooled.used) > idle;
            !stale && !pooled.sender.is_closed()
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum Attempt {
    Shared,
    Fresh,
}

impl CallError {
    fn response(&self) -> Response<Body> {
        let (status, reach) = match self {
            Self::Connect(ConnectError::Timeout { .. }) => {
                (StatusCode::GATEWAY_TIMEOUT, Reach::Unsent)
            }
            Self::Connect(_) | Self::Closed(_) => (StatusCode::BAD_GATEWAY, Reach::Unsent),
            Self::Broken { .. } => (StatusCode::BAD_GATEWAY, Reach::Unknown),
        };
        respond::error(status, &self.to_string(), reach)
    }
}

/// What the header `l5d-orig-proto` of a response says: the application answered in HTTP/1.1.
const HTTP1: HeaderValue = HeaderValue::from_static("HTTP/1.1");
