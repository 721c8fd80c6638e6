//! What the program does once it knows what it was asked for.
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tombolo_judge::compare::{Compared, pair};
use tombolo_judge::normal::normal;
use tombolo_judge::play::Player;
use tombolo_judge::script::Step;
use tombolo_judge::{Cluster, Kind, Parts, script};

/// Leaves a cluster running until Enter.
pub(crate) async fn keep(kind: Kind) -> Result<ExitCode> {
    let cluster = Cluster::start(kind, kind.name(), Parts::All).await?;
    say(&format!(
        "export KUBECONFIG={}",
        cluster.kubeconfig().display()
    ));
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(ExitCode::SUCCESS)
}

/// Where the real one's answers are kept from one run to the next, if anywhere.
const ANSWERS: &str = "TOMBOLO_ANSWERS";

/// Compares the scripts, and prints where the two differ.
pub(crate) async fn judge(files: &[String]) -> Result<ExitCode> {
    let scripts = files.iter().map(|file| read(file));
    let scripts = scripts.collect::<Result<Vec<_>>>()?;
    let known = scripts.iter().map(|script| script.known());
    let known = known.collect::<Result<Vec<_>>>()?;
    let ours = Cluster::start(Kind::Ours, "judge", Parts::All);
    let (real, ours) = if known.iter().all(Option::is_some) {
        (None, ours.await?)
    } else {
        let real = Cluster::start(Kind::Real, "judge", Parts::All);
        let (real, ours) = tokio::try_join!(real, ours)?;
        (Some(real), ours)
    };
    let player = Player::new(&ours).await?;
    let real_player = match &real {
        Some(real) => Some(Player::new(real).await?),
        None => None,
    };
    let (mut same, mut all) = (0, 0);
    for (script, known) in scripts.iter().zip(known) {
        let compared = match (known, &real_player) {
            (Some(known), _) => pair(&script.steps, known, player.play(&script.steps).await?),
            (None, Some(real)) => {
                let (real, ours) =
                    tokio::try_join!(real.play(&script.steps), player.play(&script.steps))?;
                script.keep(&real)?;
                pair(&script.steps, real, ours)
            }
            (None, None) => Vec::new(),
        };
        for compared in compared {
            all += 1;
            if compared.is_same() {
                same += 1;
            } else {
                show(Path::new(&script.file), &compared);
            }
        }
    }
    say(&format!("{same} of {all} are the same"));
    Ok(if same == all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Script {
    file: String,
    steps: Vec<Step>,
    /// Where the real one's answers to it are kept.
    answers: Option<PathBuf>,
}

fn read(file: &str) -> Result<Script> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let steps = script::parse(&text).with_context(|| file.to_owned())?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let name = format!("{:016x}.json", hasher.finish());
    let answers = std::env::var_os(ANSWERS).map(|dir| PathBuf::from(dir).join(name));
    Ok(Script {
        file: file.to_owned(),
        steps,
        answers,
    })
}

impl Script {
    /// What the real one answered to the same text before.
    fn known(&self) -> Result<Option<Vec<String>>> {
        let Some(path) = self.answers.as_ref().filter(|path| path.exists()) else {
            return Ok(None);
        };
        let text = std::fs::read(path).context("read known answers")?;
        let known: Vec<String> = serde_json::from_slice(&text).context("read known answers")?;
        // Other rules of normalising may have come since.
        Ok(Some(known.iter().map(|text| normal(text)).collect()))
    }

    fn keep(&self, real: &[String]) -> Result<()> {
        let Some(path) = &self.answers else {
            return Ok(());
        };
        let text = serde_json::to_vec(real).context("keep answers")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn show(file: &Path, compared: &Compared) {
    let Compared { step, line, .. } = compared;
    say(&format!(
        "\n{}:{line}: {step}\n{}",
        file.display(),
        compared.difference()
    ));
}

/// One line to the terminal. If that is gone, nobody is left to be told.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").ok();
}
