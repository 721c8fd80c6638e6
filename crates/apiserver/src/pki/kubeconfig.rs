//! The text of a kubeconfig: one cluster, one user, one context, everything inline. Knows no cluster and no disk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Leaf;

/// What a kubeconfig for one cluster and one user says.
#[derive(Clone, Copy, Debug)]
pub struct Kubeconfig<'a> {
    /// Name of the cluster and of the context.
    pub cluster: &'a str,
    /// Name of the user entry.
    pub user: &'a str,
    /// `https://ADDRESS:PORT`.
    pub server: &'a str,
    /// The authority's certificate, PEM.
    pub ca_pem: &'a str,
    /// The client's certificate and key.
    pub leaf: &'a Leaf,
}

impl Leaf {
    /// The client's certificate and key in a kubeconfig that [`Kubeconfig::to_yaml`] has made.
    pub fn in_kubeconfig(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let found = |line: &str| {
                line.trim_start()
                    .strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(str::to_owned)
            };
            let bytes = STANDARD.decode(text.lines().find_map(found)?).ok()?;
            String::from_utf8(bytes).ok()
        };
        Some(Self {
            cert_pem: field("client-certificate-data")?,
            key_pem: field("client-key-data")?,
        })
    }
}

impl Kubeconfig<'_> {
    /// The file's text.
    pub fn to_yaml(&self) -> String {
        let Kubeconfig {
            cluster,
            user,
            server,
            ca_pem,
            leaf,
        } = self;
        let (ca, cert, key) = (
            STANDARD.encode(ca_pem),
            STANDARD.encode(&leaf.cert_pem),
            STANDARD.encode(&leaf.key_pem),
        );
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: \"{cluster}\"\npreferences: {{}}\n\
             clusters:\n- name: \"{cluster}\"\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\n\
             contexts:\n- name: \"{cluster}\"\n  context:\n    cluster: \"{cluster}\"\n    user: \"{user}\"\n\
             users:\n- name: \"{user}\"\n  user:\n    client-certificate-data: {cert}\n    \
             client-key-data: {key}\n"
        )
    }
}
