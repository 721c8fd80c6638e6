//! Who this process is, and whom it believes.
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::watch;
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{Anchors, ClientCertificate, ClientTls, LiveCredentials, ServerTls};

use crate::args::Args;
use crate::identity::issuer::Issuer;
use crate::identity::name::Scheme;
use crate::identity::own::{self, Files};

/// Who this process is, and whom it believes.
pub(super) struct Trust {
    anchors: Anchors,
    /// What certifies others.
    pub(super) issuer: watch::Receiver<Arc<Issuer>>,
    credentials: LiveCredentials,
}

impl Trust {
    /// None with `--plaintext`: there is nobody to be, and nobody to believe.
    pub(super) async fn establish(
        args: &Args,
        scheme: &Scheme,
        tasks: &Tasks,
    ) -> anyhow::Result<Option<Self>> {
        if args.plaintext {
            return Ok(None);
        }
        let files = Files {
            anchors: needed(args.trust_anchors.as_deref(), "--trust-anchors")?.to_owned(),
            certificate: needed(args.issuer_cert.as_deref(), "--issuer-cert")?.to_owned(),
            key: needed(args.issuer_key.as_deref(), "--issuer-key")?.to_owned(),
        };
        let contents = files.read().await?;
        let issuer = contents.issuer(Timestamp::now()).with_context(|| {
            format!(
                "the issuer in {} cannot be used",
                files.certificate.display()
            )
        })?;
        let anchors = Anchors::from_pem(contents.anchors()).with_context(|| {
            format!(
                "the trust anchors in {} cannot be used",
                files.anchors.display()
            )
        })?;
        let identity = scheme.identity(&args.namespace, &args.service_account);
        let (own, valid_until) = own::certify(&identity, &issuer)?;
        let (issuer, issued) = watch::channel(Arc::new(issuer));
        let (live, credentials) = watch::channel(Some(Arc::new(own)));
        tasks.spawn("issuer files", own::follow(files, contents, issuer));
        tasks.spawn(
            "own certificate",
            own::renew(identity, valid_until, issued.clone(), live),
        );
        Ok(Some(Self {
            anchors,
            issuer: issued,
            credentials,
        }))
    }

    /// How gateways are asked.
    pub(super) fn client(&self) -> ClientTls {
        ClientTls::new(self.anchors.clone(), self.credentials.clone(), &[])
    }

    /// For callers who may have no certificate yet.
    pub(super) fn for_anybody(&self) -> ServerTls {
        self.server(ClientCertificate::Optional(self.anchors.clone()))
    }

    /// For callers of the mesh.
    pub(super) fn for_the_mesh(&self) -> ServerTls {
        self.server(ClientCertificate::Required(self.anchors.clone()))
    }

    fn server(&self, client: ClientCertificate) -> ServerTls {
        ServerTls::new(client, self.credentials.clone(), &[b"h2"])
    }
}

fn needed<'a>(file: Option<&'a Path>, flag: &str) -> anyhow::Result<&'a Path> {
    file.with_context(|| format!("{flag} is missing (only --plaintext needs none)"))
}
