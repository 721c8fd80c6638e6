//! Creates, updates and patches.
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::world::{Case, World, cases, map, refusal, refused, same, typed};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        created_object_has_uid_version_and_time,
        taken_name_is_refused,
        missing_object_is_not_found,
        stale_update_is_a_conflict,
        update_without_a_version_wins,
        update_that_changes_nothing_keeps_the_version,
        patch_that_changes_nothing_keeps_the_version,
        versions_grow_across_kinds,
        generated_names_have_their_base_and_differ,
        create_with_a_version_is_refused,
        object_of_another_namespace_is_refused,
        bad_name_is_invalid_with_its_cause,
        missing_namespace_is_not_found,
        merge_patch_takes_nulls_away,
        json_patch_that_does_not_hold_is_refused,
        strategic_patch_merges_lists_by_key,
        dry_run_stores_nothing,
        immutable_map_stays,
        status_and_spec_are_written_apart,
        generation_counts_changes_of_the_spec,
        another_uid_is_a_conflict,
        text_of_a_secret_becomes_its_data,
    ]
}

fn post() -> PostParams {
    PostParams::default()
}

fn merge(value: serde_json::Value) -> Patch<serde_json::Value> {
    Patch::Merge(value)
}

/// A Deployment of nothing.
pub(crate) fn deployment(name: &str, replicas: i32) -> Result<Deployment> {
    typed(
        json!({"metadata": {"name": name}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
    )
}

async fn created_object_has_uid_version_and_time(world: World) -> Result<()> {
    let made = world.maps().create(&post(), &map("m")?).await?;
    let meta = made.metadata;
    ensure!(meta.uid.is_some_and(|uid| uid.len() == 36), "a uid");
    ensure!(meta.creation_timestamp.is_some(), "a time");
    same(meta.namespace, Some(world.namespace))?;
    let version = meta.resource_version.context("a version")?;
    ensure!(version.parse::<u64>()? > 0, "{version}");
    Ok(())
}

async fn taken_name_is_refused(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let (code, reason, message) = refusal(world.maps().create(&post(), &map("m")?).await)?;
    same((code, reason.as_str()), (409, "AlreadyExists"))?;
    same(message, "configmaps \"m\" already exists")
}

async fn missing_object_is_not_found(world: World) -> Result<()> {
    let (code, reason, message) = refusal(world.maps().get("m").await)?;
    same((code, reason.as_str()), (404, "NotFound"))?;
    same(message, "configmaps \"m\" not found")?;
    let patch = merge(json!({"data": {}}));
    let patched = world
        .maps()
        .patch("m", &PatchParams::default(), &patch)
        .await;
    refused(patched, 404, "NotFound")?;
    refused(
        world
            .maps()
            .delete("m", &kube::api::DeleteParams::default())
            .await
            .map(|_| ()),
        404,
        "NotFound",
    )
}

async fn stale_update_is_a_conflict(world: World) -> Result<()> {
    let old = world.maps().create(&post(), &map("m")?).await?;
    let mut new = old.clone();
    new.data = Some([("k".to_owned(), "2".to_owned())].into());
    world.maps().replace("m", &post(), &new).await?;
    let (code, reason, message) = refusal(world.maps().replace("m", &post(), &new).await)?;
    same((code, reason.as_str()), (409, "Conflict"))?;
    same(
        message,
        "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your \
         changes to the latest version and try again",
    )
}

async fn update_without_a_version_wins(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let mut new = map("m")?;
    new.data = Some([("k".to_owned(), "2".to_owned())].into());
    let replaced = world.maps().replace("m", &post(), &new).await?;
    same(
        replaced.data.unwrap_or_default().get("k"),
        Some(&"2".to_owned()),
    )
}

async fn update_that_changes_nothing_keeps_the_version(world: World) -> Result<()> {
    let made = world.maps().create(&post(), &map("m")?).await?;
    let again = world.maps().replace("m", &post(), &made).await?;
    same(
        again.metadata.resource_version,
        made.metadata.resource_version,
    )
}

async fn patch_that_changes_nothing_keeps_the_version(world: World) -> Result<()> {
    let made = world.maps().create(&post(), &map("m")?).await?;
    for patch in [
        json!({"data": {"k": "1"}}),
        json!({}),
        json!({"data": {"x": null}}),
    ] {
        let again = world
            .maps()
            .patch("m", &PatchParams::default(), &merge(patch))
            .await?;
        same(
            again.metadata.resource_version,
            made.metadata.resource_version.clone(),
        )?;
    }
    Ok(())
}

async fn versions_grow_across_kinds(world: World) -> Result<()> {
    let mut versions = Vec::new();
    for number in 0..3 {
        let name = format!("n{number}");
        let made = world.maps().create(&post(), &map(&name)?).await?;
        versions.push(made.metadata.resource_version);
        let secret: Secret = typed(json!({"metadata": {"name": name}}))?;
        let made = world.api::<Secret>().create(&post(), &secret).await?;
        versions.push(made.metadata.resource_version);
        let service: Service = typed(json!({"metadata": {"name": name},
            "spec": {"ports": [{"port": 80}]}}))?;
        let made = world.api::<Service>().create(&post(), &service).await?;
        versions.push(made.metadata.resource_version);
    }
    let numbers = versions
        .into_iter()
        .map(|version| Ok(version.context("a version")?.parse::<u64>()?));
    let numbers: Vec<u64> = numbers.collect::<Result<_>>()?;
    ensure!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    Ok(())
}

async fn generated_names_have_their_base_and_differ(world: World) -> Result<()> {
    let object: ConfigMap = typed(json!({"metadata": {"generateName": "base-"}}))?;
    let mut names = BTreeSet::new();
    for _ in 0..5 {
        let made = world.maps().create(&post(), &object).await?;
        let name = made.metadata.name.context("a name")?;
        ensure!(name.len() == 10 && name.starts_with("base-"), "{name}");
        names.insert(name);
    }
    same(names.len(), 5)
}

async fn create_with_a_version_is_refused(world: World) -> Result<()> {
    let object: ConfigMap = typed(json!({"metadata": {"name": "m", "resourceVersion": "1"}}))?;
    let (code, _, message) = refusal(world.maps().create(&post(), &object).await)?;
    same(code, 500)?;
    same(
        message,
        "resourceVersion should not be set on objects to be created",
    )
}

async fn object_of_another_namespace_is_refused(world: World) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "other"}});
    let answer = world
        .raw("POST", &world.path("configmaps"), Some(object))
        .await;
    let (code, reason, message) = refusal(answer)?;
    same((code, reason.as_str()), (400, "BadRequest"))?;
    same(
        message,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
}

