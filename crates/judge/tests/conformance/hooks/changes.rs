//! What webhooks change of a write.
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tombolo_shell::task::Tasks;

use super::server::{Say, Server, allow, deny, patch};
use super::{Kind, configure, hook, merge, mutating, post, rules, validating};
use crate::world::{Case, World, cases, eventually, map, refusal, refused, same};

pub(super) fn cases() -> Vec<Case> {
    cases![
        hook_changes_what_is_stored,
        hook_changes_an_update,
        hook_that_changes_a_pod_has_its_defaults_filled_in,
        hook_sees_what_the_one_before_has_changed,
        hook_that_wants_to_is_asked_again,
        hook_that_does_not_want_to_is_asked_once,
        what_a_hook_makes_invalid_is_refused,
        what_a_hook_changes_belongs_to_nobody,
        hook_that_validates_sees_what_others_have_changed,
        hook_does_not_change_what_only_the_store_writes,
        hook_may_not_change_a_delete,
        hook_changes_a_scale,
        hook_changes_what_is_applied,
        hook_changes_a_custom_object,
        service_keeps_the_address_that_the_hook_saw,
        object_that_changes_while_a_hook_is_asked_is_asked_again,
        stale_update_is_a_conflict_after_a_hook_is_asked,
        configuration_that_goes_while_its_hook_is_asked_holds_nobody_up,
        slow_hook_holds_up_nobody_else,
    ]
}

/// Adds a label to a ConfigMap that has some.
fn label(key: &str, value: &str) -> Say {
    patch(&json!([{"op": "add", "path": format!("/metadata/labels/{key}"), "value": value}]))
}

fn labels(map: &ConfigMap) -> Vec<String> {
    let labels = map.metadata.labels.iter().flatten();
    labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

async fn hook_changes_what_is_stored(world: World) -> Result<()> {
    let server = Server::start(async |_, _| label("added", "yes")).await?;
    mutating(&world, &server, json!({})).await?;
    let made = world.maps().create(&post(), &map("m")?).await?;
    same(labels(&made), ["added=yes", "set=a"])?;
    let stored = world.maps().get("m").await?;
    same(labels(&stored), ["added=yes", "set=a"])
}

async fn hook_changes_an_update(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let server = Server::start(async |_, request: Value| {
        let before = request["oldObject"]["data"]["k"].clone();
        patch(&json!([{"op": "add", "path": "/data/was", "value": before}]))
    })
    .await?;
    mutating(&world, &server, json!({})).await?;
    let change = json!({"data": {"k": "2"}});
    let made = merge(&world, &world.path("configmaps/m"), change).await?;
    ensure!(made["data"] == json!({"k": "2", "was": "1"}), "{made}");
    Ok(())
}

async fn hook_that_changes_a_pod_has_its_defaults_filled_in(world: World) -> Result<()> {
    let server = Server::start(async |_, request: Value| {
        if request["operation"] != "CREATE" {
            return allow();
        }
        patch(&json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "side", "image": "side"}}]))
    })
    .await?;
    mutating(&world, &server, rules("", "pods")).await?;
    let made = super::make_pod(&world, "p").await?;
    let side = &made["spec"]["containers"][1];
    same(side["name"].as_str(), Some("side"))?;
    same(
        side["terminationMessagePath"].as_str(),
        Some("/dev/termination-log"),
    )?;
    same(side["imagePullPolicy"].as_str(), Some("Always"))?;
    // Plugins have had a second turn.
    let mounts = side["volumeMounts"].as_array().context("mounts")?;
    same(mounts.len(), 1)
}

async fn hook_sees_what_the_one_before_has_changed(world: World) -> Result<()> {
    let server = Server::start(async |path: String, request: Value| {
        let count = request["object"]["metadata"]["labels"].as_object();
        label(&path, &count.map_or(0, serde_json::Map::len).to_string())
    })
    .await?;
    let hooks = ["b", "a", "c"].map(|name| hook(&world, &server.at(name), name, json!({})));
    configure(&world, Kind::Mutating, hooks.into()).await?;
    let made = world.maps().create(&post(), &map("m")?).await?;
    same(labels(&made), ["a=2", "b=1", "c=3", "set=a"])
}

