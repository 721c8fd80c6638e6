//! The names that certificates carry: `<sa>.<ns>.serviceaccount.identity.<control-ns>.<domain>`.
//!
//! Decides how a service account becomes an identity. Knows nothing of certificates.

/// What all identities of one mesh have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// Namespace of the control plane, as every cluster of the mesh calls it.
    pub(crate) control_namespace: String,
    /// Trust domain of the mesh.
    pub(crate) trust_domain: String,
}

impl Scheme {
    /// The identity of a service account of this mesh.
    pub(crate) fn identity(&self, namespace: &str, service_account: &str) -> String {
        format!(
            "{service_account}.{namespace}.serviceaccount.identity.{}.{}",
            self.control_namespace, self.trust_domain
        )
    }
}

/// Splits the user name of a service account, `system:serviceaccount:<ns>:<sa>`.
pub(crate) fn service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    let legal = |text: &str| !text.is_empty() && !text.contains(':');
    (legal(namespace) && legal(name)).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_account_namespace_and_mesh() {
        let scheme = Scheme {
            control_namespace: "tombolo".into(),
            trust_domain: "cluster.local".into(),
        };
        assert_eq!(
            scheme.identity("mc-demo", "default"),
            "default.mc-demo.serviceaccount.identity.tombolo.cluster.local"
        );
    }

    #[test]
    fn only_service_accounts_have_identities() {
        for (user, want) in [
            ("system:serviceaccount:ns:sa", Some(("ns", "sa"))),
            ("system:serviceaccount::sa", None),
            ("system:serviceaccount:ns:", None),
            ("system:serviceaccount:ns:sa:x", None),
            ("system:node:n1", None),
            ("admin", None),
            ("", None),
        ] {
            assert_eq!(service_account(user), want, "{user:?}");
        }
    }
}
