//! Server-side apply: who owns what.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{Case, World, cases, map, refusal, same};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        apply_creates_and_again_changes_nothing,
        another_managers_field_is_a_conflict_that_names_it,
        force_takes_the_field,
        field_that_is_given_up_goes,
        field_of_two_stays_until_both_give_it_up,
        same_value_is_no_conflict,
        update_takes_fields_from_an_applier,
        lists_are_merged_by_their_key,
        managed_fields_may_not_be_applied,
        apply_wants_a_manager,
        status_is_owned_apart,
        apply_of_an_old_version_is_a_conflict,
    ]
}

async fn apply(world: &World, manager: &str, data: Value) -> Result<ConfigMap, kube::Error> {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let params = PatchParams::apply(manager);
    world
        .maps()
        .patch("m", &params, &Patch::Apply(object))
        .await
}

fn data(map: &ConfigMap) -> Value {
    json!(map.data)
}

/// Managers, how they came to own, and what.
fn owners(map: &ConfigMap) -> Vec<(String, String)> {
    let entries = map.managed_fields().iter();
    let mut owners: Vec<(String, String)> = entries
        .map(|entry| {
            (
                entry.manager.clone().unwrap_or_default(),
                entry.operation.clone().unwrap_or_default(),
            )
        })
        .collect();
    owners.sort();
    owners
}

async fn apply_creates_and_again_changes_nothing(world: World) -> Result<()> {
    let made = apply(&world, "one", json!({"k": "1"})).await?;
    same(owners(&made), [("one".to_owned(), "Apply".to_owned())])?;
    let again = apply(&world, "one", json!({"k": "1"})).await?;
    same(again.resource_version(), made.resource_version())
}

async fn another_managers_field_is_a_conflict_that_names_it(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1"})).await?;
    let (code, reason, message) = refusal(apply(&world, "two", json!({"k": "2"})).await)?;
    same((code, reason.as_str()), (409, "Conflict"))?;
    same(
        message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.k",
    )
}

async fn force_takes_the_field(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1", "l": "1"})).await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "2"}});
    let force = PatchParams::apply("two").force();
    world
        .maps()
        .patch("m", &force, &Patch::Apply(object))
        .await?;
    let (code, ..) = refusal(apply(&world, "one", json!({"k": "1", "l": "1"})).await)?;
    same(code, 409)?;
    let kept = apply(&world, "one", json!({"l": "1"})).await?;
    same(data(&kept), json!({"k": "2", "l": "1"}))
}

async fn field_that_is_given_up_goes(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1", "l": "1"})).await?;
    let less = apply(&world, "one", json!({"l": "1"})).await?;
    same(data(&less), json!({"l": "1"}))
}

async fn field_of_two_stays_until_both_give_it_up(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1", "l": "1"})).await?;
    apply(&world, "two", json!({"k": "1"})).await?;
    let one = apply(&world, "one", json!({"l": "1"})).await?;
    same(data(&one), json!({"k": "1", "l": "1"}))?;
    let two = apply(&world, "two", json!({})).await?;
    same(data(&two), json!({"l": "1"}))
}

async fn same_value_is_no_conflict(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1"})).await?;
    let shared = apply(&world, "two", json!({"k": "1"})).await?;
    let both = ["one", "two"].map(|name| (name.to_owned(), "Apply".to_owned()));
    same(owners(&shared), both)
}

async fn update_takes_fields_from_an_applier(world: World) -> Result<()> {
    apply(&world, "one", json!({"k": "1"})).await?;
    let params = PatchParams {
        field_manager: Some("editor".to_owned()),
        ..PatchParams::default()
    };
    let edit = Patch::Merge(json!({"data": {"k": "2"}}));
    let edited = world.maps().patch("m", &params, &edit).await?;
    ensure!(
        owners(&edited).contains(&("editor".to_owned(), "Update".to_owned())),
        "{:?}",
        owners(&edited)
    );
    let (code, _, message) = refusal(apply(&world, "one", json!({"k": "1"})).await)?;
    same(code, 409)?;
    same(
        message,
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.k",
    )
}

async fn lists_are_merged_by_their_key(world: World) -> Result<()> {
    let services = world.api::<Service>();
    let apply = async |manager: &str, port: i32| {
        let name = format!("p{port}");
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"name": name, "port": port, "protocol": "TCP"}]}});
        services
            .patch("s", &PatchParams::apply(manager), &Patch::Apply(object))
            .await
    };
    apply("one", 80).await?;
    apply("two", 81).await?;
    let service = apply("one", 82).await?;
    let ports = service.spec.and_then(|spec| spec.ports).context("ports")?;
    let mut ports: Vec<i32> = ports.iter().map(|port| port.port).collect();
    ports.sort_unstable();
    same(ports, [81, 82])
}

async fn managed_fields_may_not_be_applied(world: World) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "managedFields": [{"manager": "x", "operation": "Apply"}]}});
    let params = PatchParams::apply("one");
    let answer = world
        .maps()
        .patch("m", &params, &Patch::Apply(object))
        .await;
    let (code, _, message) = refusal(answer)?;
    same(
        (code, message.as_str()),
        (400, "metadata.managedFields must be nil"),
    )
}

async fn apply_wants_a_manager(world: World) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let request = http::Request::patch(world.path("configmaps/m"))
        .header("content-type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())?;
    let (code, _, message) = refusal(world.client.request::<Value>(request).await)?;
    same(code, 422)?;
    ensure!(
        message.contains("fieldManager: Required value"),
        "{message}"
    );
    Ok(())
}

async fn status_is_owned_apart(world: World) -> Result<()> {
    let services = world.api::<Service>();
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]}});
    let params = PatchParams::apply("one");
    services.patch("s", &params, &Patch::Apply(object)).await?;
    let status = json!({"apiVersion": "v1", "kind": "Service",
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let made = services
        .patch_status("s", &params, &Patch::Apply(status))
        .await?;
    let apart = made.managed_fields().iter().any(|entry| {
        entry.subresource.as_deref() == Some("status")
            && entry.operation.as_deref() == Some("Apply")
    });
    ensure!(apart, "{:?}", made.managed_fields());
    ensure!(
        made.spec.is_some_and(|spec| spec.ports.is_some()),
        "the spec stays"
    );
    Ok(())
}

async fn apply_of_an_old_version_is_a_conflict(world: World) -> Result<()> {
    let made = world
        .maps()
        .create(&PostParams::default(), &map("m")?)
        .await?;
    apply(&world, "one", json!({"l": "1"})).await?;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "resourceVersion": made.resource_version()}, "data": {"l": "2"}});
    let params = PatchParams::apply("one");
    let answer = world
        .maps()
        .patch("m", &params, &Patch::Apply(object))
        .await;
    let (code, reason, _) = refusal(answer)?;
    same((code, reason.as_str()), (409, "Conflict"))
}
