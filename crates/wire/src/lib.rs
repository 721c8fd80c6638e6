//! The contracts that processes speak, and how they become domain values.
//!
//! The Linkerd proxy API comes from the crate `linkerd2-proxy-api` and is re-exported as [`proxy_api`];
//! the transport header, which that crate does not hold, is [`transport`]. No I/O here.
pub mod labels;
pub mod transport;

pub use linkerd2_proxy_api as proxy_api;
