//! The judge by hand: `judge FILE...` compares, `judge --real` and `judge --ours` leave a cluster running.
mod roles;
mod tool;

use std::process::ExitCode;

use anyhow::Result;
use tombolo_judge::Kind;

const USAGE: &str = "\
usage: judge FILE...    plays scripts against the real API server and ours, and prints where they differ;
                        if TOMBOLO_ANSWERS names a directory, the real one is asked once per script only
       judge --real     a real cluster, until Enter or the end of standard input
       judge --ours     the same with ours
       judge --roles    writes the roles and bindings of a new real cluster to where ours has them";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            tool::say(USAGE);
            Ok(ExitCode::FAILURE)
        }
        [flag] if flag == "--real" => tool::keep(Kind::Real).await,
        [flag] if flag == "--ours" => tool::keep(Kind::Ours).await,
        [flag] if flag == "--roles" => roles::write().await,
        files => tool::judge(files).await,
    }
}
