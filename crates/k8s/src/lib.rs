//! Kubernetes objects to and from the domain: what is read of them, and what is written into them.
//! Decides nothing. Reading never panics and never fails as a whole: what is malformed is a fault that
//! names the object and the field.
pub mod action;
pub mod crd;
pub mod credentials;
pub mod event;
pub mod introduction;
pub mod link;
pub mod manifest;
pub mod names;
pub mod service;
pub mod slice;
pub mod status;

mod json;
mod ownership;
