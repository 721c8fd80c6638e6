//! How the chores speak.
use std::fmt::Display;
use std::io::Write as _;

/// One line to the terminal. If that is gone, nobody is left to be told.
pub(crate) fn say(line: impl Display) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}
