use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde_json::json;

use super::Body;
use super::body::{self, Syntax, Wants};
use super::negotiate::{Form, Place, accept};
use super::query::{Plus, Query, decode};
use super::respond;
use super::route::route;
use crate::room::Room;

/// `verb group/version resource/subresource namespace name`, or `verb path`; `-` for nothing.
fn taken_apart(method: &str, uri: &str) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let method: Method = method.parse().unwrap();
    let Some(route) = route(&method, path, &Query::parse(query)) else {
        return "none".to_owned();
    };
    let a = route.attributes;
    if a.resource.is_empty() {
        return format!("{} {}", a.verb, a.path);
    }
    let dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let namespace = a.namespace.clone().unwrap_or_default();
    format!(
        "{} {}/{} {}/{} {} {}",
        a.verb,
        dash(&a.group),
        a.version,
        a.resource,
        dash(&a.subresource),
        dash(&namespace),
        dash(&a.name)
    )
}

#[test]
fn paths_say_what_kubernetes_takes_them_for() {
    for (method, uri, expected) in [
        ("GET", "/api/v1/pods", "list -/v1 pods/- - -"),
        (
            "GET",
            "/api/v1/namespaces/a/pods?watch=true",
            "watch -/v1 pods/- a -",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods?watch=0",
            "list -/v1 pods/- a -",
        ),
        ("GET", "/api/v1/namespaces/a/pods/x", "get -/v1 pods/- a x"),
        (
            "GET",
            "/api/v1/namespaces/a/pods/x/log",
            "get -/v1 pods/log a x",
        ),
        ("GET", "/api/v1/namespaces", "list -/v1 namespaces/- - -"),
        ("GET", "/api/v1/namespaces/a", "get -/v1 namespaces/- a a"),
        (
            "PUT",
            "/api/v1/namespaces/a/finalize",
            "update -/v1 namespaces/finalize a a",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/a/status",
            "patch -/v1 namespaces/status a a",
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/a/deployments",
            "create apps/v1 deployments/- a -",
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "deletecollection apps/v1 deployments/- a -",
        ),
        (
            "DELETE",
            "/apis/g.io/v1/links/x",
            "delete g.io/v1 links/- - x",
        ),
        (
            "GET",
            "/api/v1/nodes/a%2Fstatus",
            "get -/v1 nodes/status - a",
        ),
        ("GET", "/api/v1/watch/nodes", "watch -/v1 nodes/- - -"),
        ("GET", "/api/v1//nodes", "none"),
        ("BREW", "/api/v1/nodes", " -/v1 nodes/- - -"),
        ("GET", "/api", "get /api"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
        ("POST", "/metrics", "post /metrics"),
        ("GET", "/api/v1/namespaces/a/pods/x/y/z", "none"),
    ] {
        assert_eq!(taken_apart(method, uri), expected, "{method} {uri}");
    }
}

#[test]
fn queries_are_decoded_and_odd_escapes_stay() {
    let query = Query::parse("labelSelector=a%3Db%2Cc+d&x=%zz&&watch&force=false");
    assert_eq!(query.text("labelSelector"), Some("a=b,c d"));
    assert_eq!(query.text("x"), Some("%zz"));
    assert!(query.is_true("watch"));
    assert!(!query.is_true("force"));
    assert!(!query.is_true("absent"));
    assert_eq!(decode("a+b%", Plus::IsItself), "a+b%");
}

#[test]
fn first_acceptable_form_wins() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    let discovery =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let form = |header, place| accept(header, place).map(|accept| accept.form).ok();
    for (header, place, expected) in [
        (None, Place::List, Some(Form::Object)),
        (Some(table), Place::List, Some(Form::Table)),
        (Some(table), Place::Other, Some(Form::Object)),
        (Some(discovery), Place::Discovery, Some(Form::Discovery)),
        (
            Some("application/vnd.kubernetes.protobuf, application/json"),
            Place::List,
            Some(Form::Object),
        ),
        (
            Some("application/vnd.kubernetes.protobuf"),
            Place::List,
            Some(Form::Object),
        ),
        (
            Some("application/vnd.kubernetes.protobuf"),
            Place::Discovery,
            None,
        ),
        (Some("application/cbor"), Place::List, None),
        (
            Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Place::List,
            Some(Form::MetadataList),
        ),
        (Some("*/*"), Place::List, Some(Form::Object)),
    ] {
        assert_eq!(form(header, place), expected, "{header:?}");
    }
}

#[tokio::test]
async fn bodies_share_a_bounded_room_from_their_first_byte() {
    let room = Room::new(8);
    let room = (&room, "somebody");
    let body = |kib: usize| Full::new(Bytes::from(vec![b' '; kib * 1024]));
    let (_, held) = body::read(body(3), Wants::Body, room).await.unwrap();
    let refused = body::read(body(2), Wants::Body, room).await.unwrap_err();
    assert_eq!(refused.code, 429);
    let endless = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::convert::Infallible>,
    >());
    let refused = body::read(endless, Wants::Body, room).await.unwrap_err();
    assert_eq!(refused.code, 429, "one that does not say how long it is");
    drop(held);
    assert!(body::read(body(4), Wants::Body, room).await.is_ok());
}

#[test]
fn large_yaml_is_parsed_apart_from_other_requests() {
    let large = |one: &str| Bytes::from(one.repeat(40_000));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    for (body, wanted) in [
        (large("- a\n"), Ok(json!(vec!["a"; 40_000]))),
        (large("[[[["), Err("yaml: ")),
        (large("- []\n- []\n- []\n- []\n"), Err("yaml: ")),
    ] {
        let found = runtime.block_on(async {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let mut ahead = std::pin::pin!(body::ahead(&body, "application/yaml"));
            let at_once = futures_util::poll!(&mut ahead);
            assert!(at_once.is_pending(), "this thread did not parse it");
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            ahead.await.unwrap()
        });
        match (found, wanted) {
            (Ok(value), Ok(wanted)) => assert_eq!(value, wanted),
            (Err(why), Err(wanted)) => assert!(why.starts_with(wanted), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    runtime.block_on(async {
        let small = Bytes::from("- a\n");
        assert_eq!(body::ahead(&small, "application/yaml").await, None);
        let json = large("[]");
        assert_eq!(body::ahead(&json, "application/json").await, None);
    });
}

#[test]
fn large_answer_takes_room_until_its_last_byte_is_gone() {
    use http_body::Body as _;
    let room = Room::new(1024);
    let answer = |kib: usize| {
        let whole = Body::whole(vec![b' '; kib * 1024]);
        respond::within(
            http::Response::new(whole),
            (&room, "somebody"),
            Syntax::Json,
        )
    };
    let mut first = answer(400);
    assert_eq!(first.status(), 200);
    assert_eq!(answer(400).status(), 429, "the other half is others'");
    assert_eq!(answer(1).status(), 200, "small ones need none");
    let mut ctx = std::task::Context::from_waker(std::task::Waker::noop());
    let frame = std::pin::pin!(first.body_mut()).poll_frame(&mut ctx);
    drop(first);
    assert_eq!(answer(400).status(), 429, "its bytes are on their way");
    drop(frame);
    assert_eq!(answer(400).status(), 200);
}