async fn bad_name_is_invalid_with_its_cause(world: World) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "UPPER"}});
    let answer = world
        .raw("POST", &world.path("configmaps"), Some(object))
        .await;
    let Err(kube::Error::Api(status)) = answer else {
        anyhow::bail!("it was not refused: {answer:?}")
    };
    same((status.code, status.reason.as_str()), (422, "Invalid"))?;
    let details = status.details.context("details")?;
    same(
        details.causes.first().map(|cause| cause.field.clone()),
        Some("metadata.name".to_owned()),
    )
}

async fn missing_namespace_is_not_found(world: World) -> Result<()> {
    let object = json!({"metadata": {"name": "m"}});
    let answer = world
        .raw(
            "POST",
            "/api/v1/namespaces/nowhere/configmaps",
            Some(object),
        )
        .await;
    let (code, _, message) = refusal(answer)?;
    same(
        (code, message.as_str()),
        (404, "namespaces \"nowhere\" not found"),
    )
}

async fn merge_patch_takes_nulls_away(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let patch = merge(json!({"data": {"k": null, "l": "2"}, "metadata": {"labels": null}}));
    let patched = world
        .maps()
        .patch("m", &PatchParams::default(), &patch)
        .await?;
    same(
        patched.data,
        Some([("l".to_owned(), "2".to_owned())].into()),
    )?;
    same(
        patched.metadata.labels,
        None::<std::collections::BTreeMap<String, String>>,
    )
}

async fn json_patch_that_does_not_hold_is_refused(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let patch = |value: serde_json::Value| {
        Ok::<_, anyhow::Error>(Patch::<()>::Json(serde_json::from_value(value)?))
    };
    let test = patch(json!([{"op": "test", "path": "/data/k", "value": "other"}]))?;
    let answer = world
        .maps()
        .patch("m", &PatchParams::default(), &test)
        .await;
    refused(answer, 422, "Invalid")?;
    let good = patch(json!([{"op": "test", "path": "/data/k", "value": "1"},
        {"op": "replace", "path": "/data/k", "value": "2"}]))?;
    let patched = world
        .maps()
        .patch("m", &PatchParams::default(), &good)
        .await?;
    same(
        patched.data,
        Some([("k".to_owned(), "2".to_owned())].into()),
    )
}

