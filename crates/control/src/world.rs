//! The owner of everything that this process knows: it drains what watches hand over, decides, applies,
//! and publishes. Nothing else changes state.
pub(crate) mod feed;
pub(crate) mod intake;
pub(crate) mod owner;
pub(crate) mod trim;
