//! A head without an end, in HTTP/2, from a client of ours and from a peer.
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tombolo_shell::net;
use tombolo_wire::transport::TransportHeader;

use crate::app::App;
use crate::client::{self, DEADLINE};
use crate::peer::{self, Peer};
use crate::world::{DAY, World};

/// What no proxy may read of one head.
const FAR_TOO_MUCH: usize = 16 * 1024 * 1024;

fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, stream], payload].concat()
}

/// Says the beginning of a request, and header after header; how many bytes were taken until the end.
async fn never_end(stream: impl AsyncRead + AsyncWrite) -> usize {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let (mut read, mut write) = tokio::io::split(stream);
    let mut head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    head.extend(frame(SETTINGS, 0, b""));
    // In HPACK: GET, http, and the path /.
    head.extend(frame(HEADERS, 1, b"\x82\x86\x84"));
    let more = frame(CONTINUATION, 1, &b"\x00\x01a\x01b".repeat(3000));
    let say = async {
        let mut taken = 0;
        write.write_all(&head).await.ok();
        while taken < FAR_TOO_MUCH && write.write_all(&more).await.is_ok() {
            taken += more.len();
        }
        taken
    };
    let mut said = Vec::new();
    let both = async { tokio::join!(say, read.read_to_end(&mut said)).0 };
    let taken = tokio::time::timeout(DEADLINE, both).await;
    taken.expect("an endless head is ended in time")
}

#[tokio::test]
async fn endless_headers_in_http2_end_their_connection_only() {
    let world = World::new(DAY);
    let _app = App::start(world.addr(10, 8080));
    let server = world.proxy("web", 10).await;
    let service = world.addr(200, 8080);
    world.service(service, "web.shop.svc.cluster.local:8080", &[&server]);
    let mut node = world.proxy("node", 4).await;
    node.listen(&[service]).await;

    let plain = net::connect(service, DEADLINE).await.unwrap();
    assert!(never_end(plain).await < FAR_TOO_MUCH, "outbound");
    assert_eq!(client::get(service, "/").await.status, 200);

    let mut stream = peer::connect(&world, "node", &server).await;
    let header = TransportHeader::http2("", 8080);
    stream.write_all(&header.to_bytes()).await.unwrap();
    assert!(never_end(stream).await < FAR_TOO_MUCH, "inbound");
    let stream = peer::connect(&world, "node", &server).await;
    let peer = Peer::start(stream, &header).await;
    assert_eq!(peer.get("/").await.status, 200, "others are served");
}
