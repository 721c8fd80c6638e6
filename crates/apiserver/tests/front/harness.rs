//! One API server on a loopback address of its own, in a directory that goes with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tombolo_apiserver::db::Storage;
use tombolo_apiserver::run::{Config, Running};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running API server and its directory.
pub(crate) struct Cluster {
    pub(crate) running: Running,
    pub(crate) config: Config,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts one with its objects on disk, on an address that no other test has.
    pub(crate) async fn start() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let dir = tempfile::tempdir().unwrap();
        let ip = Ipv4Addr::new(127, 40, 7, NEXT.fetch_add(1, Ordering::Relaxed));
        let config = Config {
            listen: SocketAddr::from((ip, 0)),
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
