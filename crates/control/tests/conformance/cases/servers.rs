//! Servers of Linkerd's policy: what they say of ports, clients are told.
use anyhow::{Result, ensure};
use serde_json::json;
use tombolo_wire::proxy_api::destination::protocol_hint::{self, Protocol};

use super::cases;
use super::discovery::meshed;
use crate::conformance::site::Site;
use crate::conformance::talk::Talk;
use crate::conformance::world::World;

cases!["servers":
    a_server_makes_a_port_opaque,
];

/// Linkerd's kind, as far as it matters here.
async fn servers_are_served(w: &World) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({"name": "v1beta3", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    w.l.apply(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "servers.policy.linkerd.io"},
        "spec": {
            "group": "policy.linkerd.io", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "servers", "singular": "server", "kind": "Server", "listKind": "ServerList"},
        },
    }))
    .await?;
    let served = async |s: &Site| Ok(s.list("Server", "", "").await.ok());
    w.l.eventually("Servers are served", served).await.map(drop)
}

async fn a_server_makes_a_port_opaque(w: &mut World) -> Result<()> {
    // D2
    servers_are_served(w).await?;
    meshed(w, |pod| {
        pod["metadata"]["labels"]["app"] = json!("policy-test")
    })
    .await?;
    let server = |app: &str| {
        json!({
            "apiVersion": "policy.linkerd.io/v1beta3", "kind": "Server",
            "metadata": {"namespace": w.ns, "name": "srv"},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, "port": 555, "proxyProtocol": "opaque"},
        })
    };
    let mut talk = w.talk("web:555").await?;
    talk.reaches(&["10.1.0.1:555"]).await?;
    let h2 = Some(Protocol::H2(protocol_hint::H2 {}));
    let opaque = Some(Protocol::Opaque(protocol_hint::Opaque {}));
    let hint = |talk: &Talk| -> Result<_> {
        let hint = talk.endpoint("10.1.0.1:555")?.protocol_hint;
        Ok(hint.and_then(|hint| hint.protocol))
    };
    ensure!(hint(&talk)? == h2, "{:?}", talk.pool);
    for (app, want) in [
        ("policy-test", &opaque),
        ("FOOBAR", &h2),
        ("policy-test", &opaque),
    ] {
        w.l.apply(server(app)).await?;
        talk.next().await?;
        ensure!(hint(&talk)? == *want, "{app}: {:?}", talk.pool);
    }
    w.l.delete("Server", &w.ns, "srv").await?;
    talk.next().await?;
    ensure!(hint(&talk)? == h2, "{:?}", talk.pool);
    Ok(())
}
