//! Whether a CustomResourceDefinition may be stored, in Kubernetes' words.
pub(crate) mod field_path;
