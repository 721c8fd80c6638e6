//! Plans, carried out on a real API server: what is written is read back as it was wanted, and what is
//! not ours stays as it was.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod plans;
