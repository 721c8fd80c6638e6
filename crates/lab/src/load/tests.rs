//! Proves that the generator counts and times rightly, against servers whose delays are known.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;

/// What the server does with a request.
enum Act {
    /// Answers with these bytes.
    Answer(String),
    /// Answers with these bytes once this time of the epoch has come.
    AnswerAt(Duration, String),
    /// Sends these bytes and closes the connection.
    Close(&'static str),
    /// Says nothing, ever.
    Hang,
}

fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Serves in a thread of its own until the test's process ends. The function sees the number of
/// the request and the time of the epoch.
fn serve(epoch: Epoch, act: impl Fn(usize, Duration) -> Act + Send + Sync + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(accept(listener, epoch, Arc::new(act)));
    });
    address
}

async fn accept(
    listener: std::net::TcpListener,
    epoch: Epoch,
    act: Arc<impl Fn(usize, Duration) -> Act + Send + Sync + 'static>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (act, count) = (act.clone(), count.clone());
        let next = move |now| act(count.fetch_add(1, Ordering::Relaxed), now);
        // The client may leave at any moment.
        connections.spawn(async move { converse(stream, epoch, next).await.ok() });
    }
}

async fn converse(
    mut stream: TcpStream,
    epoch: Epoch,
    next: impl Fn(Duration) -> Act,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        match next(epoch.now()) {
            Act::Answer(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Act::AnswerAt(at, bytes) => {
                tokio::time::sleep(at.saturating_sub(epoch.now())).await;
                stream.write_all(bytes.as_bytes()).await?;
            }
            Act::Close(bytes) => return stream.write_all(bytes.as_bytes()).await,
            Act::Hang => std::future::pending().await,
        }
    }
}

fn spec(address: SocketAddr, rate_per_s: u32, epoch: Epoch) -> Spec {
    let names = Names {
        service: "frontend-federated",
        client: "north",
        application: "frontend",
    };
    Spec::new(names, address, NonZeroU32::new(rate_per_s).unwrap(), epoch)
}

/// Runs until so many requests are over, and returns the records of these and any later ones.
async fn run_until(spec: Spec, requests: u64) -> Vec<Record> {
    let running = start(spec).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while running.tally().requests < requests {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            running.tally()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    running.finish().await.unwrap()
}

/// The schedule that the records must follow, whatever the server did.
fn assert_on_schedule(records: &[Record], rate_per_s: u32) {
    let first = records[0].intended_at;
    for (n, record) in records.iter().enumerate() {
        let due = due_after(n as u64, NonZeroU32::new(rate_per_s).unwrap());
        assert_eq!(
            record.intended_at - first,
            due,
            "request {n} was due at another time"
        );
    }
}

#[tokio::test]
async fn each_request_is_counted_once_with_the_cluster_that_answered() {
    let epoch = Epoch::start();
    let address = serve(epoch, |n, _| match n % 3 {
        0 => Act::Answer(answer("frontend from west\n")),
        1 => Act::Answer(answer("frontend from east")),
        _ => Act::Answer(
            "HTTP/1.1 200 OK\r\nx-cluster: north\r\ncontent-length: 15\r\n\r\nfrontend from ?"
                .into(),
        ),
    });
    let records = run_until(spec(address, 500, epoch), 300).await;
    assert_on_schedule(&records, 500);
    let mut tally = Tally::default();
    records.iter().for_each(|record| tally.add(record));
    assert_eq!(tally.failed, 0);
    assert_eq!(tally.requests, records.len() as u64);
    let counts: Vec<u64> = ["west", "east", "north"]
        .map(|name| tally.by_cluster[name])
        .into();
    assert_eq!(counts.iter().sum::<u64>(), tally.requests);
    assert!(counts[0] - counts[2] <= 1, "{counts:?}");
    assert!((0.32..0.35).contains(&tally.share("east")), "{counts:?}");
}

#[tokio::test]
async fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    let epoch = Epoch::start();
    let begun = Arc::new(OnceLock::new());
    let seen = begun.clone();
    let until = |from: Duration| from + Duration::from_millis(400);
    // The server stands still from when it sees the hundredth request.
    let address = serve(epoch, move |n, now| {
        let answer = answer("frontend from west");
        if n < 100 {
            return Act::Answer(answer);
        }
        Act::AnswerAt(until(*seen.get_or_init(|| now)), answer)
    });
    let records = run_until(spec(address, 500, epoch), 1000).await;
    let from = *begun.get().unwrap();
    let stall = from..until(from);
    assert_on_schedule(&records, 500);
    assert!(records.iter().all(|record| !record.failed()));
    let due_meanwhile: Vec<_> = records
        .iter()
        .filter(|record| stall.contains(&record.intended_at))
        .collect();
    assert!(
        (199..=201).contains(&due_meanwhile.len()),
        "{}",
        due_meanwhile.len()
    );
    for record in due_meanwhile {
        assert!(record.ended_at() >= stall.end, "{record:?}");
    }
}

