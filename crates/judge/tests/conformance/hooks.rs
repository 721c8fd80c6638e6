//! Webhooks: what they are asked, what they change and refuse, and what becomes of a write when they fail.
mod changes;
mod failures;
mod server;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{Case, World, cases, eventually, map, refusal, refused, same};
use server::{Say, Server, allow, deny};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = cases![
        hook_sees_the_whole_request,
        hook_that_denies_says_why,
        hook_that_denies_changes_nothing,
        hook_sees_what_an_update_changes,
        hook_of_deletes_sees_what_is_deleted,
        hook_is_asked_of_each_of_a_collection,
        hook_of_a_status_is_asked_of_nothing_else,
        hook_of_a_scale_sees_a_scale,
        hook_of_a_binding_sees_the_binding,
        hook_is_told_of_a_dry_run,
        hook_warns,
        hook_is_asked_of_selected_namespaces_only,
        hook_is_asked_if_the_old_or_the_new_object_is_selected,
        hook_is_asked_under_its_conditions_only,
        hook_whose_condition_fails_is_not_asked,
        hook_of_another_version_sees_that_version,
        hook_of_exactly_another_version_is_not_asked,
        hook_of_clusters_is_not_asked_of_namespaced_objects,
        hook_is_not_asked_of_configurations,
        hook_sees_a_generated_name_only_when_it_validates,
        hooks_that_validate_are_asked_at_once,
    ];
    cases.extend(changes::cases());
    cases.extend(failures::cases());
    cases
}

fn post() -> PostParams {
    PostParams::default()
}

/// Which kind of configuration.
#[derive(Clone, Copy)]
enum Kind {
    Mutating,
    Validating,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    fn path(self) -> String {
        let plural = self.name().to_lowercase();
        format!("/apis/admissionregistration.k8s.io/v1/{plural}s")
    }
}

/// A webhook of the case's namespace that is asked of all ConfigMaps, but for what is said otherwise.
fn hook(world: &World, client: &Value, name: &str, otherwise: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.example.com"), "clientConfig": client, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "objectSelector": {"matchExpressions": [{"key": "probe", "operator": "DoesNotExist"}]},
    });
    if let (Some(hook), Value::Object(otherwise)) = (hook.as_object_mut(), otherwise) {
        hook.extend(otherwise);
    }
    hook
}

/// The rules of a webhook that is asked of something else.
fn rules(group: &str, resource: &str) -> Value {
    json!({"rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["*"], "resources": [resource]}]})
}

/// Stores a configuration, and waits until it counts.
async fn configure(world: &World, kind: Kind, mut hooks: Vec<Value>) -> Result<String> {
    let probe = Server::start(async |_, _| allow()).await?;
    // One that has ended is passed over.
    let selected =
        json!({"objectSelector": {"matchLabels": {"probe": "yes"}}, "failurePolicy": "Ignore"});
    hooks.push(hook(world, &probe.at("probe"), "probe", selected));
    let number = json!({"metadata": {"generateName": format!("{}-", world.namespace)}});
    let made = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind.name(),
        "metadata": number["metadata"], "webhooks": hooks});
    let made = world.raw("POST", &kind.path(), Some(made)).await?;
    let name = made["metadata"]["name"].as_str().context("a name")?;
    eventually(async || {
        let object = json!({"metadata": {"name": "probe", "labels": {"probe": "yes"}}});
        let path = world.path("configmaps?dryRun=All");
        world.raw("POST", &path, Some(object)).await?;
        Ok((!probe.so_far().await.is_empty()).then_some(()))
    })
    .await?;
    Ok(name.to_owned())
}

/// A webhook that validates ConfigMaps.
async fn validating(world: &World, server: &Server, otherwise: Value) -> Result<String> {
    let hook = hook(world, &server.at("v"), "v", otherwise);
    configure(world, Kind::Validating, vec![hook]).await
}

/// A webhook that changes ConfigMaps.
async fn mutating(world: &World, server: &Server, otherwise: Value) -> Result<String> {
    let hook = hook(world, &server.at("m"), "m", otherwise);
    configure(world, Kind::Mutating, vec![hook]).await
}

async fn allowing() -> Result<Server> {
    Server::start(async |_, _| allow()).await
}

