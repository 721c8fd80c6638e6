//! The table of built-in kinds: names as `kubectl api-resources` shows them.
use super::{Resource, ScalePaths, Scope, StorageKey, Subresources};

/// One row: group, version, kind, plural, short names, scope and what lies below an object.
struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    scope: Scope,
    sub: Sub,
    all: InAll,
}

/// Which subresources a built-in kind has.
#[derive(Clone, Copy)]
enum Sub {
    None,
    Status,
    StatusScale(&'static str),
    StatusAnd(&'static [&'static str]),
    Only(&'static [&'static str]),
}

/// Whether `kubectl get all` shows it.
#[derive(Clone, Copy, PartialEq)]
enum InAll {
    Yes,
    No,
}

const fn row(group: &'static str, kind: &'static str, plural: &'static str) -> Row {
    Row {
        group,
        kind,
        plural,
        short: &[],
        scope: Scope::Namespaced,
        sub: Sub::None,
        all: InAll::No,
    }
}

impl Row {
    const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.short = short;
        self
    }

    const fn cluster(mut self) -> Self {
        self.scope = Scope::Cluster;
        self
    }

    const fn sub(mut self, sub: Sub) -> Self {
        self.sub = sub;
        self
    }

    const fn in_all(mut self) -> Self {
        self.all = InAll::Yes;
        self
    }

    fn resource(&self) -> Resource {
        let (status, scale, others) = match self.sub {
            Sub::None => (false, None, &[][..]),
            Sub::Status => (true, None, &[][..]),
            Sub::StatusScale(selector) => (true, Some(scale(selector)), &[][..]),
            Sub::StatusAnd(others) => (true, None, others),
            Sub::Only(others) => (false, None, others),
        };
        let storage = if self.kind == "Event" {
            StorageKey::new("", "events")
        } else {
            StorageKey::new(self.group, self.plural)
        };
        Resource {
            group: self.group.to_owned(),
            version: "v1".to_owned(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            short_names: self.short.iter().map(|&name| name.to_owned()).collect(),
            categories: match self.all {
                InAll::Yes => vec!["all".to_owned()],
                InAll::No if self.plural == "customresourcedefinitions" => {
                    vec!["api-extensions".to_owned()]
                }
                InAll::No => Vec::new(),
            },
            scope: self.scope,
            subresources: Subresources {
                status,
                scale,
                others,
            },
            columns: Vec::new(),
            storage_version: "v1".to_owned(),
            schema: None,
            of_crd: super::OfCrd::default(),
            storage,
            custom: false,
            deprecation: None,
        }
    }
}

fn scale(selector: &str) -> ScalePaths {
    ScalePaths {
        spec: ".spec.replicas".to_owned(),
        status: ".status.replicas".to_owned(),
        selector: (!selector.is_empty()).then(|| selector.to_owned()),
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

static ROWS: &[Row] = &[
    row("", "ConfigMap", "configmaps").short(&["cm"]),
    row("", "Endpoints", "endpoints").short(&["ep"]),
    row("", "Event", "events").short(&["ev"]),
    row("", "Namespace", "namespaces")
        .short(&["ns"])
        .cluster()
        .sub(Sub::StatusAnd(&["finalize"])),
    row("", "Node", "nodes")
        .short(&["no"])
        .cluster()
        .sub(Sub::Status),
    row("", "Pod", "pods")
        .short(&["po"])
        .sub(Sub::StatusAnd(&["log", "binding", "eviction"]))
        .in_all(),
    row("", "Secret", "secrets"),
    row("", "Service", "services")
        .short(&["svc"])
        .sub(Sub::Status)
        .in_all(),
    row("", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .sub(Sub::Only(&["token"])),
    row(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    )
    .short(&["crd", "crds"])
    .cluster()
    .sub(Sub::Status),
    row("apps", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .sub(Sub::Status)
        .in_all(),
    row("apps", "Deployment", "deployments")
        .short(&["deploy"])
        .sub(Sub::StatusScale(".spec.selector"))
        .in_all(),
    row("apps", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .sub(Sub::StatusScale(".spec.selector"))
        .in_all(),
    row("apps", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .sub(Sub::StatusScale(".spec.selector"))
        .in_all(),
    row("batch", "CronJob", "cronjobs")
        .short(&["cj"])
        .sub(Sub::Status)
        .in_all(),
    row("batch", "Job", "jobs").sub(Sub::Status).in_all(),
    row("coordination.k8s.io", "Lease", "leases"),
    row("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    row("events.k8s.io", "Event", "events").short(&["ev"]),
    row("policy", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .sub(Sub::Status),
    row(RBAC, "ClusterRole", "clusterroles").cluster(),
    row(RBAC, "ClusterRoleBinding", "clusterrolebindings").cluster(),
    row(RBAC, "Role", "roles"),
    row(RBAC, "RoleBinding", "rolebindings"),
];

/// All built-in resources.
pub fn builtin() -> Vec<Resource> {
    ROWS.iter().map(Row::resource).collect()
}