#[tokio::test]
async fn a_stall_with_few_connections_is_not_hidden_by_the_requests_that_had_to_wait() {
    let epoch = Epoch::start();
    let begun = Arc::new(OnceLock::new());
    let seen = begun.clone();
    let until = |from: Duration| from + Duration::from_millis(500);
    // The server stands still from when it sees the first request.
    let address = serve(epoch, move |_, now| {
        let end = until(*seen.get_or_init(|| now));
        Act::AnswerAt(end, answer("frontend from west"))
    });
    let mut spec = spec(address, 200, epoch);
    spec.connections_max = 2;
    let records = run_until(spec, 150).await;
    assert_on_schedule(&records, 200);
    let end = until(*begun.get().unwrap());
    let waited = records.iter().filter(|record| record.intended_at < end);
    assert!(waited.clone().count() >= 90);
    for record in waited {
        assert!(!record.failed() && record.ended_at() >= end, "{record:?}");
    }
}

#[tokio::test]
async fn the_schedule_is_kept_at_2000_requests_a_second() {
    // 3,000 requests are 1.5 s of schedule. Were it slower, each run would last longer; a machine that
    // stands still makes one last longer.
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let epoch = Epoch::start();
        let address = serve(epoch, |_, _| Act::Answer(answer("frontend from west")));
        let records = run_until(spec(address, 2000, epoch), 3000).await;
        assert_on_schedule(&records, 2000);
        assert!(records.iter().all(|record| !record.failed()));
        best = best.min(records[2999].ended_at() - records[0].intended_at);
        if best < Duration::from_secs(5) {
            return;
        }
    }
    panic!("the best of three runs took {best:?}");
}