async fn hook_sees_the_whole_request(world: World) -> Result<()> {
    let server = allowing().await?;
    validating(&world, &server, json!({})).await?;
    let path = world.path("configmaps?fieldManager=me");
    let object = json!({"metadata": {"name": "m"}, "data": {"k": "1"}});
    world.raw("POST", &path, Some(object)).await?;
    let (_, request) = server.next().await?;
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    for (field, wanted) in [
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("name", json!("m")),
        ("namespace", json!(world.namespace)),
        ("operation", json!("CREATE")),
        ("oldObject", Value::Null),
        ("dryRun", json!(false)),
        ("subResource", Value::Null),
        (
            "options",
            json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}),
        ),
    ] {
        ensure!(request[field] == wanted, "{field} is {}", request[field]);
    }
    ensure!(request["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    let user = &request["userInfo"];
    ensure!(user["username"].is_string() && user["groups"].is_array());
    let object = &request["object"];
    ensure!(object["metadata"]["uid"].is_string() && object["data"]["k"] == "1");
    same(object["kind"].as_str(), Some("ConfigMap"))?;
    let owner = &object["metadata"]["managedFields"][0]["manager"];
    same(owner.as_str(), Some("me"))
}

async fn hook_that_denies_says_why(world: World) -> Result<()> {
    let server = Server::start(async |_, request: Value| {
        let name = request["name"].as_str().unwrap_or_default().to_owned();
        deny(match name.as_str() {
            "coded" => json!({"code": 403, "reason": "Forbidden", "message": "no"}),
            "strange" => json!({"code": 418, "reason": "Teapot", "message": "no"}),
            "reason" => json!({"reason": "Because"}),
            "success" => json!({"code": 200, "status": "Success", "message": "yes"}),
            "detailed" => json!({"code": 422, "reason": "Invalid", "message": "no",
                "details": {"causes": [{"reason": "R", "message": "m", "field": "f"}]}}),
            _ => Value::Null,
        })
    })
    .await?;
    validating(&world, &server, json!({})).await?;
    let denied = "admission webhook \"v.example.com\" denied the request";
    for (name, code, reason, message) in [
        ("coded", 403, "Forbidden", ": no"),
        ("strange", 418, "Teapot", ": no"),
        ("reason", 400, "Because", ": Because"),
        ("success", 400, "", ": yes"),
        ("detailed", 422, "Invalid", ": no"),
        ("silent", 400, "", " without explanation"),
    ] {
        let found = refusal(world.maps().create(&post(), &map(name)?).await)?;
        same(
            found,
            (code, reason.to_owned(), format!("{denied}{message}")),
        )?;
    }
    let found = world.maps().create(&post(), &map("detailed")?).await;
    let Err(kube::Error::Api(status)) = found else {
        anyhow::bail!("it was not refused");
    };
    let details = status.details.clone().context("details")?;
    same(details.causes.first().map(|cause| &*cause.field), Some("f"))
}

async fn hook_that_denies_changes_nothing(world: World) -> Result<()> {
    world.make_maps(&["there"]).await?;
    let server = Server::start(async |_, _| deny(json!({"message": "no"}))).await?;
    validating(&world, &server, json!({})).await?;
    let before = world.version().await?;
    let change = Patch::Merge(json!({"data": {"k": "2"}}));
    let patched = world
        .maps()
        .patch("there", &PatchParams::default(), &change)
        .await;
    refused(patched, 400, "")?;
    refused(world.maps().create(&post(), &map("new")?).await, 400, "")?;
    let deleted = world.maps().delete("there", &DeleteParams::default()).await;
    refused(deleted.map(|_| ()), 400, "")?;
    let all = world.maps().list(&Default::default()).await?;
    let names = all.items.iter().filter_map(|one| one.metadata.name.clone());
    same(names.collect::<Vec<_>>(), ["kube-root-ca.crt", "there"])?;
    let kept = world.maps().get("there").await?;
    ensure!(kept.metadata.resource_version <= Some(before));
    Ok(())
}

async fn hook_sees_what_an_update_changes(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let server = allowing().await?;
    validating(&world, &server, json!({})).await?;
    let change = Patch::Merge(json!({"data": {"k": "2"}}));
    let params = PatchParams::default();
    world.maps().patch("m", &params, &change).await?;
    let (_, request) = server.next().await?;
    same(request["operation"].as_str(), Some("UPDATE"))?;
    same(request["object"]["data"]["k"].as_str(), Some("2"))?;
    same(request["oldObject"]["data"]["k"].as_str(), Some("1"))?;
    same(request["options"]["kind"].as_str(), Some("UpdateOptions"))
}

async fn hook_of_deletes_sees_what_is_deleted(world: World) -> Result<()> {
    world.make_maps(&["m"]).await?;
    let server = allowing().await?;
    validating(&world, &server, json!({})).await?;
    mutating(&world, &server, json!({})).await?;
    let grace = DeleteParams::default().grace_period(5);
    world.maps().delete("m", &grace).await?;
    let (first, _) = server.next().await?;
    let (second, request) = server.next().await?;
    same((&*first, &*second), ("m", "v"))?;
    same(request["operation"].as_str(), Some("DELETE"))?;
    same(request["name"].as_str(), Some("m"))?;
    ensure!(request["object"].is_null());
    same(request["oldObject"]["data"]["k"].as_str(), Some("1"))?;
    same(request["options"]["kind"].as_str(), Some("DeleteOptions"))?;
    same(request["options"]["gracePeriodSeconds"].as_i64(), Some(5))
}

async fn hook_is_asked_of_each_of_a_collection(world: World) -> Result<()> {
    world.make_maps(&["a", "b", "c"]).await?;
    let server = Server::start(async |_, request: Value| {
        match request["oldObject"]["metadata"]["name"].as_str() {
            Some("b") => deny(json!({"message": "not b"})),
            _ => allow(),
        }
    })
    .await?;
    validating(&world, &server, json!({})).await?;
    let path = world.path("configmaps?labelSelector=set%3Da");
    let found = refusal(world.raw("DELETE", &path, None).await)?;
    ensure!(found.2.ends_with("denied the request: not b"), "{found:?}");
    ensure!(world.maps().get_opt("b").await?.is_some());
    let seen = server.so_far().await;
    ensure!(
        seen.iter()
            .any(|(_, one)| one["oldObject"]["metadata"]["name"] == "b")
    );
    ensure!(
        seen.iter()
            .all(|(_, one)| one["name"].is_null() || one["name"] == ""),
        "{seen:?}"
    );
    Ok(())
}

/// Makes a Deployment of nothing.
async fn deploy(world: &World) -> Result<()> {
    let deployments = world.api::<k8s_openapi::api::apps::v1::Deployment>();
    let deployment = crate::writes::deployment("d", 0)?;
    deployments.create(&post(), &deployment).await?;
    Ok(())
}

/// Makes a Pod.
async fn make_pod(world: &World, name: &str) -> Result<Value> {
    let containers = json!([{"name": "c", "image": "i"}]);
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": containers}});
    let pods = world.path("pods");
    // The account that Pods run as comes a moment after the namespace.
    eventually(async || Ok(world.raw("POST", &pods, Some(pod.clone())).await.ok())).await
}

async fn hook_of_a_binding_sees_the_binding(world: World) -> Result<()> {
    make_pod(&world, "p").await?;
    let server = allowing().await?;
    validating(&world, &server, rules("", "pods/binding")).await?;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"}});
    let path = world.path("pods/p/binding");
    world.raw("POST", &path, Some(binding)).await?;
    let (_, request) = server.next().await?;
    same(request["operation"].as_str(), Some("CREATE"))?;
    same(request["kind"]["kind"].as_str(), Some("Binding"))?;
    same(request["resource"]["resource"].as_str(), Some("pods"))?;
    same(request["object"]["target"]["name"].as_str(), Some("n"))?;
    ensure!(request["oldObject"].is_null(), "{request}");
    Ok(())
}

async fn hook_of_a_status_is_asked_of_nothing_else(world: World) -> Result<()> {
    make_pod(&world, "p").await?;
    let server = allowing().await?;
    validating(&world, &server, rules("", "pods/status")).await?;
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    merge(&world, &world.path("pods/p"), change).await?;
    let change = json!({"status": {"message": "hello"}});
    merge(&world, &world.path("pods/p/status"), change).await?;
    let (_, request) = server.next().await?;
    same(request["subResource"].as_str(), Some("status"))?;
    same(request["requestSubResource"].as_str(), Some("status"))?;
    same(
        request["object"]["status"]["message"].as_str(),
        Some("hello"),
    )?;
    same(request["kind"]["kind"].as_str(), Some("Pod"))
}

async fn merge(world: &World, path: &str, change: Value) -> Result<Value> {
    let request = http::Request::patch(path)
        .header("content-type", "application/merge-patch+json")
        .body(change.to_string().into_bytes())?;
    Ok(world.client.request(request).await?)
}

async fn hook_of_a_scale_sees_a_scale(world: World) -> Result<()> {
    deploy(&world).await?;
    let server = allowing().await?;
    validating(&world, &server, rules("apps", "deployments/scale")).await?;
    let namespace = &world.namespace;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/d/scale");
    merge(&world, &path, json!({"spec": {"replicas": 2}})).await?;
    let (_, request) = server.next().await?;
    let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    ensure!(request["kind"] == kind, "{}", request["kind"]);
    same(request["subResource"].as_str(), Some("scale"))?;
    same(request["object"]["spec"]["replicas"].as_i64(), Some(2))?;
    same(request["object"]["kind"].as_str(), Some("Scale"))?;
    same(request["oldObject"]["kind"].as_str(), Some("Scale"))
}

async fn hook_is_told_of_a_dry_run(world: World) -> Result<()> {
    let server = allowing().await?;
    validating(&world, &server, json!({"sideEffects": "NoneOnDryRun"})).await?;
    let dry = PostParams {
        dry_run: true,
        ..post()
    };
    world.maps().create(&dry, &map("m")?).await?;
    let (_, request) = server.next().await?;
    ensure!(request["dryRun"] == true && request["options"]["dryRun"] == json!(["All"]));
    ensure!(world.maps().get_opt("m").await?.is_none());
    Ok(())
}

/// The warnings of a create.
async fn warned(world: &World, name: &str) -> Result<Vec<String>> {
    let request = http::Request::post(world.path("configmaps"))
        .header("content-type", "application/json")
        .body(json!({"metadata": {"name": name}}).to_string().into_bytes())?;
    let response = world.client.send(request.map(Into::into)).await?;
    let headers = response.headers().get_all("warning").iter();
    Ok(headers
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect())
}

async fn hook_warns(world: World) -> Result<()> {
    let server = Server::start(async |_, request: Value| {
        let many: Vec<String> = (0..20).map(|n| format!("{n}{}", "w".repeat(300))).collect();
        let warnings = if request["name"] == "many" {
            json!(many)
        } else {
            json!(["say \"so\"", "twice", "twice"])
        };
        let allowed = request["name"] != "denied";
        Say::Response(json!({"allowed": allowed, "warnings": warnings}))
    })
    .await?;
    validating(&world, &server, json!({})).await?;
    let wanted = ["299 - \"say \\\"so\\\"\"", "299 - \"twice\""];
    same(warned(&world, "some").await?, wanted)?;
    same(warned(&world, "denied").await?, wanted)?;
    // Too many of them are cut.
    let many = warned(&world, "many").await?;
    let lengths: Vec<usize> = many.iter().map(String::len).collect();
    same(lengths, vec![256 + "299 - \"\"".len(); 16])
}

async fn hook_is_asked_of_selected_namespaces_only(world: World) -> Result<()> {
    let server = Server::start(async |_, _| deny(json!({"message": "no"}))).await?;
    let elsewhere =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}});
    validating(&world, &server, elsewhere).await?;
    world.make_maps(&["m"]).await?;
    ensure!(server.so_far().await.is_empty());
    Ok(())
}

