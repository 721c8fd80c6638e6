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
use tombolo_lab::report::Way;
use tombolo_lab::supervisor::{self, Ended, Question};

use crate::args::{DemoArgs, LabCommand, UpArgs};

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

/// Prints each step with the time since the start.
fn printed() -> Progress {
    let begun = Instant::now();
    Arc::new(move |text| {
        if text.is_empty() {
            anstream::println!();
        } else {
            anstream::println!("{:6.1} s  {text}", begun.elapsed().as_secs_f64());
        }
    })
}

pub(crate) fn demo(args: DemoArgs) -> Result<ExitCode> {
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
        json: args.json,
    };
    Ok(match block_on(demo::run(&options, printed()))? {
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
        LabCommand::Status { dir, json } => {
            let status = ask(&dir.dir, &Question::Status)?.context("an answer without a status")?;
            if json {
                anstream::println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                anstream::print!("{}", table(&status));
            }
        }
        LabCommand::Break { cluster, way, dir } => {
            let question = Question::Break {
                cluster: cluster.clone(),
                way: way.to_string(),
            };
            ask(&dir.dir, &question)?;
            anstream::println!("{cluster} is lost: {}", way.describe());
        }
        LabCommand::Heal { cluster, dir } => {
            ask(
                &dir.dir,
                &Question::Heal {
                    cluster: cluster.clone(),
                },
            )?;
            anstream::println!("{cluster} is back: its pods are ready");
        }
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
    block_on(async { supervisor::start(&args.into(), &printed()).await })?;
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

fn ask(dir: &Path, question: &Question) -> Result<Option<Box<Status>>> {
    let dir = LabDir::open(dir)?;
    block_on(supervisor::ask(&dir, question))
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
