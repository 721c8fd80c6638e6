use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::testing::{Authority, Validity};

const DEADLINE: Duration = Duration::from_secs(30);
const SERVER: &str = "server.ns.serviceaccount.identity.tombolo.cluster.local";
const CLIENT: &str = "client.ns.serviceaccount.identity.tombolo.cluster.local";
const ALPN: &[u8] = b"transport.l5d.io/v1";

type Both = (
    Result<Accepted<DuplexStream>, TlsError>,
    Result<Connected<DuplexStream>, TlsError>,
);

fn server(authority: &Authority, credentials: Credentials) -> ServerTls {
    ServerTls::new(
        ClientCertificate::Required(authority.anchors()),
        fixed(credentials),
        &[ALPN],
    )
}

fn client(authority: &Authority, credentials: Credentials) -> ClientTls {
    ClientTls::new(authority.anchors(), fixed(credentials), &[ALPN])
}

async fn shake(server: &ServerTls, client: &ClientTls) -> Both {
    let (near, far) = duplex(64 * 1024);
    let (mut accepted, mut connected) = tokio::join!(
        server.accept(near, DEADLINE),
        client.connect(far, SERVER, DEADLINE)
    );
    // Tickets, and alerts about the client's certificate, arrive with the first read.
    if let (Ok(accepted), Ok(connected)) = (&mut accepted, &mut connected) {
        accepted.stream.write_all(b"x").await.unwrap();
        connected.stream.read_u8().await.unwrap();
    }
    (accepted, connected)
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let authority = Authority::new();
    let server = server(&authority, authority.credentials(SERVER));
    let client = client(&authority, authority.credentials(CLIENT));
    let (accepted, connected) = shake(&server, &client).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.peer.identity.as_deref(), Some(CLIENT));
    assert_eq!(connected.peer.identity.as_deref(), Some(SERVER));
    assert_eq!(accepted.peer.alpn.as_deref(), Some(ALPN));
    let session = connected.stream.get_ref().1;
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn second_connection_resumes_and_still_knows_the_peer() {
    let authority = Authority::new();
    let server = server(&authority, authority.credentials(SERVER));
    let client = client(&authority, authority.credentials(CLIENT));
    let (first, _) = shake(&server, &client).await;
    assert_eq!(
        first.unwrap().stream.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::Full)
    );
    let (second, _) = shake(&server, &client).await;
    let second = second.unwrap();
    assert_eq!(
        second.stream.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    assert_eq!(second.peer.identity.as_deref(), Some(CLIENT));
}

#[tokio::test]
async fn each_side_says_what_is_wrong_with_the_others_certificate() {
    let (ours, other) = (Authority::new(), Authority::new());
    let good = || ours.credentials(SERVER);
    let expired = || ours.issue(SERVER, Validity::expired()).credentials();
    for (credentials, want) in [
        (other.credentials(SERVER), "other-root"),
        (expired(), "expired"),
        (
            ours.credentials("other.ns.serviceaccount.identity.tombolo.cluster.local"),
            "other-name",
        ),
    ] {
        let (_, connected) = shake(
            &server(&ours, credentials),
            &client(&ours, ours.credentials(CLIENT)),
        )
        .await;
        assert_eq!(connected.unwrap_err().kind(), want);
    }
    for (credentials, want) in [
        (other.credentials(CLIENT), "other-root"),
        (expired(), "expired"),
    ] {
        let (near, far) = duplex(64 * 1024);
        let (server, client) = (server(&ours, good()), client(&ours, credentials));
        let (accepted, connected) = tokio::join!(
            server.accept(near, DEADLINE),
            client.connect(far, SERVER, DEADLINE)
        );
        assert_eq!(accepted.unwrap_err().kind(), want);
        // In TLS 1.3 the client is done before the server has looked: it learns at its first read.
        let error = connected.unwrap().stream.read_u8().await.unwrap_err();
        assert_eq!(TlsError::from_io(error, SERVER).kind(), "refused");
    }
}

#[tokio::test]
async fn client_without_a_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new();
    let server = server(&authority, authority.credentials(SERVER));
    let (near, far) = duplex(64 * 1024);
    let anonymous = ClientTls::anonymous(authority.anchors(), &[ALPN]);
    let (accepted, _) = tokio::join!(
        server.accept(near, DEADLINE),
        anonymous.connect(far, SERVER, DEADLINE)
    );
    assert_eq!(accepted.unwrap_err().kind(), "no-certificate");
}

