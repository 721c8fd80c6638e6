//! The arguments.
use anyhow::{Context as _, Result};
use tombolo_judge::Kind;

pub(crate) const USAGE: &str = "\
usage: tombolo-bench [--quick] [--check] [-o json|table] [--kills N] [--ours]
  --quick                  fewer objects and seconds, for a first impression
  --check                  exit 1 if a promise does not hold
  -o, --output json|table  the figures as JSON, or as a table (which is what you get without it)
  --kills N                kill -9 under load so many times (100; quick: 5)
  --ours                   leave the real one out";

/// What is asked for.
pub(crate) struct Asked {
    pub(crate) quick: bool,
    pub(crate) check: bool,
    pub(crate) json: bool,
    pub(crate) kills: u32,
    pub(crate) kinds: Vec<Kind>,
}

/// What the arguments ask for; nothing if they are not understood.
pub(crate) fn asked(arguments: &[String]) -> Result<Option<Asked>> {
    let mut kinds = Kind::available()?;
    let mut asked = Asked {
        quick: false,
        check: false,
        json: false,
        kills: 0,
        kinds: Vec::new(),
    };
    let mut kills = None;
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--quick" => asked.quick = true,
            "--check" => asked.check = true,
            "--ours" => kinds = vec![Kind::Ours],
            "-o" | "--output" => match arguments.next() {
                Some("json") => asked.json = true,
                Some("table") => asked.json = false,
                _ => return Ok(None),
            },
            "--kills" => {
                let number = arguments.next().unwrap_or_default();
                kills = Some(number.parse().context("--kills wants a number")?);
            }
            _ => return Ok(None),
        }
    }
    asked.kills = kills.unwrap_or(if asked.quick { 5 } else { 100 });
    asked.kinds = kinds;
    Ok(Some(asked))
}
