//! One admitted request: sends it to the part that answers it, within the bounds of what runs at once.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::access::{self, method_not_allowed, no_such_resource};
use super::body::{self, Body, Syntax, Wants};
use super::negotiate::{self, Accept, Form};
use super::query::Query;
use super::route::Route;
use super::server::ApiServer;
use super::{connect, documents, logs, objects, options, respond, reviews, subresources, watch};
use crate::auth::User;
use crate::db::{DryRun, Target, WriteOptions};
use crate::error::StatusError;
use crate::rbac::Attributes;
use crate::registry::{Resource, builtin_groups};
use crate::schema;
use crate::store::request::Warnings;

/// An admitted request.
pub(super) struct Call {
    pub(super) server: Arc<ApiServer>,
    pub(super) user: User,
    pub(super) route: Route,
    pub(super) query: Query,
    pub(super) accept: Accept,
    pub(super) parts: Parts,
    /// What the client is warned of, whatever the answer.
    pub(super) warnings: Warnings,
    /// The body's value, if it was parsed already.
    pub(super) ahead: Option<Result<Value, String>>,
}

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, StatusError>;

impl Call {
    pub(super) fn wants_body(&self) -> Wants {
        match self.route.attributes.verb.as_str() {
            "create" | "update" | "patch" | "delete" | "deletecollection" => Wants::Body,
            _ => Wants::Nothing,
        }
    }

