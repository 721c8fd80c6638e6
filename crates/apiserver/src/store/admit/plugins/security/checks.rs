//! What pods may not do at the levels `baseline` and `restricted`: what, and how it was found.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::store::json::{list, text};

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const VOLUMES: &[&str] = &[
    "name",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];
const SELINUX: &[&str] = &[
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

type Found = Vec<(String, String)>;

/// Everything that a pod does and may not.
pub(super) fn of(spec: &Value, restricted: bool) -> Found {
    let mut found = Found::new();
    apparmor(spec, &mut found);
    if !restricted {
        capabilities(spec, &mut found);
    }
    host(spec, restricted, &mut found);
    privileged(spec, &mut found);
    selinux(spec, &mut found);
    if !restricted {
        seccomp(spec, false, &mut found);
    }
    sysctls(spec, &mut found);
    if restricted {
        escalation(spec, &mut found);
        dropped_capabilities(spec, &mut found);
        volumes(spec, &mut found);
        non_root(spec, &mut found);
        root(spec, &mut found);
        seccomp(spec, true, &mut found);
    }
    found
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|name| list(spec, name))
}

/// The names of the containers of which something holds.
fn named(spec: &Value, wrong: impl Fn(&Value) -> bool) -> Vec<&str> {
    let wrong = containers(spec).filter(|one| wrong(one));
    wrong.map(|one| text(one, "name")).collect()
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<String> = names
        .into_iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    all.join(", ")
}

fn word<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

fn those(names: &[&str]) -> String {
    let what = word(names.len(), "container", "containers");
    format!("{what} {}", quoted(names.iter().copied()))
}

/// The pod and the containers that set something themselves.
fn setters(pod: bool, names: &[&str]) -> String {
    let mut all = Vec::new();
    if pod {
        all.push("pod".to_owned());
    }
    if !names.is_empty() {
        all.push(those(names));
    }
    all.join(" and ")
}

fn add(found: &mut Found, what: &str, how: String) {
    found.push((what.to_owned(), how));
}

fn apparmor(spec: &Value, found: &mut Found) {
    let wrong =
        |one: &Value| text(&one["securityContext"]["appArmorProfile"], "type") == "Unconfined";
    let names = named(spec, wrong);
    if wrong(spec) || !names.is_empty() {
        let who = setters(wrong(spec), &names);
        let how = format!("{who} must not set AppArmor profile type to \"Unconfined\"");
        add(found, "forbidden AppArmor profile", how);
    }
}

fn capabilities(spec: &Value, found: &mut Found) {
    let added = |one: &Value| -> BTreeSet<String> {
        let all = list(&one["securityContext"]["capabilities"], "add").iter();
        let odd = all
            .filter_map(Value::as_str)
            .filter(|one| !CAPABILITIES.contains(one));
        odd.map(str::to_owned).collect()
    };
    let names = named(spec, |one| !added(one).is_empty());
    if !names.is_empty() {
        let all: BTreeSet<String> = containers(spec).flat_map(added).collect();
        let how = format!(
            "{} must not include {} in securityContext.capabilities.add",
            those(&names),
            quoted(all.iter().map(String::as_str))
        );
        add(found, "non-default capabilities", how);
    }
}

fn host(spec: &Value, restricted: bool, found: &mut Found) {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| spec[*name] == true)
        .map(|name| format!("{name}=true"))
        .collect();
    if !shared.is_empty() {
        add(found, "host namespaces", shared.join(", "));
    }
    let paths = list(spec, "volumes")
        .iter()
        .filter(|one| !one["hostPath"].is_null());
    let paths: Vec<&str> = paths.map(|one| text(one, "name")).collect();
    if !paths.is_empty() && !restricted {
        let what = word(paths.len(), "volume", "volumes");
        let how = format!("{what} {}", quoted(paths.iter().copied()));
        add(found, "hostPath volumes", how);
    }
    let ports = |one: &Value| -> Vec<String> {
        let all = list(one, "ports")
            .iter()
            .filter_map(|port| port["hostPort"].as_i64());
        all.filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect()
    };
    let names = named(spec, |one| !ports(one).is_empty());
    if !names.is_empty() {
        let all: BTreeSet<String> = containers(spec).flat_map(ports).collect();
        let how = format!(
            "{} {} {} {}",
            those(&names),
            word(names.len(), "uses", "use"),
            word(all.len(), "hostPort", "hostPorts"),
            all.into_iter().collect::<Vec<_>>().join(", ")
        );
        add(found, "hostPort", how);
    }
}

fn privileged(spec: &Value, found: &mut Found) {
    let names = named(spec, |one| one["securityContext"]["privileged"] == true);
    if !names.is_empty() {
        let how = format!(
            "{} must not set securityContext.privileged=true",
            those(&names)
        );
        add(found, "privileged", how);
    }
    let odd = |one: &Value| text(&one["securityContext"], "procMount") == "Unmasked";
    let names = named(spec, odd);
    if !names.is_empty() && spec["hostUsers"] != false {
        let how = format!(
            "{} must not set securityContext.procMount to \"Unmasked\"",
            those(&names)
        );
        add(found, "procMount", how);
    }
}

