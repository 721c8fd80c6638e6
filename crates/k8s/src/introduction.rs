//! Secrets that make a cluster known to discovery alone, as Linkerd's destination service reads them: with
//! the cluster's name as label and its domains as annotations. Which namespaces they count in is not decided here.
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use tombolo_core::link::Fault;

use crate::credentials::{self, Credentials};
use crate::names::{SECRET_CLUSTER_DOMAIN, SECRET_CLUSTER_NAME, SECRET_TRUST_DOMAIN};

/// A cluster that a Secret makes known.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Its trust domain.
    pub trust_domain: String,
    /// Its DNS domain.
    pub cluster_domain: String,
    /// How to reach it.
    pub credentials: Credentials,
}

/// The name of the cluster that a Secret is about, if it is about one.
#[must_use]
pub fn cluster(secret: &Secret) -> Option<&str> {
    let labels = secret.metadata.labels.as_ref()?;
    let name = labels.get(SECRET_CLUSTER_NAME)?;
    (!name.is_empty()).then_some(name.as_str())
}

/// Reads such a Secret.
///
/// # Errors
/// Names the Secret and its fields: all that can be found wrong at once.
pub fn read(secret: &Secret, now: Timestamp) -> Result<Introduction, Vec<Fault>> {
    let metadata = &secret.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let annotation = |key: &str| {
        let value = metadata.annotations.as_ref()?.get(key)?;
        (!value.is_empty()).then(|| value.clone())
    };
    let missing = |key: &str| Fault {
        object: format!("Secret {namespace}/{name}"),
        field: format!("metadata.annotations[{key:?}]"),
        why: "is empty".to_owned(),
    };
    let (trust_domain, cluster_domain) = (
        annotation(SECRET_TRUST_DOMAIN).ok_or_else(|| missing(SECRET_TRUST_DOMAIN)),
        annotation(SECRET_CLUSTER_DOMAIN).ok_or_else(|| missing(SECRET_CLUSTER_DOMAIN)),
    );
    match (trust_domain, cluster_domain, credentials::read(secret, now)) {
        (Ok(trust_domain), Ok(cluster_domain), Ok(credentials)) => Ok(Introduction {
            trust_domain,
            cluster_domain,
            credentials,
        }),
        (trust_domain, cluster_domain, credentials) => {
            let mut faults = credentials.err().unwrap_or_default();
            faults.extend(trust_domain.err());
            faults.extend(cluster_domain.err());
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(change: impl Fn(&mut Value)) -> Secret {
        let mut value = json!({
            "metadata": {
                "namespace": "linkerd", "name": "remote-cluster-credentials",
                "labels": { SECRET_CLUSTER_NAME: "remote" },
                "annotations": {
                    SECRET_TRUST_DOMAIN: "identity.org", SECRET_CLUSTER_DOMAIN: "cluster.local",
                },
            },
            "type": "mirror.linkerd.io/remote-kubeconfig",
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_secret_without_the_label_is_about_no_cluster() {
        assert_eq!(cluster(&secret(|_| ())), Some("remote"));
        assert_eq!(
            cluster(&secret(|s| s["metadata"]["labels"] = json!({}))),
            None
        );
        let empty = secret(|s| s["metadata"]["labels"][SECRET_CLUSTER_NAME] = "".into());
        assert_eq!(cluster(&empty), None);
    }

    #[test]
    fn what_is_missing_is_named_all_at_once() {
        let bare = secret(|s| s["metadata"]["annotations"] = json!({}));
        let faults = read(&bare, Timestamp::UNIX_EPOCH).unwrap_err();
        let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
        for part in ["kubeconfig", SECRET_TRUST_DOMAIN, SECRET_CLUSTER_DOMAIN] {
            assert!(text.iter().any(|t| t.contains(part)), "{part}: {text:?}");
        }
    }
}
