//! Where a service is served, right now: the destination API.
//!
//! Decides which endpoints a name has and what proxies are told about each. Computes per service when
//! something changes, never per stream. Knows nothing of how the objects got here.
pub(crate) mod authority;
pub(crate) mod board;
pub(crate) mod directory;
pub(crate) mod endpoints;
pub(crate) mod exports;
pub(crate) mod inventory;
pub(crate) mod model;
pub(crate) mod place;
pub(crate) mod profile;
pub(crate) mod server;
pub(crate) mod servers;
pub(crate) mod updates;
pub(crate) mod view;
