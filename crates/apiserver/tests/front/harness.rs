//! One API server on a loopback address of its own, in a directory that goes with it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use rand::RngExt as _;
use tombolo_apiserver::db::Storage;
use tombolo_apiserver::run::{Config, Running};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const PORT: u16 = 6443;

/// A running API server and its directory.
pub(crate) struct Cluster {
    pub(crate) running: Running,
    pub(crate) config: Config,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts one with its objects on disk, on an address that no other test has.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            listen: free_address(),
            storage: Storage::Dir(dir.path().join("data")),
            kubeconfig: Some(dir.path().join("kubeconfig")),
            cluster: "test".to_owned(),
            ..Config::memory()
        };
        let running = Running::start(&config).await.unwrap();
        Self {
            running,
            config,
            dir,
        }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A client with the written kubeconfig, over HTTPS.
    pub(crate) async fn client(&self) -> kube::Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// A client that shows this token instead of a certificate.
    pub(crate) async fn client_with_token(&self, token: &str) -> kube::Client {
        let mut file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        for user in &mut file.auth_infos {
            user.auth_info = Some(kube::config::AuthInfo {
                token: Some(token.to_owned().into()),
                ..kube::config::AuthInfo::default()
            });
        }
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

/// A loopback address drawn by lot on which the port is free: these tests may run several times at once.
pub(crate) fn free_address() -> SocketAddr {
    let mut rng = rand::rng();
    let mut draw = || {
        let [second, third] = [rng.random_range(40..64), rng.random()];
        let ip = Ipv4Addr::new(127, second, third, rng.random_range(1..255));
        SocketAddr::from((ip, PORT))
    };
    (0..100)
        .map(|_| draw())
        .find(|&address| TcpListener::bind(address).is_ok())
        .unwrap_or_else(|| panic!("port {PORT} is taken on every loopback address"))
}

/// Waits until `ready` gives something, which it is asked often.
pub(crate) async fn eventually<T, F>(what: &str, mut ready: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let poll = async {
        loop {
            if let Some(value) = ready().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, poll)
        .await
        .unwrap_or_else(|_| panic!("{what} in {DEADLINE:?}"))
}
