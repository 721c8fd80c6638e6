//! The cluster's own certificate authority and everything that it signs.
//!
//! Decides names, lifetimes and usages of the server's, the clients' and the node agent's certificates, and how they
//! lie on disk. Keys that others rely on across a restart (the authority's, the token signer's, the log server's) are
//! kept; leaves of this process are made anew at each start, since the authority that vouches for them stays.
//! Must not know HTTP or the store. Start at [`Pki::open`].

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::pem::parse_x509_pem;

mod kubeconfig;

pub use kubeconfig::Kubeconfig;

/// The TLS name under which the API server dials a node agent's log server, whatever its address.
pub const KUBELET_SERVER_NAME: &str = "kubelet";
/// Common name and DNS name of the certificate that the API server presents to a node agent.
pub const KUBELET_CLIENT_NAME: &str = "kube-apiserver-kubelet-client";
/// The user of the node agent's client certificate.
pub const AGENT_USER: &str = "system:node:agent";

const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
const BACKDATE: Duration = Duration::from_secs(3600);

/// A certificate with its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate, followed by nothing: the authority is the anchor.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// What a client certificate says about its holder.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user name (common name).
    pub user: &'a str,
    /// The user's group (organization), if any.
    pub group: Option<&'a str>,
}

/// The certificate authority of one cluster.
pub struct Pki {
    dir: Option<PathBuf>,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
    token_key_pem: String,
    now: Timestamp,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys are nobody's business.
        f.debug_struct("Pki")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads the authority from `dir`, or makes one and keeps it there; without a directory it lives as long as this value.
    ///
    /// # Errors
    /// When the directory cannot be used or holds something that is no authority: an authority that clients trust is
    /// never replaced by another.
    pub fn open(dir: Option<&Path>, now: Timestamp) -> anyhow::Result<Self> {
        if let Some(dir) = dir {
            let mut private = std::fs::DirBuilder::new();
            private.recursive(true).mode(0o700);
            private
                .create(dir)
                .with_context(|| format!("create the directory {}", dir.display()))?;
        }
        let (key, ca_pem) = authority(dir, now)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).context("use the authority")?;
        let token_key_pem = kept(dir, "sa.key", || Ok(new_key()?.serialize_pem()))?;
        Ok(Self {
            dir: dir.map(Path::to_path_buf),
            ca_pem,
            issuer,
            token_key_pem,
            now,
        })
    }

    /// The authority's certificate: what clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key that signs service account tokens (PKCS#8, P-256).
    pub fn token_key_pem(&self) -> &str {
        &self.token_key_pem
    }

    /// A certificate for this API server, valid for `addresses` and `names`.
    ///
    /// # Errors
    /// When a name is no DNS name.
    pub fn server(&self, addresses: &[IpAddr], names: &[String]) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(names.to_vec()).context("name the server")?;
        params
            .subject_alt_names
            .extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        self.leaf(
            params,
            Subject {
                user: "kube-apiserver",
                group: None,
            },
            &SERVER,
        )
    }

    /// A client certificate for a user.
    ///
    /// # Errors
    /// When the subject cannot be encoded.
    pub fn client(&self, subject: Subject<'_>) -> anyhow::Result<Leaf> {
        self.leaf(CertificateParams::default(), subject, &CLIENT)
    }

    /// Whether a client's certificate of this authority says this of its holder, for more than half of its life yet.
    pub fn is_fresh(&self, leaf: &Leaf, subject: Subject<'_>) -> bool {
        let Ok((_, block)) = parse_x509_pem(leaf.cert_pem.as_bytes()) else {
            return false;
        };
        let Ok(parsed) = block.parse_x509() else {
            return false;
        };
        let name = parsed.subject();
        let user = name.iter_common_name().next();
        let group = name.iter_organization().next();
        let half = i64::try_from(LEAF_LIFE.as_secs() / 2).unwrap_or(i64::MAX);
        let left = parsed.validity().not_after.timestamp() - self.now.as_second();
        left > half
            && user.and_then(|user| user.as_str().ok()) == Some(subject.user)
            && group.and_then(|group| group.as_str().ok()) == subject.group
    }

    /// The certificate with which the API server calls the node agent's log server.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubelet_client(&self) -> anyhow::Result<Leaf> {
        let params = CertificateParams::new(vec![KUBELET_CLIENT_NAME.to_owned()])?;
        let subject = Subject {
            user: KUBELET_CLIENT_NAME,
            group: Some("system:masters"),
        };
        self.leaf(params, subject, &CLIENT)
    }

    /// Writes the log server's certificate and key for the node agent, once.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn write_kubelet_server(&self) -> anyhow::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if dir.join("kubelet.crt").exists() && dir.join("kubelet.key").exists() {
            return Ok(());
        }
        let params = CertificateParams::new(vec![KUBELET_SERVER_NAME.to_owned()])?;
        let leaf = self.leaf(
            params,
            Subject {
                user: AGENT_USER,
                group: None,
            },
            &SERVER,
        )?;
        write_private(&dir.join("kubelet.key"), &leaf.key_pem)?;
        write_private(&dir.join("kubelet.crt"), &leaf.cert_pem)
    }

    fn leaf(
        &self,
        mut params: CertificateParams,
        subject: Subject<'_>,
        usage: &Usage,
    ) -> anyhow::Result<Leaf> {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, subject.user);
        if let Some(group) = subject.group {
            name.push(DnType::OrganizationName, group);
        }
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage.purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, self.now, LEAF_LIFE);
        let key = new_key()?;
        let cert = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {}", subject.user))?;
        Ok(Leaf {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

struct Usage {
    purpose: ExtendedKeyUsagePurpose,
}

const SERVER: Usage = Usage {
    purpose: ExtendedKeyUsagePurpose::ServerAuth,
};
const CLIENT: Usage = Usage {
    purpose: ExtendedKeyUsagePurpose::ClientAuth,
};

fn new_key() -> anyhow::Result<KeyPair> {
    KeyPair::generate().context("make a P-256 key")
}

/// The authority's key and certificate: both as they lie in the directory, or both made and laid there.
fn authority(dir: Option<&Path>, now: Timestamp) -> anyhow::Result<(KeyPair, String)> {
    let Some(dir) = dir else {
        let key = new_key()?;
        let ca_pem = authority_of(&key, now)?;
        return Ok((key, ca_pem));
    };
    let (key_path, ca_path) = (dir.join("ca.key"), dir.join("ca.crt"));
    let lost = |there: &Path, lost: &Path| {
        anyhow::anyhow!(
            "{} is missing, but {} is there: put it back, or remove both for a new authority, which no client trusts",
            lost.display(),
            there.display()
        )
    };
    match (present(&key_path)?, present(&ca_path)?) {
        (Some(key_pem), Some(ca_pem)) => {
            let key = KeyPair::from_pem(&key_pem)
                .with_context(|| format!("read the authority's key {}", key_path.display()))?;
            let public = public_key(&ca_pem).with_context(|| {
                format!("read the authority's certificate {}", ca_path.display())
            })?;
            anyhow::ensure!(
                key.public_key_raw() == public,
                "the key {} is not that of the certificate {}",
                key_path.display(),
                ca_path.display()
            );
            Ok((key, ca_pem))
        }
        (None, None) => {
            let key = new_key()?;
            let ca_pem = authority_of(&key, now)?;
            write_private(&key_path, &key.serialize_pem())?;
            write_private(&ca_path, &ca_pem)?;
            Ok((key, ca_pem))
        }
        (Some(_), None) => Err(lost(&key_path, &ca_path)),
        (None, Some(_)) => Err(lost(&ca_path, &key_path)),
    }
}

/// The public key that a certificate is about.
fn public_key(pem: &str) -> anyhow::Result<Vec<u8>> {
    let (_, block) = parse_x509_pem(pem.as_bytes())?;
    let parsed = block.parse_x509()?;
    Ok(parsed.public_key().subject_public_key.data.to_vec())
}

fn authority_of(key: &KeyPair, now: Timestamp) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "kubernetes");
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    validity(&mut params, now, AUTHORITY_LIFE);
    Ok(params
        .self_signed(key)
        .context("sign the authority's certificate")?
        .pem())
}

