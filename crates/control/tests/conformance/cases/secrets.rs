//! Credentials: those of Links, and those that make a cluster known to discovery alone.
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tonic::Code;

use super::cases;
use crate::conformance::objects::{self, EXPORTED, LINKS, LOCAL, REMOTE, REMOTE_SERVICE};
use crate::conformance::site::{Site, encoded};
use crate::conformance::talk::{Said, identity};
use crate::conformance::world::World;

cases!["secrets":
    a_secret_that_comes_later_is_used,
    a_secret_of_another_type_is_none,
    a_token_is_rotated_in_place,
    nonsense_keeps_what_is_known,
    a_deleted_secret_keeps_what_is_known,
    the_role_of_linkerd_is_enough,
    mirrors_need_no_pods,
    a_server_may_go_unverified_where_that_is_said,
    a_client_certificate_is_as_good_as_a_token,
    a_secret_alone_makes_a_cluster_known_to_discovery,
    a_federated_service_needs_no_link,
    members_of_known_clusters_join_and_leave,
    a_cluster_that_becomes_known_joins_an_open_stream,
    a_malformed_secret_makes_nothing_known,
    a_secret_that_goes_takes_its_cluster_with_it,
    another_trust_domain_is_in_the_identities,
    a_secret_of_discovery_is_rotated_in_place,
];

async fn a_secret_that_comes_later_is_used(w: &mut World) -> Result<()> {
    w.relink("remote", |_| ()).await?;
    w.says("remote", "Accepted", "False").await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.link(|_| ()).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn a_secret_of_another_type_is_none(w: &mut World) -> Result<()> {
    let mut secret = objects::credentials("remote", &w.access);
    secret["type"] = json!("Opaque");
    w.l.apply(secret).await?;
    w.relink("remote", |_| ()).await?;
    w.says("remote", "Accepted", "False").await.map(drop)
}

async fn a_token_is_rotated_in_place(w: &mut World) -> Result<()> {
    // F12
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    let fresh = w.r.access("tombolo", "remote-access").await?;
    w.l.apply(objects::credentials("remote", &fresh)).await?;
    w.export("api", json!({EXPORTED: "true"})).await?;
    w.mirror("api-remote").await?;
    w.mirror("web-remote").await.map(drop)
}

async fn nonsense_keeps_what_is_known(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.l.apply(objects::credentials("remote", &json!("nonsense")))
        .await?;
    let condition = w.says("remote", "Accepted", "False").await?;
    ensure!(condition["reason"] == "InvalidCredentials", "{condition}");
    w.mirror("web-remote").await?;
    w.link(|_| ()).await?;
    w.says("remote", "Accepted", "True").await.map(drop)
}

async fn a_deleted_secret_keeps_what_is_known(w: &mut World) -> Result<()> {
    w.link(|_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await?;
    w.l.delete("Secret", LINKS, "cluster-credentials-remote")
        .await?;
    w.says("remote", "Accepted", "False").await?;
    w.mirror("web-remote").await.map(drop)
}

/// A credential with these rights in the remote cluster.
async fn with_rights(w: &World, account: &str, rules: Value) -> Result<Value> {
    let api = "rbac.authorization.k8s.io";
    let name = format!("{account}-remote-access");
    w.r.apply(json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
    }))
    .await?;
    w.r.apply(json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": LINKS, "name": account}],
    }))
    .await?;
    w.r.apply(objects::account(LINKS, account)).await?;
    let access = w.r.access(LINKS, account).await?;
    w.r.lets(&access, "services").await?;
    Ok(access)
}

fn read(group: &str, resources: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]})
}

/// A credential with the rights that Linkerd's chart gives to linked clusters.
pub(super) async fn of_linkerd(w: &World) -> Result<Value> {
    // 2.6
    let rules = json!([
        read("apps", &["replicasets"]),
        read("batch", &["jobs"]),
        read("", &["pods", "endpoints", "services"]),
        read("discovery.k8s.io", &["endpointslices"]),
        read("policy.linkerd.io", &["servers"]),
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]);
    with_rights(w, "linkerd", rules).await
}

async fn mirrors_need_no_pods(w: &mut World) -> Result<()> {
    // F15, the other way round: what a role lacks costs only what needs it.
    w.provokes = true;
    let rules = json!([
        read("", &["services"]),
        read("discovery.k8s.io", &["endpointslices"])
    ]);
    let access = with_rights(w, "few", rules).await?;
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.ready("web", &["10.2.0.1"]).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.has_addresses("web-remote", &["192.0.2.127:888 up"; 2])
        .await?;
    let said = async |s: &Site| {
        let link = s.get("Link", LINKS, "remote").await?;
        let text = link.map(|link| link["status"]["conditions"].to_string());
        let says = |text: &String| text.contains("have no endpoints: pods: pods is forbidden");
        Ok(text.filter(says))
    };
    w.l.eventually("the Link says what goes without pods", said)
        .await?;
    w.l.delete("Link", LINKS, "remote").await?;
    w.gone("web-remote").await
}

