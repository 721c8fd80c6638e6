//! Who asks, and may he.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReview};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::world::{Case, World, cases, eventually, map, refusal, refused, same, typed};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        token_of_an_account_says_who_it_is,
        token_for_another_audience_is_no_credential,
        short_lived_token_is_refused,
        account_may_what_its_role_says_and_nothing_else,
        role_cannot_give_more_than_its_writer_has,
        impersonated_user_has_his_own_rights,
        reviews_answer_for_others,
        garbage_as_a_token_is_unauthorized,
    ]
}

fn post() -> PostParams {
    PostParams::default()
}

async fn account(world: &World) -> Result<()> {
    let account: ServiceAccount = typed(json!({"metadata": {"name": "bot"}}))?;
    world
        .api::<ServiceAccount>()
        .create(&post(), &account)
        .await?;
    Ok(())
}

async fn token(world: &World, spec: Value) -> Result<String> {
    let request: TokenRequest = typed(json!({"spec": spec}))?;
    let accounts = world.api::<ServiceAccount>();
    let made = accounts
        .create_token_request("bot", &post(), &request)
        .await?;
    made.status
        .and_then(|status| status.token)
        .context("a token")
}

/// The API with a token and nothing else.
fn with_token(world: &World, token: &str) -> Result<kube::Client> {
    let mut config = world.config.clone();
    config.auth_info = kube::config::AuthInfo {
        token: Some(token.to_owned().into()),
        ..kube::config::AuthInfo::default()
    };
    Ok(kube::Client::try_from(config)?)
}

/// The API as somebody else.
fn acting(world: &World, user: &str) -> Result<kube::Client> {
    let mut config = world.config.clone();
    config.auth_info.impersonate = Some(user.to_owned());
    Ok(kube::Client::try_from(config)?)
}

async fn who(client: kube::Client) -> Result<Option<String>, kube::Error> {
    let api: Api<SelfSubjectReview> = Api::all(client);
    let review = api.create(&post(), &SelfSubjectReview::default()).await?;
    Ok(review.status.and_then(|status| status.user_info?.username))
}

async fn unauthorized(stranger: kube::Client) -> Result<()> {
    // The real one ends the connection of a stranger, and may do so before its answer has been read.
    let answer = eventually(async || match who(stranger.clone()).await {
        Err(error) if !matches!(error, kube::Error::Api(_)) => Ok(None),
        answer => Ok(Some(answer)),
    });
    refused(answer.await?, 401, "Unauthorized")
}

async fn token_of_an_account_says_who_it_is(world: World) -> Result<()> {
    account(&world).await?;
    let token = token(&world, json!({"audiences": []})).await?;
    let name = format!("system:serviceaccount:{}:bot", world.namespace);
    same(who(with_token(&world, &token)?).await?, Some(name))
}

async fn review(world: &World, token: &str, audience: &str) -> Result<bool> {
    let review: TokenReview = typed(json!({"spec": {"token": token, "audiences": [audience]}}))?;
    let reviews: Api<TokenReview> = Api::all(world.client.clone());
    let status = reviews
        .create(&post(), &review)
        .await?
        .status
        .context("a status")?;
    Ok(status.authenticated.unwrap_or(false))
}

async fn token_for_another_audience_is_no_credential(world: World) -> Result<()> {
    account(&world).await?;
    let token = token(&world, json!({"audiences": ["elsewhere"]})).await?;
    unauthorized(with_token(&world, &token)?).await?;
    ensure!(
        review(&world, &token, "elsewhere").await?,
        "it is good there"
    );
    ensure!(!review(&world, &token, "another").await?, "and only there");
    Ok(())
}

async fn short_lived_token_is_refused(world: World) -> Result<()> {
    account(&world).await?;
    let request: TokenRequest = typed(json!({"spec": {"audiences": [], "expirationSeconds": 5}}))?;
    let accounts = world.api::<ServiceAccount>();
    let answer = accounts
        .create_token_request("bot", &post(), &request)
        .await;
    refused(answer, 422, "Invalid")
}

async fn bind(world: &World, rules: Value) -> Result<()> {
    let role: Role = typed(json!({"metadata": {"name": "r"}, "rules": rules}))?;
    world.api::<Role>().create(&post(), &role).await?;
    let binding: RoleBinding = typed(json!({"metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}]}))?;
    world.api::<RoleBinding>().create(&post(), &binding).await?;
    Ok(())
}

async fn account_may_what_its_role_says_and_nothing_else(world: World) -> Result<()> {
    world.make_maps(&["m", "n"]).await?;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["m"], "verbs": ["get"]}]);
    bind(&world, rules).await?;
    let maps: Api<ConfigMap> = Api::namespaced(acting(&world, "jane")?, &world.namespace);
    // The real one follows roles by watching them.
    eventually(async || Ok(maps.get("m").await.ok())).await?;
    refused(maps.get("n").await, 403, "Forbidden")?;
    let (code, _, message) = refusal(maps.list(&ListParams::default()).await)?;
    same(code, 403)?;
    same(
        message,
        format!(
            "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the \
             namespace \"{}\"",
            world.namespace
        ),
    )
}

async fn role_cannot_give_more_than_its_writer_has(world: World) -> Result<()> {
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
    bind(&world, rules).await?;
    let roles: Api<Role> = Api::namespaced(acting(&world, "jane")?, &world.namespace);
    let role = |name: &str, verb: &str| {
        typed::<Role>(json!({"metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]}]}))
    };
    let same_right = role("same", "get")?;
    eventually(async || Ok(roles.create(&post(), &same_right).await.ok())).await?;
    let (code, _, message) = refusal(roles.create(&post(), &role("more", "delete")?).await)?;
    same(code, 403)?;
    ensure!(
        message.contains("is attempting to grant RBAC permissions not currently held"),
        "{message}"
    );
    Ok(())
}

async fn impersonated_user_has_his_own_rights(world: World) -> Result<()> {
    same(who(acting(&world, "jane")?).await?, Some("jane".to_owned()))?;
    let maps: Api<ConfigMap> = Api::namespaced(acting(&world, "nobody-special")?, &world.namespace);
    refused(maps.create(&post(), &map("m")?).await, 403, "Forbidden")
}

async fn reviews_answer_for_others(world: World) -> Result<()> {
    let attributes = json!({"namespace": world.namespace, "verb": "delete", "resource": "pods"});
    let own: SelfSubjectAccessReview = typed(json!({"spec": {"resourceAttributes": attributes}}))?;
    let reviews: Api<SelfSubjectAccessReview> = Api::all(world.client.clone());
    let status = reviews
        .create(&post(), &own)
        .await?
        .status
        .context("a status")?;
    ensure!(status.allowed, "an administrator may");
    let other: SubjectAccessReview =
        typed(json!({"spec": {"user": "jane", "resourceAttributes": attributes}}))?;
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let status = reviews
        .create(&post(), &other)
        .await?
        .status
        .context("a status")?;
    ensure!(!status.allowed, "nobody said that she may");
    Ok(())
}

async fn garbage_as_a_token_is_unauthorized(world: World) -> Result<()> {
    unauthorized(with_token(&world, "garbage")?).await
}
