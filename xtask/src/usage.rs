//! What chores there are.

/// One line or two for each.
pub(crate) const CHORES: &str = "\
cargo xtask demo [OPTIONS]     build what the demo needs and run it; `demo --help` lists its options
cargo xtask test [--real]      format, lints, tidiness and all tests, with everything they need; those against the
                               real Kubernetes if it is at hand, or in any case
cargo xtask kube               finds, fetches or builds the real etcd, kube-apiserver and kube-controller-manager
cargo xtask bench apiserver    how fast and how small the API server is beside the real one; --quick, --check,
                               --output json, --kills N, --ours
cargo xtask tidy               only what `tidy` checks: sizes, crate arrows, words, links
cargo xtask kinds [--check]    ask a real Kubernetes which kinds there are, and keep the answer, or compare it with
                               what is kept (needs go, kubectl, curl and xz)
cargo xtask check-demo FILE    whether the JSON of a demo shows that every promise held
cargo xtask ci                 test, then the demo, then check-demo";
