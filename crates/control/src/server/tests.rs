//! What a port bears of clients that mean no good.
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tombolo_shell::net;
use tombolo_shell::testing::Authority;
use tombolo_shell::tls::{self, ClientCertificate, ClientStream, ClientTls};
use tonic::service::Routes;

use super::*;

const SOON: Duration = Duration::from_secs(60);
const NAME: &str = "control.mesh";
/// The preface, and empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A port, and a client for it.
struct Served {
    addr: SocketAddr,
    client: ClientTls,
    tasks: Tasks,
}

impl Served {
    fn new(bounds: Bounds) -> Self {
        let authority = Authority::new();
        let own = tls::fixed(authority.credentials(NAME));
        let listener = listen([127, 0, 0, 1].into(), 0).unwrap();
        let addr = listener.local_addr().unwrap();
        let port = Port {
            name: "test",
            listener,
            entrance: ServerTls::new(ClientCertificate::None, own, &[b"h2"]),
            bounds,
        };
        let tasks = Tasks::new();
        let router = grpc().add_routes(Routes::default());
        tasks.spawn("port", serve(port, router, (tasks.child(), Drain::new())));
        Self {
            addr,
            client: ClientTls::anonymous(authority.anchors(), &[b"h2"]),
            tasks,
        }
    }

    /// A connection that shook hands, if the port took it.
    async fn connect(&self) -> Option<ClientStream<TcpStream>> {
        let stream = net::connect(self.addr, SOON).await.unwrap();
        let connected = self.client.connect(stream, NAME, SOON).await;
        Some(connected.ok()?.stream)
    }

    /// The first connection that the port takes.
    async fn place(&self) -> ClientStream<TcpStream> {
        loop {
            if let Some(stream) = self.connect().await {
                return stream;
            }
        }
    }

    /// A connection that HTTP/2 answers on, if the port took it.
    async fn greet(&self) -> Option<ClientStream<TcpStream>> {
        let mut stream = self.connect().await?;
        stream.write_all(HELLO).await.ok()?;
        let mut settings = [0; 9];
        stream.read_exact(&mut settings).await.ok()?;
        Some(stream)
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_until_one_ends() {
    let served = Served::new(Bounds {
        connections: 2,
        ..Bounds::default()
    });
    let first = served.greet().await.unwrap();
    let _second = served.greet().await.unwrap();
    assert!(served.connect().await.is_none());
    drop(first);
    let freed = async { while served.greet().await.is_none() {} };
    tokio::time::timeout(SOON, freed).await.unwrap();
    served.tasks.cancel();
}

#[tokio::test]
async fn who_does_not_say_his_preface_loses_his_place() {
    let served = Served::new(Bounds {
        connections: 1,
        preface: Duration::from_millis(50),
    });
    for said in [&[][..], &HELLO[..PREFACE_BYTES as usize - 1]] {
        let mut stream = tokio::time::timeout(SOON, served.place()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "after {} bytes", said.len());
    }
    served.tasks.cancel();
}

#[tokio::test]
async fn who_said_his_preface_may_stay() {
    let soon = Duration::from_millis(50);
    let served = Served::new(Bounds {
        connections: 1,
        preface: soon,
    });
    let mut stream = served.greet().await.unwrap();
    let mut rest = Vec::new();
    // The end would come within the deadline; nothing but the deadline tells that it does not.
    let ended = tokio::time::timeout(soon * 6, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_err());
    served.tasks.cancel();
}
