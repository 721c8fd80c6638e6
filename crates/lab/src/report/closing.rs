//! What a demo prints at its end: the table, the promises and the one sentence.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::table::{Cell, Side, Table, Tone};
use super::{Form, Promise, Report, ServiceReport, WayReport};
use crate::topology;

/// Prints the closing table, the promises and the sentence, or everything as JSON.
///
/// # Errors
/// The output cannot be written to.
pub fn print(report: &Report, form: Form) -> io::Result<()> {
    let text = match form {
        Form::Table => render(report),
        Form::Json => serde_json::to_string_pretty(report)? + "\n",
    };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The tables and the sentence, with colours.
pub(super) fn render(report: &Report) -> String {
    let tone = if report.ok { Tone::Good } else { Tone::Bad };
    let (ways, promises) = (ways(&report.ways), promises(&report.promises));
    format!("\n{ways}\n{promises}\n{}\n", tone.paint(&report.sentence))
}

fn ways(ways: &[WayReport]) -> String {
    let clusters = clusters(ways);
    let mut table = Table::new(&[
        ("way", Side::Left),
        ("service", Side::Left),
        ("requests", Side::Right),
        ("failed", Side::Right),
        ("before", Side::Right),
        ("during", Side::Right),
        ("after", Side::Right),
        ("p50", Side::Right),
        ("p99", Side::Right),
        ("worst", Side::Right),
        ("shifted", Side::Right),
        ("even again", Side::Right),
    ]);
    for way in ways {
        for (n, service) in way.services.iter().enumerate() {
            let name = if n == 0 { way.way.as_str() } else { "" };
            table.row(row(name, service, &clusters));
        }
    }
    let legend = format!(
        "before, during, after: share of the answers, {} in per cent. p50, p99, worst: latencies in milliseconds.\n\
         shifted: milliseconds from the loss until the others carried everything without a pause.\n\
         even again: milliseconds from the return until the lost cluster had its share again over every 10 s; 0.0 if it had it at once.",
        clusters.join("/")
    );
    format!("{}\n{}", Tone::Faint.paint(&legend), table.render())
}

/// Every cluster that ever answered, in the order in which the progress names them.
fn clusters(ways: &[WayReport]) -> Vec<&str> {
    let services = ways.iter().flat_map(|way| &way.services);
    let shares = services.flat_map(|s| [&s.share.before, &s.share.during, &s.share.after]);
    let names: BTreeSet<_> = shares
        .flat_map(|share| share.keys().map(String::as_str))
        .collect();
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|name| topology::place(name));
    names
}

fn row(way: &str, service: &ServiceReport, clusters: &[&str]) -> Vec<Cell> {
    let shares = |share: &BTreeMap<String, f64>| {
        let of = |name: &&str| format!("{:.0}", share.get(*name).copied().unwrap_or(0.0) * 100.0);
        let text = match share.is_empty() {
            true => "-".to_owned(),
            false => clusters.iter().map(of).collect::<Vec<_>>().join("/"),
        };
        Cell::plain(text)
    };
    let number = |ms: f64| {
        Cell::plain(if ms < 10.0 {
            format!("{ms:.1}")
        } else {
            format!("{ms:.0}")
        })
    };
    let maybe = |ms: Option<f64>| ms.map_or_else(|| Cell::new("-", Tone::Faint), number);
    vec![
        Cell::plain(way),
        Cell::plain(&service.service),
        Cell::plain(service.requests.to_string()),
        Cell::plain(service.failed.to_string()),
        shares(&service.share.before),
        shares(&service.share.during),
        shares(&service.share.after),
        number(service.p50_ms),
        number(service.p99_ms),
        number(service.worst_ms),
        maybe(service.shifted_ms),
        maybe(service.even_again_ms),
    ]
}

fn promises(promises: &[Promise]) -> String {
    let mut table = Table::new(&[
        ("", Side::Left),
        ("promise", Side::Left),
        ("wanted", Side::Left),
        ("seen", Side::Left),
    ]);
    for promise in promises {
        let held = match (promise.ok, promise.judged) {
            (true, _) => Cell::new("kept", Tone::Good),
            (false, true) => Cell::new("BROKEN", Tone::Bad),
            (false, false) => Cell::new("NOT JUDGED", Tone::Bad),
        };
        let text = [&promise.name, &promise.want, &promise.got].map(Cell::plain);
        table.row(std::iter::once(held).chain(text).collect());
    }
    table.render()
}

/// Whether every promise held, in one sentence.
pub(super) fn sentence(promises: &[Promise], ways: &[WayReport]) -> String {
    let broken: Vec<_> = promises.iter().filter(|promise| !promise.ok).collect();
    if ways.is_empty() {
        return "No way to lose a cluster was shown, so no promise was kept.".to_owned();
    }
    let judged = broken.iter().find(|promise| promise.judged);
    if let Some(first) = judged.or_else(|| broken.first()) {
        let (count, all) = (broken.len(), promises.len());
        let verb = if count == 1 { "was" } else { "were" };
        let what = if first.judged { "broken" } else { "not judged" };
        return format!(
            "{count} of {all} promises {verb} {what}, the first: {} (wanted {}, saw {}).",
            first.name, first.want, first.got
        );
    }
    let names: Vec<_> = ways.iter().map(|way| way.way.as_str()).collect();
    let requests: u64 = ways
        .iter()
        .flat_map(|way| &way.services)
        .map(|s| s.requests)
        .sum();
    format!(
        "Every promise held: {} promises, {requests} requests, ways {}.",
        promises.len(),
        names.join(", ")
    )
}
