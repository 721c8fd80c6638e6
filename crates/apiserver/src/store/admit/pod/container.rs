//! What must hold of containers: names, ports, variables, mounts, handlers, resources.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{resources, security, volumes};
use crate::store::admit::at::{At, Causes};
use crate::store::admit::words;

/// What the checks of a container need to know of its pod.
pub(super) struct Around<'a> {
    pub(super) volumes: BTreeSet<&'a str>,
    pub(super) claims: BTreeSet<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) restart: &'a str,
    pub(super) host_users: bool,
    pub(super) os: &'a str,
}

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// The regular containers.
pub(super) fn regular(list: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    if list.is_empty() {
        list.required(causes, "");
        return;
    }
    let mut names = BTreeSet::new();
    for one in list.items() {
        common(&one, around, causes);
        let name = one.get("name");
        if !names.insert(name.text()) {
            name.duplicate(causes);
        }
        lifecycle(&one.get("lifecycle"), around, causes);
        probes(&one, around, causes);
        restart_policy(&one, causes);
    }
    host_ports(
        &list.items().collect::<Vec<_>>(),
        &mut BTreeSet::new(),
        causes,
    );
}

/// The init containers.
pub(super) fn init(list: &At<'_>, regular: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    let mut names: BTreeSet<&str> = regular.items().map(|one| one.get("name").text()).collect();
    for one in list.items() {
        common(&one, around, causes);
        if one.get("restartPolicy").is_set() {
            restart_policy(&one, causes);
        }
        let name = one.get("name");
        if !names.insert(name.text()) {
            name.duplicate(causes);
        }
        // Init containers run one by one, so each has its ports alone; the path is that of the first, as in Kubernetes.
        let alone = one.named(format!("{}[0]", list.path));
        host_ports(&[alone], &mut BTreeSet::new(), causes);
        if one.get("restartPolicy").text() == "Always" {
            lifecycle(&one.get("lifecycle"), around, causes);
            probes(&one, around, causes);
            continue;
        }
        for field in ["lifecycle", PROBES[0], PROBES[1], PROBES[2]] {
            let field = one.get(field);
            if field.is_set() {
                let why = "may not be set for init containers without restartPolicy=Always";
                field.forbidden(causes, why);
            }
        }
        for policy in one.each("resizePolicy") {
            let policy = policy.get("restartPolicy");
            if policy.text() == "RestartContainer" {
                let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                policy.invalid(causes, why);
            }
        }
    }
}

/// The ephemeral containers.
pub(super) fn ephemeral(
    list: &At<'_>,
    others: BTreeSet<&str>,
    around: &Around<'_>,
    causes: &mut Causes,
) {
    let mut names = others.clone();
    for one in list.items() {
        common(&one, around, causes);
        untrimmed(&one, causes);
        let name = one.get("name");
        if !names.insert(name.text()) {
            name.duplicate(causes);
        }
        let target = one.get("targetContainerName");
        if !target.is_empty() && !others.contains(target.text()) {
            target.not_found(causes);
        }
        let why = "cannot be set for an Ephemeral Container";
        for field in [
            "ports",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            let field = one.get(field);
            if !field.is_empty() {
                field.forbidden(causes, why);
            }
        }
        for mount in one.each("volumeMounts") {
            for field in ["subPath", "subPathExpr"] {
                let field = mount.get(field);
                if !field.is_empty() {
                    field.forbidden(causes, why);
                }
            }
        }
    }
}

/// Images without blanks around them: of Pods only.
pub(super) fn untrimmed(one: &At<'_>, causes: &mut Causes) {
    let image = one.get("image");
    if image.text().trim().len() != image.len() {
        image.invalid(causes, "must not have leading or trailing whitespace");
    }
}

fn common(one: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    let name = one.get("name");
    if name.text().is_empty() {
        name.required(causes, "");
    } else {
        name.all_invalid(causes, words::label(name.text()));
    }
    let image = one.get("image");
    if image.text().is_empty() {
        image.required(causes, "");
    }
    one.get("terminationMessagePolicy")
        .must_be_one_of(causes, &["File", "FallbackToLogsOnError"]);
    ports(one, causes);
    for variable in one.each("env") {
        let name = variable.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
        } else {
            name.all_invalid(causes, words::variable(name.text()));
        }
        volumes::variable_source(&variable, causes);
    }
    env_from(&one.get("envFrom"), causes);
    volumes::mounts(one, around, causes);
    one.get("imagePullPolicy")
        .must_be_one_of(causes, &["Always", "IfNotPresent", "Never"]);
    resources::container(&one.get("resources"), &around.claims, causes);
    resize(&one.get("resizePolicy"), around, causes);
    security::container(&one.get("securityContext"), around.host_users, causes);
}

fn env_from(list: &At<'_>, causes: &mut Causes) {
    for one in list.items() {
        let prefix = one.get("prefix");
        if !prefix.is_empty() {
            prefix.all_invalid(causes, words::variable(prefix.text()));
        }
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            let source = one.get(name);
            if source.is_set() {
                count += 1;
                let name = source.get("name");
                if name.text().is_empty() {
                    name.required(causes, "");
                } else {
                    name.all_invalid(causes, words::subdomain(name.text()));
                }
            }
        }
        if count == 0 {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            list.invalid_as(causes, &json!(""), why);
        } else if count > 1 {
            let why = "may not have more than one field specified at a time";
            list.invalid_as(causes, &json!(""), why);
        }
    }
}

