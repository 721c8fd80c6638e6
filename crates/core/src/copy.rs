//! What a mirror or federated service takes over from the Service that it stands for: all labels and
//! annotations but those that carry meaning between clusters, describe the exporting cluster only, or
//! are excluded by the Link.
use crate::keys::{NEVER_COPIED_ANNOTATIONS, NEVER_COPIED_PREFIXES, OPAQUE_PORTS};
use crate::selector::Exclusions;
use crate::service::Labels;

/// The labels that are copied.
pub(crate) fn labels(of: &Labels, excluded: &Exclusions) -> Labels {
    let copied = of
        .iter()
        .filter(|(key, _)| !is_ours(key) && !excluded.contains(key));
    copied
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The annotations that are copied. Opaque ports always are: without them the client's proxy would
/// wait for a protocol that never comes.
pub(crate) fn annotations(of: &Labels, excluded: &Exclusions) -> Labels {
    let copied = of.iter().filter(|(key, _)| {
        let key = key.as_str();
        key == OPAQUE_PORTS
            || !(is_ours(key) || NEVER_COPIED_ANNOTATIONS.contains(&key) || excluded.contains(key))
    });
    copied
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Another cluster's owner must not steer discovery here.
fn is_ours(key: &str) -> bool {
    NEVER_COPIED_PREFIXES
        .iter()
        .any(|prefix| key.starts_with(prefix))
}
