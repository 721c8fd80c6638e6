//! `tombolo demo` and `tombolo lab`: what is printed, and which exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;
use tombolo_lab::cluster::{ProcessInfo, ProcessState, Role};
use tombolo_lab::demo::{self, Afterwards, DemoOptions, Outcome};
use tombolo_lab::dir::LabDir;
use tombolo_lab::lab::{Options, Progress, Status};
use tombolo_lab::report::{Form, Way};
use tombolo_lab::supervisor::{self, Ended, Question};

use crate::args::{DemoArgs, LabCommand, Output, UpArgs};

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(future)
}

impl From<UpArgs> for Options {
    fn from(args: UpArgs) -> Self {
        Self {
            dir: args.dir.dir,
            port: args.port,
        }
    }
}

/// Prints each step with the time since the start; beside JSON, to standard error.
fn printed(output: Output) -> Progress {
    let begun = Instant::now();
    Arc::new(move |text| {
        let line = if text.is_empty() {
            String::new()
        } else {
            format!("{:6.1} s  {text}", begun.elapsed().as_secs_f64())
        };
        match output {
            Output::Table => anstream::println!("{line}"),
            Output::Json => anstream::eprintln!("{line}"),
        }
    })
}

impl From<Output> for Form {
    fn from(output: Output) -> Self {
        match output {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
        }
    }
}

pub(crate) fn demo(args: DemoArgs) -> Result<ExitCode> {
    let output = args.output.output;
    let options = DemoOptions {
        lab: args.up.into(),
        ways: if args.only.is_empty() {
            Way::ALL.to_vec()
        } else {
            args.only
        },
        afterwards: if args.keep {
            Afterwards::Keep
        } else {
            Afterwards::Down
        },
        rate: args.rate,
        duration: args.duration.unwrap_or(demo::DURATION_DEFAULT),
        form: output.into(),
        json: args.json,
    };
    Ok(match block_on(demo::run(&options, printed(output)))? {
        Outcome::Held => ExitCode::SUCCESS,
        Outcome::Broken => ExitCode::FAILURE,
        // As a shell says of a program that Ctrl-C ended.
        Outcome::Interrupted => ExitCode::from(130),
    })
}

