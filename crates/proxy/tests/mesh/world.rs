//! The addresses and processes of one test: each test has loopback addresses of its own, so that
//! tests run side by side and every proxy has its usual ports.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::client;
use crate::control::{Control, NAME, Served, Serving, TOKEN};

/// Long enough for a certificate that is not renewed during a test.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// One test's world.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) serving: Option<Serving>,
    pub(crate) dir: tempfile::TempDir,
    net: u8,
}

/// One proxy process; dropped, it is killed.
pub(crate) struct Proxy {
    pub(crate) ip: IpAddr,
    pub(crate) identity: String,
    pub(crate) child: Child,
    stdin: Option<tokio::process::ChildStdin>,
}

impl World {
    pub(crate) fn new(life: Duration) -> Self {
        static NETS: AtomicU8 = AtomicU8::new(1);
        let net = NETS.fetch_add(1, Ordering::SeqCst);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        let mut world = Self {
            control: Control::new(ip(net, 2), life),
            serving: None,
            dir,
            net,
        };
        world.serving = Some(world.control.serve());
        world
    }

    pub(crate) fn ip(&self, host: u8) -> IpAddr {
        ip(self.net, host)
    }

    pub(crate) fn addr(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(host), port)
    }

    /// The environment of the proxy of `account` at `host`.
    pub(crate) fn environment(&self, account: &str, host: u8) -> BTreeMap<String, String> {
        let control = self.control.addr.to_string();
        let at = |port: u16| self.addr(host, port).to_string();
        let token = self.dir.path().join("token").display().to_string();
        [
            (
                "IDENTITY_TRUST_ANCHORS",
                self.control.authority.root_pem().to_owned(),
            ),
            ("IDENTITY_LOCAL_NAME", identity(account)),
            ("IDENTITY_TOKEN_FILE", token),
            ("IDENTITY_SVC_ADDR", control.clone()),
            ("IDENTITY_SVC_NAME", NAME.to_owned()),
            ("IDENTITY_MIN_REFRESH", "100ms".to_owned()),
            ("DESTINATION_SVC_ADDR", control.clone()),
            ("DESTINATION_SVC_NAME", NAME.to_owned()),
            ("POLICY_SVC_ADDR", control),
            ("POLICY_SVC_NAME", NAME.to_owned()),
            (
                "POLICY_WORKLOAD",
                format!(r#"{{"ns":"shop","pod":"{account}"}}"#),
            ),
            ("INBOUND_LISTEN_ADDR", at(4143)),
            ("OUTBOUND_LISTEN_ADDR", at(4140)),
            ("ADMIN_LISTEN_ADDR", at(4191)),
            (
                "LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
            ),
        ]
        .map(|(name, value)| (format!("LINKERD2_PROXY_{name}"), value))
        .into_iter()
        // The first request waits for the control plane of a busy test, too.
        .chain([(
            "TOMBOLO_PROXY_OUTBOUND_DISCOVERY_WAIT".to_owned(),
            "30s".to_owned(),
        )])
        .collect()
    }

    /// Starts a proxy and waits until it is ready.
    pub(crate) async fn proxy(&self, account: &str, host: u8) -> Proxy {
        self.proxy_with(account, host, &[]).await
    }

    pub(crate) async fn proxy_with(&self, account: &str, host: u8, more: &[(&str, &str)]) -> Proxy {
        let mut environment = self.environment(account, host);
        environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        let mut child = command()
            .envs(environment)
            .env("TOMBOLO_PROXY_LISTENERS", "stdin")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let identity = identity(account);
        let mut proxy = Proxy {
            ip: self.ip(host),
            identity,
            child,
            stdin,
        };
        proxy.listen(&[]).await;
        proxy.wait_ready().await;
        proxy
    }

    /// The service `name` is known at `addr` and served by `proxies`.
    pub(crate) fn service(&self, addr: SocketAddr, name: &str, proxies: &[&Proxy]) {
        let served = proxies.iter().map(|proxy| proxy.serves(8080)).collect();
        self.control.change(|known| {
            known.services.insert(addr, name.to_owned());
            known.endpoints.insert(name.to_owned(), served);
        });
    }
}

impl Proxy {
    pub(crate) fn serves(&self, port: u16) -> Served {
        let addr = SocketAddr::new(self.ip, port);
        Served {
            addr,
            identity: self.identity.clone(),
            authority: None,
        }
    }

    /// Tells the proxy where to listen.
    pub(crate) async fn listen(&mut self, addrs: &[SocketAddr]) {
        let mut line = serde_json::to_string(addrs).unwrap();
        line.push('\n');
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).await.unwrap();
        for addr in addrs {
            eventually("the proxy listens", async || {
                tombolo_shell::net::connect(*addr, client::DEADLINE)
                    .await
                    .is_ok()
            })
            .await;
        }
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    async fn wait_ready(&self) {
        let admin = SocketAddr::new(self.ip, 4191);
        eventually("the proxy is ready", async || {
            let answer = client::try_get(admin, "/ready").await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// The value of one metric.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let text = client::get(SocketAddr::new(self.ip, 4191), "/metrics")
            .await
            .body;
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        self.exit_code_within(client::DEADLINE).await
    }

    pub(crate) async fn exit_code_within(&mut self, deadline: Duration) -> Option<i32> {
        let exit = tokio::time::timeout(deadline, self.child.wait()).await;
        exit.expect("the proxy ends").unwrap().code()
    }
}

/// The proxy, with nothing in its environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo-proxy"));
    command.env_clear().kill_on_drop(true);
    command
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + client::DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within the deadline: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn identity(account: &str) -> String {
    format!("{account}.shop.serviceaccount.identity.tombolo.cluster.local")
}

/// By process and test, so that two runs do not meet.
fn ip(net: u8, host: u8) -> IpAddr {
    let run = u8::try_from(std::process::id() % 50).unwrap() + 180;
    Ipv4Addr::new(127, run, net, host).into()
}
