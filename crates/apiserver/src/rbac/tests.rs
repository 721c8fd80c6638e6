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

    fn role(&self, namespace: Option<&str>, name: &str, visit: &mut dyn FnMut(&Value)) {
        self.roles
            .iter()
            .filter(|(home, role)| *home == namespace && role["metadata"]["name"] == name)
            .for_each(|(_, role)| visit(role));
    }

    fn cluster_roles(&self, visit: &mut dyn FnMut(&Value)) {
        self.roles
            .iter()
            .filter(|(home, _)| home.is_none())
            .for_each(|(_, role)| visit(role));
    }
}

fn bootstrap_world() -> World {
    let mut world = World::default();
    world.roles.extend(
        bootstrap::cluster_roles()
            .into_iter()
            .map(|role| (None, role)),
    );
    world.bindings.extend(
        bootstrap::cluster_role_bindings()
            .into_iter()
            .map(|b| (None, b)),
    );
    world
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
    world
        .bindings
        .push((Some("a"), binding("ClusterRole", "view", sa)));
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
        assert_eq!(
            allowed(&world, user, &ask(what)).is_some(),
            expected,
            "{} {what}",
            user.name
        );
    }
    let because = allowed(&world, &bot, &ask("list -/pods a"))
        .unwrap()
        .because;
    assert_eq!(
        because,
        r#"RBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to ServiceAccount "bot/a""#
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
        assert_eq!(
            allowed(&world, user, &ask(what)).is_some(),
            expected,
            "{} {what}",
            user.name
        );
    }
}

#[test]
fn aggregated_role_has_the_rules_of_those_it_selects() {
    let mut world = bootstrap_world();
    world.roles.push((None, json!({
        "metadata": {"name": "more", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["multicluster.linkerd.io"], "resources": ["links"], "verbs": ["get"]}]})));
    let jane = json!({"kind": "User", "name": "jane"});
    world
        .bindings
        .push((None, binding("ClusterRole", "admin", jane)));
    let jane = User::new("jane", &[]);
    for (what, expected) in [
        // view is aggregated to edit, edit to admin: the selectors name each role's own label.
        ("list -/pods ns", true),
        ("create apps/deployments ns", true),
        ("create rbac.authorization.k8s.io/rolebindings ns", true),
        ("create -/namespaces -", false),
    ] {
        assert_eq!(
            allowed(&world, &jane, &ask(what)).is_some(),
            expected,
            "{what}"
        );
    }
    // What is aggregated to view reaches admin through edit.
    let what = ask("get multicluster.linkerd.io/links ns x");
    assert!(allowed(&world, &jane, &what).is_some());
    let joe = json!({"kind": "User", "name": "joe"});
    world
        .bindings
        .push((None, binding("ClusterRole", "view", joe)));
    let what = ask("get multicluster.linkerd.io/links ns x");
    assert!(allowed(&world, &User::new("joe", &[]), &what).is_some());
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
    world
        .bindings
        .push((Some("ns"), binding("ClusterRole", "edit", jane)));
    let jane = User::new("jane", &[]);
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]});
    let secrets = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let lacking = |rules: &[Value], ns| escalation::lacking(&world, &jane, ns, rules);
    assert_eq!(lacking(std::slice::from_ref(&pods), Some("ns")), None);
    assert!(lacking(&[pods], None).is_some());
    assert!(
        lacking(&[secrets], Some("ns"))
            .unwrap()
            .contains("Resources:[\"*\"]")
    );
    let admin = binding("ClusterRole", "cluster-admin", json!({}));
    let rules = escalation::rules_bound(&world, &admin, Some("ns"));
    assert!(lacking(&rules, Some("ns")).is_some());
    let absent = binding("ClusterRole", "absent", json!({}));
    assert!(
        lacking(
            &escalation::rules_bound(&world, &absent, Some("ns")),
            Some("ns")
        )
        .is_some()
    );
    let collecting =
        escalation::rules_of(&json!({"aggregationRule": {"clusterRoleSelectors": [{}]}}));
    assert!(
        lacking(&collecting, Some("ns")).is_some(),
        "it could come to hold anything"
    );
    let many: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let huge = json!({"apiGroups": many, "resources": many, "verbs": many, "resourceNames": many});
    assert!(lacking(&[huge], Some("ns")).is_some());
    assert_eq!(
        escalation::lacking(&world, &User::admin(), None, &rules),
        None
    );
}
