//! What becomes of a write whose webhook fails.
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::server::{Say, Server, allow, base64};
use super::{Kind, configure, hook, post, validating};
use crate::world::{Case, World, cases, map, refusal, same};

pub(super) fn cases() -> Vec<Case> {
    cases![
        hook_that_does_not_answer_in_time_fails_the_write,
        hook_that_nobody_serves_fails_the_write,
        hook_that_fails_may_be_passed_over,
        hook_is_not_passed_over_because_its_client_has_no_time,
        hook_of_another_authority_is_not_believed,
        hook_with_a_certificate_for_another_is_not_believed,
        hook_whose_answer_is_no_answer_fails_the_write,
        hook_whose_patch_is_no_patch_fails_the_write,
        hook_that_has_no_authority_is_believed_by_the_systems,
    ]
}

/// The refusal of a create, which is an internal error, without what all of them say.
async fn failure(world: &World, name: &str) -> Result<String> {
    let (code, reason, message) = refusal(world.maps().create(&post(), &map(name)?).await)?;
    same((code, reason.as_str()), (500, "InternalError"))?;
    let text = message.strip_prefix("Internal error occurred: ");
    Ok(text.unwrap_or("?").to_owned())
}

async fn hook_that_does_not_answer_in_time_fails_the_write(world: World) -> Result<()> {
    let server = Server::start(async |_, _| std::future::pending::<Say>().await).await?;
    validating(&world, &server, json!({"timeoutSeconds": 1})).await?;
    let url = server.url("v?timeout=1s");
    let why = format!(
        "failed calling webhook \"v.example.com\": failed to call webhook: Post \"{url}\": context deadline exceeded"
    );
    same(failure(&world, "m").await?, why)
}

/// Where nobody listens.
async fn nowhere() -> Result<Value> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok(json!({"url": format!("https://{address}/v")}))
}

async fn hook_that_nobody_serves_fails_the_write(world: World) -> Result<()> {
    let nowhere = nowhere().await?;
    let hook = hook(&world, &nowhere, "v", json!({}));
    configure(&world, Kind::Validating, vec![hook]).await?;
    let url = nowhere["url"].as_str().unwrap_or_default();
    let address = url.trim_start_matches("https://").trim_end_matches("/v");
    let why = format!(
        "failed calling webhook \"v.example.com\": failed to call webhook: Post \"{url}?timeout=10s\": dial tcp \
         {address}: connect: connection refused"
    );
    same(failure(&world, "m").await?, why)
}

async fn hook_that_fails_may_be_passed_over(world: World) -> Result<()> {
    let ignored = json!({"failurePolicy": "Ignore", "timeoutSeconds": 1});
    let slow = Server::start(async |_, _| std::future::pending::<Say>().await).await?;
    let broken = Server::start(async |_, _| Say::Raw(500, "text/plain", "boom".to_owned())).await?;
    let hooks = [
        ("slow", slow.at("v")),
        ("broken", broken.at("v")),
        ("nowhere", nowhere().await?),
    ];
    let hooks = hooks.map(|(name, client)| hook(&world, &client, name, ignored.clone()));
    configure(&world, Kind::Validating, hooks.clone().into()).await?;
    configure(&world, Kind::Mutating, hooks.into()).await?;
    world.make_maps(&["m"]).await
}

async fn hook_is_not_passed_over_because_its_client_has_no_time(world: World) -> Result<()> {
    let slow = Server::start(async |_, _| std::future::pending::<Say>().await).await?;
    for (at, kind) in [Kind::Validating, Kind::Mutating].into_iter().enumerate() {
        let ignored = json!({"failurePolicy": "Ignore", "timeoutSeconds": 30});
        let hook = hook(&world, &slow.at("v"), "slow", ignored);
        let name = configure(&world, kind, vec![hook]).await?;
        let maps = format!("/api/v1/namespaces/{}/configmaps", world.namespace);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{at}")}});
        let path = format!("{maps}?timeout=500ms");
        // It is refused, or the connection ends; clients try again.
        let posted = world.raw("POST", &path, Some(map));
        let posted = tokio::time::timeout(Duration::from_secs(3), posted).await;
        ensure!(!matches!(posted, Ok(Ok(_))), "it passed: {posted:?}");
        let path = format!("{maps}/m{at}");
        same(refusal(world.raw("GET", &path, None).await)?.0, 404)?;
        let path = format!("{}/{name}", kind.path());
        world.raw("DELETE", &path, None).await?;
    }
    Ok(())
}