/// The order in which two webhooks are asked of a create, of which the second changes the object.
async fn asked(world: &World, again: &str) -> Result<Vec<String>> {
    let server = Server::start(async |path: String, _| match path.as_str() {
        "b" => label("b", "yes"),
        _ => allow(),
    })
    .await?;
    let hooks = ["a", "b"].map(|name| {
        let otherwise = json!({"reinvocationPolicy": again});
        hook(world, &server.at(name), name, otherwise)
    });
    configure(world, Kind::Mutating, hooks.into()).await?;
    world.maps().create(&post(), &map("m")?).await?;
    let seen = server.so_far().await;
    Ok(seen.into_iter().map(|(path, _)| path).collect())
}

async fn hook_that_wants_to_is_asked_again(world: World) -> Result<()> {
    same(asked(&world, "IfNeeded").await?, ["a", "b", "a"])
}

async fn hook_that_does_not_want_to_is_asked_once(world: World) -> Result<()> {
    same(asked(&world, "Never").await?, ["a", "b"])
}

async fn what_a_hook_makes_invalid_is_refused(world: World) -> Result<()> {
    let server = Server::start(async |_, _| label("-bad-", "yes")).await?;
    mutating(&world, &server, json!({})).await?;
    let found = refusal(world.maps().create(&post(), &map("m")?).await)?;
    same((found.0, &*found.1), (422, "Invalid"))?;
    ensure!(
        found
            .2
            .contains("metadata.labels: Invalid value: \"-bad-\""),
        "{found:?}"
    );
    Ok(())
}

async fn what_a_hook_changes_belongs_to_nobody(world: World) -> Result<()> {
    let server = Server::start(async |_, _| label("added", "yes")).await?;
    mutating(&world, &server, json!({})).await?;
    let made = world.maps().create(&post(), &map("m")?).await?;
    let owners = serde_json::to_string(&made.metadata.managed_fields)?;
    ensure!(
        owners.contains("f:set") && !owners.contains("f:added"),
        "{owners}"
    );
    let change = json!({"data": {"k": "2"}});
    let changed = merge(&world, &world.path("configmaps/m"), change).await?;
    let owners = changed["metadata"]["managedFields"].to_string();
    ensure!(
        owners.contains("f:k") && !owners.contains("f:added"),
        "{owners}"
    );
    Ok(())
}

async fn hook_that_validates_sees_what_others_have_changed(world: World) -> Result<()> {
    let server = Server::start(async |path: String, request: Value| match path.as_str() {
        "m" => label("added", "yes"),
        _ if request["object"]["metadata"]["labels"]["added"] == "yes" => allow(),
        _ => deny(json!({"message": "it is not there"})),
    })
    .await?;
    validating(&world, &server, json!({})).await?;
    mutating(&world, &server, json!({})).await?;
    world.make_maps(&["m"]).await
}

async fn hook_does_not_change_what_only_the_store_writes(world: World) -> Result<()> {
    let server = Server::start(async |_, request: Value| {
        let mut operations = vec![json!({"op": "add", "path": "/metadata/uid", "value": "mine"})];
        if request["operation"] == "UPDATE" {
            operations.clear();
            operations.push(json!({"op": "add", "path": "/metadata/generation", "value": 77}));
        }
        patch(&operations.into())
    })
    .await?;
    mutating(&world, &server, rules("", "services")).await?;
    let services = world.api::<Service>();
    let service = serde_json::from_value(
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
    )?;
    let made = services.create(&post(), &service).await?;
    let uid = made.metadata.uid.context("a uid")?;
    same(uid.len(), 36)?;
    let change = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let changed = services
        .patch("s", &PatchParams::default(), &change)
        .await?;
    same(changed.metadata.uid, Some(uid))?;
    same(changed.metadata.generation, made.metadata.generation)
}

