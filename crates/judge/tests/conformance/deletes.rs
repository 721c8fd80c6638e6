//! Deletes: finalizers, preconditions, owners, namespaces.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt as _;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams,
};
use serde_json::{Value, json};

use crate::world::{Case, World, cases, eventually, map, refusal, refused, same, told, typed};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        finalizer_keeps_an_object_until_it_is_removed,
        no_finalizer_is_added_to_what_terminates,
        delete_of_another_uid_or_version_is_a_conflict,
        dependents_go_after_their_owner,
        orphans_stay_and_lose_their_owner,
        foreground_delete_waits_for_dependents,
        dependent_of_nobody_is_collected,
        one_owner_of_two_is_enough,
        collection_is_deleted_by_label,
        namespace_goes_with_everything_in_it,
        nothing_is_made_in_a_terminating_namespace,
        second_delete_is_not_found,
        dry_run_deletes_nothing,
    ]
}

async fn patch(world: &World, name: &str, value: Value) -> Result<ConfigMap, kube::Error> {
    let params = PatchParams::default();
    world
        .maps()
        .patch(name, &params, &Patch::Merge(value))
        .await
}

async fn gone(world: &World, name: &str) -> Result<()> {
    eventually(async || Ok(world.maps().get_opt(name).await?.is_none().then_some(()))).await
}

/// A ConfigMap that another owns.
async fn owned(world: &World, name: &str, owner: &ConfigMap, blocks: bool) -> Result<ConfigMap> {
    let child = typed(json!({"metadata": {"name": name, "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
        "blockOwnerDeletion": blocks}]}}))?;
    Ok(world.maps().create(&PostParams::default(), &child).await?)
}

async fn finalizer_keeps_an_object_until_it_is_removed(world: World) -> Result<()> {
    let maps = world.maps();
    world.make_maps(&["m"]).await?;
    patch(
        &world,
        "m",
        json!({"metadata": {"finalizers": ["example.com/wait"]}}),
    )
    .await?;
    let version = world.version().await?;
    let deleted = maps.delete("m", &DeleteParams::default()).await?;
    let terminating = deleted.left().context("it is still there")?;
    ensure!(
        terminating.metadata.deletion_timestamp.is_some(),
        "a deletionTimestamp"
    );
    ensure!(maps.get("m").await?.metadata.deletion_timestamp.is_some());
    patch(&world, "m", json!({"metadata": {"finalizers": null}})).await?;
    gone(&world, "m").await?;
    let seen = world.events(&WatchParams::default(), &version, 2).await?;
    same(
        seen.iter().map(told).collect::<Vec<_>>(),
        ["MODIFIED m", "DELETED m"],
    )
}

async fn no_finalizer_is_added_to_what_terminates(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    patch(
        &world,
        "m",
        json!({"metadata": {"finalizers": ["example.com/wait"]}}),
    )
    .await?;
    world.maps().delete("m", &DeleteParams::default()).await?;
    let more = json!({"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}});
    let (code, _, message) = refusal(patch(&world, "m", more).await)?;
    same(code, 422)?;
    ensure!(
        message.contains("no new finalizers can be added"),
        "{message}"
    );
    patch(&world, "m", json!({"metadata": {"finalizers": null}})).await?;
    Ok(())
}

async fn delete_of_another_uid_or_version_is_a_conflict(world: World) -> Result<()> {
    let made = world
        .maps()
        .create(&PostParams::default(), &map("m")?)
        .await?;
    let uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
    let version = Some("1".to_owned());
    for (uid, resource_version) in [(uid, None), (None, version)] {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid,
            resource_version,
        });
        refused(
            world.maps().delete("m", &params).await.map(|_| ()),
            409,
            "Conflict",
        )?;
    }
    let right = Preconditions {
        uid: made.metadata.uid,
        resource_version: made.metadata.resource_version,
    };
    world
        .maps()
        .delete("m", &DeleteParams::default().preconditions(right))
        .await?;
    gone(&world, "m").await
}

async fn dependents_go_after_their_owner(world: World) -> Result<()> {
    let owner = world
        .maps()
        .create(&PostParams::default(), &map("owner")?)
        .await?;
    let child = owned(&world, "child", &owner, false).await?;
    owned(&world, "grandchild", &child, false).await?;
    world
        .maps()
        .delete("owner", &DeleteParams::background())
        .await?;
    gone(&world, "owner").await?;
    gone(&world, "child").await?;
    gone(&world, "grandchild").await
}

async fn orphans_stay_and_lose_their_owner(world: World) -> Result<()> {
    let owner = world
        .maps()
        .create(&PostParams::default(), &map("owner")?)
        .await?;
    owned(&world, "child", &owner, false).await?;
    world
        .maps()
        .delete("owner", &DeleteParams::orphan())
        .await?;
    gone(&world, "owner").await?;
    let child = world.maps().get("child").await?;
    same(child.owner_references().len(), 0)
}

