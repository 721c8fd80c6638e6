//! Every bound in one place: sizes, counts, deadlines. The module that needs a bound reads it here.
use std::time::Duration;

/// A DNS label (RFC 1123), hence a Service or Namespace name, in bytes.
pub const DNS_LABEL_BYTES_MAX: usize = 63;
/// Any wait on the outside world that has no tighter deadline of its own.
pub const OUTSIDE_WAIT: Duration = Duration::from_secs(10);
