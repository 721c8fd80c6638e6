//! Who is who: names of workloads, the issuer of this cluster, and the service that certifies.
//!
//! Decides which name a caller may have a certificate for. Knows nothing of services or links.
pub(crate) mod certify;
pub(crate) mod csr;
pub(crate) mod issuer;
pub(crate) mod name;
pub(crate) mod own;
