//! The other side, in a process of its own: mTLS, the transport header, HTTP/2, a fixed answer.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderValue, Response};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tombolo_shell::task::Tasks;
use tombolo_shell::tls::{self, Anchors, ClientCertificate, Credentials, ServerTls};
use tombolo_wire::transport::{ALPN, HEADER_BYTES_MAX, PREFACE, TransportHeader};

pub(crate) const IDENTITY: &str = "peer.failover.test";

/// Serves until killed, or until the parent closes the pipe on standard input.
pub(crate) async fn run(cluster: &str, addr: SocketAddr, dir: &Path) -> Result<()> {
    let read = |name: &str| std::fs::read(dir.join(name)).context(name.to_owned());
    let anchors = Anchors::from_pem(&read("anchors.pem")?)?;
    let credentials = Credentials::from_pem(&read("chain.pem")?, &read("key.pem")?)?;
    let required = ClientCertificate::Required(anchors);
    let tls = ServerTls::new(required, tls::fixed(credentials), &[ALPN]);
    let listener = TcpListener::bind(addr).await?;
    let cluster = HeaderValue::from_str(cluster)?;
    let orphaned = async {
        let mut rest = Vec::new();
        tokio::io::stdin().read_to_end(&mut rest).await
    };
    tokio::pin!(orphaned);
    let tasks = Tasks::new();
    loop {
        let (stream, _) = tokio::select! {
            _ = &mut orphaned => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        let (tls, cluster) = (tls.clone(), cluster.clone());
        tasks.spawn_one("connection", async move {
            if let Err(error) = serve(stream, tls, cluster).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

async fn serve(stream: TcpStream, tls: ServerTls, cluster: HeaderValue) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream, Duration::from_secs(10)).await?.stream;
    let mut head = vec![0; PREFACE.len() + 4];
    stream.read_exact(&mut head).await?;
    let (_, length) = head.split_at(PREFACE.len());
    let length = usize::try_from(u32::from_be_bytes(length.try_into()?))?;
    anyhow::ensure!(length <= HEADER_BYTES_MAX, "a header of {length} bytes");
    head.resize(head.len() + length, 0);
    stream.read_exact(&mut head[PREFACE.len() + 4..]).await?;
    let header = TransportHeader::take(&mut head[..].into())?.context("half a header")?;
    tracing::debug!(?header, "accepted");
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(4_096)
        .handshake(stream)
        .await?;
    while let Some(request) = connection.accept().await {
        let (_request, mut respond) = request?;
        answer(&mut respond, cluster.clone())?;
    }
    Ok(())
}

fn answer(respond: &mut SendResponse<Bytes>, cluster: HeaderValue) -> Result<()> {
    let response = Response::builder()
        .header("x-cluster", cluster)
        .header("content-length", "2");
    let mut body = respond.send_response(response.body(())?, false)?;
    body.send_data(Bytes::from_static(b"ok"), true)?;
    Ok(())
}
