//! Every script of `cases/`, against the real API server and ours: one test per compared step.
//!
//! Steps of a script build on each other, so each script is played as a whole first; its tests then say what came of it.
//! Without the real one (or kubectl) they count as ignored, unless `TOMBOLO_REAL=required` makes that a failure.
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    let kubectl = binaries::path_with_kubectl().is_some();
    ensure!(
        kubectl || !binaries::required(),
        "kubectl is required (TOMBOLO_REAL=required) and not on this machine: cargo xtask kube"
    );
    let can_run = kubectl && Kind::available()?.contains(&Kind::Real);
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

async fn play(scripts: Vec<Script>) -> Result<Vec<Trial>> {
    let (real, ours) = tokio::try_join!(
        Cluster::start(Kind::Real, "judge", Parts::All),
        Cluster::start(Kind::Ours, "judge", Parts::All),
    )?;
    let (real, ours) = (Player::new(&real).await?, Player::new(&ours).await?);
    let mut trials = Vec::new();
    for script in &scripts {
        for compared in compare(&script.steps, (&real, &ours)).await? {
            let stem = script
                .file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let name = format!("{stem}:{}: {}", compared.line, compared.step);
            trials.push(Trial::test(name, move || verdict(&compared)));
        }
    }
    Ok(trials)
}

fn verdict(compared: &Compared) -> Result<(), Failed> {
    if compared.is_same() {
        return Ok(());
    }
    Err(format!("- the real one, + ours:\n{}", compared.difference()).into())
}
