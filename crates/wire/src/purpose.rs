//! On whose behalf a proxy asks: metadata beside its lookups.
//!
//! A gateway looks names up for peers of other clusters, which may reach only what is exported; the
//! control plane knows what that is. One that does not know the key ignores it.

/// The key of the gRPC metadata.
pub const KEY: &str = "tombolo-purpose";
const GATEWAY: &str = "gateway";

/// On whose behalf something is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The application of the proxy's own pod; it is said by saying nothing.
    Own,
    /// A peer that came to this gateway.
    Gateway,
}

/// A purpose that nobody here knows. It is no reason to answer as if there were none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{KEY}: unknown value {0:?}")]
pub struct UnknownPurpose(String);

impl Purpose {
    /// What is sent under [`KEY`], if anything.
    #[must_use]
    pub const fn value(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Gateway => Some(GATEWAY),
        }
    }

    /// What was sent under [`KEY`], if anything.
    ///
    /// # Errors
    /// When the value is none that is known.
    pub fn parse(value: Option<&[u8]>) -> Result<Self, UnknownPurpose> {
        match value {
            None => Ok(Self::Own),
            Some(value) if value == GATEWAY.as_bytes() => Ok(Self::Gateway),
            Some(value) => {
                let shown = &value[..value.len().min(64)];
                Err(UnknownPurpose(String::from_utf8_lossy(shown).into_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_says_the_other_understands() {
        for purpose in [Purpose::Own, Purpose::Gateway] {
            let sent = purpose.value().map(str::as_bytes);
            assert_eq!(Purpose::parse(sent), Ok(purpose));
        }
    }

    #[test]
    fn an_unknown_purpose_is_refused_rather_than_taken_for_none() {
        for value in ["", "Gateway", "gateway,own", "\u{fffd}"] {
            let error = Purpose::parse(Some(value.as_bytes())).unwrap_err();
            assert!(error.to_string().contains(KEY), "{value}");
        }
    }
}