fn selinux(spec: &Value, found: &mut Found) {
    let of = |one: &Value| one["securityContext"]["seLinuxOptions"].clone();
    let odd_type = |one: &Value| !SELINUX.contains(&text(&of(one), "type"));
    let has = |one: &Value, name: &str| !text(&of(one), name).is_empty();
    let wrong = |one: &Value| odd_type(one) || has(one, "user") || has(one, "role");
    let names = named(spec, wrong);
    if !wrong(spec) && names.is_empty() {
        return;
    }
    let everyone = || std::iter::once(spec).chain(containers(spec));
    let types: BTreeSet<String> = everyone()
        .filter(|one| odd_type(one))
        .map(|one| text(&of(one), "type").to_owned())
        .collect();
    let mut what = Vec::new();
    if !types.is_empty() {
        let kind = word(types.len(), "type", "types");
        what.push(format!(
            "{kind} {}",
            quoted(types.iter().map(String::as_str))
        ));
    }
    for name in ["user", "role"] {
        if everyone().any(|one| has(one, name)) {
            what.push(format!("{name} may not be set"));
        }
    }
    let who = setters(wrong(spec), &names);
    let how = format!(
        "{who} set forbidden securityContext.seLinuxOptions: {}",
        what.join("; ")
    );
    add(found, "seLinuxOptions", how);
}

fn seccomp(spec: &Value, restricted: bool, found: &mut Found) {
    let of = |one: &Value| text(&one["securityContext"]["seccompProfile"], "type").to_owned();
    let good = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let wrong = |one: &Value| {
        let kind = of(one);
        !kind.is_empty() && !good(&kind)
    };
    let names = named(spec, wrong);
    if wrong(spec) || !names.is_empty() {
        let everyone = std::iter::once(spec).chain(containers(spec));
        let kinds: BTreeSet<String> = everyone.filter(|one| wrong(one)).map(of).collect();
        let how = format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters(wrong(spec), &names),
            quoted(kinds.iter().map(String::as_str))
        );
        add(found, "seccompProfile", how);
        return;
    }
    let names = named(spec, |one| of(one).is_empty());
    if restricted && of(spec).is_empty() && !names.is_empty() {
        let how = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\"",
            those(&names)
        );
        add(found, "seccompProfile", how);
    }
}

fn sysctls(spec: &Value, found: &mut Found) {
    let all = list(&spec["securityContext"], "sysctls").iter();
    let odd = all
        .map(|one| text(one, "name"))
        .filter(|name| !SYSCTLS.contains(name));
    let odd: Vec<&str> = odd.collect();
    if !odd.is_empty() {
        add(found, "forbidden sysctls", odd.join(", "));
    }
}

fn escalation(spec: &Value, found: &mut Found) {
    let wrong = |one: &Value| one["securityContext"]["allowPrivilegeEscalation"] != false;
    let names = named(spec, wrong);
    if !names.is_empty() {
        let how = format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            those(&names)
        );
        add(found, "allowPrivilegeEscalation != false", how);
    }
}

fn dropped_capabilities(spec: &Value, found: &mut Found) {
    let of = |one: &Value| one["securityContext"]["capabilities"].clone();
    let mut how = Vec::new();
    let names = named(spec, |one| {
        !list(&of(one), "drop").iter().any(|one| one == "ALL")
    });
    if !names.is_empty() {
        how.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            those(&names)
        ));
    }
    let odd = |one: &Value| -> BTreeSet<String> {
        let all = of(one);
        let odd = list(&all, "add").iter().filter_map(Value::as_str);
        odd.filter(|one| *one != "NET_BIND_SERVICE")
            .map(str::to_owned)
            .collect()
    };
    let names = named(spec, |one| !odd(one).is_empty());
    if !names.is_empty() {
        let all: BTreeSet<String> = containers(spec).flat_map(odd).collect();
        how.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            those(&names),
            quoted(all.iter().map(String::as_str))
        ));
    }
    if !how.is_empty() {
        add(found, "unrestricted capabilities", how.join("; "));
    }
}

fn volumes(spec: &Value, found: &mut Found) {
    let kind = |one: &Value| -> Option<String> {
        let odd = one
            .as_object()?
            .keys()
            .find(|name| !VOLUMES.contains(&name.as_str()))?;
        Some(odd.clone())
    };
    let bad: Vec<&Value> = list(spec, "volumes")
        .iter()
        .filter(|one| kind(one).is_some())
        .collect();
    if bad.is_empty() {
        return;
    }
    let kinds: BTreeSet<String> = bad.iter().filter_map(|one| kind(one)).collect();
    let how = format!(
        "{} {} {} {} {}",
        word(bad.len(), "volume", "volumes"),
        quoted(bad.iter().map(|one| text(one, "name"))),
        word(bad.len(), "uses", "use"),
        word(
            kinds.len(),
            "restricted volume type",
            "restricted volume types"
        ),
        quoted(kinds.iter().map(String::as_str))
    );
    add(found, "restricted volume types", how);
}

fn non_root(spec: &Value, found: &mut Found) {
    let of = |one: &Value| one["securityContext"]["runAsNonRoot"].as_bool();
    let names = named(spec, |one| of(one) == Some(false));
    let what = "runAsNonRoot != true";
    let pod_wrong = of(spec) == Some(false) && containers(spec).any(|one| of(one).is_none());
    if pod_wrong || !names.is_empty() {
        let who = setters(pod_wrong, &names);
        let how = format!("{who} must not set securityContext.runAsNonRoot=false");
        add(found, what, how);
        return;
    }
    let names = named(spec, |one| of(one).is_none());
    if of(spec).is_none() && !names.is_empty() {
        let how = format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            those(&names)
        );
        add(found, what, how);
    }
}

fn root(spec: &Value, found: &mut Found) {
    let wrong = |one: &Value| one["securityContext"]["runAsUser"] == 0;
    let names = named(spec, wrong);
    if wrong(spec) || !names.is_empty() {
        let how = format!("{} must not set runAsUser=0", setters(wrong(spec), &names));
        add(found, "runAsUser=0", how);
    }
}
