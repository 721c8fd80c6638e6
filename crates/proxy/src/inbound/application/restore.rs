//! Between proxies everything is HTTP/2; the application gets the protocol that its client spoke.
//! Pure: heads in, heads out.
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Request, Response, Version};

use crate::respond::ORIG_PROTO;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// How the client spoke, as the header `l5d-orig-proto` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original {
    version: Version,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Origin,
    Absolute,
}

/// Takes the header off; nothing if the client spoke HTTP/2.
pub(super) fn original(headers: &mut HeaderMap) -> Option<Original> {
    let value = headers.remove(ORIG_PROTO)?;
    let text = value.to_str().ok()?;
    let version = if text.starts_with("HTTP/1.1") {
        Version::HTTP_11
    } else if text.starts_with("HTTP/1.0") {
        Version::HTTP_10
    } else {
        return None;
    };
    let form = if text.contains("absolute-form") {
        Form::Absolute
    } else {
        Form::Origin
    };
    Some(Original { version, form })
}

/// Makes an HTTP/1.1 request of what came as HTTP/2.
pub(super) fn to_http1(request: &mut Request<crate::body::Body>, original: &Original) {
    // The application is always spoken to in HTTP/1.1, which keeps connections alive; an HTTP/1.0
    // client's proxy makes what it needs of the response.
    *request.version_mut() = Version::HTTP_11;
    debug_assert!(original.version <= Version::HTTP_11);
    // What was routed by is what the application sees: a `host` beside the authority counts nothing.
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    if original.form == Form::Origin {
        let root = || PathAndQuery::from_static("/");
        let path = request.uri().path_and_query().cloned().unwrap_or_else(root);
        *request.uri_mut() = Uri::from(path);
    }
    join_cookies(request.headers_mut());
    request.headers_mut().remove(TE);
}

/// HTTP/2 may split a cookie into several headers; HTTP/1.1 knows one.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes an HTTP/2 response of what came as HTTP/1.1.
pub(super) fn from_http1<B>(mut response: Response<B>) -> Response<B> {
    *response.version_mut() = Version::HTTP_2;
    drop_hop_headers(response.headers_mut());
    response
}

/// Takes off what concerned one HTTP/1.1 connection only. What proxies say is nobody's to take off.
pub(super) fn drop_hop_headers(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for line in &lines {
        let named = line.to_str().unwrap_or_default().split(',');
        for name in named.filter_map(|name| name.trim().parse::<HeaderName>().ok()) {
            if !name.as_str().starts_with("l5d-") {
                headers.remove(name);
            }
        }
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        TRAILER,
        PROXY_AUTHENTICATE,
    ] {
        headers.remove(name);
    }
}

/// Takes off what only proxies may say, so that no application can make a peer believe that a
/// request was not sent.
pub(super) fn drop_proxy_headers(headers: &mut HeaderMap) {
    let ours = |name: &&HeaderName| name.as_str().starts_with("l5d-");
    // Hardly ever there: found without allocating, taken off one by one.
    while let Some(name) = headers.keys().find(ours).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    fn restored(orig: &'static str, uri: &'static str) -> Request<Body> {
        let mut request = Request::builder()
            .version(Version::HTTP_2)
            .uri(uri)
            .header(ORIG_PROTO, orig)
            .header(COOKIE, "a=1")
            .header(COOKIE, "b=2")
            .body(Body::Empty)
            .unwrap();
        let original = original(request.headers_mut()).unwrap();
        to_http1(&mut request, &original);
        request
    }

    #[test]
    fn http1_request_is_restored() {
        let request = restored("HTTP/1.1", "http://web.shop:8080/a?b=c");
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "web.shop:8080");
        assert_eq!(request.headers()[COOKIE], "a=1; b=2");
        assert!(!request.headers().contains_key(ORIG_PROTO));
        let request = restored("HTTP/1.1; absolute-form", "http://web.shop:8080/a");
        assert_eq!(request.uri(), "http://web.shop:8080/a");
    }

    #[test]
    fn authority_wins_over_a_host_header_beside_it() {
        let mut request = Request::get("http://web.shop:8080/a")
            .version(Version::HTTP_2)
            .header(ORIG_PROTO, "HTTP/1.1")
            .header(HOST, "admin.shop")
            .body(Body::Empty)
            .unwrap();
        let original = original(request.headers_mut()).unwrap();
        to_http1(&mut request, &original);
        let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
        assert_eq!(hosts, ["web.shop:8080"]);
    }

    #[test]
    fn connection_header_takes_off_what_it_names_but_nothing_of_ours() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-one, l5d-client-id"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("l5d-client-id", "node.mesh"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        drop_hop_headers(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["l5d-client-id"]);
    }

    #[test]
    fn http2_request_and_nonsense_stay_as_they_are() {
        for value in ["", "HTTP/2.0", "nonsense"] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIG_PROTO, HeaderValue::from_static(value));
            assert_eq!(original(&mut headers), None);
            assert!(headers.is_empty());
        }
        assert_eq!(original(&mut HeaderMap::new()), None);
    }

    #[test]
    fn application_cannot_speak_for_the_proxy() {
        let mut headers = HeaderMap::new();
        for name in [
            "l5d-proxy-error",
            "l5d-proxy-unsent",
            "l5d-orig-proto",
            "x-l5d",
            "l5d",
        ] {
            headers.append(name, HeaderValue::from_static("true"));
            headers.append(name, HeaderValue::from_static("twice"));
        }
        drop_proxy_headers(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["l5d", "x-l5d"]);
    }

    #[test]
    fn response_loses_what_concerned_one_connection_only() {
        let response = Response::builder()
            .header(CONNECTION, "close, x-hop")
            .header(KEEP_ALIVE, "timeout=5")
            .header(TRANSFER_ENCODING, "chunked")
            .header("x-hop", "1")
            .header("x-end", "2")
            .body(())
            .unwrap();
        let response = from_http1(response);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-end"]);
    }
}
