//! How an error is said.

use std::process::ExitCode;

/// Says what went wrong, with its causes, on one line.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    anstream::eprintln!("tombolo: {}", with_causes(error));
    ExitCode::FAILURE
}

/// An error and its causes; some libraries say the cause in their own text, too.
fn with_causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}
