//! One API server and nothing else, with the arguments of `tombolo apiserver`: what tests start as a child and kill.
use clap::Parser;
use tombolo_apiserver::run::{Args, Config, run};
use tombolo_shell::{log, process, tls};

#[derive(Parser)]
enum Command {
    /// The same word as in the command `tombolo`.
    Apiserver(Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    process::die_with_parent()?;
    let Command::Apiserver(args) = Command::parse();
    log::init("info", log::Format::default())?;
    tls::install_provider();
    run(Config::from(args), async {
        if let Err(error) = process::asked_to_stop().await {
            tracing::warn!(%error, "signals cannot be watched");
        }
    })
    .await
}
