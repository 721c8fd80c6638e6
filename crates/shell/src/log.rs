//! The log of a process: to standard error, as people or machines read it.
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is no list of `target=level`.
    #[error("log filter {filter:?} is not valid")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log was started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            _ => Err(format!("log format {text:?} is neither plain nor json")),
        }
    }
}

/// Starts the log of this process; `filter` as in `info,tombolo_proxy=debug`.
///
/// # Errors
/// When the filter is not valid, or a log was started before.
pub fn init(filter: &str, format: Format) -> Result<(), LogError> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr);
    match format {
        Format::Plain => builder
            .with_ansi(false)
            .finish()
            .try_init()
            .map_err(LogError::Twice),
        Format::Json => builder.json().finish().try_init().map_err(LogError::Twice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_filter_and_format_are_named() {
        assert!(
            init("a=b=c", Format::Plain)
                .unwrap_err()
                .to_string()
                .contains("a=b=c")
        );
        assert!("xml".parse::<Format>().unwrap_err().contains("xml"));
    }
}
