//! Laws of an API server, over sequences of writes that chance makes: who follows ends with what is stored, and the
//! real one gives the same answers.
//! This program is the server, too, when it is asked to be: a child that can be killed. Without the real Kubernetes its
//! law counts as ignored, unless `TOMBOLO_REAL=required` makes that a failure. `TOMBOLO_SEED` is a number.
mod answers;
mod follow;
mod operation;
mod server;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tombolo_judge::Kind;

fn main() -> Result<ExitCode> {
    if let Some(config) = server::asked_for()? {
        return server::run(&config);
    }
    let arguments = Arguments::from_args();
    let real = Kind::available()?.contains(&Kind::Real);
    let trials = vec![
        Trial::test("whoever_follows_ends_with_what_is_stored", || {
            told(follow::law())
        }),
        Trial::test("real_one_gives_the_same_answers", || told(answers::law()))
            .with_ignored_flag(!real),
    ];
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn told(law: Result<()>) -> Result<(), Failed> {
    law.map_err(|error| format!("{error:#}").into())
}

/// Holds a law to so many cases. A failure says the smallest case that was found, and the seed.
fn hold<S: Strategy>(
    cases: u32,
    strategy: &S,
    mut law: impl FnMut(S::Value) -> Result<()>,
) -> Result<()> {
    let seed = std::env::var("TOMBOLO_SEED").unwrap_or_else(|_| "4".to_owned());
    let number: u64 = seed.parse().context("TOMBOLO_SEED is a number")?;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let config = Config {
        cases,
        max_shrink_iters: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let law = std::cell::RefCell::new(&mut law);
    let held = TestRunner::new_with_rng(config, rng).run(strategy, |case| {
        (law.borrow_mut())(case).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    held.map_err(|error| anyhow::anyhow!("TOMBOLO_SEED={seed}: {error}"))
}
