//! The names that certificates carry: `<sa>.<ns>.serviceaccount.identity.<control-ns>.<domain>`.
//!
//! Decides how a service account becomes an identity. Knows nothing of certificates.

/// What all identities of one mesh have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// Namespace of the control plane, as every cluster of the mesh calls it.
    pub(crate) control_namespace: String,
    /// Namespace of a Linkerd under the same trust anchors, whose pods belong to the mesh too.
    pub(crate) linkerd_namespace: String,
    /// Trust domain of the mesh.
    pub(crate) trust_domain: String,
}

impl Scheme {
    /// The identity of a service account of this mesh.
    pub(crate) fn identity(&self, namespace: &str, service_account: &str) -> String {
        self.identity_by(&self.control_namespace, (namespace, service_account))
    }

    /// The identity of a service account whose pods have a proxy of the control plane in `control`.
    pub(crate) fn identity_by(
        &self,
        control: &str,
        (namespace, service_account): (&str, &str),
    ) -> String {
        let domain = &self.trust_domain;
        format!("{service_account}.{namespace}.serviceaccount.identity.{control}.{domain}")
    }

    /// Whether pods with a proxy of the control plane in `control` belong to this mesh.
    pub(crate) fn includes(&self, control: &str) -> bool {
        control == self.control_namespace || control == self.linkerd_namespace
    }

    /// The same in a cluster whose trust domain is another.
    pub(crate) fn in_domain(&self, trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            ..self.clone()
        }
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
            linkerd_namespace: "linkerd".into(),
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
