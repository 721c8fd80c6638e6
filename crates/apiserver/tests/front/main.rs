//! The API server from outside: the machine's own kubectl, a typed client, and what must be refused.

mod client;
mod harness;
mod kubectl;
mod refused;
