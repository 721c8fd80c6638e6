//! Kinds that do something of their own, and kinds that users define.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchParams,
};
use serde_json::{Value, json};

use crate::world::{Case, World, cases, events, eventually, refusal, refused, same, typed};
use crate::writes::deployment;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        service_gets_an_address_and_keeps_it,
        services_address_is_taken_once,
        deployment_becomes_a_replica_set_and_pods,
        scale_is_read_and_written,
        lease_is_updated_by_one_of_two,
        namespace_gets_an_account_and_a_root_certificate,
        discovery_names_what_is_served,
        custom_kind_is_served_after_its_definition,
        custom_objects_are_validated_pruned_and_given_defaults,
        custom_status_and_scale_are_subresources,
        custom_objects_go_with_their_definition,
        custom_object_is_watched,
    ]
}

fn post() -> PostParams {
    PostParams::default()
}

async fn service(world: &World, name: &str, spec: Value) -> Result<Service, kube::Error> {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    world.api::<Service>().create(&post(), &object).await
}

async fn service_gets_an_address_and_keeps_it(world: World) -> Result<()> {
    let made = service(&world, "s", json!({"ports": [{"port": 80}]})).await?;
    let address = |service: &Service| service.spec.as_ref()?.cluster_ip.clone();
    let given = address(&made).context("an address")?;
    given.parse::<std::net::IpAddr>()?;
    let patch = Patch::Merge(json!({"spec": {"ports": [{"port": 81}]}}));
    let patched = world
        .api::<Service>()
        .patch("s", &PatchParams::default(), &patch)
        .await?;
    same(address(&patched), Some(given))?;
    let other = Patch::Merge(json!({"spec": {"clusterIP": "10.96.200.200"}}));
    let answer = world
        .api::<Service>()
        .patch("s", &PatchParams::default(), &other)
        .await;
    refused(answer, 422, "Invalid")?;
    let headless = service(
        &world,
        "h",
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
    )
    .await?;
    same(address(&headless).as_deref(), Some("None"))
}

async fn services_address_is_taken_once(world: World) -> Result<()> {
    let made = service(&world, "s", json!({"ports": [{"port": 80}]})).await?;
    let address = made
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("an address")?;
    let spec = json!({"clusterIP": address, "ports": [{"port": 80}]});
    let (code, _, message) = refusal(service(&world, "t", spec.clone()).await)?;
    same(code, 422)?;
    ensure!(
        message.contains("provided IP is already allocated"),
        "{message}"
    );
    world
        .api::<Service>()
        .delete("s", &DeleteParams::default())
        .await?;
    eventually(async || Ok(service(&world, "t", spec.clone()).await.ok())).await?;
    Ok(())
}

async fn deployment_becomes_a_replica_set_and_pods(world: World) -> Result<()> {
    world
        .api::<Deployment>()
        .create(&post(), &deployment("web", 2)?)
        .await?;
    let labelled = ListParams::default().labels("app=web");
    let pods = eventually(async || {
        let list = world.api::<Pod>().list(&labelled).await?;
        Ok((list.items.len() == 2).then_some(list.items))
    })
    .await?;
    let set = pods[0]
        .owner_references()
        .first()
        .context("an owner")?
        .name
        .clone();
    let set = world.api::<ReplicaSet>().get(&set).await?;
    same(
        set.owner_references()
            .first()
            .map(|owner| owner.name.clone()),
        Some("web".to_owned()),
    )?;
    world
        .api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await?;
    eventually(async || {
        let list = world.api::<Pod>().list(&labelled).await?;
        Ok(list.items.is_empty().then_some(()))
    })
    .await
}

async fn scale_is_read_and_written(world: World) -> Result<()> {
    let deployments = world.api::<Deployment>();
    deployments.create(&post(), &deployment("web", 1)?).await?;
    let scale = deployments.get_scale("web").await?;
    same(scale.spec.and_then(|spec| spec.replicas), Some(1))?;
    let patch = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let scale = deployments
        .patch_scale("web", &PatchParams::default(), &patch)
        .await?;
    same(scale.spec.and_then(|spec| spec.replicas), Some(2))?;
    let replicas = deployments.get("web").await?.spec.replicas;
    same(replicas, Some(2))
}

async fn lease_is_updated_by_one_of_two(world: World) -> Result<()> {
    let lease: Lease =
        typed(json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "nobody"}}))?;
    let made = world.api::<Lease>().create(&post(), &lease).await?;
    let claim = |who: &str| {
        let mut lease = made.clone();
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = Some(who.to_owned());
        }
        let leases = world.api::<Lease>();
        async move { leases.replace("l", &post(), &lease).await }
    };
    let (one, two) = tokio::join!(claim("one"), claim("two"));
    same(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1)?;
    refused(one.and(two), 409, "Conflict")
}

async fn namespace_gets_an_account_and_a_root_certificate(world: World) -> Result<()> {
    let account = async || Ok(world.api::<ServiceAccount>().get_opt("default").await?);
    eventually(account).await?;
    let root = async || Ok(world.maps().get_opt("kube-root-ca.crt").await?);
    let root = eventually(root).await?;
    let pem = root
        .data
        .unwrap_or_default()
        .remove("ca.crt")
        .unwrap_or_default();
    ensure!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    Ok(())
}