    /// Answers; a refusal is an answer.
    pub(super) async fn answer(mut self, bytes: Bytes) -> Response<Body> {
        let answer = match self.settle() {
            Ok(()) => {
                self.ahead = body::ahead(&bytes, self.content_type()).await;
                self.dispatch(bytes).await
            }
            Err(error) => Err(error),
        };
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => respond::refusal(&error, self.refusal_syntax()),
        };
        for warning in self.warnings.take() {
            respond::warn(&mut response, &warning);
        }
        response
    }

    fn accepted(&self) -> Option<&str> {
        let header = self.parts.headers.get(ACCEPT);
        header.and_then(|value| value.to_str().ok())
    }

    /// Custom kinds have no form in protobuf: another clause of the client's decides.
    fn settle(&mut self) -> Result<(), StatusError> {
        let named = !self.route.attributes.resource.is_empty();
        if named
            && self.accept.syntax == Syntax::Protobuf
            && self.resource().is_ok_and(|res| res.custom)
        {
            let place = access::place(&self.route);
            self.accept = negotiate::accept_custom(self.accepted(), place)?;
        }
        Ok(())
    }

    /// A refusal is no table, whatever was asked for.
    fn refusal_syntax(&self) -> Syntax {
        match self.accept.form {
            Form::Table | Form::Metadata | Form::MetadataList => negotiate::syntax(self.accepted()),
            _ => self.accept.syntax,
        }
    }

    async fn dispatch(&self, bytes: Bytes) -> Answer {
        let Attributes {
            verb,
            resource,
            subresource,
            ..
        } = &self.route.attributes;
        if resource.is_empty() {
            return documents::answer(self);
        }
        let long = verb == "watch" || subresource == "log";
        let bound = if long {
            &self.server.watches
        } else {
            &self.server.requests
        };
        let permit = Arc::clone(bound)
            .try_acquire_owned()
            .map_err(|_full| StatusError::too_many())?;
        if reviews::is_review(&self.route.attributes) {
            return reviews::answer(self, &bytes);
        }
        let res = match self.resource() {
            Err(error) if error.code == 404 && !is_built_in(&self.route.attributes.group) => {
                return Ok(respond::text(StatusCode::NOT_FOUND, "404 page not found\n"));
            }
            other => other?,
        };
        if subresource.is_empty() && !res.allows(verb) {
            return Err(method_not_allowed());
        }
        if let Some(warning) = &res.deprecation {
            self.warnings.add(warning);
        }
        match (verb.as_str(), subresource.as_str()) {
            ("watch", "") => watch::answer(self, &res, permit),
            ("get", "log") if !res.custom => logs::answer(self, &res, permit).await,
            (_, sub) if connect::is_connection(sub) && res.subresources.others.contains(&sub) => {
                connect::answer(self, &res)
            }
            (_, "") => objects::answer(self, &res, &bytes).await,
            _ => subresources::answer(self, &res, &bytes).await,
        }
    }

    /// The resource that the path names, asked for where its scope allows.
    fn resource(&self) -> Result<Arc<Resource>, StatusError> {
        let Attributes {
            group,
            version,
            resource,
            namespace,
            name,
            verb,
            ..
        } = &self.route.attributes;
        let registry = self.server.db.registry();
        let res = registry
            .find(group, version, resource)
            .ok_or_else(no_such_resource)?;
        // The path of a namespace itself names it as if it were in itself.
        let itself =
            group.is_empty() && resource == "namespaces" && namespace.as_deref() == Some(name);
        let in_namespace = namespace.is_some() && !itself;
        let nowhere = res.is_namespaced() && namespace.is_none();
        if (nowhere && !name.is_empty()) || (!res.is_namespaced() && in_namespace) {
            return Err(no_such_resource());
        }
        let all = verb == "deletecollection";
        // Namespaces go one by one.
        if (nowhere && (all || verb == "create"))
            || (all && resource == "namespaces" && !res.custom)
        {
            return Err(method_not_allowed());
        }
        Ok(res)
    }

    /// The namespace, for the store: none for cluster-scoped resources.
    pub(super) fn namespace<'a>(&'a self, res: &Resource) -> Option<&'a str> {
        if res.is_namespaced() {
            self.route.attributes.namespace.as_deref()
        } else {
            None
        }
    }

    /// The time by the server's clock.
    pub(super) fn time(&self) -> Timestamp {
        (self.server.clock)()
    }

    /// The object that the path names.
    pub(super) fn target<'a>(&'a self, res: &'a Arc<Resource>) -> Target<'a> {
        Target::new(res, self.namespace(res), &self.route.attributes.name)
    }

    pub(super) fn content_type(&self) -> &str {
        let header = self.parts.headers.get(CONTENT_TYPE);
        header
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body's value, in the syntax that it claims; else what is wrong with it.
    pub(super) fn parsed(&self, bytes: &[u8]) -> Result<Value, String> {
        let syntax = body::syntax(self.content_type()).map_err(|error| error.message)?;
        self.parsed_as(bytes, syntax)
    }

    /// The body's value.
    pub(super) fn parsed_as(&self, bytes: &[u8], syntax: Syntax) -> Result<Value, String> {
        match &self.ahead {
            Some(parsed) => parsed.clone(),
            None => body::parse(bytes, syntax),
        }
    }

    /// Makes a body typed as its resource says.
    pub(super) fn read(
        &self,
        res: &Resource,
        value: &mut Value,
        bytes: &[u8],
    ) -> Result<(), StatusError> {
        let reading = schema::Reading {
            res,
            validation: self.write_options()?.validation,
            warnings: &self.warnings,
            lines: match body::syntax(self.content_type()) {
                Ok(Syntax::Yaml) => body::yaml::duplicates(bytes),
                _ => Vec::new(),
            },
        };
        schema::read(reading, value, bytes)
    }

    /// `fieldManager`, `dryRun`, `force` and `fieldValidation`.
    pub(super) fn write_options(&self) -> Result<WriteOptions, StatusError> {
        options::write(self)
    }

    /// Whether to pretend only.
    pub(super) fn dry_run(&self) -> Result<DryRun, StatusError> {
        Ok(options::write(self)?.dry_run)
    }

    /// Under which name written fields are owned.
    pub(super) fn manager(&self) -> &str {
        let named = self.query.text("fieldManager");
        named.unwrap_or_else(|| self.agent())
    }

    /// The program that asks: the manager of fields if it names none.
    fn agent(&self) -> &str {
        let header = self
            .parts
            .headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok());
        let agent = header
            .unwrap_or_default()
            .split('/')
            .next()
            .unwrap_or_default();
        match agent.char_indices().nth(128) {
            _ if agent.is_empty() => "unknown",
            Some((end, _)) => &agent[..end],
            None => agent,
        }
    }
}

/// Whether a group is Kubernetes' own: of others, what is not served does not exist at all.
pub(super) fn is_built_in(group: &str) -> bool {
    builtin_groups().iter().any(|known| known.name == group)
}
