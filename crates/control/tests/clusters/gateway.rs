//! A gateway, as far as control asks for one: `GET /ready` over mTLS.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tombolo_shell::net;
use tombolo_shell::tls::{Anchors, ClientCertificate, ServerTls};

use super::cluster::Mesh;

pub(crate) const IDENTITY: &str = "gateway.tombolo.serviceaccount.identity.tombolo.cluster.local";

const PORT: u16 = 4143;

pub(crate) struct Gateway {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Gateway {
    pub(crate) fn start(mesh: &Mesh, at: Option<SocketAddr>) -> Self {
        let own = || SocketAddr::from((tombolo_judge::free_address().unwrap(), PORT));
        let at = at.unwrap_or_else(own);
        let listener = net::listen(at).unwrap();
        let address = listener.local_addr().unwrap();
        let anchors = Anchors::from_pem(mesh.root_pem.as_bytes()).unwrap();
        let client = ClientCertificate::Required(anchors);
        let tls = ServerTls::new(client, mesh.credentials(IDENTITY), &[]);
        let serving = async move {
            loop {
                let (stream, _) = net::accept(&listener).await;
                let Ok(accepted) = tls.accept(stream, Duration::from_secs(5)).await else {
                    continue;
                };
                let mut stream = accepted.stream;
                let mut request = vec![0; 1024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let ready = request[..read].starts_with(b"GET /ready HTTP/1.1\r\n");
                let status = if ready { "200 OK" } else { "404 Not Found" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_ok() {
                    stream.shutdown().await.ok();
                }
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a test is no task of the process"
        )]
        let task = tokio::spawn(serving);
        Self { address, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }
}
