//! The service account tokens of the node's pods: fetched from the API server, renewed in place.
//!
//! A token is bound to its pod and to the audience of the identity service. Its file is readable by its
//! owner only. While the API server is away, the token that is there stays.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::node::NODE_PROXY_UID;
use super::pod::PodSpec;
use crate::pki::write_private;

/// The audience that the identity service accepts.
const AUDIENCE: &str = "identity.l5d.io";
/// How long a token is valid, as Kubernetes projects them.
const LIFE: Duration = Duration::from_secs(3600);
/// When a token is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(2880);
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the API server may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches tokens.
#[derive(Clone)]
pub(super) struct Tokens {
    client: kube::Client,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// Fetches the token of `pod` into `dir`, which is made if need be.
    pub(super) async fn write(&self, pod: &PodSpec, dir: &Path) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("create {}", dir.display()))?;
        let mut spec = json!({ "audiences": [AUDIENCE], "expirationSeconds": LIFE.as_secs() });
        // The node's own proxy is no object that a token could be bound to.
        if pod.uid != NODE_PROXY_UID {
            spec["boundObjectRef"] =
                json!({ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid });
        }
        let request: TokenRequest = serde_json::from_value(json!({ "metadata": {}, "spec": spec }))
            .context("build a token request")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &pod.namespace);
        let (account, params) = (&pod.service_account, PostParams::default());
        let asked = accounts.create_token_request(account, &params, &request);
        let name = || format!("token of service account {}/{account}", pod.namespace);
        let answer = tokio::time::timeout(TIMEOUT, asked)
            .await
            .context("the API server does not answer")
            .with_context(name)?
            .map_err(|error| anyhow::anyhow!("{}: {}", name(), brief(&error)))?;
        let token = answer
            .status
            .context("an answer without a token")
            .with_context(name)?
            .token
            .context("an answer without a token")
            .with_context(name)?;
        write_private(&dir.join("token"), token.as_bytes())
    }

    /// Renews the token in `dir` for ever.
    pub(super) async fn renew(&self, pod: &PodSpec, dir: &Path) {
        let mut wait = RENEW_AFTER;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.write(pod, dir).await {
                Ok(()) => RENEW_AFTER,
                Err(error) => {
                    tracing::warn!(
                        pod = pod.key(),
                        error = format!("{error:#}"),
                        "token not renewed"
                    );
                    RETRY
                }
            };
        }
    }
}

/// What an API server says, once: kube's own text has it three times.
pub(super) fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
