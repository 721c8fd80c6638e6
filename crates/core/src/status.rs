//! What a Link's status says: conditions of the Link, and per Service what happened and why. Always
//! sorted, never in order of arrival. When it is written, and the times in it, are the shell's.
use std::fmt;

use crate::service::ServiceKey;
use crate::world::ClusterUid;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say yet.
    Unknown,
}

impl Truth {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Of a Link: its spec and its credentials are well formed and claim nothing that is taken.
    Accepted,
    /// Of a Link: the gateway can be reached.
    GatewayAlive,
    /// Of a Service: it has its mirror, or is a member of its federated service.
    Mirrored,
    /// Of a member: its ports are those of the federated service.
    PortsAgree,
    /// Of a Link: what is shown is what the other cluster says now.
    Synced,
}

impl ConditionType {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::GatewayAlive => "GatewayAlive",
            Self::Mirrored => "Mirrored",
            Self::PortsAgree => "PortsAgree",
            Self::Synced => "Synced",
        }
    }
}

/// Why a condition is as it is; the first four are Linkerd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Done.
    Mirrored,
    /// The Service cannot be had in this mode.
    InvalidService,
    /// A write failed.
    Error,
    /// The namespace does not exist here.
    MissingNamespace,
    /// The name is taken by an object that is not ours, or by another mirror.
    NameConflict,
    /// The name would have more than 63 bytes.
    NameTooLong,
    /// An export label with a value that means nothing.
    UnknownMode,
    /// Another member, which decides, has other ports.
    PortConflict,
    /// The Link is as it should be.
    Accepted,
    /// The Link is as it should be, but none of its selectors can match.
    NothingSelected,
    /// The Link's spec was refused.
    InvalidSpec,
    /// The Link's credentials were refused.
    InvalidCredentials,
    /// An older Link has the same target.
    DuplicateTarget,
    /// The other cluster answers.
    Synced,
    /// The other cluster has told us nothing yet.
    NeverSynced,
    /// The other cluster fell silent.
    Unreachable,
    /// The gateway answers.
    GatewayUp,
    /// The gateway does not answer.
    GatewayDown,
    /// The gateway was not judged.
    NotProbed,
    /// The Link mirrors through a gateway and names none, or none that resolves.
    NoGateway,
}

impl Reason {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mirrored => "Mirrored",
            Self::InvalidService => "InvalidService",
            Self::Error => "Error",
            Self::MissingNamespace => "MissingNamespace",
            Self::NameConflict => "NameConflict",
            Self::NameTooLong => "NameTooLong",
            Self::UnknownMode => "UnknownMode",
            Self::PortConflict => "PortConflict",
            Self::Accepted => "Accepted",
            Self::NothingSelected => "NothingSelected",
            Self::InvalidSpec => "InvalidSpec",
            Self::InvalidCredentials => "InvalidCredentials",
            Self::DuplicateTarget => "DuplicateTarget",
            Self::Synced => "Synced",
            Self::NeverSynced => "NeverSynced",
            Self::Unreachable => "Unreachable",
            Self::GatewayUp => "GatewayUp",
            Self::GatewayDown => "GatewayDown",
            Self::NotProbed => "NotProbed",
            Self::NoGateway => "NoGateway",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One condition, without the time of its last transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionType,
    /// Whether it holds.
    pub truth: Truth,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence; may be empty where all is well.
    pub message: String,
}

/// What became of one Service of the other cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The Service there.
    pub remote: ServiceKey,
    /// The mirror or federated service here, where there is one.
    pub local: Option<ServiceKey>,
    /// `Mirrored`, and `PortsAgree` where it does not.
    pub conditions: Vec<Condition>,
}

/// The whole status of a Link: it replaces what was written before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// What the cluster behind it is known by, so that it is known after a restart too.
    pub cluster_uid: Option<ClusterUid>,
    /// About the Link, sorted by type.
    pub conditions: Vec<Condition>,
    /// Per Service to be mirrored, sorted.
    pub mirrors: Vec<ServiceStatus>,
    /// Per Service that wants to be a member, sorted.
    pub federated: Vec<ServiceStatus>,
}
