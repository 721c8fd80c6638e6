//! Every bound in one place: sizes, counts, deadlines. The module that needs a bound reads it here.
use std::time::Duration;

/// A DNS label (RFC 1123), hence a Service or Namespace name, in bytes.
pub const DNS_LABEL_BYTES_MAX: usize = 63;
/// Any wait on the outside world that has no tighter deadline of its own.
pub const OUTSIDE_WAIT: Duration = Duration::from_secs(10);
/// Addresses of one gateway that become endpoints; Kubernetes takes 1,000 in one EndpointSlice.
pub const GATEWAY_ADDRESSES_MAX: usize = 100;
/// Hosts of one headless Service that become Services here; Kubernetes takes 1,000 endpoints in one slice.
pub const HEADLESS_HOSTS_MAX: usize = 1_000;
/// Services listed in one of the two lists of a Link's status: an object has 1.5 MiB at most, an entry
/// about 500 bytes. What went wrong is listed first.
pub const STATUS_SERVICES_MAX: usize = 1_000;
/// Clusters that a proxy keeps a breaker for; endpoints of further ones share no fate.
pub const OUTBOUND_CLUSTERS_MAX: usize = 1_024;
/// Requests that a proxy carries outbound at one time; more are answered 503.
pub const OUTBOUND_IN_FLIGHT_MAX: usize = 16_384;
/// Requests that wait because nothing is known or connected yet; more are answered 503.
pub const OUTBOUND_WAITING_MAX: usize = 1_024;
/// How long a request waits for discovery's first answer, and for the first connection.
pub const OUTBOUND_WAIT: Duration = Duration::from_secs(3);
/// What is kept of one request's body for a second attempt.
pub const OUTBOUND_REPLAY_BYTES: usize = 64 * 1024;
/// What is kept of all requests' bodies together.
pub const OUTBOUND_REPLAY_BYTES_ALL: usize = 16 * 1024 * 1024;
/// Pieces in which it is kept.
pub const OUTBOUND_REPLAY_PIECES_MAX: usize = 256;
/// Idle connections kept to one application without a proxy.
pub const OUTBOUND_IDLE_MAX: usize = 64;
/// Sets of endpoints up to this size are connected as soon as they are known.
pub const OUTBOUND_WARM_MAX: usize = 16;
