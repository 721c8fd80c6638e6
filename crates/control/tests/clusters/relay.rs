//! A way to a cluster that can freeze: connections stay open, and nothing passes any more.
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    Frozen,
}

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    passage: watch::Sender<Passage>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        // Its address is one for which the upstream's certificate is.
        let listener = TcpListener::bind((upstream.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passage, watched) = watch::channel(Passage::Open);
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn(pass(client, upstream, watched.clone()));
            }
        };
        let task = spawn(accepting);
        Self {
            address,
            passage,
            task,
        }
    }

    pub(crate) fn freeze(&self) {
        self.passage.send_replace(Passage::Frozen);
    }

    pub(crate) fn thaw(&self) {
        self.passage.send_replace(Passage::Open);
    }

    pub(crate) fn stop(self) {
        self.task.abort();
    }
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is no task of the process"
    )]
    tokio::spawn(future)
}

/// Waits for the thaw, then carries until the next freeze: who was carried before stays cut off, as by
/// a network that forgot the connection.
async fn pass(client: TcpStream, upstream: SocketAddr, watched: watch::Receiver<Passage>) {
    until(watched.clone(), Passage::Open).await;
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let out = pump(from_client, to_server, watched.clone());
    let back = pump(from_server, to_client, watched);
    tokio::join!(out, back);
}

async fn until(mut watched: watch::Receiver<Passage>, passage: Passage) {
    watched.wait_for(|now| *now == passage).await.ok();
}

/// Carries bytes until the first freeze, and from then on nothing, without closing.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, watched: watch::Receiver<Passage>) {
    let frozen = until(watched, Passage::Frozen);
    let stays_open = tokio::select! {
        biased;
        () = frozen => true,
        () = carry(&mut from, &mut to) => false,
    };
    if stays_open {
        std::future::pending::<()>().await;
    }
}

async fn carry(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
