//! Plans, shown.
use std::fmt::Write as _;

use crate::plan::{Action, Plan, Precondition};
use crate::service::{Labels, ManagedService, ManagedSlice, ServiceKind};
use crate::status::{Condition, ServiceStatus, Truth};

pub(crate) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        render_action(&mut text, action);
    }
    for (link, status) in &plan.statuses {
        writeln!(
            text,
            "{}:{}",
            link.name,
            render_conditions(&status.conditions)
        )
        .unwrap();
        for (list, services) in [("mirror", &status.mirrors), ("member", &status.federated)] {
            for status in services {
                writeln!(text, "  {list} {}", render_status(status)).unwrap();
            }
        }
    }
    for problem in &plan.problems {
        writeln!(
            text,
            "! {}: {}: {}",
            problem.about, problem.reason, problem.message
        )
        .unwrap();
    }
    short(&text)
}

fn render_action(text: &mut String, action: &Action) {
    let when = |precondition: &Precondition| match precondition {
        Precondition::Absent => "create",
        Precondition::Uid(_) => "change",
        Precondition::Left(_) => "take over",
    };
    match action {
        Action::ApplyService {
            key,
            precondition,
            service,
        } => {
            let ManagedService {
                kind,
                labels,
                annotations,
                ports,
            } = service;
            let headless = match kind {
                ServiceKind::Headless => " headless",
                _ => "",
            };
            writeln!(text, "{} Service {key}{headless}", when(precondition)).unwrap();
            render_pairs(text, labels, annotations);
            let ports: Vec<_> = ports
                .iter()
                .map(|p| format!("{}:{}", p.name.as_deref().unwrap_or(""), p.port))
                .collect();
            writeln!(text, "  {}", ports.join(" ")).unwrap();
        }
        Action::ApplySlice {
            key,
            precondition,
            slice,
        } => {
            let ManagedSlice {
                labels,
                annotations,
                ports,
                endpoints,
            } = slice;
            writeln!(text, "{} EndpointSlice {key}", when(precondition)).unwrap();
            render_pairs(text, labels, annotations);
            let ports: Vec<_> = ports
                .iter()
                .map(|p| format!("{}:{}", p.name.as_deref().unwrap_or(""), p.port))
                .collect();
            let endpoints: Vec<_> = endpoints
                .iter()
                .map(|e| {
                    let name = e
                        .hostname
                        .as_ref()
                        .map_or(String::new(), |n| format!("{n}="));
                    format!("{name}{} {:?}", e.address, e.readiness)
                })
                .collect();
            writeln!(text, "  {} -> [{}]", ports.join(" "), endpoints.join(", ")).unwrap();
        }
        Action::DeleteService { key, uid } => {
            writeln!(text, "delete Service {key} ({})", uid.0).unwrap();
        }
        Action::DeleteOldEndpoints { key, slices } => {
            writeln!(text, "delete Endpoints {key} and {slices:?}").unwrap();
        }
        Action::DeleteSlice { key, uid } => {
            writeln!(text, "delete EndpointSlice {key} ({})", uid.0).unwrap();
        }
    }
}

fn render_pairs(text: &mut String, labels: &Labels, annotations: &Labels) {
    for (sigil, map) in [('@', labels), ('#', annotations)] {
        let pairs: Vec<_> = map
            .iter()
            .map(|(key, value)| format!("{sigil}{key}={value}"))
            .collect();
        if !pairs.is_empty() {
            writeln!(text, "  {}", pairs.join(" ")).unwrap();
        }
    }
}

/// What is not plainly well.
fn render_conditions(conditions: &[Condition]) -> String {
    let mut text = String::new();
    for Condition {
        kind,
        truth,
        reason,
        message,
    } in conditions
    {
        if *truth == Truth::True && message.is_empty() {
            continue;
        }
        let gap = if message.is_empty() { "" } else { ": " };
        write!(
            text,
            " {}={} ({reason}{gap}{message})",
            kind.as_str(),
            truth.as_str()
        )
        .unwrap();
    }
    text
}

fn render_status(status: &ServiceStatus) -> String {
    let local = status
        .local
        .as_ref()
        .map_or_else(|| "none".to_owned(), ToString::to_string);
    format!(
        "{} -> {local}{}",
        status.remote,
        render_conditions(&status.conditions)
    )
}

fn short(text: &str) -> String {
    text.replace("mirror.linkerd.io/", "m/")
        .replace("multicluster.linkerd.io/", "mc/")
}
