//! Outbound against real HTTP/2 peers on sockets: load, kill, freeze, thaw, and what each request
//! gets. Outcomes only; a frozen peer is a thread that stops, while its sockets stay open.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it must be, and its tasks end with it"
)]
mod cluster_loss;
mod connector;
mod load;
mod machine;
mod peer;
mod requests;
mod world;
