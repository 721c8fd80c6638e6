//! Large answers, compressed for clients that take them so: as Kubernetes does, from 128 KiB on.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};
use tokio::sync::Semaphore;

use super::Body;
use super::call::Call;
use crate::rbac::Attributes;
use crate::room::Room;

/// Smaller answers are sent as they are.
const LARGE: usize = 128 * 1024;
const LEVEL: Compression = Compression::new(4);
/// Answers that are compressed at once.
const PACKERS_MAX: usize = 2;

/// Whether a client takes compressed answers.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let mut words = accepted.unwrap_or_default().split(',');
    words.any(|word| word.trim() == "gzip")
}

/// What becomes of an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is compressed if it is large.
    Large,
    /// It goes as it is.
    Never,
}

impl Packing {
    /// As a call wants its answer: what is read, of a resource, may be compressed.
    pub(super) fn of(call: &Call) -> Self {
        let Attributes { verb, resource, .. } = &call.route.attributes;
        let reads = matches!(verb.as_str(), "get" | "list") && !resource.is_empty();
        if reads && is_accepted(&call.parts.headers) {
            Self::Large
        } else {
            Self::Never
        }
    }

    /// The answer, which has its share of the room, as it goes.
    pub(super) async fn apply(
        self,
        response: Response<Body>,
        (room, user): (&Arc<Room>, &str),
    ) -> Response<Body> {
        match self {
            Self::Large => large(response, (room, user)).await,
            Self::Never => response,
        }
    }
}

/// The answer, compressed if it is large; that takes a while, so other requests go on meanwhile, and those that would have
/// to wait for it are answered without.
async fn large(response: Response<Body>, (room, user): (&Arc<Room>, &str)) -> Response<Body> {
    static PACKERS: Semaphore = Semaphore::const_new(PACKERS_MAX);
    if response.status() != StatusCode::OK || response.body().size() <= LARGE {
        return response;
    }
    let Ok(packer) = PACKERS.try_acquire() else {
        return response;
    };
    let (parts, body) = response.into_parts();
    let pieces = match body.into_pieces() {
        Ok(pieces) => pieces,
        Err(body) => return Response::from_parts(parts, body),
    };
    let before = pieces.clone();
    let packed = tokio::task::spawn_blocking(move || {
        let _packer = packer;
        let pieces = pieces.iter().flatten();
        pack(pieces.map(|piece| &**piece))
    });
    let packed = match packed.await {
        Ok(Ok(packed)) => room
            .take(user, packed.len())
            .map(|share| Body::whole(packed).holding(share)),
        _ => None,
    };
    let Some(packed) = packed else {
        return Response::from_parts(parts, Body::of_pieces(before));
    };
    let mut response = Response::from_parts(parts, packed);
    mark(&mut response);
    response
}

/// Says that an answer is compressed.
pub(super) fn mark(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// These pieces, compressed.
pub(super) fn pack<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), LEVEL);
    for piece in pieces {
        packer.write_all(piece)?;
    }
    packer.finish()
}

/// What was packed here.
pub(super) fn unpack(packed: &Bytes) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    GzDecoder::new(&**packed).read_to_end(&mut document)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn only_who_says_gzip_gets_it() {
        for (accepted, wanted) in [
            ("gzip", true),
            ("deflate, gzip", true),
            ("deflate, gzip;q=0.5", false),
            ("*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepted.parse().unwrap());
            assert_eq!(is_accepted(&headers), wanted, "{accepted}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn what_is_large_is_packed_and_is_the_same_again() {
        let text = "some text ".repeat(20_000);
        let room = Room::new(1024);
        let whole = || Response::new(Body::line(text.clone()));
        let response = large(whole(), (&room, "user")).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let packed = response.into_body().collect().await.unwrap().to_bytes();
        assert!(packed.len() < text.len() / 10);
        assert_eq!(unpack(&packed).unwrap(), format!("{text}\n").into_bytes());
        let small = Response::new(Body::line("small"));
        let response = large(small, (&room, "user")).await;
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        drop(packed);
        // Where there is no room for it, it goes as it is.
        let _all = room.take("another", 1024 * 1024).unwrap();
        let response = large(whole(), (&room, "user")).await;
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        let sent = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(sent, format!("{text}\n"));
    }
}
