//! A way to a cluster that can freeze, break, or carry nonsense.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Open,
    /// Nothing passes, and nothing ends.
    Frozen,
    /// Connections end at once.
    Broken,
    /// Whoever connects gets nonsense.
    Nonsense,
}

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    passage: watch::Sender<Passage>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (passage, watched) = watch::channel(Passage::Open);
        let task = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn(serve(client, upstream, watched.clone()));
            }
        });
        Ok(Self {
            address,
            passage,
            task,
        })
    }

    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is no task of the process"
)]
pub(super) fn spawn(
    future: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}

async fn serve(client: TcpStream, upstream: SocketAddr, mut passage: watch::Receiver<Passage>) {
    let at_first = *passage.borrow_and_update();
    let (mut from, mut to) = client.into_split();
    match at_first {
        Passage::Open => {}
        Passage::Frozen => return std::future::pending().await,
        Passage::Broken => return,
        Passage::Nonsense => {
            to.write_all(b"HTTP/1.0 200 OK\r\n\r\n<html>no such thing</html>")
                .await
                .ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
            return;
        }
    }
    let Ok(stream) = TcpStream::connect(upstream).await else {
        return;
    };
    let (mut down, mut up) = stream.into_split();
    let mut watched = passage.clone();
    let there = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if watched.wait_for(|p| *p != Passage::Frozen).await.is_err()
                || up.write_all(&bytes[..count]).await.is_err()
            {
                return;
            }
        }
    };
    let mut watching = passage.clone();
    let back = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = down.read(&mut bytes).await {
            if watching.wait_for(|p| *p != Passage::Frozen).await.is_err()
                || to.write_all(&bytes[..count]).await.is_err()
            {
                return;
            }
        }
    };
    let cut = passage.wait_for(|p| matches!(p, Passage::Broken | Passage::Nonsense));
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = cut => {}
    }
}

/// What a gateway's probes are answered by.
pub(crate) struct Prober {
    pub(crate) address: SocketAddr,
    status: watch::Sender<u16>,
    path: watch::Receiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Prober {
    pub(crate) async fn at(ip: std::net::IpAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let (status, now) = watch::channel(200);
        let (asked, path) = watch::channel(String::new());
        let task = spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut bytes = vec![0; 4096];
                let count = client.read(&mut bytes).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                asked.send_replace(path);
                let status = *now.borrow();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                client.write_all(answer.as_bytes()).await.ok();
            }
        });
        Ok(Self {
            address,
            status,
            path,
            task,
        })
    }

    /// From now on.
    pub(crate) fn answers(&self, status: u16) {
        self.status.send_replace(status);
    }

    /// What was asked for last.
    pub(crate) fn path(&self) -> String {
        self.path.borrow().clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}