#[tokio::test]
async fn client_without_the_protocol_is_seen() {
    let authority = Authority::new();
    let server = server(&authority, authority.credentials(SERVER));
    let live = fixed(authority.credentials(CLIENT));
    let none = ClientTls::new(authority.anchors(), live.clone(), &[]);
    let (accepted, _) = shake(&server, &none).await;
    assert_eq!(accepted.unwrap().peer.alpn, None);
    let other = ClientTls::new(authority.anchors(), live, &[b"h3"]);
    let (accepted, connected) = shake(&server, &other).await;
    assert_eq!(accepted.unwrap_err().kind(), "no-protocol");
    assert_eq!(connected.unwrap_err().kind(), "no-protocol");
}

#[tokio::test]
async fn renewed_credentials_serve_the_next_handshake() {
    let authority = Authority::new();
    let (live, credentials) = watch::channel(None);
    let server = ServerTls::new(
        ClientCertificate::Required(authority.anchors()),
        credentials,
        &[ALPN],
    );
    let client = client(&authority, authority.credentials(CLIENT));
    let (near, _far) = duplex(1024);
    assert_eq!(
        server.accept(near, DEADLINE).await.unwrap_err().kind(),
        "not-certified"
    );
    let mut seen = Vec::new();
    for _ in 0..2 {
        live.send_replace(Some(Arc::new(authority.credentials(SERVER))));
        let (accepted, connected) = shake(&server, &client).await;
        let kind = accepted.unwrap().stream.get_ref().1.handshake_kind();
        assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
        seen.push(connected.unwrap().peer.certificate.unwrap());
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn session_does_not_outlive_the_certificate() {
    let authority = Authority::new();
    let clock = Clock::system();
    let anchors = ClientCertificate::Required(authority.anchors());
    let short = authority.issue(CLIENT, Validity::from_now(Duration::from_secs(60)));
    let live = fixed(authority.credentials(SERVER));
    let server = ServerTls::with_clock(anchors, live, &[ALPN], clock.clone());
    let client = client(&authority, short.credentials());
    shake(&server, &client).await.0.unwrap();
    clock.advance(Duration::from_secs(120));
    assert_eq!(
        shake(&server, &client).await.0.unwrap_err().kind(),
        "expired"
    );
}

#[tokio::test(start_paused = true)]
async fn silent_and_garbled_peers_end_in_time() {
    let authority = Authority::new();
    let server = server(&authority, authority.credentials(SERVER));
    let (near, _silent) = duplex(1024);
    assert_eq!(
        server.accept(near, DEADLINE).await.unwrap_err().kind(),
        "timeout"
    );
    let (near, mut far) = duplex(1024);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        server.accept(near, DEADLINE).await.unwrap_err().kind(),
        "protocol"
    );
    let (near, far) = duplex(1024);
    drop(far);
    assert_eq!(
        server.accept(near, DEADLINE).await.unwrap_err().kind(),
        "io"
    );
}

#[test]
fn bad_pem_says_what_is_missing() {
    let authority = Authority::new();
    let issued = authority.issue(SERVER, Validity::from_now(DEADLINE));
    let (chain, key) = (issued.chain_pem.as_bytes(), issued.key_pem.as_bytes());
    let other = authority.issue(SERVER, Validity::from_now(DEADLINE));
    for (error, want) in [
        (Anchors::from_pem(b"").unwrap_err(), "no certificate"),
        (Anchors::from_pem(key).unwrap_err(), "no certificate"),
        (
            Credentials::from_pem(b"garbage", key).unwrap_err(),
            "no certificate",
        ),
        (
            Credentials::from_pem(chain, b"").unwrap_err(),
            "no private key",
        ),
        (
            Credentials::from_pem(chain, other.key_pem.as_bytes()).unwrap_err(),
            "does not fit",
        ),
        (
            Credentials::from_der(vec![b"garbage".to_vec()], vec![]).unwrap_err(),
            "malformed",
        ),
    ] {
        assert!(error.to_string().contains(want), "{error}");
    }
    assert_eq!(authority.credentials(SERVER).facts().dns_names, [SERVER]);
}
