//! How much the patterns of a CustomResourceDefinition ask for, all together.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{Alike, has_same_schema, invalid};
use crate::crd::path::Path;
use crate::crd::pattern;
use crate::error::Cause;
use crate::store::json::list;

/// What was seen so far, each text once.
#[derive(Default)]
struct Sum<'a> {
    seen: BTreeSet<&'a str>,
    size: u64,
}

/// The first pattern that is too much, in versions that are not as they were before.
pub(super) fn too_many(before: Option<&Value>, versions: &[Value], alike: &Alike) -> Option<Cause> {
    let mut sum = Sum::default();
    let changed = versions.iter().enumerate();
    let mut changed = changed.filter(|(_, version)| !has_same_schema(before, version));
    changed.find_map(|(at, version)| {
        let path = if alike.schema {
            Path::new("spec.validation")
        } else {
            Path::new("spec.versions").key(at).child("schema")
        };
        let path = path.child("openAPIV3Schema");
        sum.add(&version["schema"]["openAPIV3Schema"], &path)
    })
}

impl<'a> Sum<'a> {
    fn add(&mut self, schema: &'a Value, path: &Path) -> Option<Cause> {
        let text = schema["pattern"].as_str().unwrap_or_default();
        if !text.is_empty() && self.seen.insert(text) {
            // What cannot be compiled is refused elsewhere.
            self.size += pattern::size(text).unwrap_or(0);
            if self.size > pattern::TOGETHER_MAX {
                let why =
                    "the patterns of a CustomResourceDefinition must not be so large together";
                return Some(invalid(&path.child("pattern"), &text.into(), why));
            }
        }
        for name in ["items", "additionalProperties", "not"] {
            if schema[name].is_object()
                && let Some(cause) = self.add(&schema[name], &path.child(name))
            {
                return Some(cause);
            }
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, below) in properties {
            if let Some(cause) = self.add(below, &path.child("properties").key(name)) {
                return Some(cause);
            }
        }
        ["allOf", "anyOf", "oneOf"].iter().find_map(|name| {
            let mut all = list(schema, name).iter().enumerate();
            all.find_map(|(at, below)| self.add(below, &path.child(name).key(at)))
        })
    }
}