async fn hook_is_asked_if_the_old_or_the_new_object_is_selected(world: World) -> Result<()> {
    let server = allowing().await?;
    let selector = json!({"objectSelector": {"matchLabels": {"set": "b"}}});
    validating(&world, &server, selector).await?;
    world.make_maps(&["m"]).await?;
    let label = async |value: &str| {
        let change = json!({"metadata": {"labels": {"set": value}}});
        merge(&world, &world.path("configmaps/m"), change).await
    };
    label("c").await?;
    ensure!(server.so_far().await.is_empty());
    label("b").await?;
    same(server.so_far().await.len(), 1)?;
    label("a").await?;
    same(server.so_far().await.len(), 1)?;
    label("c").await?;
    same(server.so_far().await.len(), 0)
}

async fn hook_is_asked_under_its_conditions_only(world: World) -> Result<()> {
    let server = Server::start(async |_, _| deny(json!({"message": "no"}))).await?;
    let conditions = json!({"matchConditions": [
        {"name": "named", "expression": "object.metadata.name.startsWith('x')"},
        {"name": "asked", "expression": "request.operation == 'CREATE'"},
    ]});
    validating(&world, &server, conditions).await?;
    world.make_maps(&["y"]).await?;
    refused(world.maps().create(&post(), &map("x")?).await, 400, "")
}

