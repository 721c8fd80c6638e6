//! `/metrics`: what can be told without work for each request, under the names that Kubernetes has for it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::Body;
use super::respond;
use super::server::ApiServer;

const TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8; escaping=underscores");

/// Verbs as the metrics name them; the last one stands for requests that were not let in.
const VERBS: [&str; 9] = [
    "GET",
    "LIST",
    "WATCH",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "DELETECOLLECTION",
    "",
];
/// Codes that are counted by themselves; others count as the first of their hundred.
const CODES: [u16; 22] = [
    100, 101, 200, 201, 300, 301, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422,
    429, 500, 503,
];

/// How many requests there were.
#[derive(Debug)]
pub(super) struct Counts {
    /// Those that were answered, by verb and code.
    answers: [[AtomicU64; CODES.len()]; VERBS.len()],
    allowed: AtomicU64,
    /// Those that no rule allows.
    refused: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            answers: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            allowed: zero(),
            refused: zero(),
        }
    }
}

impl Counts {
    /// Counts an answer.
    pub(super) fn add(&self, verb: &str, code: StatusCode) {
        let verb = VERBS.iter().position(|one| *one == verb);
        let code = code.as_u16();
        let code = CODES
            .iter()
            .position(|one| *one == code)
            .or_else(|| CODES.iter().position(|one| *one == code / 100 * 100));
        let counts = &self.answers[verb.unwrap_or(VERBS.len() - 1)];
        if let Some(counter) = counts.get(code.unwrap_or_default()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts what was decided of a request.
    pub(super) fn decided(&self, allowed: bool) {
        let counter = if allowed {
            &self.allowed
        } else {
            &self.refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The verb of a request as metrics name it.
pub(super) fn verb(verb: &str) -> &'static str {
    match verb {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "",
    }
}

/// Answers with all metrics.
pub(super) fn answer(server: &ApiServer) -> Response<Body> {
    let mut response = respond::text(StatusCode::OK, text(server));
    response.headers_mut().insert(CONTENT_TYPE, TYPE);
    response
}

fn text(server: &ApiServer) -> String {
    let mut out = Page::default();
    let (requests, watches) = server.in_flight();
    out.head(
        "apiserver_current_inflight_requests",
        "gauge",
        "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last \
         second.",
    );
    out.line(
        "apiserver_current_inflight_requests",
        &[("request_kind", "mutating")],
        requests,
    );
    out.head(
        "apiserver_longrunning_requests",
        "gauge",
        "[STABLE] Gauge of all active long-running apiserver requests.",
    );
    out.line(
        "apiserver_longrunning_requests",
        &[("component", "apiserver")],
        watches,
    );
    out.head(
        "apiserver_request_total",
        "counter",
        "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, \
         scope, component, and HTTP response code.",
    );
    for (verb, counts) in VERBS.iter().zip(&server.counts.answers) {
        for (code, count) in CODES.iter().zip(counts) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let labels = [
                    ("code", &*code.to_string()),
                    ("component", "apiserver"),
                    ("verb", verb),
                ];
                out.line("apiserver_request_total", &labels, count);
            }
        }
    }
    out.head(
        "authorization_attempts_total",
        "counter",
        "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', \
         'no-opinion' or 'error'.",
    );
    for (result, count) in [
        ("allowed", &server.counts.allowed),
        ("no-opinion", &server.counts.refused),
    ] {
        let count = count.load(Ordering::Relaxed);
        out.line("authorization_attempts_total", &[("result", result)], count);
    }
    out.head(
        "apiserver_resource_objects",
        "gauge",
        "[STABLE] Number of stored objects at the time of last check split by kind.",
    );
    let state = server.db.snapshot();
    for (key, shelf) in state.collections() {
        let labels = [("group", &*key.group), ("resource", &*key.plural)];
        out.line("apiserver_resource_objects", &labels, shelf.len());
    }
    process(&mut out);
    out.0
}

/// A page in the text format of Prometheus.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}={value:?}"))
            .collect();
        if labels.is_empty() {
            self.write(format_args!("{name} {value}\n"));
        } else {
            self.write(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.head(name, kind, help);
            self.line(name, &[], value);
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(text)
            .expect("a text takes what is written to it");
    }
}

/// What the system says of this process; what it does not say is left out.
fn process(out: &mut Page) {
    /// Clock ticks of a second: fixed for programs.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // What comes after the name, which may have spaces: the state is the first.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    let cpu = number(11)
        .zip(number(12))
        .map(|(user, system)| (user + system) / TICKS);
    out.one(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        cpu,
    );
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    out.one(
        "process_max_fds",
        "gauge",
        "Maximum number of open file descriptors.",
        files.and_then(|line| line.split_whitespace().next().map(str::to_owned)),
    );
    let open = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    out.one(
        "process_open_fds",
        "gauge",
        "Number of open file descriptors.",
        open,
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let number: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(number * 1024)
    };
    out.one(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        kib("VmRSS:"),
    );
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
    let boot = boot.and_then(|text| text.trim().parse::<f64>().ok());
    let start = boot
        .zip(number(19))
        .map(|(boot, ticks)| boot + ticks / TICKS);
    out.one(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        start,
    );
    out.one(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory size in bytes.",
        kib("VmSize:"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_verb_and_code() {
        let counts = Counts::default();
        counts.add("GET", StatusCode::OK);
        counts.add("GET", StatusCode::IM_A_TEAPOT);
        counts.add("what", StatusCode::FORBIDDEN);
        let count = |verb: usize, code: u16| {
            let code = CODES.iter().position(|one| *one == code).unwrap();
            counts.answers[verb][code].load(Ordering::Relaxed)
        };
        assert_eq!((count(0, 200), count(0, 400), count(8, 403)), (1, 1, 1));
    }

    #[test]
    fn what_is_known_of_the_process_is_a_number() {
        let mut page = Page::default();
        process(&mut page);
        let lines: Vec<&str> = page
            .0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(lines.len(), 6, "{}", page.0);
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            // A young process may not have used a tick yet.
            let least = if name.starts_with("process_cpu") {
                0.0
            } else {
                1.0
            };
            assert!(value >= least, "{line}");
        }
    }
}