async fn discovery_names_what_is_served(world: World) -> Result<()> {
    let discovery = kube::discovery::Discovery::new(world.client.clone())
        .run()
        .await?;
    for (group, kind, plural) in [
        ("", "Service", "services"),
        ("apps", "Deployment", "deployments"),
        ("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        ),
        ("coordination.k8s.io", "Lease", "leases"),
    ] {
        let found = discovery
            .get(group)
            .with_context(|| format!("the group {group:?}"))?;
        let (resource, _) = found
            .recommended_kind(kind)
            .with_context(|| format!("the kind {kind}"))?;
        same(resource.plural.as_str(), plural)?;
    }
    Ok(())
}

/// Defines a kind in a group that is named after the case.
async fn define(world: &World) -> Result<(String, Api<DynamicObject>)> {
    let group = format!("{}.example.com", world.namespace);
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "colour": {"type": "string", "default": "blue", "enum": ["blue", "red"]}}},
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
    let crd: CustomResourceDefinition = typed(json!({
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
                    "statusReplicasPath": ".status.size"}}}]}}))?;
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    crds.create(&post(), &crd).await?;
    let widgets = world.dynamic(&group, "v1", "Widget");
    // Established is not yet served by every path: a list says so.
    eventually(async || Ok(widgets.list(&ListParams::default()).await.ok())).await?;
    Ok((group, widgets))
}

async fn undefine(world: &World, group: &str) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    crds.delete(&format!("widgets.{group}"), &DeleteParams::default())
        .await?;
    Ok(())
}

fn widget(group: &str, name: &str, spec: Value) -> Result<DynamicObject> {
    typed(
        json!({"apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": name}, "spec": spec}),
    )
}

async fn custom_kind_is_served_after_its_definition(world: World) -> Result<()> {
    let (group, widgets) = define(&world).await?;
    widgets
        .create(&post(), &widget(&group, "w", json!({"size": 1}))?)
        .await?;
    let found = widgets.get("w").await?;
    same(&found.data["spec"]["size"], &json!(1))?;
    same(found.metadata.generation, Some(1))?;
    let mut stale = found.clone();
    stale.metadata.resource_version = None;
    refused(widgets.replace("w", &post(), &stale).await, 422, "Invalid")?;
    undefine(&world, &group).await
}

async fn custom_objects_are_validated_pruned_and_given_defaults(world: World) -> Result<()> {
    let (group, widgets) = define(&world).await?;
    for spec in [
        json!({}),
        json!({"size": 0}),
        json!({"size": 10}),
        json!({"size": "many"}),
        json!({"size": 1, "colour": "green"}),
    ] {
        let answer = widgets
            .create(&post(), &widget(&group, "w", spec.clone())?)
            .await;
        refused(answer, 422, "Invalid").with_context(|| spec.to_string())?;
    }
    let made = widgets
        .create(
            &post(),
            &widget(&group, "w", json!({"size": 1, "unknown": 1}))?,
        )
        .await?;
    same(&made.data["spec"], &json!({"size": 1, "colour": "blue"}))?;
    undefine(&world, &group).await
}

async fn custom_status_and_scale_are_subresources(world: World) -> Result<()> {
    let (group, widgets) = define(&world).await?;
    let mut object = widget(&group, "w", json!({"size": 1}))?;
    object.data["status"] = json!({"size": 7});
    let made = widgets.create(&post(), &object).await?;
    same(&made.data["status"], &Value::Null)?;
    let status = Patch::Merge(json!({"spec": {"size": 5}, "status": {"size": 3}}));
    let patched = widgets
        .patch_status("w", &PatchParams::default(), &status)
        .await?;
    same(
        (
            &patched.data["spec"]["size"],
            &patched.data["status"]["size"],
        ),
        (&json!(1), &json!(3)),
    )?;
    same(patched.metadata.generation, Some(1))?;
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scaled = widgets
        .patch_scale("w", &PatchParams::default(), &scale)
        .await?;
    same(scaled.status.map(|status| status.replicas), Some(3))?;
    let found = widgets.get("w").await?;
    same(
        (&found.data["spec"]["size"], found.metadata.generation),
        (&json!(4), Some(2)),
    )?;
    undefine(&world, &group).await
}

async fn custom_objects_go_with_their_definition(world: World) -> Result<()> {
    let (group, widgets) = define(&world).await?;
    widgets
        .create(&post(), &widget(&group, "w", json!({"size": 1}))?)
        .await?;
    undefine(&world, &group).await?;
    eventually(async || match widgets.get("w").await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Some(())),
        _ => Ok(None),
    })
    .await?;
    // Not served any more, and nothing comes back with a new definition.
    eventually(async || {
        let list = widgets.list(&ListParams::default()).await;
        Ok(matches!(list, Err(kube::Error::Api(status)) if status.code == 404).then_some(()))
    })
    .await?;
    let (_, widgets) = define(&world).await?;
    same(widgets.list(&ListParams::default()).await?.items.len(), 0)?;
    undefine(&world, &group).await
}

async fn custom_object_is_watched(world: World) -> Result<()> {
    let (group, widgets) = define(&world).await?;
    let list = widgets.list(&ListParams::default()).await?;
    let version = list.metadata.resource_version.context("a version")?;
    widgets
        .create(&post(), &widget(&group, "w", json!({"size": 1}))?)
        .await?;
    widgets.delete("w", &DeleteParams::default()).await?;
    let seen = events(&widgets, &WatchParams::default(), &version, 2).await?;
    ensure!(
        matches!(seen[1], kube::api::WatchEvent::Deleted(_)),
        "{seen:?}"
    );
    undefine(&world, &group).await
}
