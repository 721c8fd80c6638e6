//! What a gateway is told: what is exported, from the label's coming to its going.
use serde_json::{Value, json};
use tombolo_wire::purpose::Purpose;
use tonic::Code;

use super::objects;
use super::proxy::{Proxy, shown};
use crate::{NS, serve, two};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_told_of_a_service_as_long_as_its_owner_exports_it() {
    let (mesh, mut west, east) = two().await;
    serve(&west, "web", ("app", "web"), "10.1.0.1").await;
    west.control(&mesh).await;
    let name = "web.mc-demo.svc.cluster.local:8080";
    let endpoint = ["10.1.0.1:8080 west"];
    let mut proxy = Proxy::certified(&west, NS).await;
    proxy.reaches(name, &endpoint).await;
    let ip = west.get("Service", NS, "web").await.unwrap()["spec"]["clusterIP"].clone();
    let address = format!("{}:8080", ip.as_str().unwrap());
    proxy.outbound(&address).await.unwrap();

    proxy.purpose = Purpose::Gateway.value();
    let mut stream = proxy.get(name).await.unwrap();
    let mut unknown = proxy
        .get("none.mc-demo.svc.cluster.local:8080")
        .await
        .unwrap();
    assert_eq!(shown(&mut stream).await, "absent");
    assert_eq!(shown(&mut unknown).await, "absent");
    assert_eq!(
        proxy.profile(name).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(proxy.policy(name).await.unwrap_err().code(), Code::NotFound);

    for (key, value) in [objects::GATEWAY, objects::FLAT, objects::FEDERATED] {
        west.label(NS, "web", json!({key: value})).await;
        assert_eq!(shown(&mut stream).await, endpoint[0], "{key}={value}");
        proxy.profile(name).await.unwrap();
        proxy.policy(name).await.unwrap();
        let by_address = proxy.outbound(&address).await.unwrap_err();
        assert_eq!(by_address.code(), Code::NotFound);
        west.label(NS, "web", json!({key: Value::Null})).await;
        assert_eq!(shown(&mut stream).await, "absent", "{key} is gone");
    }

    proxy.purpose = None;
    proxy.reaches(name, &endpoint).await;
    proxy.purpose = Some("picnic");
    let nonsense = proxy.get(name).await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument, "{nonsense}");
    west.stop().await;
    east.stop().await;
}