async fn hook_may_not_change_a_delete(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let server = Server::start(async |_, _| label("a", "b")).await?;
    mutating(&world, &server, json!({"failurePolicy": "Ignore"})).await?;
    let deleted = world.maps().delete("m", &DeleteParams::default()).await;
    let why = "Internal error occurred: admission webhook \"m.example.com\" attempted to modify the object, which is \
               not supported for this operation";
    let wanted = (500, "InternalError".to_owned(), why.to_owned());
    same(refusal(deleted.map(|_| ()))?, wanted)
}

async fn hook_changes_a_scale(world: World) -> Result<()> {
    super::deploy(&world).await?;
    let server = Server::start(async |_, _| {
        patch(&json!([{"op": "replace", "path": "/spec/replicas", "value": 0}]))
    })
    .await?;
    mutating(&world, &server, rules("apps", "deployments/scale")).await?;
    let namespace = &world.namespace;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/d/scale");
    let scaled = merge(&world, &path, json!({"spec": {"replicas": 2}})).await?;
    ensure!(
        scaled["spec"]["replicas"].as_i64().unwrap_or(0) == 0,
        "{scaled}"
    );
    Ok(())
}

async fn hook_changes_what_is_applied(world: World) -> Result<()> {
    let server = Server::start(async |_, _| label("added", "yes")).await?;
    mutating(&world, &server, json!({})).await?;
    let apply = async |value: &str| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "m", "labels": {"set": "a"}}, "data": {"k": value}});
        let params = PatchParams::apply("me");
        world
            .maps()
            .patch("m", &params, &Patch::Apply(&config))
            .await
    };
    same(labels(&apply("1").await?), ["added=yes", "set=a"])?;
    let changed = apply("2").await?;
    same(labels(&changed), ["added=yes", "set=a"])?;
    let data = changed.data.unwrap_or_default();
    same(data.get("k").map(String::as_str), Some("2"))
}

/// A kind of the case's own, with a default and a bound.
fn definition(group: &str) -> Value {
    let spec = json!({"type": "object", "properties": {
        "size": {"type": "integer", "maximum": 9}, "colour": {"type": "string", "default": "red"}}});
    let names = json!({"plural": "hooked", "singular": "hooked", "kind": "Hooked", "listKind": "HookedList"});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({"metadata": {"name": format!("hooked.{group}")}, "spec": {
        "group": group, "scope": "Namespaced", "names": names, "versions": [version]}})
}

async fn hook_changes_a_custom_object(world: World) -> Result<()> {
    let group = "hooked.example.com";
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = definition(group);
    world.raw("POST", definitions, Some(definition)).await?;
    let server = Server::start(async |_, request: Value| {
        let size = request["object"]["spec"]["size"].as_i64().unwrap_or(0) + 5;
        let spec = json!({"size": size});
        patch(&json!([{"op": "add", "path": "/spec", "value": spec}]))
    })
    .await?;
    mutating(&world, &server, rules(group, "hooked")).await?;
    let path = format!("/apis/{group}/v1/namespaces/{}/hooked", world.namespace);
    let object = |name: &str, size: i64| {
        let version = format!("{group}/v1");
        Some(
            json!({"apiVersion": version, "kind": "Hooked", "metadata": {"name": name}, "spec": {"size": size}}),
        )
    };
    let made = eventually(async || Ok(world.raw("POST", &path, object("a", 1)).await.ok())).await?;
    // What it takes away is filled in again.
    let spec = json!({"size": 6, "colour": "red"});
    ensure!(made["spec"] == spec, "{made}");
    let found = refusal(world.raw("POST", &path, object("b", 7)).await)?;
    same((found.0, &*found.1), (422, "Invalid"))?;
    ensure!(
        found.2.contains("spec.size: Invalid value: 12"),
        "{found:?}"
    );
    let one = format!("{definitions}/hooked.{group}");
    world.raw("DELETE", &one, None).await?;
    Ok(())
}