async fn the_role_of_linkerd_is_enough(w: &mut World) -> Result<()> {
    let access = of_linkerd(w).await?;
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.export("web", json!({EXPORTED: "remote-discovery"}))
        .await?;
    w.mirror("web-remote").await?;
    w.says("remote", "Synced", "True").await.map(drop)
}

async fn a_server_may_go_unverified_where_that_is_said(w: &mut World) -> Result<()> {
    let mut access = w.access.clone();
    let cluster = &mut access["clusters"][0]["cluster"];
    let server = cluster["server"].clone();
    *cluster = json!({"server": server, "insecure-skip-tls-verify": true});
    w.l.apply(objects::credentials("remote", &access)).await?;
    w.relink("remote", |_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await.map(drop)
}

async fn a_client_certificate_is_as_good_as_a_token(w: &mut World) -> Result<()> {
    let file = std::fs::read_to_string(w.r.cluster.kubeconfig())?;
    let mut secret = objects::credentials("remote", &Value::Null);
    secret["data"]["kubeconfig"] = json!(encoded(&file));
    w.l.apply(secret).await?;
    w.relink("remote", |_| ()).await?;
    w.export("web", json!({EXPORTED: "true"})).await?;
    w.mirror("web-remote").await.map(drop)
}

/// A flat mirror that somebody else keeps, of a Service that nobody exports.
async fn their_mirror(w: &World) -> Result<()> {
    w.export("foo", json!({})).await?;
    w.ready("foo", &["172.17.55.1"]).await?;
    let labels = json!({REMOTE: "target", REMOTE_SERVICE: "foo"});
    w.l.apply(objects::service(&w.ns, "foo-target", labels))
        .await
        .map(drop)
}

async fn introduce(w: &World, cluster: &str, change: impl Fn(&mut Value)) -> Result<()> {
    let mut secret = objects::introduction(cluster, &w.access);
    change(&mut secret);
    w.l.apply(secret).await.map(drop)
}

async fn a_secret_alone_makes_a_cluster_known_to_discovery(w: &mut World) -> Result<()> {
    // D2, D3.1
    their_mirror(w).await?;
    introduce(w, "target", |_| ()).await?;
    w.talk("foo-target:555")
        .await?
        .reaches(&["172.17.55.1:555"])
        .await?;
    // Once it is known it is all there is to say.
    let mut talk = w.talk("foo-target:555").await?;
    ensure!(talk.next().await? == Said::Add(vec!["172.17.55.1:555".to_owned()]));
    talk.is_silent().await
}

/// A federated service that somebody else keeps.
async fn their_federated(w: &World, remote: &str, local: bool) -> Result<()> {
    let mut service = objects::service(&w.ns, "bb-federated", json!({}));
    service["metadata"]["annotations"] = json!({});
    if !remote.is_empty() {
        service["metadata"]["annotations"][REMOTE] = json!(remote);
    }
    if local {
        service["metadata"]["annotations"][LOCAL] = json!("bb");
    }
    w.l.apply(service).await.map(drop)
}

async fn three(w: &World) -> Result<()> {
    w.l.apply(objects::service(&w.ns, "bb", json!({}))).await?;
    w.l.apply(objects::slice(&w.ns, "bb", &["172.17.0.1"]))
        .await?;
    w.export("bb", json!({})).await?;
    w.ready("bb", &["172.17.1.1"]).await
}

async fn a_federated_service_needs_no_link(w: &mut World) -> Result<()> {
    // D1.1
    three(w).await?;
    introduce(w, "east", |_| ()).await?;
    their_federated(w, "bb@east", true).await?;
    w.talk("bb-federated:555")
        .await?
        .reaches(&["172.17.0.1:555", "172.17.1.1:555"])
        .await
}

async fn members_of_known_clusters_join_and_leave(w: &mut World) -> Result<()> {
    // D1.3, D1.4
    three(w).await?;
    introduce(w, "east", |_| ()).await?;
    their_federated(w, "bb@east", true).await?;
    let mut talk = w.talk("bb-federated:555").await?;
    talk.reaches(&["172.17.0.1:555", "172.17.1.1:555"]).await?;
    their_federated(w, "", true).await?;
    ensure!(talk.next().await? == Said::Remove(vec!["172.17.1.1:555".to_owned()]));
    their_federated(w, "bb@east", true).await?;
    ensure!(talk.next().await? == Said::Add(vec!["172.17.1.1:555".to_owned()]));
    their_federated(w, "bb@east", false).await?;
    ensure!(talk.next().await? == Said::Remove(vec!["172.17.0.1:555".to_owned()]));
    their_federated(w, "bb@east", true).await?;
    ensure!(talk.next().await? == Said::Add(vec!["172.17.0.1:555".to_owned()]));
    Ok(())
}

async fn a_cluster_that_becomes_known_joins_an_open_stream(w: &mut World) -> Result<()> {
    // F16
    three(w).await?;
    their_federated(w, "bb@east,bb@nowhere", true).await?;
    let mut talk = w.talk("bb-federated:555").await?;
    talk.reaches(&["172.17.0.1:555"]).await?;
    introduce(w, "east", |_| ()).await?;
    talk.reaches(&["172.17.0.1:555", "172.17.1.1:555"]).await?;
    their_federated(w, "bb@nowhere", true).await?;
    talk.reaches(&["172.17.0.1:555"]).await
}

async fn a_malformed_secret_makes_nothing_known(w: &mut World) -> Result<()> {
    // D3.3
    their_mirror(w).await?;
    for (n, field) in ["trust-domain", "cluster-domain"].iter().enumerate() {
        introduce(w, "target", |secret| {
            secret["metadata"]["name"] = json!(format!("target-{n}"));
            let annotations = secret["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(&format!("multicluster.linkerd.io/{field}"));
        })
        .await?;
    }
    introduce(w, "target", |secret| {
        secret["metadata"]["name"] = json!("target-unlabelled");
        secret["metadata"]["labels"] = json!({});
    })
    .await?;
    introduce(w, "remote", |_| ()).await?;
    let labels = json!({REMOTE: "remote", REMOTE_SERVICE: "foo"});
    w.l.apply(objects::service(&w.ns, "foo-remote", labels))
        .await?;
    w.talk("foo-remote:555")
        .await?
        .reaches(&["172.17.55.1:555"])
        .await?;
    let code = w.client()?.refusal(&w.authority("foo-target:555")).await?;
    ensure!(code == Code::NotFound, "{code:?}");
    Ok(())
}

async fn a_secret_that_goes_takes_its_cluster_with_it(w: &mut World) -> Result<()> {
    // D3.1
    their_mirror(w).await?;
    introduce(w, "target", |_| ()).await?;
    w.talk("foo-target:555")
        .await?
        .reaches(&["172.17.55.1:555"])
        .await?;
    w.l.delete("Secret", "linkerd", "target-cluster-credentials")
        .await?;
    let (client, path) = (w.client()?, w.authority("foo-target:555"));
    w.l.eventually("it is not found", async |_: &_| {
        Ok((client.refusal(&path).await? == Code::NotFound).then_some(()))
    })
    .await
}

async fn another_trust_domain_is_in_the_identities(w: &mut World) -> Result<()> {
    w.r.apply(objects::pod(&w.ns, "foo-1", "172.17.55.1"))
        .await?;
    w.export("foo", json!({})).await?;
    let mut slice = objects::slice(&w.ns, "foo", &["172.17.55.1"]);
    slice["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "namespace": w.ns, "name": "foo-1"});
    w.r.apply(slice).await?;
    let labels = json!({REMOTE: "target", REMOTE_SERVICE: "foo"});
    w.l.apply(objects::service(&w.ns, "foo-target", labels))
        .await?;
    introduce(w, "target", |secret| {
        secret["metadata"]["annotations"]["multicluster.linkerd.io/trust-domain"] =
            json!("identity.org");
    })
    .await?;
    let mut talk = w.talk("foo-target:555").await?;
    talk.reaches(&["172.17.55.1:555"]).await?;
    let endpoint = talk.endpoint("172.17.55.1:555")?;
    ensure!(
        identity(endpoint)
            == format!(
                "default.{}.serviceaccount.identity.linkerd.identity.org",
                w.ns
            ),
        "{endpoint:?}"
    );
    Ok(())
}

async fn a_secret_of_discovery_is_rotated_in_place(w: &mut World) -> Result<()> {
    their_mirror(w).await?;
    introduce(w, "target", |_| ()).await?;
    let mut talk = w.talk("foo-target:555").await?;
    talk.reaches(&["172.17.55.1:555"]).await?;
    let fresh = w.r.access("tombolo", "remote-access").await?;
    w.l.apply(objects::introduction("target", &fresh)).await?;
    w.ready("foo", &["172.17.55.2"]).await?;
    talk.reaches(&["172.17.55.2:555"]).await?;
    talk.is_silent().await
}
