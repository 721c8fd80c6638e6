//! A typed client over HTTPS and in the process: what controllers are written with.

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use kube::api::{
    Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::runtime::watcher;
use serde_json::json;
use tombolo_apiserver::auth::User;
use tombolo_apiserver::run::{Config, InProcess, Running};

use crate::harness::{Cluster, DEADLINE, eventually};

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"set": "a"}},
        "data": {"k": "1"}}))
    .unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_created_read_changed_watched_and_deleted_over_https() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let created = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    let version = created.metadata.resource_version.clone().unwrap();
    assert!(created.metadata.uid.is_some());

    let stream = maps
        .watch(&WatchParams::default().labels("set=a"), &version)
        .await
        .unwrap();
    let mut stream = Box::pin(stream);
    let mut changed = created.clone();
    changed.data = Some([("k".to_owned(), "2".to_owned())].into());
    maps.replace("one", &PostParams::default(), &changed)
        .await
        .unwrap();
    let conflict = maps
        .replace("one", &PostParams::default(), &changed)
        .await
        .unwrap_err();
    assert!(matches!(conflict, kube::Error::Api(status) if status.code == 409));
    let patch = Patch::Merge(json!({"data": {"k": null, "l": "3"}}));
    maps.patch("one", &PatchParams::default(), &patch)
        .await
        .unwrap();
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match within("an event", stream.try_next())
            .await
            .unwrap()
            .unwrap()
        {
            WatchEvent::Modified(map) => seen.push(format!("M{:?}", map.data.unwrap_or_default())),
            WatchEvent::Deleted(_) => seen.push("D".to_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [r#"M{"k": "2"}"#, r#"M{"l": "3"}"#, "D"]);
    let gone = maps.get("one").await.unwrap_err();
    assert!(
        matches!(gone, kube::Error::Api(status) if status.code == 404 && status.message == "configmaps \"one\" not found")
    );
    cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watcher_follows_by_list_or_by_streaming_list() {
    let server = InProcess::start(&Config::memory()).await.unwrap();
    let client = kube::Client::new(server.client_service(User::admin()), "default");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    maps.create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let mut stream = Box::pin(watcher(maps.clone(), config.labels("set=a")));
        let mut names = Vec::new();
        loop {
            match within("the initial list", stream.next())
                .await
                .unwrap()
                .unwrap()
            {
                watcher::Event::InitApply(map) => names.push(map.metadata.name.unwrap()),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
        assert_eq!(names, ["one"]);
        let patch = Patch::Merge(json!({"data": {"x": "y"}}));
        let patched = maps
            .patch("one", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let again = Patch::Merge(json!({"data": {"x": null}}));
        maps.patch("one", &PatchParams::default(), &again)
            .await
            .unwrap();
        let event = within("a change", stream.next()).await.unwrap().unwrap();
        let watcher::Event::Apply(map) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            map.metadata.resource_version,
            patched.metadata.resource_version
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_owns_its_fields_and_meets_others() {
    let server = InProcess::start(&Config::memory()).await.unwrap();
    let client = kube::Client::new(server.client_service(User::admin()), "default");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let apply = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"},
            "data": {"k": value}})
    };
    let ours = PatchParams::apply("ours");
    maps.patch("m", &ours, &Patch::Apply(apply("1")))
        .await
        .unwrap();
    let theirs = PatchParams::apply("theirs");
    let conflict = maps
        .patch("m", &theirs, &Patch::Apply(apply("2")))
        .await
        .unwrap_err();
    let kube::Error::Api(status) = conflict else {
        panic!("{conflict}")
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(status.message.contains("\"ours\""), "{}", status.message);
    let forced = maps
        .patch("m", &theirs.force(), &Patch::Apply(apply("2")))
        .await
        .unwrap();
    assert_eq!(forced.data.unwrap()["k"], "2");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployment_becomes_pods_and_goes_with_its_namespace() {
    let server = InProcess::start(&Config::memory()).await.unwrap();
    let client = kube::Client::new(server.client_service(User::admin()), "default");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some("demo".to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "demo");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let deployment = serde_json::from_value(deployment).unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "demo");
    let count = |wanted: usize| {
        let pods = pods.clone();
        async move {
            let list = pods
                .list(&ListParams::default().labels("app=web"))
                .await
                .unwrap();
            (list.items.len() == wanted).then_some(())
        }
    };
    eventually("two pods", || count(2)).await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    let scaled = deployments
        .patch_scale("web", &PatchParams::default(), &scale)
        .await
        .unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(1));
    eventually("one pod", || count(1)).await;
    namespaces
        .delete("demo", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace's end", || async {
        namespaces
            .get_opt("demo")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story of one credential")]
async fn bound_token_is_reviewed_and_ends_with_its_pod_or_account() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account = serde_json::from_value(json!({"metadata": {"name": "bot"}})).unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "bot",
        "containers": [{"name": "c", "image": "i"}]}});
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).unwrap(),
    )
    .await
    .unwrap();
    let ask = |name: &'static str, spec: serde_json::Value| {
        let accounts = accounts.clone();
        async move {
            let request: TokenRequest =
                serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            accounts
                .create_token_request(name, &PostParams::default(), &request)
                .await
        }
    };
    let review = |token: String, audience: &'static str| {
        let reviews: Api<TokenReview> = Api::all(client.clone());
        async move {
            let review = json!({"metadata": {}, "spec": {"token": token, "audiences": [audience]}});
            let review = serde_json::from_value(review).unwrap();
            let status = reviews
                .create(&PostParams::default(), &review)
                .await
                .unwrap()
                .status
                .unwrap();
            status
                .authenticated
                .unwrap_or(false)
                .then(|| status.user.unwrap().username.unwrap())
        }
    };
    let bound = ask(
        "bot",
        json!({"audiences": ["identity.l5d.io"], "expirationSeconds": 3600,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}),
    );
    let bound = bound.await.unwrap().status.unwrap().token.unwrap();
    assert_eq!(
        review(bound.clone(), "identity.l5d.io").await.as_deref(),
        Some("system:serviceaccount:default:bot")
    );
    assert_eq!(review(bound.clone(), "another").await, None);
    // For another audience than the API server it is no credential here.
    let with_it = cluster.client_with_token(&bound).await;
    let refused = with_it.apiserver_version().await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 401));

    let free = ask("bot", json!({"audiences": []})).await.unwrap();
    let free = free.status.unwrap().token.unwrap();
    let bot = Api::<ConfigMap>::namespaced(cluster.client_with_token(&free).await, "default");
    let forbidden = bot.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = forbidden else {
        panic!("{forbidden}")
    };
    assert_eq!(
        status.message,
        "configmaps is forbidden: User \"system:serviceaccount:default:bot\" cannot list resource \
         \"configmaps\" in API group \"\" in the namespace \"default\""
    );

    pods.delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert_eq!(review(bound, "identity.l5d.io").await, None);
    accounts
        .delete("bot", &DeleteParams::default())
        .await
        .unwrap();
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let ended = bot.list(&ListParams::default()).await.unwrap_err();
    assert!(
        matches!(ended, kube::Error::Api(status) if status.code == 401),
        "another uid"
    );
    let short = ask("bot", json!({"audiences": [], "expirationSeconds": 5}))
        .await
        .unwrap_err();
    assert!(matches!(short, kube::Error::Api(status) if status.code == 422));
    cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story of one credential")]
