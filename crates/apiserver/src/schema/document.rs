//! The fields that a JSON document has twice, and where: an ordinary parser would not tell. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// More faults than these are not told.
const FAULTS_MAX: usize = 100;

/// The paths of the fields that a document has more than once.
///
/// # Errors
/// When it is no JSON.
pub(crate) fn duplicates(bytes: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let mut walk = Walk::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    At(&mut walk).deserialize(&mut reader)?;
    reader.end()?;
    Ok(walk.duplicates)
}

/// The faults of a document, in the order in which it has them.
pub(crate) fn in_order(
    bytes: &[u8],
    unknown: &BTreeSet<String>,
    duplicates: &[String],
) -> Vec<String> {
    if unknown.is_empty() && duplicates.is_empty() {
        return Vec::new();
    }
    let mut walk = Walk {
        unknown: Some(unknown),
        ..Walk::default()
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut told = if At(&mut walk).deserialize(&mut reader).is_ok() {
        walk.told
    } else {
        Vec::new()
    };
    // Where the bytes are no JSON, their order is that of the value.
    let rest = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    for fault in rest {
        if !told.contains(&fault) {
            told.push(fault);
        }
    }
    told.truncate(FAULTS_MAX);
    told
}

#[derive(Default)]
struct Walk<'a> {
    path: String,
    duplicates: Vec<String>,
    unknown: Option<&'a BTreeSet<String>>,
    told: Vec<String>,
}

impl Walk<'_> {
    fn tell(&mut self, what: &str) {
        let fault = format!("{what} field \"{}\"", self.path);
        if self.told.len() < FAULTS_MAX && !self.told.contains(&fault) {
            self.told.push(fault);
        }
    }

    fn meet(&mut self, again: bool) {
        if again {
            if self.duplicates.len() < FAULTS_MAX && !self.duplicates.contains(&self.path) {
                self.duplicates.push(self.path.clone());
            }
            self.tell("duplicate");
        }
        if self
            .unknown
            .is_some_and(|unknown| unknown.contains(&self.path))
        {
            self.tell("unknown");
        }
    }
}

/// The value at the path where the walk is.
struct At<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(walk) = self;
        let length = walk.path.len();
        for index in 0_usize.. {
            walk.path.push_str(&format!("[{index}]"));
            let next = list.next_element_seed(At(walk));
            walk.path.truncate(length);
            if next?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Self(walk) = self;
        let mut seen = BTreeSet::new();
        let length = walk.path.len();
        while let Some(name) = fields.next_key::<String>()? {
            if length > 0 {
                walk.path.push('.');
            }
            walk.path.push_str(&name);
            walk.meet(!seen.insert(name));
            fields.next_value_seed(At(walk))?;
            walk.path.truncate(length);
        }
        Ok(())
    }
}
