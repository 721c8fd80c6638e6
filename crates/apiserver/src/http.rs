//! The Kubernetes API over HTTP, as a tower service: connections, TLS and addresses are [`crate::serve`]'s.
//!
//! One request is: who asks ([`crate::auth`]), what is asked ([`route`]), may he ([`crate::rbac`]), and only then its
//! body is read and the store, a review or a document answers. Every refusal is a `Status`. Start at [`ApiService`].

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

use crate::auth::Certificate;

mod access;
mod body;
mod call;
mod components;
mod compress;
mod connect;
mod documents;
mod evict;
mod facts;
mod guard;
mod health;
mod list;
mod logs;
mod metrics;
mod negotiate;
mod objects;
mod options;
mod packed;
mod protobuf;
mod query;
mod respond;
mod reviews;
mod route;
mod scale;
mod server;
mod subresources;
mod tokens;
mod typed;
mod watch;
mod yaml;

pub use body::Body;
pub use logs::Kubelets;
pub use server::{ApiServer, Parts};

/// The API as one user, or one connection, sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiService {
    server: Arc<ApiServer>,
    certificate: Arc<Certificate>,
}

impl ApiService {
    /// Serves a connection with this client certificate.
    pub fn new(server: Arc<ApiServer>, certificate: Certificate) -> Self {
        Self {
            server,
            certificate: Arc::new(certificate),
        }
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _ctx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self {
            server,
            certificate,
        } = self.clone();
        let (parts, body) = request.into_parts();
        let header = parts.headers.get(http::header::ACCEPT);
        let syntax = negotiate::syntax(header.and_then(|value| value.to_str().ok()));
        let pretty = negotiate::is_for_people(&parts);
        Box::pin(async move {
            let counted = Arc::clone(&server);
            let mut verb = "";
            let response = match access::admit(server, &certificate, parts) {
                Ok(call) => {
                    let server = Arc::clone(&call.server);
                    let user = call.user.name.clone();
                    match body::read(body, call.wants_body(), (&server.bodies, &user)).await {
                        Ok((bytes, _share)) => {
                            verb = metrics::verb(&call.route.attributes.verb);
                            let packing = compress::Packing::of(&call);
                            let room = (&server.answers, user.as_str());
                            let response = call.answer(bytes).await;
                            let response = respond::shown(response, pretty);
                            let response = respond::within(response, room, syntax);
                            packing.apply(response, room).await
                        }
                        Err(error) => respond::shown(respond::refusal(&error, syntax), pretty),
                    }
                }
                Err(error) => respond::shown(respond::refusal(&error, syntax), pretty),
            };
            counted.counts.add(verb, response.status());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests;
