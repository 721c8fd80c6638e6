//! `tombolo-proxy`: reads the environment, starts the log and the runtime, runs.
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tombolo_proxy::config::{Config, EXIT_CODE};
use tombolo_proxy::help::{self, Asked};
use tombolo_shell::{log, process};

/// Reads of standard input cannot be cancelled: the runtime does not wait for them.
const RUNTIME_DEADLINE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let done = match help::asked(std::env::args_os().skip(1)) {
        Asked::Text(text) => std::io::stdout().write_all(text.as_bytes()),
        Asked::Nothing(why) => return misused(why),
        Asked::Run => match Config::from_env() {
            Ok(config) => return start(config).unwrap_or_else(|error| failed(&error)),
            Err(error) => return misused(&error.to_string()),
        },
    };
    done.map_or_else(|error| failed(&error.into()), |()| ExitCode::SUCCESS)
}

fn start(config: Config) -> anyhow::Result<ExitCode> {
    process::die_with_parent()?;
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

fn failed(error: &anyhow::Error) -> ExitCode {
    report(&format!("{error:#}"));
    ExitCode::FAILURE
}

fn misused(why: &str) -> ExitCode {
    report(&format!("{why}; tombolo-proxy --help lists all variables"));
    ExitCode::from(EXIT_CODE)
}

#[expect(clippy::print_stderr, reason = "the log may not have been started")]
fn report(text: &str) {
    eprintln!("tombolo-proxy: {text}");
}
