use serde_json::json;

use super::*;

#[derive(Default)]
struct World {
    /// (namespace, object)
    bindings: Vec<(Option<&'static str>, Value)>,
    roles: Vec<(Option<&'static str>, Value)>,
}

impl Roles for World {
    fn bindings(&self, namespace: Option<&str>, visit: &mut dyn FnMut(&Value)) {
        self.bindings
            .iter()
            .filter(|(home, _)| *home == namespace)
            .for_each(|(_, b)| visit(b));
    }

    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value)) -> bool {
        let found = self
            .roles
            .iter()
            .find(|(home, role)| *home == namespace && role["metadata"]["name"] == name);
        if let Some((_, role)) = found {
            visit(role);
        }
        found.is_some()
    }
}

fn bootstrap_world() -> World {
    let mut world = World::default();
    for object in bootstrap::objects() {
        if object["metadata"]["namespace"].is_null() {
            let into = match bootstrap::place(&object).0.as_str() {
                "clusterroles" => &mut world.roles,
                _ => &mut world.bindings,
            };
            into.push((None, object));
        }
    }
    world
}

/// Whether the rules allow it.
fn may(world: &World, user: &User, what: &str) -> bool {
    decide(world, user, &ask(what)).allowed
}

fn binding(role_kind: &str, role: &str, subject: Value) -> Value {
    json!({"metadata": {"name": "b"}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}})
}

/// `verb group/resource/subresource namespace name`, with `-` for nothing; or `verb /path`.
fn ask(text: &str) -> Attributes {
    let words: Vec<&str> = text.split(' ').collect();
    let dash = |word: &str| {
        if word == "-" {
            String::new()
        } else {
            word.to_owned()
        }
    };
    if words[1].starts_with('/') {
        return Attributes {
            verb: words[0].to_owned(),
            path: words[1].to_owned(),
            ..Attributes::default()
        };
    }
    let resource: Vec<&str> = words[1].split('/').collect();
    Attributes {
        verb: words[0].to_owned(),
        group: dash(resource[0]),
        resource: resource[1].to_owned(),
        subresource: resource.get(2).copied().unwrap_or_default().to_owned(),
        namespace: words.get(2).filter(|n| **n != "-").map(|n| (*n).to_owned()),
        name: words.get(3).copied().unwrap_or_default().to_owned(),
        ..Attributes::default()
    }
}

#[test]
fn rules_allow_what_kubernetes_says_they_do() {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names});
    let table = [
        (
            rule(&[""], &["pods"], &["get"], &[]),
            "get -/pods ns a",
            true,
        ),
        (
            rule(&[""], &["pods"], &["get"], &[]),
            "get -/pods/log ns a",
            false,
        ),
        (
            rule(&[""], &["pods"], &["get"], &[]),
            "list -/pods ns",
            false,
        ),
        (
            rule(&["apps"], &["pods"], &["get"], &[]),
            "get -/pods ns a",
            false,
        ),
        (
            rule(&["*"], &["*"], &["*"], &[]),
            "get apps/deployments/scale ns a",
            true,
        ),
        (
            rule(&["apps"], &["*/scale"], &["get"], &[]),
            "get apps/deployments/scale ns a",
            true,
        ),
        (
            rule(&["apps"], &["*/scale"], &["get"], &[]),
            "get apps/deployments ns a",
            false,
        ),
        (
            rule(&[""], &["pods/log"], &["get"], &[]),
            "get -/pods/log ns a",
            true,
        ),
        (
            rule(&[""], &["secrets"], &["get"], &["x"]),
            "get -/secrets ns x",
            true,
        ),
        (
            rule(&[""], &["secrets"], &["get"], &["x"]),
            "get -/secrets ns y",
            false,
        ),
        (
            rule(&[""], &["secrets"], &["list"], &["x"]),
            "list -/secrets ns",
            false,
        ),
        (
            json!({"nonResourceURLs": ["/api/*"], "verbs": ["get"]}),
            "get /api/v1",
            true,
        ),
        (
            json!({"nonResourceURLs": ["/api"], "verbs": ["get"]}),
            "get /api/v1",
            false,
        ),
        (
            json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
            "post /metrics",
            true,
        ),
        (
            json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
            "get -/pods ns a",
            false,
        ),
        (json!({}), "get -/pods ns a", false),
        (
            json!({"verbs": 3, "resources": "pods"}),
            "get -/pods ns a",
            false,
        ),
    ];
    for (rule, what, expected) in table {
        assert_eq!(rule_allows(&rule, &ask(what)), expected, "{rule} {what}");
    }
}

#[test]
fn bindings_reach_users_groups_and_service_accounts_in_their_scope() {
    let mut world = bootstrap_world();
    let sa = json!({"kind": "ServiceAccount", "name": "bot"});
    world.bindings.push((
        Some("a"),
        binding("ClusterRole", "system:aggregate-to-view", sa),
    ));
    let dev = json!({"kind": "Group", "name": "dev"});
    world
        .bindings
        .push((Some("b"), binding("Role", "local", dev)));
    world.roles.push((
        Some("b"),
        json!({"metadata": {"name": "local"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]}),
    ));
    let bot = User::service_account("a", "bot");
    let other = User::service_account("b", "bot");
    let jane = User::new("jane", &["dev"]);
    let table = [
        (&bot, "list -/pods a", true),
        (&bot, "list -/pods b", false),
        (&bot, "list -/pods -", false),
        (&bot, "get -/secrets a x", false),
        (&bot, "create -/pods a", false),
        (&other, "list -/pods a", false),
        (&jane, "delete -/pods b x", true),
        (&jane, "delete -/pods a x", false),
    ];
    for (user, what, expected) in table {
        assert_eq!(may(&world, user, what), expected, "{} {what}", user.name);
    }
    let because = decide(&world, &bot, &ask("list -/pods a")).reason;
    assert_eq!(
        because,
        r#"RBAC: allowed by RoleBinding "b/a" of ClusterRole "system:aggregate-to-view" to ServiceAccount "bot/a""#
    );
}

