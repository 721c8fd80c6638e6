//! One peer's connection: who it is, where its requests go, and whether they may.
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use tower::ServiceExt;

use super::application::Application;
use super::gateway::Route;
use super::policy::Policy;
use crate::admin::infallible;
use crate::body::Body;
use crate::respond::{self, CLIENT_ID, Reach};
use crate::serve::Handler;
use crate::stats::SideStats;

/// The largest answer of the admin port to a peer, in bytes.
const ADMIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One peer's connection.
pub(super) struct Session {
    pub(super) way: Way,
    pub(super) client: Arc<str>,
    pub(super) client_id: HeaderValue,
    pub(super) peer: IpAddr,
    pub(super) policy_port: u16,
    pub(super) policy: Arc<Policy>,
    pub(super) stats: SideStats,
}

/// Where the requests of a connection go.
pub(super) enum Way {
    /// To the application beside this proxy.
    Application(Arc<Application>),
    /// Through this gateway.
    Gateway(Route),
    /// To the admin port.
    Admin(axum::Router),
}

impl Handler for Session {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let Some(_flight) = self.stats.begin() else {
            let reason = "too many requests are under way in this proxy";
            return respond::error(StatusCode::SERVICE_UNAVAILABLE, reason, Reach::Unsent);
        };
        let response = if self.policy.admits(&self.client, self.peer) {
            self.forward(request).await
        } else {
            let reason = format!("{} may not reach port {}", self.client, self.policy_port);
            respond::error(StatusCode::FORBIDDEN, &reason, Reach::Unknown)
        };
        self.stats.answered(response.status());
        response
    }
}

impl Session {
    async fn forward(&self, mut request: Request<Body>) -> Response<Body> {
        match &self.way {
            Way::Application(application) => {
                request
                    .headers_mut()
                    .insert(CLIENT_ID, self.client_id.clone());
                application.call(request).await
            }
            Way::Gateway(route) => route.call(request, &self.client).await,
            Way::Admin(router) => admin(router.clone(), request).await,
        }
    }
}

/// A peer's view of the admin port: what it asks with its body is nothing.
async fn admin(router: axum::Router, request: Request<Body>) -> Response<Body> {
    let request = request.map(|_body| axum::body::Body::empty());
    let response = infallible(router.oneshot(request).await);
    let (head, body) = response.into_parts();
    match axum::body::to_bytes(body, ADMIN_BYTES_MAX).await {
        Ok(bytes) => Response::from_parts(head, Body::whole(bytes)),
        Err(error) => {
            let reason = format!("the admin port failed: {error}");
            respond::error(StatusCode::INTERNAL_SERVER_ERROR, &reason, Reach::Unknown)
        }
    }
}
