//! Runs a script against one cluster and keeps what was answered.
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Cluster;
use crate::binaries::path_with_kubectl;
use crate::managers::settle;
use crate::normal::normal;
use crate::script::{Action, Step};

/// One step takes no longer.
const STEP_DEADLINE: Duration = Duration::from_secs(180);
/// What is waited for comes before this.
const UNTIL_DEADLINE: Duration = Duration::from_secs(120);

/// How what is no answer begins.
/// A request that was not answered.
pub(crate) const NO_ANSWER: &str = "no answer";
const NO_END: &str = "no end within";
const NOT_COME: &str = "did not come within";

/// Whether a step came to anything. What both sides fail to do is nothing that they do alike.
pub(crate) fn is_answer(text: &str) -> bool {
    let none = [NO_ANSWER, NO_END, NOT_COME];
    !none.iter().any(|none| text.starts_with(none))
}

/// Who plays scripts against a cluster.
pub struct Player {
    kubeconfig: PathBuf,
    path: OsString,
    home: PathBuf,
    client: kube::Client,
}

impl Player {
    /// With the rights of the cluster's administrator.
    ///
    /// # Errors
    /// When the cluster cannot be reached, or there is no kubectl.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        // kubectl keeps what it has discovered there.
        let home = cluster.dir().join("home");
        std::fs::create_dir_all(&home).context("create a home directory")?;
        let mut config = crate::config(&cluster.kubeconfig()).await?;
        // What is refused is an answer, not a reason to ask again.
        config.default_retry = false;
        Ok(Self {
            kubeconfig: cluster.kubeconfig(),
            path: path_with_kubectl().context("there is no kubectl: cargo xtask kube")?,
            home,
            client: kube::Client::try_from(config).context("make a client")?,
        })
    }

    /// What each step answered, normalised; nothing for those that are not compared.
    ///
    /// # Errors
    /// When a step cannot be run at all.
    pub async fn play(&self, steps: &[Step]) -> Result<Vec<String>> {
        let mut answers = Vec::new();
        for step in steps {
            let answer = match &step.action {
                Action::Shell(line) => normal(&self.shell(line, &step.input).await?.1),
                Action::Until(line) => self.until(line).await?,
                Action::Request {
                    method,
                    path,
                    headers,
                } => normal(&self.request((method, path), headers, &step.input).await?),
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Exit code, output and errors of a shell command; whether it succeeded.
    async fn shell(&self, line: &str, input: &str) -> Result<(bool, String)> {
        let mut child = Command::new("sh")
            .args(["-c", line])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .env("KUBE_EDITOR", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start a shell")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read it need not have it.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        let output = tokio::time::timeout(STEP_DEADLINE, child.wait_with_output()).await;
        let Ok(output) = output else {
            return Ok((false, format!("{NO_END} {STEP_DEADLINE:?}\n")));
        };
        let output = output.context("wait for a shell")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // Missing on both sides would look the same on both sides.
        let stderr = text(&output.stderr);
        let missing = stderr
            .lines()
            .find(|line| line.starts_with("sh: ") && line.ends_with(" not found"));
        if let Some(missing) = missing {
            bail!("{line}: a program is not on this machine: {missing}");
        }
        let mut shown = format!("exit {}\n", output.status.code().unwrap_or(-1));
        shown.push_str(&text(&output.stdout));
        for line in stderr.lines() {
            // A word about the age of the client, not about the server.
            if !line.starts_with("WARNING: version difference") {
                writeln!(shown, "stderr: {line}").context("write to a string")?;
            }
        }
        Ok((output.status.success(), shown))
    }

    async fn until(&self, line: &str) -> Result<String> {
        let deadline = Instant::now() + UNTIL_DEADLINE;
        loop {
            let (succeeded, shown) = self.shell(line, "").await?;
            if succeeded {
                return Ok(String::new());
            }
            if Instant::now() > deadline {
                return Ok(format!("{NOT_COME} {UNTIL_DEADLINE:?}: {}", normal(&shown)));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn request(
        &self,
        (method, path): (&str, &str),
        headers: &[(String, String)],
        body: &str,
    ) -> Result<String> {
        let make = || {
            let mut request = http::Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request
                .body(kube::client::Body::from(body.as_bytes().to_vec()))
                .with_context(|| format!("make the request {method} {path}"))
        };
        let (first, second) = (make()?, make()?);
        let whole = async {
            let mut answer = self.client.send(first).await;
            // One that was kept, and that the server had given up meanwhile; what is only read may be asked again.
            if method == "GET" && answer.as_ref().is_err_and(was_closed) {
                answer = self.client.send(second).await;
            }
            let response = answer.context("send a request")?;
            let (head, body) = response.into_parts();
            // A watch ends when it is told to (`timeoutSeconds`), everything else at once.
            let bytes = body.collect().await.context("read an answer")?.to_bytes();
            anyhow::Ok((head, bytes))
        };
        let Ok(answer) = tokio::time::timeout(STEP_DEADLINE, whole).await else {
            return Ok(format!("{NO_ANSWER} within {STEP_DEADLINE:?}\n"));
        };
        let (head, bytes) = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(format!("{NO_ANSWER}: {error:#}\n")),
        };
        let mut shown = format!("{}\n", head.status.as_u16());
        for name in [
            "content-type",
            "warning",
            "allow",
            "retry-after",
            "location",
        ] {
            for value in head.headers.get_all(name) {
                writeln!(
                    shown,
                    "{name}: {}",
                    String::from_utf8_lossy(value.as_bytes())
                )?;
            }
        }
        shown.push_str(&readable(&bytes));
        Ok(shown)
    }
}

/// Whether the connection ended before anything of an answer came.
fn was_closed(error: &kube::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        }
        cause = error.source();
    }
    false
}

/// JSON one field a line, the lists of managers in an order without times; also where it is one document a line, as in watches; other text as it is.
fn readable(bytes: &[u8]) -> String {
    let stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let documents: Result<Vec<Value>, _> = stream.collect();
    match documents {
        Ok(mut documents) => {
            documents.iter_mut().for_each(settle);
            let shown = documents.iter().map(|document| format!("{document:#}\n"));
            shown.collect()
        }
        Err(_not_json) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