async fn strategic_patch_merges_lists_by_key(world: World) -> Result<()> {
    let deployments = world.api::<Deployment>();
    deployments.create(&post(), &deployment("d", 0)?).await?;
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "second", "image": "j"}]}}}});
    let patched = deployments
        .patch("d", &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    let containers = patched.spec.template.spec.context("a spec")?.containers;
    let mut names: Vec<&str> = containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    names.sort_unstable();
    same(names, ["c", "second"])
}

async fn dry_run_stores_nothing(world: World) -> Result<()> {
    let pretend = PostParams {
        dry_run: true,
        ..post()
    };
    let made = world.maps().create(&pretend, &map("m")?).await?;
    ensure!(
        made.metadata.uid.is_some(),
        "it is answered as if it were there"
    );
    refused(world.maps().get("m").await, 404, "NotFound")
}

async fn immutable_map_stays(world: World) -> Result<()> {
    let mut object = map("m")?;
    object.immutable = Some(true);
    world.maps().create(&post(), &object).await?;
    let patch = merge(json!({"data": {"k": "2"}}));
    let answer = world
        .maps()
        .patch("m", &PatchParams::default(), &patch)
        .await;
    let (code, _, message) = refusal(answer)?;
    same(code, 422)?;
    ensure!(
        message.contains("field is immutable when `immutable` is set"),
        "{message}"
    );
    Ok(())
}

async fn status_and_spec_are_written_apart(world: World) -> Result<()> {
    let services = world.api::<Service>();
    let service: Service = typed(json!({"metadata": {"name": "s"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}))?;
    services.create(&post(), &service).await?;
    let both = merge(json!({"spec": {"ports": [{"port": 81}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}));
    let port = |service: &Service| Some(service.spec.as_ref()?.ports.as_ref()?.first()?.port);
    let address = |service: &Service| {
        let status = service.status.as_ref()?.load_balancer.as_ref()?;
        status.ingress.as_ref()?.first()?.ip.clone()
    };
    let patched = services
        .patch_status("s", &PatchParams::default(), &both)
        .await?;
    same(
        (port(&patched), address(&patched)),
        (Some(80), Some("192.0.2.1".to_owned())),
    )?;
    let other = merge(json!({"spec": {"ports": [{"port": 82}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}));
    let patched = services.patch("s", &PatchParams::default(), &other).await?;
    same(
        (port(&patched), address(&patched)),
        (Some(82), Some("192.0.2.1".to_owned())),
    )
}

async fn generation_counts_changes_of_the_spec(world: World) -> Result<()> {
    let deployments = world.api::<Deployment>();
    let made = deployments.create(&post(), &deployment("d", 0)?).await?;
    same(made.metadata.generation, Some(1))?;
    let label = merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let labelled = deployments
        .patch("d", &PatchParams::default(), &label)
        .await?;
    same(labelled.metadata.generation, Some(1))?;
    let spec = merge(json!({"spec": {"minReadySeconds": 1}}));
    let changed = deployments
        .patch("d", &PatchParams::default(), &spec)
        .await?;
    same(changed.metadata.generation, Some(2))
}

async fn another_uid_is_a_conflict(world: World) -> Result<()> {
    let mut other = world.maps().create(&post(), &map("m")?).await?;
    other.metadata.uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
    other.metadata.resource_version = None;
    let answer = world.maps().replace("m", &post(), &other).await;
    refused(answer, 409, "Conflict")
}

async fn text_of_a_secret_becomes_its_data(world: World) -> Result<()> {
    let secret: Secret = typed(json!({"metadata": {"name": "s"}, "stringData": {"k": "text"}}))?;
    let made = world.api::<Secret>().create(&post(), &secret).await?;
    same(
        made.string_data,
        None::<std::collections::BTreeMap<String, String>>,
    )?;
    let data = made.data.context("data")?;
    same(
        data.get("k").map(|bytes| bytes.0.clone()),
        Some(b"text".to_vec()),
    )?;
    same(made.type_.as_deref(), Some("Opaque"))
}