async fn service_keeps_the_address_that_the_hook_saw(world: World) -> Result<()> {
    let server = Server::start(async |_, _| allow()).await?;
    validating(&world, &server, rules("", "services")).await?;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let made = world
        .raw("POST", &world.path("services"), Some(service))
        .await?;
    let (_, request) = server.next().await?;
    let seen = &request["object"]["spec"]["clusterIP"];
    ensure!(
        seen.is_string() && *seen == made["spec"]["clusterIP"],
        "{seen}"
    );
    same(server.so_far().await.len(), 0)
}

/// A webhook that says what it says only when it is let.
async fn held(say: fn(&Value) -> Say) -> Result<(Server, Arc<Notify>)> {
    let go = Arc::new(Notify::new());
    let held = Arc::clone(&go);
    let server = Server::start(move |_, request: Value| {
        let held = Arc::clone(&held);
        async move {
            if request["object"]["metadata"]["labels"]["held"] == "yes" {
                held.notified().await;
            }
            say(&request)
        }
    })
    .await?;
    Ok((server, go))
}

/// Changes a ConfigMap so that the webhook holds it.
fn holding(world: &World, mut change: Value) -> oneshot::Receiver<Result<Value>> {
    let world = world.clone();
    change["metadata"]["labels"]["held"] = "yes".into();
    meanwhile(async move { merge(&world, &world.path("configmaps/m"), change).await })
}

/// Does something while the case goes on.
fn meanwhile<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, wait) = oneshot::channel();
    Tasks::new().spawn_one("meanwhile", async move {
        done.send(work.await).ok();
    });
    wait
}

async fn object_that_changes_while_a_hook_is_asked_is_asked_again(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let (server, go) = held(|_| allow()).await?;
    validating(&world, &server, json!({})).await?;
    let patched = holding(&world, json!({"data": {"mine": "1"}}));
    server.next().await?;
    merge(
        &world,
        &world.path("configmaps/m"),
        json!({"data": {"other": "1"}}),
    )
    .await?;
    server.next().await?;
    go.notify_one();
    let (_, again) = server.next().await?;
    ensure!(again["object"]["data"]["other"] == "1", "{again}");
    go.notify_one();
    let made = patched.await??;
    ensure!(
        made["data"] == json!({"k": "1", "mine": "1", "other": "1"}),
        "{made}"
    );
    Ok(())
}

async fn stale_update_is_a_conflict_after_a_hook_is_asked(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let (server, go) = held(|_| allow()).await?;
    validating(&world, &server, json!({})).await?;
    let mut stale = world.maps().get("m").await?;
    stale.metadata.labels = Some([("held".to_owned(), "yes".to_owned())].into());
    let maps = world.maps();
    let replaced = meanwhile(async move { maps.replace("m", &post(), &stale).await });
    server.next().await?;
    merge(
        &world,
        &world.path("configmaps/m"),
        json!({"data": {"other": "1"}}),
    )
    .await?;
    go.notify_one();
    refused(replaced.await?, 409, "Conflict")
}

async fn configuration_that_goes_while_its_hook_is_asked_holds_nobody_up(
    world: World,
) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let (server, go) = held(|_| allow()).await?;
    let name = validating(&world, &server, json!({})).await?;
    let patched = holding(&world, json!({"data": {"mine": "1"}}));
    server.next().await?;
    let path = format!("{}/{name}", Kind::Validating.path());
    world.raw("DELETE", &path, None).await?;
    go.notify_one();
    let made = patched.await??;
    ensure!(made["data"]["mine"] == "1", "{made}");
    Ok(())
}

async fn slow_hook_holds_up_nobody_else(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let (server, go) = held(|_| allow()).await?;
    validating(&world, &server, json!({})).await?;
    let patched = holding(&world, json!({"data": {"mine": "1"}}));
    server.next().await?;
    let others = (0..20).map(|n| {
        let world = world.clone();
        async move { world.make_maps(&[&format!("other-{n}")]).await }
    });
    futures_util::future::try_join_all(others).await?;
    ensure!(patched.is_empty());
    go.notify_one();
    patched.await??;
    Ok(())
}
