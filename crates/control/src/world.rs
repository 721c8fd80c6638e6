//! The owner of everything that this process knows: it drains what watches hand over, plans, has the
//! plan carried out, and publishes. Nothing else changes state.
//!
//! Start at [`owner`]. What is decided lies in `tombolo-core`; here it is only brought together.
use std::collections::BTreeSet;
use std::net::IpAddr;

use tombolo_core::cluster::Observation;
use tombolo_core::link::LinkKey;

pub(crate) mod carry;
pub(crate) mod checked;
pub(crate) mod feed;
pub(crate) mod intake;
pub(crate) mod links;
pub(crate) mod metrics;
pub(crate) mod owner;
pub(crate) mod peers;
pub(crate) mod probe;
pub(crate) mod roll;
pub(crate) mod standing;
pub(crate) mod tell;
pub(crate) mod trim;

/// What reaches the owner.
#[derive(Debug)]
pub(crate) enum Input {
    /// A watch of a cluster, or whether that cluster answers.
    Cluster(feed::Source, Box<feed::What>),
    /// A gateway was probed.
    Probed(LinkKey, Observation),
    /// The names of a gateway were resolved.
    Resolved(LinkKey, BTreeSet<IpAddr>),
    /// A plan was carried out.
    Carried(carry::Carried),
}
