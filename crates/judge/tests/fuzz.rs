//! The fuzz targets on stable: every input of the committed corpora, and random changes of them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may unwrap as tests may"
)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use tombolo_judge::fuzz::{Fuzz, Target};

/// A byte that something may hang on.
const TELLING: &[u8] = b"\n\0 {}[]\"',:/\\?&=%$~*.-+0129aA\x80\xff";

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
        .into_iter()
        .map(|file| {
            let bytes = std::fs::read(&file).unwrap();
            (file, bytes)
        })
        .collect()
}

#[test]
fn corpora_do_no_harm() {
    let mut fuzz = Fuzz::new().unwrap();
    for (name, target) in Target::ALL {
        for (file, bytes) in corpus(name) {
            let ran = fuzz.run(target, &bytes);
            ran.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = || prop_oneof![3 => prop::sample::select(TELLING), 1 => any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Cut(from, to)),
        (any::<Index>(), any::<Index>(), 1u8..40)
            .prop_map(|(from, to, times)| Change::Repeat(from, to, times)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            bytes.push(b'0');
        }
        let size = bytes.len();
        let span = |from: &Index, to: &Index| {
            let (from, to) = (from.index(size), to.index(size));
            from.min(to)..from.max(to)
        };
        match change {
            Change::Set(at, byte) => bytes[at.index(size)] = *byte,
            Change::Insert(at, byte) => bytes.insert(at.index(size), *byte),
            Change::Cut(from, to) => drop(bytes.drain(span(from, to))),
            Change::Repeat(from, to, times) => {
                let part = bytes[span(from, to)].repeat(usize::from(*times));
                let at = from.index(size);
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn changed_inputs_do_no_harm() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let fuzz = std::cell::RefCell::new(Fuzz::new().unwrap());
    for (name, target) in Target::ALL {
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let strategy = (
            prop::sample::select(inputs),
            prop::collection::vec(change(), 1..6),
        );
        let ran = runner.run(&strategy, |(bytes, changes)| {
            let bytes = changed(bytes, &changes);
            let ran = fuzz.borrow_mut().run(target, &bytes);
            ran.map_err(|error| TestCaseError::fail(format!("{name}: {error:#}")))
        });
        ran.unwrap();
    }
}