fn ports(one: &At<'_>, causes: &mut Causes) {
    let mut names = BTreeSet::new();
    for port in one.each("ports") {
        let name = port.get("name");
        if !name.is_empty() {
            let why = words::port_name(name.text());
            if !why.is_empty() {
                name.all_invalid(causes, why);
            } else if !names.insert(name.text()) {
                name.duplicate(causes);
            }
        }
        let inner = port.get("containerPort");
        if inner.int() == 0 {
            inner.required(causes, "");
        } else {
            inner.within(causes, (1, 65535));
        }
        let outer = port.get("hostPort");
        if outer.int() != 0 {
            outer.within(causes, (1, 65535));
        }
        port.get("protocol")
            .must_be_one_of(causes, &["SCTP", "TCP", "UDP"]);
    }
}

fn host_ports(containers: &[At<'_>], taken: &mut BTreeSet<String>, causes: &mut Causes) {
    for container in containers {
        for port in container.each("ports") {
            let number = port.get("hostPort");
            if number.int() == 0 {
                continue;
            }
            let (protocol, address) = (port.get("protocol"), port.get("hostIP"));
            let all = format!("{}/{}/{}", protocol.text(), address.text(), number.int());
            let shown = json!(all);
            if !taken.insert(all) {
                At::new(number.path, &shown).duplicate(causes);
            }
        }
    }
}

fn restart_policy(one: &At<'_>, causes: &mut Causes) {
    let policy = one.get("restartPolicy");
    let rules = one.get("restartPolicyRules");
    if !policy.is_set() {
        if !rules.is_empty() {
            policy.required(
                causes,
                "must specify restartPolicy when restart rules are used",
            );
        }
        return;
    }
    policy.one_of(causes, &["Always", "Never", "OnFailure"]);
    if rules.len() > 20 {
        rules.too_many(causes, 20);
    }
    for rule in rules.items() {
        let actions = ["Restart", "RestartAllContainers"];
        let action = rule.get("action");
        if !actions.contains(&action.text()) {
            action.unsupported(causes, &actions);
        }
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            codes.required(causes, "must be specified");
            continue;
        }
        codes.get("operator").one_of(causes, &["In", "NotIn"]);
        if codes.get("values").len() > 255 {
            codes.get("values").too_many(causes, 255);
        }
    }
}

fn resize(list: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    for one in list.items() {
        let (name, policy) = (one.get("resourceName"), one.get("restartPolicy"));
        if !seen.insert(name.text()) {
            At::new(one.path.clone(), name.value).duplicate(causes);
        }
        At::new(list.path.clone(), name.value).must_be_one_of(causes, &["cpu", "memory"]);
        let policy = At::new(list.path.clone(), policy.value);
        policy.must_be_one_of(causes, &["NotRequired", "RestartContainer"]);
        if around.restart == "Never" && policy.text() != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            policy.invalid(causes, why);
        }
    }
}

fn probes(one: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    for name in PROBES {
        let probe = one.get(name);
        if !probe.is_set() {
            continue;
        }
        handler(
            &probe,
            &["exec", "httpGet", "tcpSocket", "grpc"],
            around,
            causes,
        );
        for field in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            probe.get(field).non_negative(causes);
        }
        let grace = probe.get("terminationGracePeriodSeconds");
        if grace.is_set() && grace.int() <= 0 {
            grace.invalid(causes, "must be greater than 0");
        }
        let successes = probe.get("successThreshold");
        if name == "readinessProbe" {
            if grace.is_set() {
                grace.invalid(causes, "must not be set for readinessProbes");
            }
        } else if successes.int() != 1 {
            successes.invalid(causes, "must be 1");
        }
    }
}

fn lifecycle(lifecycle: &At<'_>, around: &Around<'_>, causes: &mut Causes) {
    for name in ["postStart", "preStop"] {
        let one = lifecycle.get(name);
        if one.is_set() {
            handler(
                &one,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                around,
                causes,
            );
        }
    }
    let signal = lifecycle.get("stopSignal");
    if signal.is_set() && around.os.is_empty() {
        let why = "may not be set for containers with empty `spec.os.name`";
        signal.forbidden(causes, why);
    }
}

fn handler(at: &At<'_>, kinds: &[&str], around: &Around<'_>, causes: &mut Causes) {
    let mut found = false;
    for kind in kinds {
        let one = at.get(kind);
        if !one.is_set() {
            continue;
        }
        if found {
            one.forbidden(causes, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" => {
                let command = one.get("command");
                if command.is_empty() {
                    command.required(causes, "");
                }
            }
            "httpGet" => http_get(&one, causes),
            "sleep" => {
                let seconds = one.get("seconds").int();
                if let Some(grace) = around
                    .grace
                    .filter(|grace| !(0..=*grace).contains(&seconds))
                {
                    let why = format!(
                        "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                    );
                    one.invalid_as(causes, &seconds.into(), &why);
                }
            }
            _ => port(&one.get("port"), causes),
        }
    }
    if !found {
        at.required(causes, "must specify a handler type");
    }
}

fn http_get(get: &At<'_>, causes: &mut Causes) {
    let path = get.get("path");
    if path.text().is_empty() {
        path.required(causes, "");
    }
    port(&get.get("port"), causes);
    let scheme = get.get("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.text()) {
        scheme.unsupported(causes, &["HTTP", "HTTPS"]);
    }
    for header in get.each("httpHeaders") {
        let name = header.get("name");
        let why = words::header(name.text());
        name.named(get.get("httpHeaders").path)
            .all_invalid(causes, why);
    }
}

/// A number, or the name of a port.
pub(in crate::store::admit) fn port(port: &At<'_>, causes: &mut Causes) {
    match port.value {
        Value::String(name) => port.all_invalid(causes, words::port_name(name)),
        _ => port.within(causes, (1, 65535)),
    }
}
