//! The transport header: what a proxy says to its peer right after the TLS handshake.
//!
//! Wire form (`linkerd-multicluster.md` 6.2): the preface, a big-endian `u32` length, a protobuf
//! [`TransportHeader`]. Both sides must have negotiated [`ALPN`].
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

/// The ALPN protocol that a client offers and a server must select before a header may follow.
pub const ALPN: &[u8] = b"transport.l5d.io/v1";
/// What precedes the length and the header.
pub const PREFACE: &[u8] = b"transport.l5d.io/v1\r\n\r\n";
/// The longest encoded header that is accepted, in bytes: a name has at most 253.
pub const HEADER_BYTES_MAX: usize = 1024;

/// What the client wants: a port of the peer's own pod, or a named service through a gateway.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransportHeader {
    /// The port: of the pod itself, or of the named service.
    #[prost(int32, tag = "1")]
    pub port: i32,
    /// The service that a gateway shall forward to; empty if the peer itself is meant.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The protocol that follows; absent for opaque bytes.
    #[prost(message, optional, tag = "3")]
    pub session_protocol: Option<SessionProtocol>,
}

/// The protocol that follows the header.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SessionProtocol {
    /// Which one.
    #[prost(oneof = "SessionKind", tags = "1, 2")]
    pub kind: Option<SessionKind>,
}

/// HTTP/1.1 or HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum SessionKind {
    /// HTTP/1.1
    #[prost(message, tag = "1")]
    Http1(Empty),
    /// HTTP/2
    #[prost(message, tag = "2")]
    Http2(Empty),
}

/// A message without fields.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// Why bytes are no transport header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are not the preface.
    #[error("the connection does not start with the transport preface")]
    Preface,
    /// The announced length is over [`HEADER_BYTES_MAX`].
    #[error("transport header of {0} bytes is over the limit of {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// The header does not decode.
    #[error("transport header does not decode")]
    Decode(#[source] prost::DecodeError),
}

impl TransportHeader {
    /// A header for `port` of the peer's pod (`name` empty) or of the service `name`, HTTP/2 following.
    #[must_use]
    pub fn http2(name: &str, port: u16) -> Self {
        let kind = Some(SessionKind::Http2(Empty {}));
        Self {
            port: port.into(),
            name: name.into(),
            session_protocol: Some(SessionProtocol { kind }),
        }
    }

    /// The bytes to send: preface, length, header.
    #[must_use]
    pub fn to_bytes(&self) -> BytesMut {
        let length = self.encoded_len();
        let mut out = BytesMut::with_capacity(PREFACE.len() + 4 + length);
        out.put_slice(PREFACE);
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        out.put_slice(&self.encode_to_vec());
        out
    }

    /// Takes a whole header off the front of `buf`, or nothing if more bytes are needed.
    ///
    /// # Errors
    /// When the bytes can be no header, as early as that is certain.
    pub fn take(buf: &mut BytesMut) -> Result<Option<Self>, HeaderError> {
        let seen = buf.len().min(PREFACE.len());
        if buf[..seen] != PREFACE[..seen] {
            return Err(HeaderError::Preface);
        }
        let Some(mut rest) = buf.get(PREFACE.len()..).filter(|rest| rest.len() >= 4) else {
            return Ok(None);
        };
        let length = rest.get_u32() as usize;
        if length > HEADER_BYTES_MAX {
            return Err(HeaderError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let header = Self::decode(body).map_err(HeaderError::Decode)?;
        buf.advance(PREFACE.len() + 4 + length);
        Ok(Some(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_survives_the_wire_byte_by_byte() {
        let header = TransportHeader::http2("analytics.mc-demo.svc.cluster.local", 8080);
        let bytes = header.to_bytes();
        let mut buf = BytesMut::new();
        for (i, byte) in bytes.iter().enumerate() {
            buf.put_u8(*byte);
            let taken = TransportHeader::take(&mut buf).unwrap();
            assert_eq!(taken.is_some(), i + 1 == bytes.len());
        }
        assert!(buf.is_empty());
    }

    #[test]
    fn endless_header_is_refused() {
        let mut buf = BytesMut::from(PREFACE);
        buf.put_u32(u32::MAX);
        assert!(matches!(
            TransportHeader::take(&mut buf),
            Err(HeaderError::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), prefixed: bool) {
            let mut buf = BytesMut::new();
            if prefixed { buf.put_slice(PREFACE); }
            buf.put_slice(&bytes);
            TransportHeader::take(&mut buf).ok();
        }
    }
}
