//! Measures the embedded API server beside kube-apiserver with etcd: `cargo xtask bench apiserver`.
//!
//! Both are processes on the same machine, both wait for the disk, both are asked by the same client. Figures that
//! are promised are compared only with `--check`, by hand: a busy machine breaks them without anybody's fault.
mod asked;
mod client;
mod crash;
mod fanout;
mod load;
mod measure;
mod report;
mod side;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;

use crate::asked::{USAGE, asked};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(asked) = asked(&arguments)? else {
        out(USAGE);
        return Ok(ExitCode::FAILURE);
    };
    let report = measure::measure(&asked).await?;
    if asked.json {
        out(&format!("{:#}", report.to_json()));
    } else {
        out(&report.to_table());
    }
    let broken = report.broken();
    if asked.check && !broken.is_empty() {
        say(&format!("not kept:\n  {}", broken.join("\n  ")));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn out(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").ok();
}

/// Progress, and what went wrong.
pub(crate) fn say(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
