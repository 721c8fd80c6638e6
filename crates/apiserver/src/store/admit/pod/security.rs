//! What must hold of the security contexts of containers and pods.
use std::collections::BTreeSet;

use serde_json::json;

use crate::store::admit::at::{At, Causes};

const ID_MAX: i64 = 2_147_483_647;

fn id(at: &At<'_>, causes: &mut Causes) {
    if at.is_set() {
        at.within(causes, (0, ID_MAX));
    }
}

/// Of a container.
pub(super) fn container(context: &At<'_>, host_users: bool, causes: &mut Causes) {
    if !context.is_set() {
        return;
    }
    if context.get("privileged").is_true() {
        let privileged = context.get("privileged");
        privileged.forbidden(causes, "disallowed by cluster policy");
    }
    id(&context.get("runAsUser"), causes);
    id(&context.get("runAsGroup"), causes);
    let mount = context.get("procMount");
    if mount.is_set() {
        mount.one_of(causes, &["Default", "Unmasked"]);
        if host_users && mount.text() == "Unmasked" {
            mount.invalid(causes, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    profile(&context.get("seccompProfile"), causes);
    if *context.get("allowPrivilegeEscalation").value == json!(false) {
        if context.get("privileged").is_true() {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            context.invalid_as(causes, &internal(context), why);
        }
        for one in context.get("capabilities").each("add") {
            if one.text() == "CAP_SYS_ADMIN" {
                let why = "cannot set `allowPrivilegeEscalation` to false and \
                           `capabilities.Add` CAP_SYS_ADMIN";
                context.invalid_as(causes, &internal(context), why);
            }
        }
    }
    profile(&context.get("appArmorProfile"), causes);
}

/// The context as Kubernetes keeps it: every field, under its internal name.
fn internal(context: &At<'_>) -> serde_json::Value {
    let names = [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    let fields = names.map(|(inner, outer)| (inner.to_owned(), context.value[outer].clone()));
    serde_json::Value::Object(fields.into_iter().collect())
}

fn profile(profile: &At<'_>, causes: &mut Causes) {
    if !profile.is_set() {
        return;
    }
    let (kind, file) = (profile.get("type"), profile.get("localhostProfile"));
    let seccomp = profile.path.ends_with("seccompProfile");
    let (what, field) = if seccomp {
        ("seccomp", "seccompProfile")
    } else {
        ("AppArmor", "appArmorProfile")
    };
    if kind.text().is_empty() {
        kind.required(causes, &format!("type is required when {field} is set"));
    } else {
        kind.one_of(causes, &["Localhost", "RuntimeDefault", "Unconfined"]);
    }
    if kind.text() == "Localhost" {
        if file.text().trim().is_empty() {
            let why = format!("must be set when {what} type is Localhost");
            file.required(causes, &why);
        }
    } else if file.is_set() {
        let shown = json!({ "Type": kind.text(), "LocalhostProfile": file.text() });
        let shown = if seccomp { &shown } else { file.value };
        let why = format!("can only be set when {what} type is Localhost");
        file.invalid_as(causes, shown, &why);
    }
}

/// Of a pod.
pub(super) fn pod(spec: &At<'_>, causes: &mut Causes) {
    let context = spec.get("securityContext");
    id(&context.get("fsGroup"), causes);
    id(&context.get("runAsUser"), causes);
    id(&context.get("runAsGroup"), causes);
    for group in context.each("supplementalGroups") {
        id(&group, causes);
    }
    sysctls(spec, &context, causes);
    context
        .get("fsGroupChangePolicy")
        .one_of(causes, &["Always", "OnRootMismatch"]);
    profile(&context.get("seccompProfile"), causes);
    context
        .get("supplementalGroupsPolicy")
        .one_of(causes, &["Merge", "Strict"]);
    profile(&context.get("appArmorProfile"), causes);
    context
        .get("seLinuxChangePolicy")
        .one_of(causes, &["MountOption", "Recursive"]);
}

fn is_sysctl(name: &str) -> bool {
    let ends = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let inner = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let part = part.as_bytes();
            ends(part.first()) && ends(part.last()) && part.iter().all(inner)
        })
}

fn sysctls(spec: &At<'_>, context: &At<'_>, causes: &mut Causes) {
    let mut names = BTreeSet::new();
    for one in context.each("sysctls") {
        let name = one.get("name");
        if name.text().is_empty() {
            name.required(causes, "");
        } else if !is_sysctl(name.text()) {
            let why = "must have at most 253 characters and match regex \
                       ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            name.invalid(causes, why);
        } else if names.contains(name.text()) {
            name.duplicate(causes);
        }
        if name.text().starts_with("net.") && spec.get("hostNetwork").is_true() {
            name.invalid(causes, "may not be specified when 'hostNetwork' is true");
        }
        names.insert(name.text());
    }
}