pub(crate) fn supervisor(args: UpArgs) -> Result<ExitCode> {
    block_on(supervisor::run(args.into()))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn lab(command: LabCommand) -> Result<ExitCode> {
    match command {
        LabCommand::Up(args) => up(args)?,
        LabCommand::Status { dir, output, json } => {
            let status = ask(&dir.dir, &Question::Status)?.context("an answer without a status")?;
            let output = if json { Output::Json } else { output.output };
            anstream::print!("{}", shown(&status, output)?);
        }
        LabCommand::Break { cluster, way, dir } => {
            let question = Question::Break {
                cluster: cluster.clone(),
                way: way.to_string(),
            };
            ask(&dir.dir, &question)?;
            anstream::println!("{cluster} is lost: {}", way.describe());
        }
        LabCommand::Heal { cluster, dir } => anstream::println!("{}", heal(&cluster, &dir.dir)?),
        LabCommand::Down { dir } => {
            let dir = LabDir::open(&dir.dir)?;
            match block_on(supervisor::down(dir))? {
                Ended::Now => anstream::println!("the lab has ended"),
                Ended::Before => anstream::println!("no lab ran; what one had left is deleted"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(args: UpArgs) -> Result<()> {
    let dir = args.dir.dir.clone();
    block_on(async { supervisor::start(&args.into(), &printed(Output::Table)).await })?;
    let kubeconfig = dir.join("kubeconfig");
    let at = if dir == Path::new(".tombolo") {
        String::new()
    } else {
        format!(" --dir {}", dir.display())
    };
    anstream::println!();
    anstream::println!("Try:");
    anstream::println!("  export KUBECONFIG={}", kubeconfig.display());
    anstream::println!("  kubectl --context north get services -n mc-demo");
    anstream::println!("  tombolo lab status{at}");
    anstream::println!("  tombolo lab break east --way b{at}; tombolo lab heal east{at}");
    anstream::println!("  tombolo lab down{at}");
    Ok(())
}

/// Brings a cluster back, and says what that came to.
fn heal(name: &str, dir: &Path) -> Result<String> {
    let status = ask(dir, &Question::Status)?.context("an answer without a status")?;
    let before = status.clusters.into_iter().find(|it| it.name == name);
    let cluster = name.to_owned();
    ask(dir, &Question::Heal { cluster })?;
    Ok(match before {
        Some(before) if before.is_whole() => {
            format!("{name} was not lost: its processes run, and its pods are ready")
        }
        _ => format!("{name} is back: its pods are ready"),
    })
}

fn ask(dir: &Path, question: &Question) -> Result<Option<Box<Status>>> {
    let dir = LabDir::open(dir)?;
    block_on(supervisor::ask(&dir, question))
}

fn shown(status: &Status, output: Output) -> Result<String> {
    Ok(match output {
        Output::Table => table(status),
        Output::Json => serde_json::to_string_pretty(status)? + "\n",
    })
}

/// The status for a reader.
fn table(status: &Status) -> String {
    let mut out = format!("kubeconfig {}\n", status.kubeconfig);
    for cluster in &status.clusters {
        let state = match (&cluster.broken, cluster.api_answers) {
            (Some(way), _) => format!("lost (way {way})"),
            (None, true) => "up".to_owned(),
            (None, false) => "its API server does not answer".to_owned(),
        };
        out += &format!("\n{}  {}  {state}\n", cluster.name, cluster.api);
        for process in &cluster.processes {
            out += &line(process);
        }
        for service in &cluster.services {
            let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
            out += &format!(
                "  service {:<12} {:<24} {}:{}\n",
                service.namespace,
                service.name,
                service.cluster_ip,
                ports.join(",")
            );
        }
    }
    out
}

fn line(process: &ProcessInfo) -> String {
    let role = match process.role {
        Role::Apiserver => "apiserver",
        Role::Control => "control",
        Role::Agent => "agent",
        Role::Proxy => "proxy",
        Role::App => "app",
    };
    let state = match process.state {
        ProcessState::Running => "",
        ProcessState::Stopped => "  stopped",
        ProcessState::Ended => "  ended",
    };
    format!(
        "  {:>7} {role:<10} {:<42} {}{state}\n",
        process.pid, process.name, process.address
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn status() -> Status {
        let process = r#"{"pid": 7, "role": "app", "name": "mc-demo/api-1/api", "address": "127.108.0.5:8080", "state": "stopped"}"#;
        let service = r#"{"namespace": "mc-demo", "name": "api", "cluster_ip": "127.112.0.9", "ports": [8080]}"#;
        let cluster = format!(
            r#"{{"name": "east", "api": "https://127.20.0.1:6443", "broken": "freeze", "api_answers": false,
                "processes": [{process}], "services": [{service}]}}"#
        );
        let text = format!(
            r#"{{"dir": "/lab", "kubeconfig": "/lab/kubeconfig", "clusters": [{cluster}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_status_is_a_table_or_the_same_as_data() {
        let status = status();
        let data: Status = serde_json::from_str(&shown(&status, Output::Json).unwrap()).unwrap();
        assert_eq!(data, status);
        let table = shown(&status, Output::Table).unwrap();
        for part in ["lost (way freeze)", "stopped", "127.112.0.9:8080"] {
            assert!(table.contains(part), "{part}: {table}");
        }
    }

    #[test]
    fn whatever_prints_a_table_takes_output_as_kubectl_does() {
        let output = |words: &[&str]| match Cli::try_parse_from(words)?.command {
            Command::Demo(args) => Ok(args.output.output),
            Command::Lab(LabCommand::Status { output, .. }) => Ok(output.output),
            other => panic!("{other:?} prints no table"),
        };
        for command in [&["tombolo", "demo"][..], &["tombolo", "lab", "status"]] {
            for (words, want) in [
                (&[][..], Some(Output::Table)),
                (&["-o", "json"], Some(Output::Json)),
                (&["-ojson"], Some(Output::Json)),
                (&["--output", "table"], Some(Output::Table)),
                (&["--output=yaml"], None),
            ] {
                let got: Result<Output, clap::Error> = output(&[command, words].concat());
                assert_eq!(got.ok(), want, "{command:?} {words:?}");
            }
        }
    }
}
