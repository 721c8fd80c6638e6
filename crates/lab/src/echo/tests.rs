use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;

type TestClient = Client<HttpConnector, Full<Bytes>>;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: oneshot::Receiver<Result<()>>,
    _tasks: Tasks,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config {
        listen: address,
        text: "frontend from west".to_owned(),
        cluster: "west".to_owned(),
        pod: "frontend-1".to_owned(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (ended, done) = oneshot::channel();
    let tasks = Tasks::new();
    tasks.spawn("server", async move {
        let stop = async {
            stopped
                .await
                .map(|()| "test")
                .map_err(std::io::Error::other)
        };
        ended.send(serve(listener, &config, stop).await).unwrap();
    });
    Server {
        address,
        stop,
        done,
        _tasks: tasks,
    }
}

fn client() -> TestClient {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn send(
    client: &TestClient,
    request: http::request::Builder,
    body: &'static str,
) -> (u16, String, String) {
    let request = request
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let response = client.request(request).await.unwrap();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map_or_else(String::new, |v| v.to_str().unwrap().to_owned())
    };
    let (status, who) = (
        response.status().as_u16(),
        format!("{}/{}", header("x-cluster"), header("x-pod")),
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, who, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn answers_with_service_and_cluster_over_both_versions_of_http() {
    let server = start().await;
    let uri = format!("http://{}/", server.address);
    let h2: TestClient = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for client in [client(), h2] {
        let got = send(&client, Request::get(&uri), "").await;
        assert_eq!(
            got,
            (
                200,
                "west/frontend-1".to_owned(),
                "frontend from west\n".to_owned()
            )
        );
    }
    let got = send(&client(), Request::post(&uri), "hello").await;
    assert_eq!(got, (200, "west/frontend-1".to_owned(), "hello".to_owned()));
    let got = send(&client(), Request::get(format!("{uri}healthz")), "").await;
    assert_eq!((got.0, got.2.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn refuses_a_sleep_that_is_no_number_or_too_long() {
    let server = start().await;
    for query in ["", "?ms=x", "?ms=-1", "?ms=99999999"] {
        let uri = format!("http://{}/sleep{query}", server.address);
        assert_eq!(
            send(&client(), Request::get(uri), "").await.0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn what_is_in_flight_at_the_stop_is_finished() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 10\r\n\r\nhello";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"hello") {
        assert_ne!(
            stream.read_buf(&mut got).await.unwrap(),
            0,
            "the answer has begun"
        );
    }
    server.stop.send(()).unwrap();
    // Refused connections show that the stop has been seen before the rest is sent.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"world").await.unwrap();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(
        got.ends_with(b"helloworld"),
        "{}",
        String::from_utf8_lossy(&got)
    );
    tokio::time::timeout(Duration::from_secs(30), server.done)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
