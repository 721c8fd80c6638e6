//! Tombolo's domain and every decision it takes.
//!
//! A decision is a function of (state, input, now, rng); an effect is a value that someone else
//! carries out. Nothing here reads a clock, opens a socket, spawns, awaits, or knows how a value is
//! written on a wire or in a Kubernetes object.
//!
//! Glossary: a *link* says that this cluster imports from another; an *export* is a Service that its
//! owner labelled for others; a *mirror* is what an export becomes here; a *federated service* is the
//! union of all members of one name and namespace; a *gateway* forwards for pods that are not
//! routable; an *endpoint* is one address that serves; the *world* is everything a planner sees; a
//! *plan* is ordered *actions* and *problems*.
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod cluster;
mod conditions;
mod copy;
mod draft;
mod federate;
mod headless;
pub mod keys;
pub mod left;
pub mod limits;
pub mod link;
pub mod liveness;
mod mirror;
pub mod name;
pub mod plan;
mod recall;
pub mod rescue;
mod roster;
pub mod selector;
pub mod service;
pub mod status;
pub mod world;
