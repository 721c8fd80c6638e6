//! Real proxies as child processes between real clients and applications, with a small control plane
//! that the test feeds by hand. Nothing is mocked but the control plane's mind.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "everything in this crate is a test or serves one"
)]

mod app;
mod client;
mod control;
mod drain;
mod endless;
mod gateway;
mod life;
mod mesh;
mod peer;
mod robust;
mod world;