async fn token_secret_reads_what_its_role_allows_and_nothing_else() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let create = |kind: &'static str, value: serde_json::Value| {
        let client = client.clone();
        async move {
            let path = format!("/{kind}");
            let request = http::Request::post(path)
                .header("content-type", "application/json")
                .body(value.to_string().into_bytes())
                .unwrap();
            client.request::<serde_json::Value>(request).await.unwrap()
        }
    };
    create(
        "api/v1/namespaces",
        json!({"metadata": {"name": "tombolo"}}),
    )
    .await;
    create(
        "api/v1/namespaces/tombolo/serviceaccounts",
        json!({"metadata": {"name": "remote-access"}}),
    )
    .await;
    create(
        "apis/rbac.authorization.k8s.io/v1/clusterroles",
        json!({"metadata": {"name": "remote"}, "rules": [
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}]}),
    )
    .await;
    create(
        "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        json!({"metadata": {"name": "remote"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "remote"},
            "subjects": [{"kind": "ServiceAccount", "name": "remote-access", "namespace": "tombolo"}]}),
    )
    .await;
    create(
        "api/v1/namespaces/tombolo/secrets",
        json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "remote-access"}},
            "type": "kubernetes.io/service-account-token"}),
    )
    .await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "tombolo");
    let token = eventually("a token in the Secret", || async {
        let data = secrets.get("t").await.unwrap().data?;
        String::from_utf8(data.get("token")?.0.clone()).ok()
    })
    .await;
    let remote = cluster.client_with_token(&token).await;
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::all(remote.clone());
    services.list(&ListParams::default()).await.unwrap();
    Api::<Namespace>::all(remote.clone())
        .get("kube-system")
        .await
        .unwrap();
    for refused in [
        Api::<Namespace>::all(remote.clone())
            .get("default")
            .await
            .err(),
        Api::<Secret>::namespaced(remote.clone(), "tombolo")
            .get("t")
            .await
            .err(),
    ] {
        assert!(matches!(refused, Some(kube::Error::Api(status)) if status.code == 403));
    }
    secrets.delete("t", &DeleteParams::default()).await.unwrap();
    let ended = services.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(ended, kube::Error::Api(status) if status.code == 401));
    cluster.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_before_a_restart_go_on_after_it() {
    let cluster = Cluster::start().await;
    let address = cluster.running.address();
    let client = cluster.client().await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let one = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    let Cluster {
        running,
        mut config,
        dir,
    } = cluster;
    running.stop().await;
    config.listen = address;
    let running = Running::start(&config).await.unwrap();
    let again = eventually("an answer", || async { maps.get("one").await.ok() }).await;
    assert_eq!(one, again);
    running.stop().await;
    drop(dir);
}
