//! Lists: selectors, order, pages, forms.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::world::{Case, World, cases, refusal, refused, same, typed};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        pages_are_of_one_state_while_others_write,
        page_tells_how_many_are_left,
        garbage_as_a_continuation_is_refused,
        labels_select_by_every_operator,
        fields_select_by_name,
        unknown_field_is_refused,
        bad_label_selector_is_refused,
        items_are_sorted_by_name,
        all_namespaces_are_listed_together,
        metadata_alone_can_be_listed,
        table_has_columns_and_rows,
        list_has_the_version_of_its_newest_write,
    ]
}

async fn names(world: &World, params: &ListParams) -> Result<Vec<String>> {
    let list = world.maps().list(params).await?;
    let mut names: Vec<String> = list.items.iter().map(ResourceExt::name_any).collect();
    // The root certificate that every namespace gets is not ours.
    names.retain(|name| name != "kube-root-ca.crt");
    Ok(names)
}

async fn pages_are_of_one_state_while_others_write(world: World) -> Result<()> {
    let wanted: Vec<String> = (0..10).map(|number| format!("m{number}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.make_maps(&wanted).await?;
    let mut params = ListParams::default().labels("set=a").limit(3);
    let (mut seen, mut versions) = (Vec::new(), Vec::new());
    for round in 0.. {
        let page = world.maps().list(&params).await?;
        ensure!(page.items.len() <= 3, "{} items", page.items.len());
        seen.extend(page.items.iter().map(ResourceExt::name_any));
        versions.push(page.metadata.resource_version);
        let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else {
            break;
        };
        params.continue_token = Some(next);
        world.make_maps(&[&format!("m{round}-new")]).await?;
        world
            .maps()
            .delete(&format!("m{}", 9 - round), &DeleteParams::default())
            .await?;
    }
    same(&seen[..], &wanted[..])?;
    ensure!(
        versions.iter().all(|version| *version == versions[0]),
        "{versions:?}"
    );
    Ok(())
}

async fn page_tells_how_many_are_left(world: World) -> Result<()> {
    world.make_maps(&["a", "b", "c", "d"]).await?;
    let page = world.maps().list(&ListParams::default().limit(2)).await?;
    // With the root certificate, which every namespace gets.
    same(page.metadata.remaining_item_count, Some(3))
}

async fn garbage_as_a_continuation_is_refused(world: World) -> Result<()> {
    let params = ListParams::default().limit(1).continue_token("garbage");
    refused(world.maps().list(&params).await, 400, "BadRequest")
}

async fn labels_select_by_every_operator(world: World) -> Result<()> {
    for (name, labels) in [
        ("one", json!({"tier": "front", "canary": "yes"})),
        ("two", json!({"tier": "back"})),
        ("three", json!({})),
    ] {
        let object: ConfigMap = typed(json!({"metadata": {"name": name, "labels": labels}}))?;
        world.maps().create(&PostParams::default(), &object).await?;
    }
    for (selector, wanted) in [
        ("tier=front", &["one"][..]),
        ("tier==back", &["two"]),
        ("tier!=front", &["three", "two"]),
        ("tier in (front,back)", &["one", "two"]),
        ("tier notin (front)", &["three", "two"]),
        ("tier", &["one", "two"]),
        ("!tier", &["three"]),
        ("tier,!canary", &["two"]),
    ] {
        let found = names(&world, &ListParams::default().labels(selector)).await?;
        ensure!(found == wanted, "{selector}: {found:?} is not {wanted:?}");
    }
    Ok(())
}

async fn fields_select_by_name(world: World) -> Result<()> {
    world.make_maps(&["a", "b"]).await?;
    same(
        names(&world, &ListParams::default().fields("metadata.name=b")).await?,
        ["b"],
    )?;
    same(
        names(&world, &ListParams::default().fields("metadata.name!=b")).await?,
        ["a"],
    )
}

async fn unknown_field_is_refused(world: World) -> Result<()> {
    let answer = world
        .maps()
        .list(&ListParams::default().fields("spec.x=1"))
        .await;
    let (code, _, message) = refusal(answer)?;
    same(code, 400)?;
    ensure!(
        message.contains("is not a known field selector"),
        "{message}"
    );
    Ok(())
}

async fn bad_label_selector_is_refused(world: World) -> Result<()> {
    let answer = world
        .maps()
        .list(&ListParams::default().labels("a in ("))
        .await;
    refused(answer, 400, "BadRequest")
}

async fn items_are_sorted_by_name(world: World) -> Result<()> {
    world.make_maps(&["b", "a-b", "a", "c", "a.b"]).await?;
    same(
        names(&world, &ListParams::default()).await?,
        ["a", "a-b", "a.b", "b", "c"],
    )
}

async fn all_namespaces_are_listed_together(world: World) -> Result<()> {
    world.make_maps(&["listed-everywhere"]).await?;
    let all: Api<ConfigMap> = Api::all(world.client.clone());
    let list = all.list(&ListParams::default()).await?;
    let found = |namespace: &str| {
        let mut items = list.items.iter();
        items.any(|map| map.namespace().as_deref() == Some(namespace))
    };
    ensure!(found(&world.namespace) && found("kube-system"));
    let keys: Vec<_> = list
        .items
        .iter()
        .map(|map| (map.namespace(), map.name_any()))
        .collect();
    ensure!(keys.is_sorted(), "{keys:?}");
    Ok(())
}

async fn metadata_alone_can_be_listed(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let list = world
        .maps()
        .list_metadata(&ListParams::default().labels("set=a"))
        .await?;
    let meta = list.items.first().context("an item")?;
    same(meta.name_any(), "m")?;
    same(meta.labels().get("set").map(String::as_str), Some("a"))
}

async fn table_has_columns_and_rows(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let request = http::Request::get(world.path("configmaps?labelSelector=set%3Da"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())?;
    let table: serde_json::Value = world.client.request(request).await?;
    let columns = table["columnDefinitions"].as_array().context("columns")?;
    let columns: Vec<&str> = columns
        .iter()
        .filter_map(|column| column["name"].as_str())
        .collect();
    same(columns, ["Name", "Data", "Age"])?;
    same(&table["rows"][0]["cells"][0], &json!("m"))?;
    same(
        &table["rows"][0]["object"]["kind"],
        &json!("PartialObjectMetadata"),
    )
}

async fn list_has_the_version_of_its_newest_write(world: World) -> Result<()> {
    let made = world
        .maps()
        .create(&PostParams::default(), &crate::world::map("m")?)
        .await?;
    let made: u64 = made.resource_version().context("a version")?.parse()?;
    let listed: u64 = world.version().await?.parse()?;
    ensure!(listed >= made, "{listed} is older than {made}");
    Ok(())
}
