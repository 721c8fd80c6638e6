//! Meets peers over TCP without TLS.
use tokio::net::TcpStream;
use tombolo_proxy::outbound::{Connecting, Connector, Io, Target};

pub(crate) struct Tcp;

impl Connector for Tcp {
    fn connect(&self, target: &Target) -> Connecting {
        let addr = target.addr;
        Box::pin(async move {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
