//! What a mirror or federated service takes over from the Service that it stands for: all labels and
//! annotations but those that carry meaning between clusters, describe the exporting cluster only, or
//! are excluded by the Link.
use crate::keys::{EXPORTING, NEVER_COPIED_ANNOTATIONS, OPAQUE_PORTS, STEERING};
use crate::selector::Exclusions;
use crate::service::Labels;

/// The labels that are copied.
pub(crate) fn labels(of: &Labels, excluded: &Exclusions) -> Labels {
    let copied = of
        .iter()
        .filter(|(key, _)| !key.starts_with(EXPORTING) && !steers(key) && !excluded.contains(key));
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
            || !(steers(key) || NEVER_COPIED_ANNOTATIONS.contains(&key) || excluded.contains(key))
    });
    copied
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Another cluster's owner must not steer discovery here.
fn steers(key: &str) -> bool {
    key.starts_with(STEERING)
}