async fn foreground_delete_waits_for_dependents(world: World) -> Result<()> {
    let owner = world
        .maps()
        .create(&PostParams::default(), &map("owner")?)
        .await?;
    owned(&world, "child", &owner, true).await?;
    patch(
        &world,
        "child",
        json!({"metadata": {"finalizers": ["example.com/wait"]}}),
    )
    .await?;
    let deleted = world
        .maps()
        .delete("owner", &DeleteParams::foreground())
        .await?;
    let waiting = deleted.left().context("it waits")?;
    same(waiting.finalizers(), ["foregroundDeletion"])?;
    eventually(async || {
        let child = world.maps().get("child").await?;
        Ok(child.metadata.deletion_timestamp.map(|_at| ()))
    })
    .await?;
    ensure!(
        world.maps().get_opt("owner").await?.is_some(),
        "it waits for its child"
    );
    patch(&world, "child", json!({"metadata": {"finalizers": null}})).await?;
    gone(&world, "child").await?;
    gone(&world, "owner").await
}

async fn dependent_of_nobody_is_collected(world: World) -> Result<()> {
    let mut nobody = world
        .maps()
        .create(&PostParams::default(), &map("owner")?)
        .await?;
    world
        .maps()
        .delete("owner", &DeleteParams::default())
        .await?;
    gone(&world, "owner").await?;
    nobody.metadata.name = Some("owner".to_owned());
    owned(&world, "child", &nobody, false).await?;
    gone(&world, "child").await
}

async fn one_owner_of_two_is_enough(world: World) -> Result<()> {
    let post = PostParams::default();
    let first = world.maps().create(&post, &map("first")?).await?;
    let second = world.maps().create(&post, &map("second")?).await?;
    owned(&world, "witness", &first, false).await?;
    let reference = |owner: &ConfigMap| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid()});
    let child = typed(json!({"metadata": {"name": "child",
        "ownerReferences": [reference(&first), reference(&second)]}}))?;
    world.maps().create(&post, &child).await?;
    world
        .maps()
        .delete("first", &DeleteParams::background())
        .await?;
    gone(&world, "witness").await?;
    eventually(async || {
        let child = world.maps().get("child").await?;
        let names: Vec<&str> = child
            .owner_references()
            .iter()
            .map(|owner| owner.name.as_str())
            .collect();
        Ok((names == ["second"]).then_some(()))
    })
    .await
}

async fn collection_is_deleted_by_label(world: World) -> Result<()> {
    world.make_maps(&["a", "b"]).await?;
    let other = typed(json!({"metadata": {"name": "other", "labels": {"set": "b"}}}))?;
    world.maps().create(&PostParams::default(), &other).await?;
    let labelled = ListParams::default().labels("set=a");
    world
        .maps()
        .delete_collection(&DeleteParams::default(), &labelled)
        .await?;
    gone(&world, "a").await?;
    gone(&world, "b").await?;
    ensure!(
        world.maps().get_opt("other").await?.is_some(),
        "it has another label"
    );
    Ok(())
}

fn namespaces(world: &World) -> Api<Namespace> {
    Api::all(world.client.clone())
}

async fn namespace_goes_with_everything_in_it(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let deleted = namespaces(&world)
        .delete(&world.namespace, &DeleteParams::default())
        .await?;
    let phase = deleted.left().and_then(|namespace| namespace.status?.phase);
    same(phase.as_deref(), Some("Terminating"))?;
    let there = async || {
        Ok(namespaces(&world)
            .get_opt(&world.namespace)
            .await?
            .is_none()
            .then_some(()))
    };
    eventually(there).await?;
    gone(&world, "m").await
}

async fn nothing_is_made_in_a_terminating_namespace(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    patch(
        &world,
        "m",
        json!({"metadata": {"finalizers": ["example.com/wait"]}}),
    )
    .await?;
    namespaces(&world)
        .delete(&world.namespace, &DeleteParams::default())
        .await?;
    let (code, reason, message) = refusal(
        world
            .maps()
            .create(&PostParams::default(), &map("n")?)
            .await,
    )?;
    same((code, reason.as_str()), (403, "Forbidden"))?;
    ensure!(
        message.ends_with("because it is being terminated"),
        "{message}"
    );
    patch(&world, "m", json!({"metadata": {"finalizers": null}})).await?;
    Ok(())
}

async fn second_delete_is_not_found(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let deleted = world.maps().delete("m", &DeleteParams::default()).await?;
    let status = deleted.right().context("a Status")?;
    same(status.details.context("details")?.name, "m")?;
    let again = world.maps().delete("m", &DeleteParams::default()).await;
    refused(again.map(|_| ()), 404, "NotFound")
}

async fn dry_run_deletes_nothing(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    world
        .maps()
        .delete("m", &DeleteParams::default().dry_run())
        .await?;
    ensure!(
        world.maps().get_opt("m").await?.is_some(),
        "it was only pretended"
    );
    Ok(())
}
