//! Sockets: listen on one exact address, accept for ever, connect within a deadline.
//!
//! Nothing here binds a wildcard address unless told to; every error names the address.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted, per listener.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept: the cause (no free descriptor) does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody has it.
    #[error("address {0} is in use: another program listens on it or on its port")]
    InUse(SocketAddr),
    /// This machine has no such address.
    #[error("address {0} is not an address of this machine")]
    NotOurs(SocketAddr),
    /// Another cause.
    #[error("cannot listen on {addr}")]
    Io {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why a connection could not be made. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("connect to {addr} timed out after {after:?}")]
    Timeout {
        /// The address.
        addr: SocketAddr,
        /// The deadline.
        after: Duration,
    },
    /// Nobody listens there.
    #[error("connect to {0} was refused")]
    Refused(SocketAddr),
    /// Another cause.
    #[error("cannot connect to {addr}")]
    Io {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// A short name for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Refused(_) => "refused",
            Self::Io { .. } => "io",
        }
    }
}

/// Listens on exactly `addr`. An address whose last owner just died can be taken at once.
///
/// # Errors
/// When the address is taken or not ours; the error names it.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(addr),
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs(addr),
        _ => ListenError::Io { addr, source },
    })
}

/// The next connection, with `TCP_NODELAY`. Errors of one connection do not end the listener; lack
/// of descriptors is waited out.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match stream.set_nodelay(true) {
                Ok(()) => return (stream, peer),
                Err(error) => tracing::debug!(%peer, %error, "the connection was gone at once"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects to `addr`, with `TCP_NODELAY`.
///
/// # Errors
/// When that fails or takes longer than `deadline`.
pub async fn connect(addr: SocketAddr, deadline: Duration) -> Result<TcpStream, ConnectError> {
    connect_by(addr, None, deadline).await
}

/// Like [`connect`], from the local address `from`.
///
/// # Errors
/// When that fails or takes longer than `deadline`.
pub async fn connect_from(
    from: IpAddr,
    addr: SocketAddr,
    deadline: Duration,
) -> Result<TcpStream, ConnectError> {
    connect_by(addr, Some(from), deadline).await
}

async fn connect_by(
    addr: SocketAddr,
    from: Option<IpAddr>,
    deadline: Duration,
) -> Result<TcpStream, ConnectError> {
    let dial = async {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    match tokio::time::timeout(deadline, dial).await {
        Err(_elapsed) => Err(ConnectError::Timeout {
            addr,
            after: deadline,
        }),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) if source.kind() == io::ErrorKind::ConnectionRefused => {
            Err(ConnectError::Refused(addr))
        }
        Ok(Err(source)) => Err(ConnectError::Io { addr, source }),
    }
}

/// Where the client wanted to go: what it dialled before a redirection by the packet filter, or
/// the address on which it was accepted where there was none.
///
/// # Errors
/// When the socket has no local address any more.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let redirected = socket
        .original_dst_v4()
        .or_else(|_none| socket.original_dst_v6());
    match redirected.ok().and_then(|addr| addr.as_socket()) {
        Some(addr) => Ok(addr),
        None => stream.local_addr(),
    }
}

/// Has the kernel ask an idle peer whether it still is there, so that connections of hosts that
/// vanished are noticed. An interval of zero leaves the socket as it is.
///
/// # Errors
/// When the socket is gone.
pub fn set_keep_alive(stream: &TcpStream, interval: Duration) -> io::Result<()> {
    if interval.is_zero() {
        return Ok(());
    }
    let asked = TcpKeepalive::new()
        .with_time(interval)
        .with_interval(interval)
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&asked)
}

/// Tells the kernel to give up on a connection whose sent data stays unacknowledged.
///
/// # Errors
/// When the socket is gone.
pub fn set_user_timeout(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[tokio::test]
    async fn address_in_use_is_named() {
        let first = listen(any_port()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = listen(addr).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)));
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    }

    #[tokio::test]
    async fn foreign_address_is_named() {
        let error = listen("192.0.2.1:80".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
    }

    #[tokio::test]
    async fn connection_comes_from_the_address_that_was_asked_for() {
        let listener = listen(any_port()).unwrap();
        let addr = listener.local_addr().unwrap();
        let from: IpAddr = "127.0.0.77".parse().unwrap();
        let deadline = Duration::from_secs(30);
        let (client, (server, peer)) =
            tokio::join!(connect_from(from, addr, deadline), accept(&listener));
        assert_eq!(peer.ip(), from);
        assert_eq!(original_destination(&server).unwrap(), addr);
        assert!(client.unwrap().nodelay().unwrap());
    }

    #[tokio::test]
    async fn refused_is_told_from_other_failures() {
        let addr = listen(any_port()).unwrap().local_addr().unwrap();
        let error = connect(addr, Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.kind(), "refused");
    }
}
