//! One HTTP request to one address, for questions: which cluster answers, is it ready.
//!
//! A connection per question, so that every answer is a fresh decision of whoever balances.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body, without the end of its last line.
    pub(crate) body: String,
    /// The header `x-cluster`.
    pub(crate) cluster: Option<String>,
    /// Why a proxy refused: the header `l5d-proxy-error`.
    pub(crate) proxy_error: Option<String>,
}

/// Sends `GET path` to `address`.
///
/// # Errors
/// No answer within `timeout`.
pub(crate) async fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<Answer> {
    tokio::time::timeout(timeout, exchange(address, path))
        .await
        .map_err(|_elapsed| anyhow::anyhow!("{address} did not answer within {timeout:?}"))?
        .with_context(|| format!("ask {address}"))
}

async fn exchange(address: SocketAddr, path: &str) -> Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let uri: Uri = path.parse()?;
    let request = Request::get(uri)
        .header(http::header::HOST, address.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let (cluster, proxy_error) = (header("x-cluster"), header("l5d-proxy-error"));
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await;
        let bytes = body
            .map_err(|error| anyhow::anyhow!("the body: {error}"))?
            .to_bytes();
        let body = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Ok(Answer {
            status,
            body,
            cluster,
            proxy_error,
        })
    };
    // The connection is driven here, so that nothing is left when the question is given up.
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}
