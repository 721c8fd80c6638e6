//! `tombolo-proxy`.
fn main() {}
