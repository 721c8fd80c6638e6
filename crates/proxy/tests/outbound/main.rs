//! Outbound against real HTTP/2 peers on sockets: load, kill, freeze, thaw, and what each request
//! gets. Outcomes only; a frozen peer is a thread that stops, while its sockets stay open.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]
mod cluster_loss;
mod connector;
mod load;
mod peer;
mod requests;
mod world;
