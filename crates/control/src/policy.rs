//! How traffic is handled: the policy API, with sound defaults and no policy objects yet.
//!
//! Decides protocol, balancing and who may connect. Knows nothing of endpoints.
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod server;
