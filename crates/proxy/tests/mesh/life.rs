//! How a proxy starts: what it refuses, and what it waits for.
use std::process::Stdio;

use crate::client;
use crate::control::TOKEN;
use crate::world::{DAY, World, command, eventually};

#[tokio::test]
async fn bad_environment_ends_with_64_and_the_variable() {
    let world = World::new(DAY);
    let output = command().output().await.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let mut environment = world.environment("web", 10);
    environment.insert(
        "LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT".into(),
        "soon".into(),
    );
    let output = command().envs(environment).output().await.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT"),
        "{text}"
    );
}

#[tokio::test]
async fn address_in_use_is_named_at_once() {
    let world = World::new(DAY);
    let taken = world.addr(10, 4143);
    let _listener = tombolo_shell::net::listen(taken).unwrap();
    let output = command()
        .envs(world.environment("web", 10))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&taken.to_string()), "{text}");
}

#[tokio::test]
async fn proxy_is_ready_once_it_is_certified() {
    let world = World::new(DAY);
    let token = world.dir.path().join("token");
    std::fs::write(&token, "wrong").unwrap();
    let child = command()
        .envs(world.environment("web", 10))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let admin = world.addr(10, 4191);
    eventually("the admin port is there", async || {
        tombolo_shell::net::connect(admin, client::DEADLINE)
            .await
            .is_ok()
    })
    .await;
    assert_eq!(client::get(admin, "/live").await.status, 200);
    let answer = client::get(admin, "/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("identity"), "{}", answer.body);
    assert_eq!(client::get(admin, "/shutdown").await.status, 405);
    std::fs::write(&token, TOKEN).unwrap();
    eventually("ready", async || {
        client::get(admin, "/ready").await.status == 200
    })
    .await;
    drop(child);
}

#[tokio::test]
async fn proxy_dies_with_its_parent_however_that_dies() {
    let world = World::new(DAY);
    let script = format!(
        "TOMBOLO_PARENT_PID=$$ {} & wait",
        env!("CARGO_BIN_EXE_tombolo-proxy")
    );
    let mut parent = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .envs(world.environment("web", 10))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let admin = world.addr(10, 4191);
    let is_up = async || {
        tombolo_shell::net::connect(admin, client::DEADLINE)
            .await
            .is_ok()
    };
    eventually("the admin port is there", is_up).await;
    parent.kill().await.unwrap();
    eventually("the proxy is gone", async || !is_up().await).await;
}

#[tokio::test]
async fn proxy_whose_parent_is_gone_does_not_start() {
    let world = World::new(DAY);
    let environment = world.environment("web", 10);
    let output = command()
        .envs(environment)
        .env("TOMBOLO_PARENT_PID", "1")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("the parent, process 1, is gone"), "{text}");
}
