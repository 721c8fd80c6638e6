//! How one variable is read; every error names it.
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{ControlAddr, DefaultPolicy, Offer};

/// Why the environment is not valid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A variable without which the proxy cannot start.
    #[error("environment variable {0} is missing")]
    Missing(String),
    /// A variable that must not be set.
    #[error("environment variable {0} is not supported: a proxy without identity does not start")]
    Forbidden(&'static str),
    /// A value that is not what the variable wants.
    #[error("environment variable {variable}: {value:?} is not valid: {reason}")]
    Invalid {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn missing(variable: &str) -> Self {
        Self::Missing(variable.to_owned())
    }

    pub(super) fn invalid(variable: &str, value: &str, reason: &dyn fmt::Display) -> Self {
        Self::Invalid {
            variable: variable.to_owned(),
            value: value.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// The environment, as it is asked.
#[derive(Debug)]
pub(super) struct Source<'a> {
    texts: &'a BTreeMap<String, String>,
}

impl<'a> Source<'a> {
    pub(super) fn new(texts: &'a BTreeMap<String, String>) -> Self {
        Self { texts }
    }

    pub(super) fn text(&self, variable: &str) -> Option<&'a str> {
        self.texts.get(variable).map(String::as_str)
    }

    pub(super) fn required(&self, variable: &str) -> Result<&'a str, ConfigError> {
        match self.text(variable) {
            None => Err(ConfigError::missing(variable)),
            Some("") => Err(ConfigError::invalid(variable, "", &"it is empty")),
            Some(text) => Ok(text),
        }
    }

    pub(super) fn forbidden(&self, variable: &'static str) -> Result<(), ConfigError> {
        self.text(variable)
            .map_or(Ok(()), |_set| Err(ConfigError::Forbidden(variable)))
    }

    pub(super) fn parsed<T>(&self, variable: &str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let Some(text) = self.text(variable) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|error| ConfigError::invalid(variable, text, &error))
    }

    pub(super) fn at_least_one(
        &self,
        variable: &str,
        default: usize,
    ) -> Result<usize, ConfigError> {
        match self.parsed(variable, default)? {
            0 => Err(ConfigError::invalid(
                variable,
                "0",
                &"it must be at least 1",
            )),
            number => Ok(number),
        }
    }

    pub(super) fn list<T>(&self, variable: &str) -> Result<Vec<T>, ConfigError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(variable).unwrap_or_default();
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| {
                part.parse()
                    .map_err(|error| ConfigError::invalid(variable, part, &error))
            })
            .collect()
    }

    pub(super) fn duration(
        &self,
        variable: &str,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        let Some(text) = self.text(variable) else {
            return Ok(default);
        };
        duration(text).ok_or_else(|| {
            ConfigError::invalid(
                variable,
                text,
                &"a duration is a number and ms, s, m, h or d",
            )
        })
    }

    pub(super) fn offer(&self, variable: &str) -> Result<Offer, ConfigError> {
        Ok(if self.parsed(variable, false)? {
            Offer::On
        } else {
            Offer::Off
        })
    }

    pub(super) fn stdin_listeners(&self, variable: &str) -> Result<Offer, ConfigError> {
        match self.text(variable) {
            None => Ok(Offer::Off),
            Some("stdin") => Ok(Offer::On),
            Some(other) => Err(ConfigError::invalid(
                variable,
                other,
                &"it can only be stdin",
            )),
        }
    }

    /// `<prefix>_ADDR` and `<prefix>_NAME`. The name is required for loopback too: an address earns
    /// no trust.
    pub(super) fn control(&self, prefix: &str) -> Result<ControlAddr, ConfigError> {
        let (addr_variable, name_variable) = (format!("{prefix}_ADDR"), format!("{prefix}_NAME"));
        let addr = self.required(&addr_variable)?;
        let valid = addr.parse::<SocketAddr>().is_ok()
            || addr.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok()
            });
        if !valid {
            return Err(ConfigError::invalid(
                &addr_variable,
                addr,
                &"it must be host:port",
            ));
        }
        let name = self.dns_name(&name_variable, self.required(&name_variable)?)?;
        Ok(ControlAddr {
            addr: Arc::from(addr),
            name: Arc::from(name),
        })
    }

    pub(super) fn dns_name(&self, variable: &str, text: &'a str) -> Result<&'a str, ConfigError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        match rustls_pki_types::DnsName::try_from(name) {
            Ok(_valid) => Ok(name),
            Err(error) => Err(ConfigError::invalid(variable, text, &error)),
        }
    }

    /// Domains without their dots at either end.
    pub(super) fn suffixes(&self, variable: &str) -> Result<Vec<String>, ConfigError> {
        let names: Vec<String> = self.list(variable)?;
        Ok(names
            .iter()
            .map(|name| name.trim_matches('.').to_ascii_lowercase())
            .collect())
    }

    pub(super) fn default_policy(
        &self,
        variable: &str,
        networks: &str,
    ) -> Result<DefaultPolicy, ConfigError> {
        match self.text(variable).unwrap_or("all-unauthenticated") {
            "all-unauthenticated" | "all-authenticated" | "audit" => Ok(DefaultPolicy::Meshed),
            "cluster-unauthenticated" | "cluster-authenticated" => {
                self.required(networks)?;
                Ok(DefaultPolicy::Networks(self.list(networks)?))
            }
            "deny" => Ok(DefaultPolicy::Deny),
            other => Err(ConfigError::invalid(
                variable,
                other,
                &"it is none of all-unauthenticated, all-authenticated, cluster-unauthenticated, \
                  cluster-authenticated, deny, audit",
            )),
        }
    }
}

/// `<number>(ms|s|m|h|d)`; the unit may be missing only after 0.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(24 * 3600),
        _ => None,
    }
}
