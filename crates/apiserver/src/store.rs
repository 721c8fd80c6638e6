//! The store: what objects exist, and what a write does to them. Pure: no clock, no disk, no task.
//!
//! [`request`] has the vocabulary of reads and writes.
pub mod request;
