//! TLS as the API server speaks it: server with optional client certificates, client towards the nodes' log servers.
//!
//! A client certificate that does not hold does not end the handshake: as in Kubernetes its bearer is told with a
//! 401 that he is nobody. That he holds its key is checked in any case. Must not know HTTP.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::auth::{Certificate, certificate};
use crate::pki::Leaf;

/// The server's side.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ServerTls {
    /// Serves with this certificate, and believes client certificates of this authority.
    ///
    /// # Errors
    /// When the PEM texts are no certificates and keys.
    pub fn new(leaf: &Leaf, ca_pem: &str) -> anyhow::Result<Self> {
        let provider = provider();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), provider.clone())
                .allow_unauthenticated()
                .build()
                .context("trust the authority for client certificates")?;
        let (chain, key) = identity(leaf)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choose versions of TLS")?
            .with_client_cert_verifier(Arc::new(Lenient(verifier.clone())))
            .with_single_cert(chain, key)
            .context("use the server's certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            verifier,
        })
    }

    /// What an acceptor is made from.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What the certificates say that a peer has shown.
    pub fn certificate(&self, shown: Option<&[CertificateDer<'_>]>) -> Certificate {
        let Some((end, intermediates)) = shown.and_then(<[_]>::split_first) else {
            return Certificate::Absent;
        };
        match self
            .verifier
            .verify_client_cert(end, intermediates, UnixTime::now())
        {
            Ok(_verified) => certificate::user(end).map_or(Certificate::Refused, Certificate::Of),
            Err(error) => {
                tracing::debug!(%error, "client certificate refused");
                Certificate::Refused
            }
        }
    }
}

/// The client's side: presents `leaf`, believes servers of this authority.
///
/// # Errors
/// When the PEM texts are no certificates and keys.
pub fn client(leaf: &Leaf, ca_pem: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let (chain, key) = identity(leaf)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("choose versions of TLS")?
        .with_root_certificates(roots(ca_pem)?)
        .with_client_auth_cert(chain, key)
        .context("use the client's certificate")?;
    Ok(Arc::new(config))
}

/// The client's side towards a server that shows a certificate of one of these authorities.
///
/// # Errors
/// When TLS cannot be had.
pub(crate) fn webhooks(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("choose versions of TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The authorities of a PEM text; what of it is none is passed over.
pub(crate) fn bundle(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    roots.add_parsable_certificates(found);
    roots
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca_pem: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(cert.context("read the authority's certificate")?)?;
    }
    Ok(roots)
}

fn identity(leaf: &Leaf) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(leaf.cert_pem.as_bytes())
        .collect::<Result<_, _>>()
        .context("read a certificate")?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).context("read a key")?;
    Ok((chain, key))
}

/// Takes any certificate whose key the peer holds; whether it means anything is asked afterwards.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
