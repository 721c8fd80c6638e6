//! The API server from outside: the machine's own kubectl, a typed client, and what must be refused.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may unwrap as tests may"
)]

mod client;
mod durable;
mod forms;
mod harness;
mod kubectl;
mod refused;
mod webhooks;
