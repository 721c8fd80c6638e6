//! A node: it takes the Pods of its cluster, runs each as processes and says in its status how it goes.
pub mod address;
pub mod inject;
pub mod machine;
pub mod pod;
pub mod status;
