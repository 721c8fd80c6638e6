//! The conditions of a Link as a whole, and how long its lists may get. Knows no Service.
use crate::limits::STATUS_SERVICES_MAX;
use crate::link::{Fault, Link, LinkSpec};
use crate::plan::{About, Problem};
use crate::roster::{Entry, Standing};
use crate::status::{Condition, ConditionType, LinkStatus, Reason, ServiceStatus, Truth};
use crate::world::{Contact, Credentials, Exports, GatewayHealth, GatewayView, Remote};

/// Whether a Link has a mirror through its gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UseOfGateway {
    /// It has none.
    None,
    /// It has at least one.
    Some,
}

/// Says of a Link what is to be said of it as a whole; returns what its users must be told.
pub(crate) fn conclude(
    entry: &Entry<'_>,
    (use_of_gateway, gateway): (UseOfGateway, &GatewayView),
    status: &mut LinkStatus,
) -> Option<Problem> {
    let left_out = bound(&mut status.mirrors) + bound(&mut status.federated);
    let accepted = accepted(entry);
    let problem = (accepted.truth == Truth::False).then(|| Problem {
        about: About::Link(entry.key.clone()),
        reason: accepted.reason,
        message: accepted.message.clone(),
    });
    status.cluster_uid = entry.view.remote.uid().cloned();
    status.conditions.push(accepted);
    status
        .conditions
        .extend(gateway_alive(entry, use_of_gateway, gateway));
    status.conditions.push(synced(entry, left_out));
    status
        .conditions
        .sort_by_key(|condition| condition.kind.as_str());
    problem
}

fn accepted(entry: &Entry<'_>) -> Condition {
    let (truth, reason, message) = match (&entry.standing, &entry.view.credentials) {
        (Standing::Refused(faults), _) => (Truth::False, Reason::InvalidSpec, sentence(faults)),
        (Standing::Duplicate(older), _) => {
            let target = entry
                .view
                .spec
                .target()
                .map_or("", |target| target.as_str());
            let message = format!(
                "Link {}: spec.targetClusterName: {target:?} is the target of the older Link {older}",
                entry.key
            );
            (Truth::False, Reason::DuplicateTarget, message)
        }
        (Standing::Active(..) | Standing::Waiting, credentials) => {
            acceptable(&entry.view.spec, credentials)
        }
    };
    Condition {
        kind: ConditionType::Accepted,
        truth,
        reason,
        message,
    }
}

/// Of a Link that is planned for, or will be.
fn acceptable(spec: &LinkSpec, credentials: &Credentials) -> (Truth, Reason, String) {
    let LinkSpec::Accepted(link) = spec else {
        return (Truth::True, Reason::Accepted, String::new());
    };
    let broken: Vec<_> = link.broken.values().flatten().cloned().collect();
    if !broken.is_empty() {
        let message = format!("{}; what else it does goes on", sentence(&broken));
        return (Truth::False, Reason::InvalidSpec, message);
    }
    match credentials {
        Credentials::Refused(faults) => {
            (Truth::False, Reason::InvalidCredentials, sentence(faults))
        }
        Credentials::Usable if selects_nothing(link) => {
            let message = "spec.selector, spec.remoteDiscoverySelector and spec.federatedServiceSelector are empty, \
                           so nothing is mirrored: an empty selector matches nothing";
            (Truth::True, Reason::NothingSelected, message.to_owned())
        }
        Credentials::Usable => (Truth::True, Reason::Accepted, sentence(&link.remarks)),
    }
}

const fn selects_nothing(link: &Link) -> bool {
    link.gateway_selector.is_nothing()
        && link.flat_selector.is_nothing()
        && link.federated_selector.is_nothing()
}

fn sentence(faults: &[Fault]) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

fn gateway_alive(
    entry: &Entry<'_>,
    use_of_gateway: UseOfGateway,
    view: &GatewayView,
) -> Option<Condition> {
    let LinkSpec::Accepted(link) = &entry.view.spec else {
        return None;
    };
    let (truth, reason, message) = match (&link.gateway, &view.health) {
        (None, _) if use_of_gateway == UseOfGateway::None => return None,
        (None, _) => {
            let message = "spec.gatewayAddress is empty, so mirrors through it have no endpoints";
            (Truth::False, Reason::NoGateway, message.to_owned())
        }
        (Some(_), GatewayHealth::Unknown)
            if entry.view.gateway.addresses.is_empty() && !view.addresses.is_empty() =>
        {
            let message =
                "spec.gatewayAddress: no address could be resolved; those known last are used";
            (Truth::Unknown, Reason::NotProbed, message.to_owned())
        }
        (Some(_), _) if view.addresses.is_empty() => {
            let message = "spec.gatewayAddress: no address could be resolved";
            (Truth::False, Reason::NoGateway, message.to_owned())
        }
        (Some(_), GatewayHealth::Down { because }) => {
            (Truth::False, Reason::GatewayDown, because.clone())
        }
        (Some(_), GatewayHealth::Up) => (Truth::True, Reason::GatewayUp, String::new()),
        (Some(_), GatewayHealth::Unknown) => (
            Truth::Unknown,
            Reason::NotProbed,
            sentence(&link.probe_faults),
        ),
    };
    Some(Condition {
        kind: ConditionType::GatewayAlive,
        truth,
        reason,
        message,
    })
}

fn synced(entry: &Entry<'_>, left_out: usize) -> Condition {
    let (truth, reason, mut message) = match (&entry.standing, &entry.view.remote) {
        (Standing::Refused(_), _) => {
            let message = "what was mirrored is kept as it was until the Link is accepted";
            (Truth::False, Reason::InvalidSpec, message.to_owned())
        }
        (Standing::Duplicate(_), _) => {
            let message = "this Link mirrors nothing";
            (Truth::False, Reason::DuplicateTarget, message.to_owned())
        }
        (_, Remote::Unknown { because, .. }) => {
            (Truth::False, Reason::NeverSynced, because.clone())
        }
        (_, Remote::Known(exports)) => match &exports.contact {
            Contact::Live => (Truth::True, Reason::Synced, blind(entry, exports)),
            Contact::Silent { because } => (Truth::False, Reason::Unreachable, because.clone()),
        },
    };
    if left_out > 0 {
        let gap = if message.is_empty() { "" } else { "; " };
        message = format!("{message}{gap}{left_out} more Services are not listed here");
    }
    Condition {
        kind: ConditionType::Synced,
        truth,
        reason,
        message,
    }
}

/// What cannot be resolved because its pods are not seen.
fn blind(entry: &Entry<'_>, exports: &Exports) -> String {
    match (&entry.view.spec, &exports.blind) {
        (LinkSpec::Accepted(link), Some(why))
            if !link.flat_selector.is_nothing() || !link.federated_selector.is_nothing() =>
        {
            format!("flat mirrors and members of federated services have no endpoints: {why}")
        }
        _ => String::new(),
    }
}

/// Sorts a list and cuts it to what an object can hold; what went wrong stays longest. Returns how
/// many were cut.
fn bound(list: &mut Vec<ServiceStatus>) -> usize {
    let fine = |status: &ServiceStatus| status.conditions.iter().all(is_fine);
    let left_out = list.len().saturating_sub(STATUS_SERVICES_MAX);
    if left_out > 0 {
        list.sort_by(|a, b| (fine(a), &a.remote).cmp(&(fine(b), &b.remote)));
        list.truncate(STATUS_SERVICES_MAX);
    }
    list.sort_by(|a, b| a.remote.cmp(&b.remote));
    left_out
}

fn is_fine(condition: &Condition) -> bool {
    condition.truth == Truth::True
}
