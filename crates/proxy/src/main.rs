//! `tombolo-proxy`: reads the environment, starts the log and the runtime, runs.
use std::process::ExitCode;
use std::time::Duration;

use tombolo_proxy::config::{Config, EXIT_CODE};
use tombolo_shell::{log, process};

/// Reads of standard input cannot be cancelled: the runtime does not wait for them.
const RUNTIME_DEADLINE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    process::die_with_parent()?;
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            report(&error.into());
            return Ok(ExitCode::from(EXIT_CODE));
        }
    };
    log::init(&config.log_filter, config.log_format)?;
    let mut builder = match config.cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        cores => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(cores);
            builder
        }
    };
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(tombolo_proxy::run::run(config));
    runtime.shutdown_timeout(RUNTIME_DEADLINE);
    result.map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the log may not have been started")]
fn report(error: &anyhow::Error) {
    eprintln!("tombolo-proxy: {error:#}");
}