#[tokio::test]
async fn every_kind_of_failure_is_told_apart_and_counted_once() {
    type Case = (&'static str, fn() -> Act, Outcome);
    let with_status = |kind| Outcome::Failed {
        kind,
        status: Some(200),
        proxy_error: None,
    };
    let cases: [Case; 8] = [
        (
            "nothing said",
            || Act::Close(""),
            Outcome::failed(FailureKind::Lost),
        ),
        (
            "half a head",
            || Act::Close("HTTP/1.1 200 OK\r\nx-clu"),
            Outcome::failed(FailureKind::Lost),
        ),
        (
            "half a body",
            || Act::Close("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nfrontend from west"),
            Outcome::failed(FailureKind::Lost),
        ),
        (
            "garbage",
            || Act::Close("\u{16}\u{3}\u{1}garbage"),
            Outcome::failed(FailureKind::Lost),
        ),
        (
            "another application",
            || Act::Answer(answer("api from west")),
            with_status(FailureKind::Answer),
        ),
        (
            "an empty answer",
            || Act::Answer(answer("")),
            with_status(FailureKind::Answer),
        ),
        (
            "an endless answer",
            || Act::Answer(answer(&"a".repeat(70_000))),
            { Outcome::failed(FailureKind::Answer) },
        ),
        (
            "no answer",
            || Act::Hang,
            Outcome::failed(FailureKind::Timeout),
        ),
    ];
    for (case, act, want) in cases {
        let epoch = Epoch::start();
        let address = serve(epoch, move |_, _| act());
        let mut spec = spec(address, 100, epoch);
        if want == Outcome::failed(FailureKind::Timeout) {
            spec.timeout = Duration::from_millis(250);
        }
        let records = run_until(spec, 5).await;
        assert_on_schedule(&records, 100);
        for record in records {
            assert_eq!(record.outcome, want, "{case}");
        }
    }
}

#[tokio::test]
async fn another_status_is_a_failure_with_the_proxys_explanation() {
    let epoch = Epoch::start();
    let address = serve(epoch, move |_, _| {
        Act::Answer(
            "HTTP/1.1 503 Service Unavailable\r\nl5d-proxy-error: no endpoint of east\r\n\
             content-length: 0\r\n\r\n"
                .into(),
        )
    });
    for record in run_until(spec(address, 100, epoch), 5).await {
        let proxy_error = Some("no endpoint of east".into());
        let kind = FailureKind::Status;
        assert_eq!(
            record.outcome,
            Outcome::Failed {
                kind,
                status: Some(503),
                proxy_error
            }
        );
    }
}

#[tokio::test]
async fn a_timeout_takes_its_time_from_when_the_request_was_due() {
    let epoch = Epoch::start();
    let address = serve(epoch, |_, _| Act::Hang);
    let mut spec = spec(address, 100, epoch);
    (spec.timeout, spec.connections_max) = (Duration::from_millis(200), 1);
    // Did their time begin when they are sent, one after the other, the last would take 12 s.
    for record in run_until(spec, 60).await {
        assert_eq!(record.outcome, Outcome::failed(FailureKind::Timeout));
        let latency = record.latency;
        assert!((200..5000).contains(&latency.as_millis()), "{latency:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_each_time() {
    // Bound, so that nobody else gets the port, and nobody listens.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let epoch = Epoch::start();
    let records = run_until(spec(address, 200, epoch), 40).await;
    assert_on_schedule(&records, 200);
    for record in records {
        assert_eq!(record.outcome, Outcome::failed(FailureKind::Connect));
    }
    drop(socket);
}

#[tokio::test]
async fn a_lost_connection_is_replaced_and_costs_one_request() {
    let epoch = Epoch::start();
    let address = serve(epoch, |n, _| match n {
        50 => Act::Close(""),
        _ => Act::Answer(answer("frontend from west")),
    });
    let records = run_until(spec(address, 200, epoch), 100).await;
    let failed: Vec<_> = records.iter().filter(|record| record.failed()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].outcome, Outcome::failed(FailureKind::Lost));
}

#[tokio::test]
async fn a_connection_that_the_server_closes_in_good_order_costs_nothing() {
    let epoch = Epoch::start();
    let address = serve(epoch, |_, _| {
        Act::Close(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 18\r\n\r\nfrontend from west",
        )
    });
    let records = run_until(spec(address, 200, epoch), 60).await;
    assert!(records.iter().all(|record| !record.failed()));
}

#[tokio::test]
async fn a_dropped_load_stops() {
    let epoch = Epoch::start();
    let (tx, mut rx) = mpsc::channel(10_000);
    let address = serve(epoch, move |_, _| {
        tx.try_send(()).ok();
        Act::Hang
    });
    let running = start(spec(address, 100, epoch)).unwrap();
    rx.recv().await.unwrap();
    drop(running);
    // No more requests come once the generator has noticed.
    let quiet = async {
        while tokio::time::timeout(Duration::from_millis(200), rx.recv())
            .await
            .is_ok()
        {}
    };
    tokio::time::timeout(Duration::from_secs(30), quiet)
        .await
        .expect("it still sends");
}
