//! Every script of `cases/`, against the real API server and ours: one test per compared step.
//!
//! A step that differs is printed and counted as ignored; the run fails if fewer than 99 of 100 are the same, and with
//! `TOMBOLO_DIFFERENCES=fail` for each.
//!
//! Steps of a script build on each other, so each script is played as a whole first; its tests then say what came of it.
//! Without the real one (or kubectl, curl, jq, openssl) they count as ignored, unless `TOMBOLO_REAL=required` makes that a failure.
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tombolo_judge::compare::{Compared, compare};
use tombolo_judge::play::Player;
use tombolo_judge::script::{self, Step};
use tombolo_judge::{Cluster, Kind, Parts, binaries};

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let scripts = scripts()?;
    let wanted = |script: &Script| {
        let filter = arguments.filter.as_deref().unwrap_or_default();
        script
            .steps
            .iter()
            .any(|step| script.name(step).contains(filter))
    };
    let missing = binaries::tools_missing();
    ensure!(
        missing.is_empty() || !binaries::required(),
        "{} required (TOMBOLO_REAL=required) and not on this machine: cargo xtask kube, apt-get install curl jq openssl",
        missing.join(", ")
    );
    let can_run = missing.is_empty() && Kind::available()?.contains(&Kind::Real);
    let trials = if arguments.list || !can_run {
        scripts.iter().flat_map(Script::not_run).collect()
    } else {
        let scripts: Vec<Script> = scripts.into_iter().filter(wanted).collect();
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(play(scripts))?
    };
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

struct Script {
    file: PathBuf,
    steps: Vec<Step>,
}

impl Script {
    fn name(&self, step: &Step) -> String {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}:{}: {step}", step.line)
    }

    /// What says that it was not played to its end.
    fn failed(&self, error: &anyhow::Error) -> Trial {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let why = format!("{error:#}");
        let name = format!("{stem}: the whole script is played");
        Trial::test(name, move || Err(why.into()))
    }

    fn not_run(&self) -> Vec<Trial> {
        let compared = self.steps.iter().filter(|step| step.is_compared());
        compared
            .map(|step| Trial::test(self.name(step), || Ok(())).with_ignored_flag(true))
            .collect()
    }
}

fn scripts() -> Result<Vec<Script>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .with_context(|| format!("read {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "script"))
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file)?;
        let steps = script::parse(&text).with_context(|| file.display().to_string())?;
        Ok(Script { file, steps })
    };
    files.into_iter().map(read).collect()
}

/// How much must be the same. Anything less fails the run; each difference is printed in any case.
const SAME_PERCENT_MIN: usize = 99;
/// Scripts that have not begun by then are counted as ignored, and said; where the real one is required they fail.
const BEGIN_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Makes each difference a failure of its own.
const STRICT: &str = "TOMBOLO_DIFFERENCES";

async fn play(scripts: Vec<Script>) -> Result<Vec<Trial>> {
    let strict = std::env::var_os(STRICT).is_some_and(|value| value == "fail");
    let (real, ours) = tokio::try_join!(
        Cluster::start(Kind::Real, "judge", Parts::All),
        Cluster::start(Kind::Ours, "judge", Parts::All),
    )?;
    let (real, ours) = (Player::new(&real).await?, Player::new(&ours).await?);
    let began = Instant::now();
    let mut trials = Vec::new();
    let (mut same, mut all) = (0, 0);
    for script in &scripts {
        if began.elapsed() > BEGIN_DEADLINE {
            say(&format!("NOT RUN, out of time: {}", script.file.display()));
            if binaries::required() {
                trials.push(script.failed(&anyhow::anyhow!("out of time before it began")));
            }
            trials.extend(script.not_run());
            continue;
        }
        let stem = script
            .file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let compared = match compare(&script.steps, (&real, &ours)).await {
            Ok(compared) => compared,
            Err(error) => {
                trials.push(script.failed(&error));
                continue;
            }
        };
        let differ = compared.iter().filter(|step| !step.is_same()).count();
        say(&format!(
            "{stem}: {} of {} are the same",
            compared.len() - differ,
            compared.len()
        ));
        (same, all) = (same + compared.len() - differ, all + compared.len());
        for step in compared {
            let name = format!("{stem}:{}: {}", step.line, step.step);
            if !step.is_same() {
                say(&format!("differs: {name}\n{}", step.difference()));
            }
            let ignored = !strict && !step.is_same() && !step.is_ours_unanswered();
            trials.push(Trial::test(name, move || verdict(&step)).with_ignored_flag(ignored));
        }
    }
    let name = format!("at least {SAME_PERCENT_MIN} of 100 steps are the same");
    trials.push(Trial::test(name, move || enough(same, all)));
    Ok(trials)
}

fn enough(same: usize, all: usize) -> Result<(), Failed> {
    if same * 100 >= all * SAME_PERCENT_MIN {
        return Ok(());
    }
    Err(format!("{same} of {all} are the same").into())
}

/// One line to the terminal. If that is gone, nobody is left to be told.
fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

fn verdict(compared: &Compared) -> Result<(), Failed> {
    if compared.is_same() {
        return Ok(());
    }
    Err(format!("- the real one, + ours:\n{}", compared.difference()).into())
}
