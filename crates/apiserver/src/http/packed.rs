//! OpenAPI v2: one large document, made once for each change of what is served, and kept compressed.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::compress;
use crate::error::StatusError;
use crate::openapi;
use crate::registry::Registry;

/// Documents that are kept: those of as many servers in one process.
const KEPT_MAX: usize = 4;

/// A document for what a registry serves.
#[derive(Clone)]
pub(super) struct Packed {
    registry: Arc<Registry>,
    /// Compressed.
    pub(super) bytes: Bytes,
    /// Changes with the document.
    pub(super) tag: String,
}

/// The document of everything that is served.
pub(super) fn document(registry: Arc<Registry>) -> Result<Packed, StatusError> {
    static KEPT: Mutex<Vec<Packed>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock();
    let known = kept
        .iter()
        .find(|one| Arc::ptr_eq(&one.registry, &registry));
    if let Some(known) = known {
        return Ok(known.clone());
    }
    let document = openapi::v2(&registry);
    let packed = Packed {
        tag: openapi::hash(&document),
        bytes: compress::pack([document.as_slice()].into_iter())
            .map_err(StatusError::internal)?
            .into(),
        registry,
    };
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push(packed.clone());
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_made_once_for_a_registry() {
        let registry = Arc::new(Registry::with_builtin());
        let one = document(Arc::clone(&registry)).unwrap();
        let again = document(Arc::clone(&registry)).unwrap();
        assert_eq!(one.bytes.as_ptr(), again.bytes.as_ptr());
        let whole = compress::unpack(&one.bytes).unwrap();
        assert_eq!(whole, openapi::v2(&registry));
        let another = document(Arc::new(Registry::with_builtin())).unwrap();
        assert_ne!(one.bytes.as_ptr(), another.bytes.as_ptr());
        assert_eq!(one.tag, another.tag);
    }
}