fn validity(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = now - BACKDATE;
    params.not_after = now + life;
}

/// The file's content, or what `make` gives, which is then kept in that file.
fn kept(
    dir: Option<&Path>,
    name: &str,
    make: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let Some(dir) = dir else { return make() };
    let path = dir.join(name);
    if let Some(text) = present(&path)? {
        return Ok(text);
    }
    let text = make()?;
    write_private(&path, &text)?;
    Ok(text)
}

/// The file's content, if there is one.
fn present(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Writes a file that only its owner may read, so that no reader ever sees half of it.
///
/// # Errors
/// When the directory does not exist or cannot be written.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut name = path
        .file_name()
        .context("a path that names a file")?
        .to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_and_token_key_survive_a_restart_and_leaves_do_not_need_to() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let first = Pki::open(Some(dir.path()), now).unwrap();
        first.write_kubelet_server().unwrap();
        let kubelet = std::fs::read_to_string(dir.path().join("kubelet.crt")).unwrap();
        let second = Pki::open(Some(dir.path()), now).unwrap();
        second.write_kubelet_server().unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.token_key_pem(), second.token_key_pem());
        assert_eq!(
            kubelet,
            std::fs::read_to_string(dir.path().join("kubelet.crt")).unwrap()
        );
        let subject = Subject {
            user: "a",
            group: None,
        };
        assert_ne!(
            first.client(subject).unwrap(),
            second.client(subject).unwrap()
        );
    }

    #[test]
    fn authority_that_is_not_whole_names_the_file_and_is_not_replaced() {
        let foreign = || new_key().unwrap().serialize_pem();
        let garbage = || "garbage".to_owned();
        for (name, content, words) in [
            ("ca.key", Some(garbage()), "read the authority's key"),
            ("ca.key", Some(foreign()), "is not that of the certificate"),
            ("ca.key", None, "ca.key is missing"),
            (
                "ca.crt",
                Some(garbage()),
                "read the authority's certificate",
            ),
            ("ca.crt", None, "ca.crt is missing"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            Pki::open(Some(dir.path()), Timestamp::now()).unwrap();
            let path = dir.path().join(name);
            match &content {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let error = Pki::open(Some(dir.path()), Timestamp::now()).unwrap_err();
            let error = format!("{error:#}");
            let path_text = path.display().to_string();
            assert!(
                error.contains(words) && error.contains(&path_text),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).ok(), content);
        }
    }

    #[test]
    fn keys_are_readable_by_the_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        Pki::open(Some(dir.path()), Timestamp::now()).unwrap();
        let mode = std::fs::metadata(dir.path().join("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn certificate_in_a_kubeconfig_is_kept_for_half_of_its_life() {
        let now = Timestamp::now();
        let mut pki = Pki::open(None, now).unwrap();
        let subject = |user, group| Subject { user, group };
        let ann = subject("ann", Some("staff"));
        let leaf = pki.client(ann).unwrap();
        let file = Kubeconfig {
            cluster: "c",
            user: "u",
            server: "https://127.0.0.1:1",
            ca_pem: pki.ca_pem(),
            leaf: &leaf,
        };
        assert_eq!(Leaf::in_kubeconfig(&file.to_yaml()), Some(leaf.clone()));
        assert_eq!(Leaf::in_kubeconfig("garbage"), None);
        assert!(pki.is_fresh(&leaf, ann));
        for other in [subject("ben", Some("staff")), subject("ann", None)] {
            assert!(!pki.is_fresh(&leaf, other), "{other:?}");
        }
        pki.now = now + jiff::SignedDuration::from_hours(24 * 200);
        assert!(!pki.is_fresh(&leaf, ann));
    }
}