async fn hook_of_another_authority_is_not_believed(world: World) -> Result<()> {
    let server = Server::start(async |_, _| allow()).await?;
    let other = Server::start(async |_, _| allow()).await?;
    let mut client = server.at("v");
    client["caBundle"] = other.at("v")["caBundle"].clone();
    let hook = hook(&world, &client, "v", json!({}));
    configure(&world, Kind::Validating, vec![hook]).await?;
    let found = failure(&world, "m").await?;
    let start = format!(
        "failed calling webhook \"v.example.com\": failed to call webhook: Post \"{}\": tls: failed to verify \
         certificate: x509: certificate signed by unknown authority",
        server.url("v?timeout=10s")
    );
    ensure!(found.starts_with(&start), "{found}");
    Ok(())
}

async fn hook_with_a_certificate_for_another_is_not_believed(world: World) -> Result<()> {
    for (certified, why) in [
        (
            "127.0.0.2",
            "certificate is valid for 127.0.0.2, not 127.0.0.1",
        ),
        (
            "example.com",
            "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        ),
    ] {
        let server = Server::named(certified, async |_, _| allow()).await?;
        let name = validating(&world, &server, json!({})).await?;
        let found = failure(&world, "m").await?;
        let why = format!("tls: failed to verify certificate: x509: {why}");
        ensure!(found.ends_with(&why), "{found}");
        let path = format!("{}/{name}", Kind::Validating.path());
        world.raw("DELETE", &path, None).await?;
    }
    Ok(())
}

async fn hook_that_has_no_authority_is_believed_by_the_systems(world: World) -> Result<()> {
    let server = Server::start(async |_, _| allow()).await?;
    let mut client = server.at("v");
    client["caBundle"] = Value::Null;
    let hook = hook(&world, &client, "v", json!({}));
    configure(&world, Kind::Validating, vec![hook]).await?;
    let found = failure(&world, "m").await?;
    let why = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    ensure!(found.contains(why), "{found}");
    Ok(())
}

/// A name, the answer to a request, and what is said of it.
type Row = (&'static str, fn(&Value) -> Say, &'static str);

/// A table of answers, each from a webhook of its own, and what is said of it.
async fn table(world: &World, kind: Kind, rows: &'static [Row]) -> Result<()> {
    let server = Server::start(move |path: String, request| async move {
        let row = rows.iter().find(|row| row.0 == path);
        row.map_or_else(allow, |row| row.1(&request))
    })
    .await?;
    let hooks = rows.iter().map(|(name, _, _)| {
        let only = json!({"matchConditions": [{"name": "only", "expression": format!("object.metadata.name == '{name}'")}]});
        hook(world, &server.at(name), name, only)
    });
    configure(world, kind, hooks.collect()).await?;
    let mut wrong = Vec::new();
    for (name, _, why) in rows {
        let found = failure(world, name).await?;
        let (_, request) = server.next().await?;
        let uid = request["uid"].as_str().unwrap_or("?");
        let found = found.replace(uid, "UID");
        let wanted = match why.strip_prefix('=') {
            Some(whole) => whole.to_owned(),
            None => format!("failed calling webhook \"{name}.example.com\": {why}"),
        };
        if found != wanted {
            wrong.push(format!("{name}: {found:?} is not {wanted:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

const JSON: &str = "application/json";

fn raw(code: u16, text: &str) -> Say {
    Say::Raw(code, "text/plain", text.to_owned())
}

fn review(response: Value) -> Say {
    Say::Review(
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}),
    )
}

async fn hook_whose_answer_is_no_answer_fails_the_write(world: World) -> Result<()> {
    table(&world, Kind::Validating, ANSWERS).await
}

const ANSWERS: &[Row] = &[
    (
        "broken",
        |_| raw(500, "boom\n"),
        "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding",
    ),
    (
        "broken-json",
        |_| Say::Raw(500, JSON, "{}".to_owned()),
        "failed to call webhook: an error on the server (\"unknown\") has prevented the request from succeeding",
    ),
    (
        "missing",
        |_| raw(404, "no"),
        "failed to call webhook: the server could not find the requested resource",
    ),
    (
        "forbidden",
        |_| raw(403, "go away"),
        "failed to call webhook: go away",
    ),
    (
        "teapot",
        |_| raw(418, "no"),
        "failed to call webhook: the server responded with the status code 418 but did not return more information",
    ),
    (
        "busy",
        |_| raw(503, "no"),
        "failed to call webhook: the server is currently unable to handle the request",
    ),
    (
        "empty",
        |_| Say::Raw(200, JSON, String::new()),
        "failed to call webhook: 0-length response with status code: 200 and content type: application/json",
    ),
    (
        "text",
        |_| raw(200, "hello"),
        "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal string into Go \
         value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
         \"json:\\\"kind,omitempty\\\"\" }",
    ),
    (
        "half",
        |_| raw(200, "{\"kind\":"),
        "failed to call webhook: couldn't get version/kind; json parse error: unexpected end of JSON input",
    ),
    (
        "list",
        |_| raw(200, "[]"),
        "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal array into Go \
         value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
         \"json:\\\"kind,omitempty\\\"\" }",
    ),
    (
        "absent",
        |_| review(Value::Null),
        "received invalid webhook response: webhook response was absent",
    ),
    (
        "other-uid",
        |_| review(json!({"uid": "x", "allowed": true})),
        "received invalid webhook response: expected response.uid=\"UID\", got \"x\"",
    ),
    (
        "no-uid",
        |_| review(json!({"allowed": true})),
        "received invalid webhook response: expected response.uid=\"UID\", got \"\"",
    ),
    (
        "untyped",
        |request| Say::Review(json!({"response": {"uid": request["uid"], "allowed": true}})),
        "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got \
         /, Kind=",
    ),
    (
        "older",
        |request| {
            Say::Review(
                json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview",
                "response": {"uid": request["uid"], "allowed": true}}),
            )
        },
        "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion",
    ),
    (
        "patched",
        |request| review(json!({"uid": request["uid"], "allowed": true, "patch": base64(b"[]")})),
        "received invalid webhook response: validating webhook may not return response.patch",
    ),
    (
        "typed",
        |request| review(json!({"uid": request["uid"], "allowed": true, "patchType": "JSONPatch"})),
        "received invalid webhook response: validating webhook may not return response.patchType",
    ),
];

async fn hook_whose_patch_is_no_patch_fails_the_write(world: World) -> Result<()> {
    table(&world, Kind::Mutating, PATCHES).await
}

/// Lets pass, with this as a patch.
fn patched(kind: &str, patch: &str) -> Say {
    Say::Response(json!({"allowed": true, "patchType": kind, "patch": base64(patch.as_bytes())}))
}

const PATCHES: &[Row] = &[
    (
        "untyped",
        |_| Say::Response(json!({"allowed": true, "patch": base64(b"[]")})),
        "received invalid webhook response: webhook returned response.patch but not response.patchType",
    ),
    (
        "absent",
        |_| Say::Response(json!({"allowed": true, "patchType": "JSONPatch"})),
        "received invalid webhook response: webhook returned response.patchType but not response.patch",
    ),
    (
        "object",
        |_| patched("JSONPatch", "{}"),
        "received undecodable patch in webhook response: json: cannot unmarshal object into Go value of type \
         jsonpatch.Patch",
    ),
    (
        "half",
        |_| patched("JSONPatch", "["),
        "received undecodable patch in webhook response: unexpected end of JSON input",
    ),
    (
        "merge",
        |_| patched("MergePatch", "[{\"op\":\"remove\",\"path\":\"/data\"}]"),
        "unsupported patch type \"MergePatch\"",
    ),
    (
        "nowhere",
        |_| {
            patched(
                "JSONPatch",
                "[{\"op\":\"add\",\"path\":\"/a/b/c\",\"value\":1}]",
            )
        },
        "=add operation does not apply: doc is missing path: \"/a/b/c\": missing value",
    ),
    (
        "replaced",
        |_| {
            patched(
                "JSONPatch",
                "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":1}]",
            )
        },
        "=replace operation does not apply: doc is missing path: /a/b: missing value",
    ),
    (
        "removed",
        |_| patched("JSONPatch", "[{\"op\":\"remove\",\"path\":\"/data/x\"}]"),
        "=error in remove for path: '/data/x': Unable to remove nonexistent key: x: missing value",
    ),
    (
        "tested",
        |_| {
            patched(
                "JSONPatch",
                "[{\"op\":\"test\",\"path\":\"/data/k\",\"value\":\"9\"}]",
            )
        },
        "=testing value /data/k failed: test failed",
    ),
    (
        "number",
        |_| {
            patched(
                "JSONPatch",
                "[{\"op\":\"replace\",\"path\":\"/data/k\",\"value\":1}]",
            )
        },
        "=json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ),
];