#[test]
fn bootstrap_roles_give_what_their_names_say() {
    let world = bootstrap_world();
    let anybody = User::new("x", &[]);
    let root = User::new("x", &["system:masters"]);
    let node = User::new("system:node:agent", &["system:nodes"]);
    let table = [
        (&anybody, "get /apis/apps/v1", true),
        (&anybody, "get /version", true),
        (&anybody, "get /metrics", false),
        (
            &anybody,
            "create authorization.k8s.io/selfsubjectaccessreviews -",
            true,
        ),
        (
            &anybody,
            "create authorization.k8s.io/subjectaccessreviews -",
            false,
        ),
        (&anybody, "list -/namespaces -", false),
        (&root, "impersonate -/users - x", true),
        (&node, "create -/serviceaccounts/token ns x", true),
        (&node, "patch -/pods/status ns x", true),
        (&node, "create -/pods/binding ns x", true),
        (&node, "list -/pods -", true),
        (&node, "patch -/services/status ns x", true),
        (&node, "list -/secrets -", false),
        (
            &node,
            "create rbac.authorization.k8s.io/clusterrolebindings -",
            false,
        ),
    ];
    for (user, what, expected) in table {
        assert_eq!(may(&world, user, what), expected, "{} {what}", user.name);
    }
}

#[test]
fn role_that_does_not_exist_is_said_and_gives_nothing() {
    let mut world = World::default();
    let jane = json!({"kind": "User", "name": "jane"});
    for (namespace, kind) in [
        (None, "ClusterRole"),
        (Some("a"), "Role"),
        (Some("a"), "Role"),
    ] {
        let lost = binding(kind, "lost", jane.clone());
        world.bindings.push((namespace, lost));
    }
    let jane = User::new("jane", &[]);
    for (what, reason) in [
        (
            "list -/pods a",
            r#"rbac: RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, role.rbac.authorization.k8s.io "lost" not found]"#,
        ),
        (
            "list -/pods -",
            r#"rbac: RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found"#,
        ),
    ] {
        let decision = decide(&world, &jane, &ask(what));
        assert_eq!(
            (decision.allowed, decision.reason.as_str()),
            (false, reason)
        );
    }
}

#[test]
fn first_roles_are_completed_and_never_cut() {
    let wanted =
        json!({"metadata": {"name": "x"}, "rules": [{"verbs": ["get"]}, {"verbs": ["list"]}]});
    let mut present =
        json!({"metadata": {"name": "x"}, "rules": [{"verbs": ["fly"]}, {"verbs": ["list"]}]});
    let whole = bootstrap::completed(&present, &wanted).unwrap();
    assert_eq!(
        whole["rules"],
        json!([{"verbs": ["fly"]}, {"verbs": ["list"]}, {"verbs": ["get"]}])
    );
    assert_eq!(bootstrap::completed(&whole, &wanted), None);
    present["metadata"]["annotations"] =
        json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
    assert_eq!(bootstrap::completed(&present, &wanted), None);
}

#[test]
fn denial_is_worded_as_kubernetes_words_it() {
    let user = User::new("jane", &[]);
    for (what, expected) in [
        (
            "list -/pods default",
            r#"User "jane" cannot list resource "pods" in API group "" in the namespace "default""#,
        ),
        (
            "patch apps/deployments/scale -",
            r#"User "jane" cannot patch resource "deployments/scale" in API group "apps" at the cluster scope"#,
        ),
        ("get /metrics", r#"User "jane" cannot get path "/metrics""#),
    ] {
        assert_eq!(ask(what).denial(&user), expected);
    }
}

#[test]
fn nobody_gives_away_what_he_lacks() {
    let mut world = bootstrap_world();
    let jane = json!({"kind": "User", "name": "jane"});
    let edit = binding("ClusterRole", "system:aggregate-to-edit", jane);
    world.bindings.push((Some("ns"), edit));
    let jane = User::new("jane", &["dev"]);
    let confirm = |rules: &[Value], ns| escalation::confirm(&world, &jane, ns, rules);
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "delete"]});
    assert_eq!(confirm(std::slice::from_ref(&pods), Some("ns")), Ok(()));
    let head = r#"user "jane" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:"#;
    let named =
        json!({"apiGroups": ["a"], "resources": ["b"], "resourceNames": ["c"], "verbs": ["get"]});
    let paths = json!({"nonResourceURLs": ["/x"], "verbs": ["get", "put"]});
    for (rules, namespace, lines) in [
        (
            vec![pods],
            None,
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["create" "delete"]}"#][..],
        ),
        (
            vec![named, paths],
            Some("ns"),
            &[
                r#"{APIGroups:["a"], Resources:["b"], ResourceNames:["c"], Verbs:["get"]}"#,
                r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
                r#"{NonResourceURLs:["/x"], Verbs:["put"]}"#,
            ],
        ),
    ] {
        let expected = format!("{head}\n{}", lines.join("\n"));
        assert_eq!(confirm(&rules, namespace), Err(expected));
    }
    assert!(confirm(&escalation::everything(), Some("ns")).is_err());
    let many: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let huge = json!({"apiGroups": many, "resources": many, "verbs": many, "resourceNames": many});
    assert!(confirm(&[huge], Some("ns")).is_err());
}
