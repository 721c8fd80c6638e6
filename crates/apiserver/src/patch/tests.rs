use serde_json::json;

use super::*;
use crate::registry::Registry;

#[track_caller]
fn check(plural: (&str, &str), before: Value, patch: &Patch, wanted: Value) {
    let res = Registry::with_builtin()
        .find(plural.0, "v1", plural.1)
        .unwrap();
    assert_eq!(patched(&res, before, patch).unwrap(), wanted);
}

#[test]
fn a_merge_patch_removes_nulls_merges_objects_and_replaces_the_rest() {
    let maps = ("", "configmaps");
    let merge = |before, patch, wanted| check(maps, before, &Patch::Merge(patch), wanted);
    merge(
        json!({"a": 1, "b": {"c": 1, "d": 2}}),
        json!({"a": null, "b": {"c": 3}}),
        json!({"b": {"c": 3, "d": 2}}),
    );
    merge(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
    merge(
        json!({"a": 1}),
        json!({"a": {"b": null, "c": 1}}),
        json!({"a": {"c": 1}}),
    );
}

#[test]
fn a_json_patch_is_done_in_order_or_not_at_all() {
    let maps = ("", "configmaps");
    let patch = json!([
        {"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b/-", "value": 3},
        {"op": "replace", "path": "/a", "value": 2}, {"op": "remove", "path": "/c"},
        {"op": "copy", "from": "/a", "path": "/d~1e"}, {"op": "move", "from": "/a", "path": "/f"},
    ]);
    check(
        maps,
        json!({"a": 1, "b": [1], "c": 0}),
        &Patch::Json(patch),
        json!({"b": [1, 3], "d/e": 2, "f": 2}),
    );
    let res = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let fails = |patch: Value| patched(&res, json!({"a": 1}), &Patch::Json(patch)).unwrap_err();
    let wrong = fails(json!([{"op": "test", "path": "/a", "value": 2}]));
    assert_eq!(wrong.into_status().code, 422);
    let missing = fails(json!([{"op": "remove", "path": "/b"}]));
    assert_eq!(missing.into_status().code, 422);
    assert_eq!(fails(json!({"a": 1})).into_status().code, 400);
}

#[test]
fn a_strategic_patch_merges_containers_by_name_and_ports_by_number() {
    let before = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "one", "env": [{"name": "X", "value": "1"}]},
        {"name": "b", "image": "two"}
    ]}}}});
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "env": [{"name": "Y", "value": "2"}]},
        {"name": "b", "$patch": "delete"}, {"name": "c", "image": "three"}
    ]}}}});
    let wanted = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "one",
         "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
        {"name": "c", "image": "three"}
    ]}}}});
    check(
        ("apps", "deployments"),
        before,
        &Patch::Strategic(patch),
        wanted,
    );
    check(
        ("", "services"),
        json!({"spec": {"ports": [{"port": 80, "name": "a"}]}}),
        &Patch::Strategic(
            json!({"spec": {"ports": [{"port": 80, "targetPort": 1}, {"port": 81}]}}),
        ),
        json!({"spec": {"ports": [{"port": 80, "name": "a", "targetPort": 1}, {"port": 81}]}}),
    );
}

#[test]
fn directives_replace_delete_retain_and_order() {
    let strategic = |before, patch, wanted| {
        check(
            ("apps", "deployments"),
            before,
            &Patch::Strategic(patch),
            wanted,
        );
    };
    strategic(
        json!({"metadata": {"finalizers": ["a/a", "b/b"]}}),
        json!({"metadata": {"finalizers": ["c/c"], "$deleteFromPrimitiveList/finalizers": ["a/a"]}}),
        json!({"metadata": {"finalizers": ["c/c", "b/b"]}}),
    );
    strategic(
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    strategic(
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
        json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}),
        json!({"metadata": {"labels": {"c": "3"}}}),
    );
    let containers = |names: &[&str]| {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    };
    let mut patch = containers(&["c"]);
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] =
        json!([{"name": "c"}, {"name": "b"}, {"name": "a"}]);
    strategic(containers(&["a", "b"]), patch, containers(&["c", "b", "a"]));
}

#[test]
fn a_list_element_without_its_merge_key_is_refused() {
    let res = Registry::with_builtin()
        .find("apps", "v1", "deployments")
        .unwrap();
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let problem = patched(&res, json!({}), &Patch::Strategic(patch)).unwrap_err();
    assert!(
        matches!(problem, PatchProblem::Unmergeable(why) if why == "map: map[image:x] does not contain declared merge key: name")
    );
}

#[test]
fn copies_of_copies_are_bounded() {
    let res = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let bombs: Vec<Value> = (0..64)
        .map(|number| json!({"op": "copy", "from": "", "path": format!("/{number}")}))
        .collect();
    let problem = patched(&res, json!({"a": "b"}), &Patch::Json(json!(bombs))).unwrap_err();
    assert_eq!(problem.into_status().code, 422);
}

#[test]
fn a_json_patch_that_nests_without_end_is_refused() {
    let deep = (0..60).fold(json!([]), |inner, _| json!([inner]));
    let mut depth = 61;
    let mut operations = vec![
        json!({"op": "add", "path": "/x", "value": deep}),
        json!({"op": "add", "path": "/y", "value": []}),
    ];
    while depth < 100_000 {
        let end = format!("/x{}/-", "/0".repeat(depth - 1));
        operations.push(json!({"op": "copy", "from": "/x", "path": "/y"}));
        operations.push(json!({"op": "move", "from": "/y", "path": end}));
        depth *= 2;
    }
    let patch = Patch::Json(Value::Array(operations));
    let res = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let refused = patched(&res, json!({}), &patch);
    assert_eq!(refused, Err(PatchProblem::DoesNotFit));
}

#[test]
fn what_one_patch_costs_is_bounded() {
    let res = Registry::with_builtin()
        .find("", "v1", "configmaps")
        .unwrap();
    let mut operations = vec![json!({"op": "add", "path": "/q", "value": vec![0; 200_000]})];
    operations.extend((0..9_000).map(|_| json!({"op": "remove", "path": "/q/0"})));
    let patch = Patch::Json(Value::Array(operations));
    assert_eq!(
        patched(&res, json!({}), &patch),
        Err(PatchProblem::DoesNotFit)
    );
    // Lists are merged in one go: were each element looked for, this would take minutes.
    let owners = |from: usize| -> Vec<Value> {
        let owner = |at: usize| json!({"uid": format!("{at}"), "name": "o", "kind": "K"});
        (from..from + 30_000).map(owner).collect()
    };
    let finalizers = |from: usize| (from..from + 30_000).map(|at| format!("a/{at}"));
    let meta = |from: usize| {
        let finalizers: Vec<_> = finalizers(from).collect();
        json!({"ownerReferences": owners(from), "finalizers": finalizers})
    };
    let patch = Patch::Strategic(json!({"metadata": meta(10_000)}));
    let after = patched(&res, json!({"metadata": meta(0)}), &patch).unwrap();
    let length = |name: &str| after["metadata"][name].as_array().unwrap().len();
    assert_eq!(
        (length("ownerReferences"), length("finalizers")),
        (40_000, 40_000)
    );
}
