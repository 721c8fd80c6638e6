//! One body, both servers: the laws of a Kubernetes API, asked through `kube`'s typed and dynamic clients.
//!
//! Each case has a namespace of its own and runs once on ours and once on the real one; what the real one does is right.
//! Without the real one its cases count as ignored, unless `TOMBOLO_REAL=required` makes that a failure.
mod access;
mod apply;
mod deletes;
mod hooks;
mod kinds;
mod lists;
mod suite;
mod watches;
mod world;
mod writes;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::Arguments;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    Ok(libtest_mimic::run(&arguments, suite::trials()?).exit_code())
}
