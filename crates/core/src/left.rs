//! What a Linkerd made in this cluster and left behind: by which signs it is told from what users make.
//! Labels alone are no sign; its controllers always write annotations that name the object's origin.
use crate::keys::{
    CLUSTER_NAME, HEADLESS_MIRROR, LOCAL_DISCOVERY, MIRRORED_SERVICE, REMOTE_DISCOVERY,
    REMOTE_FQ_NAME, REMOTE_RESOURCE_VERSION,
};
use crate::service::{Labels, ManagedService, ServiceKey};

/// What follows the name of the members of a federated service.
pub(crate) const FEDERATED_SUFFIX: &str = "federated";

/// Whether these are the labels and annotations that Linkerd gives a mirror, the host of a headless one, or a
/// federated service of that name.
#[must_use]
pub fn is_left(key: &ServiceKey, labels: &Labels, annotations: &Labels) -> bool {
    if labels.get(MIRRORED_SERVICE).is_none_or(|v| v != "true") {
        return false;
    }
    match labels.get(CLUSTER_NAME) {
        Some(cluster) => is_mirror(key, cluster, labels, annotations),
        None => is_federated(key, annotations),
    }
}

fn is_mirror(key: &ServiceKey, cluster: &str, labels: &Labels, annotations: &Labels) -> bool {
    let Some(name) = annotations.get(REMOTE_FQ_NAME) else {
        return false;
    };
    let hosts = usize::from(labels.contains_key(HEADLESS_MIRROR));
    let parts: Vec<_> = name.split('.').collect();
    annotations.contains_key(REMOTE_RESOURCE_VERSION)
        && !cluster.is_empty()
        && parts.get(1 + hosts) == Some(&key.namespace.as_str())
        && parts.get(2 + hosts) == Some(&"svc")
        && key.name.as_str() == format!("{}-{cluster}", parts[0])
}

fn is_federated(key: &ServiceKey, annotations: &Labels) -> bool {
    let Some(base) = base_of(key) else {
        return false;
    };
    let local = annotations.get(LOCAL_DISCOVERY);
    let remote = annotations.get(REMOTE_DISCOVERY);
    (local.is_some() || remote.is_some())
        && local.is_none_or(|name| name == base)
        && remote.is_none_or(|list| list.is_empty() || members(list).all(|(name, _)| name == base))
}

/// Whether a mirror came from that cluster, or a federated service has a member there.
pub(crate) fn names(managed: &ManagedService, cluster: &str) -> bool {
    match managed.labels.get(CLUSTER_NAME) {
        Some(name) => name == cluster,
        None => managed
            .annotations
            .get(REMOTE_DISCOVERY)
            .is_some_and(|list| members(list).any(|(_, name)| name == cluster)),
    }
}

/// The name that the members of a federated service have.
pub(crate) fn base_of(key: &ServiceKey) -> Option<&str> {
    let name = key.name.as_str().strip_suffix(FEDERATED_SUFFIX)?;
    name.strip_suffix('-').filter(|name| !name.is_empty())
}

/// Name and cluster of each remote member; what is malformed has no cluster.
pub(crate) fn members(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(',')
        .map(|entry| entry.trim().split_once('@').unwrap_or((entry, "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests_only::{labels_of, service_key};

    fn check(name: &str, text: &str, want: bool) {
        let (labels, annotations) = (labels_of(text, '@'), labels_of(text, '#'));
        let found = is_left(&service_key(name), &labels, &annotations);
        assert_eq!(found, want, "{name} {text}");
    }

    #[test]
    fn a_mirror_says_whose_it_is_and_of_which_version() {
        const MIRROR: &str = "@m/mirrored-service=true @m/cluster-name=east";
        const VERSION: &str = "#m/remote-resource-version=1";
        for (name, rest, want) in [
            (
                "n/web-east",
                "#m/remote-svc-fq-name=web.n.svc.cluster.local",
                true,
            ),
            (
                "n/web-east",
                "#m/remote-svc-fq-name=web.other.svc.cluster.local",
                false,
            ),
            (
                "n/web-north",
                "#m/remote-svc-fq-name=web.n.svc.cluster.local",
                false,
            ),
            ("n/web-east", "", false),
            (
                "n/p0-east",
                "@m/headless-mirror-svc-name=web-east #m/remote-svc-fq-name=p0.web.n.svc.cluster.local",
                true,
            ),
            (
                "n/p0-east",
                "#m/remote-svc-fq-name=p0.web.n.svc.cluster.local",
                false,
            ),
        ] {
            check(name, &format!("{MIRROR} {VERSION} {rest}"), want);
            check(name, &format!("{MIRROR} {rest}"), false);
            check(
                name,
                &format!("@m/cluster-name=east {VERSION} {rest}"),
                false,
            );
        }
    }

    #[test]
    fn a_federated_service_says_who_its_members_are() {
        for (name, rest, want) in [
            (
                "n/web-federated",
                "#mc/remote-discovery=web@east,web@north",
                true,
            ),
            (
                "n/web-federated",
                "#mc/local-discovery=web #mc/remote-discovery=",
                true,
            ),
            ("n/web-federated", "#mc/local-discovery=web", true),
            ("n/web-federated", "", false),
            ("n/web-federated", "#mc/remote-discovery=api@east", false),
            ("n/web-federated", "#mc/local-discovery=api", false),
            ("n/federated", "#mc/remote-discovery=web@east", false),
        ] {
            check(name, &format!("@m/mirrored-service=true {rest}"), want);
            check(name, rest, false);
        }
    }
}
