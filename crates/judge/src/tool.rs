//! What the program does once it knows what it was asked for.
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tombolo_judge::compare::{Compared, compare};
use tombolo_judge::play::Player;
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

/// Compares the scripts, and prints where the two differ.
pub(crate) async fn judge(files: &[String]) -> Result<ExitCode> {
    let (real, ours) = tokio::try_join!(
        Cluster::start(Kind::Real, "judge", Parts::All),
        Cluster::start(Kind::Ours, "judge", Parts::All),
    )?;
    let (real, ours) = (Player::new(&real).await?, Player::new(&ours).await?);
    let (mut same, mut all) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
        let steps = script::parse(&text).with_context(|| file.clone())?;
        for compared in compare(&steps, (&real, &ours)).await? {
            all += 1;
            if compared.is_same() {
                same += 1;
            } else {
                show(Path::new(file), &compared);
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