async fn hook_whose_condition_fails_is_not_asked(world: World) -> Result<()> {
    let server = Server::start(async |_, _| deny(json!({"message": "no"}))).await?;
    let fails = json!([{"name": "fails", "expression": "object.data.missing == 'x'"}]);
    let ignored = json!({"matchConditions": fails, "failurePolicy": "Ignore"});
    let name = validating(&world, &server, ignored).await?;
    world.make_maps(&["m"]).await?;
    let path = format!("{}/{name}", Kind::Validating.path());
    world.raw("DELETE", &path, None).await?;
    validating(&world, &server, json!({"matchConditions": fails})).await?;
    let found = refusal(world.maps().create(&post(), &map("n")?).await)?;
    let why = "configmaps \"n\" is forbidden: expression 'object.data.missing == 'x'' resulted in error: no such key: \
               missing";
    same(found, (403, "Forbidden".to_owned(), why.to_owned()))?;
    ensure!(server.so_far().await.is_empty());
    Ok(())
}

/// Makes an autoscaler in its second version.
async fn scale_automatically(world: &World) -> Result<()> {
    let path = format!(
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        world.namespace
    );
    let object = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    world.raw("POST", &path, Some(object)).await?;
    Ok(())
}

fn of_first_version(policy: &str) -> Value {
    json!({"matchPolicy": policy, "rules": [{"apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "operations": ["CREATE"], "resources": ["horizontalpodautoscalers"]}]})
}

async fn hook_of_another_version_sees_that_version(world: World) -> Result<()> {
    let server = allowing().await?;
    validating(&world, &server, of_first_version("Equivalent")).await?;
    scale_automatically(&world).await?;
    let (_, request) = server.next().await?;
    same(request["kind"]["version"].as_str(), Some("v1"))?;
    same(request["resource"]["version"].as_str(), Some("v1"))?;
    same(request["requestKind"]["version"].as_str(), Some("v2"))?;
    same(request["requestResource"]["version"].as_str(), Some("v2"))?;
    let object = &request["object"];
    same(object["apiVersion"].as_str(), Some("autoscaling/v1"))?;
    let cpu = &object["spec"]["targetCPUUtilizationPercentage"];
    same(cpu.as_i64(), Some(50))
}

async fn hook_of_exactly_another_version_is_not_asked(world: World) -> Result<()> {
    let server = allowing().await?;
    validating(&world, &server, of_first_version("Exact")).await?;
    scale_automatically(&world).await?;
    ensure!(server.so_far().await.is_empty());
    Ok(())
}

async fn hook_of_clusters_is_not_asked_of_namespaced_objects(world: World) -> Result<()> {
    let server = allowing().await?;
    let mut rules = rules("", "*/*");
    rules["rules"][0]["scope"] = "Cluster".into();
    let name = validating(&world, &server, rules).await?;
    world.make_maps(&["m"]).await?;
    ensure!(server.so_far().await.is_empty());
    let namespace = format!("/api/v1/namespaces/{}", world.namespace);
    merge(
        &world,
        &namespace,
        json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await?;
    let (_, request) = server.next().await?;
    // It concerns nodes and volumes of everybody.
    let path = format!("{}/{name}", Kind::Validating.path());
    world.raw("DELETE", &path, None).await?;
    same(request["namespace"].as_str(), Some(&*world.namespace))?;
    same(request["name"].as_str(), Some(&*world.namespace))
}

async fn hook_is_not_asked_of_configurations(world: World) -> Result<()> {
    let server = Server::start(async |_, _| deny(json!({"message": "no"}))).await?;
    let rules = rules("admissionregistration.k8s.io", "*");
    let name = validating(&world, &server, rules).await?;
    let path = format!("{}/{name}", Kind::Validating.path());
    merge(&world, &path, json!({"metadata": {"labels": {"a": "b"}}})).await?;
    world.raw("DELETE", &path, None).await?;
    ensure!(server.so_far().await.is_empty());
    Ok(())
}

async fn hook_sees_a_generated_name_only_when_it_validates(world: World) -> Result<()> {
    let server = allowing().await?;
    mutating(&world, &server, json!({})).await?;
    validating(&world, &server, json!({})).await?;
    let object = json!({"metadata": {"generateName": "m-"}});
    let made = world
        .raw("POST", &world.path("configmaps"), Some(object))
        .await?;
    let (_, first) = server.next().await?;
    let meta = &first["object"]["metadata"];
    ensure!(first["name"].is_null() || first["name"] == "", "{first}");
    ensure!(meta["name"].is_null() && meta["uid"].is_null(), "{meta}");
    let (_, second) = server.next().await?;
    let meta = &second["object"]["metadata"];
    for field in ["name", "uid", "creationTimestamp"] {
        ensure!(meta[field] == made["metadata"][field], "{field}: {meta}");
    }
    ensure!(second["name"] == made["metadata"]["name"], "{second}");
    Ok(())
}

async fn hooks_that_validate_are_asked_at_once(world: World) -> Result<()> {
    // Each answers only when the other has been asked, too.
    let both = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let server = Server::start(move |_, _| {
        let both = std::sync::Arc::clone(&both);
        async move {
            both.wait().await;
            allow()
        }
    })
    .await?;
    let hooks = ["a", "b"].map(|name| hook(&world, &server.at(name), name, json!({})));
    configure(&world, Kind::Validating, hooks.into()).await?;
    world.make_maps(&["m"]).await
}
