//! Names, parsed once: what has one of these types is well formed.
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::DNS_LABEL_BYTES_MAX;

/// Why a text is no DNS label (RFC 1123, as Kubernetes applies it to Services and Namespaces).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelError {
    /// The text is empty.
    Empty,
    /// The text has more than 63 bytes.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character other than `a-z`, `0-9` and `-`, or a `-` at either end.
    Character,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { bytes } => {
                write!(f, "has {bytes} bytes, more than {DNS_LABEL_BYTES_MAX}")
            }
            Self::Character => f.write_str(
                "must consist of lower case letters, digits and '-', and start and end with a letter or digit",
            ),
        }
    }
}

impl std::error::Error for LabelError {}

/// Whether `text` is a DNS label (RFC 1123).
///
/// # Errors
/// Says what is wrong with it.
pub fn check_dns_label(text: &str) -> Result<(), LabelError> {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(LabelError::Empty);
    };
    if bytes.len() > DNS_LABEL_BYTES_MAX {
        return Err(LabelError::TooLong { bytes: bytes.len() });
    }
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if *first == b'-' || *last == b'-' || !bytes.iter().all(inner) {
        return Err(LabelError::Character);
    }
    Ok(())
}

macro_rules! dns_label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a DNS label.
            ///
            /// # Errors
            /// Says what is wrong with the text.
            pub fn parse(text: &str) -> Result<Self, LabelError> {
                check_dns_label(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

dns_label!(
    /// A cluster, as its Links name it: the suffix of mirrors and the `@cluster` of members.
    ClusterName
);
dns_label!(
    /// A Kubernetes Namespace. A service keeps its namespace in every cluster (KEP-1645, "namespace sameness").
    Namespace
);
dns_label!(
    /// A Kubernetes Service, without its namespace.
    ServiceName
);

dns_label!(
    /// The name of one host of a headless Service.
    Hostname
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_rfc_1123() {
        let long = "a".repeat(64);
        for (text, want) in [
            ("a", Ok(())),
            ("a-1", Ok(())),
            ("1a", Ok(())),
            (&long[..63], Ok(())),
            ("", Err(LabelError::Empty)),
            (&long, Err(LabelError::TooLong { bytes: 64 })),
            ("-a", Err(LabelError::Character)),
            ("a-", Err(LabelError::Character)),
            ("A", Err(LabelError::Character)),
            ("a.b", Err(LabelError::Character)),
            ("ä", Err(LabelError::Character)),
        ] {
            assert_eq!(check_dns_label(text), want, "{text:?}");
        }
    }
}
