//! The contracts that processes speak, and how they become domain values.
//!
//! The Linkerd proxy API comes from the crate `linkerd2-proxy-api` and is re-exported as [`proxy_api`];
//! the transport header, which that crate does not hold, is [`transport`]. What our processes
//! say beyond it is in [`labels`] and [`purpose`]. No I/O here.
pub mod labels;
pub mod purpose;
pub mod transport;

pub use linkerd2_proxy_api as proxy_api;
