//! The way to the API server of this cluster, as the kubeconfig of the command line tells it.
//!
//! Decides what a newcomer is told of a file that cannot be used: once, and with what there is to choose from.
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::args::Args;
use crate::world::checked;
use crate::world::feed::causes;

/// Connecting to an API server takes no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// A client of it, and what its cluster is called.
pub(super) async fn client(args: &Args) -> anyhow::Result<(kube::Client, Config, String)> {
    let path = args.kubeconfig.display();
    let kubeconfig = read(args)?;
    check_context(&kubeconfig, args.context.as_deref())
        .with_context(|| format!("the kubeconfig {path} cannot be used"))?;
    let cluster = args.cluster_name.clone();
    let cluster = cluster
        .or_else(|| cluster_of(&kubeconfig, args.context.as_deref()))
        .unwrap_or_else(|| "local".to_owned());
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    let made = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = match made {
        Ok(config) => config,
        Err(error) => bail!("the kubeconfig {path} cannot be used: {}", causes(&error)),
    };
    // Such an authority vouches for nobody, and every connection would fail.
    ensure!(
        config
            .root_cert
            .as_ref()
            .is_none_or(|certs| !certs.is_empty()),
        "the kubeconfig {path} cannot be used: clusters.certificate-authority-data: holds no certificate"
    );
    config.connect_timeout = Some(CONNECT_DEADLINE);
    match checked::client(config.clone()) {
        Ok(client) => Ok((client, config, cluster)),
        Err(error) => bail!("no client from the kubeconfig {path}: {}", causes(&error)),
    }
}

/// The errors of the library name the file, and their cause, in their own text already.
fn read(args: &Args) -> anyhow::Result<Kubeconfig> {
    let path = args.kubeconfig.display();
    match Kubeconfig::read_from(&args.kubeconfig) {
        Ok(kubeconfig) => Ok(kubeconfig),
        Err(KubeconfigError::ReadConfig(error, _)) => {
            bail!("cannot read the kubeconfig {path}: {error}")
        }
        Err(error) => bail!("the kubeconfig {path} is none: {}", causes(&error)),
    }
}

fn check_context(kubeconfig: &Kubeconfig, asked: Option<&str>) -> anyhow::Result<()> {
    let contexts = kubeconfig.contexts.iter();
    let names: Vec<_> = contexts.map(|context| context.name.as_str()).collect();
    let has = match names.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", names.join(", ")),
    };
    let current = kubeconfig.current_context.as_deref();
    match (asked, current.filter(|name| !name.is_empty())) {
        (Some(name), _) if !names.contains(&name) => {
            bail!("--context {name}: there is no such context: {has}")
        }
        (None, None) => bail!("it has no current-context; say --context: {has}"),
        (None, Some(name)) if !names.contains(&name) => {
            bail!("its current-context {name:?} is none of its contexts: {has}")
        }
        _ => Ok(()),
    }
}

/// What a context calls its cluster.
fn cluster_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let named = kubeconfig.contexts.iter().find(|c| c.name == context)?;
    let cluster = &named.context.as_ref()?.cluster;
    (!cluster.is_empty()).then(|| cluster.clone())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    const TWO: &str = "
        {apiVersion: v1, kind: Config,
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}],
         users: [{name: u, user: {token: t}}],
         contexts: [{name: west, context: {cluster: c, user: u}}, {name: east, context: {cluster: c, user: u}}]";

    /// What is said of a file of that content, with this context asked for.
    async fn said(text: Option<&str>, context: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let file = path.to_str().unwrap();
        let listen = ["--listen", "127.0.0.1", "--plaintext"];
        let line = [&["control", "--kubeconfig", file][..], &listen, context].concat();
        let args = Command::try_parse_from(line).unwrap().args;
        tombolo_shell::tls::install_provider();
        match client(&args).await {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}").replace(file, "FILE"),
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_told_once_and_what_there_is_instead() {
        let current = format!("{TWO}, current-context: gone}}");
        let (current, none) = (current.as_str(), format!("{TWO}}}"));
        for (text, context, want) in [
            (
                None,
                &[][..],
                "cannot read the kubeconfig FILE: No such file or directory (os error 2)",
            ),
            (
                Some(current),
                &["--context", "xx"],
                "the kubeconfig FILE cannot be used: --context xx: there is no such context: it has west, east",
            ),
            (
                Some(current),
                &[],
                "the kubeconfig FILE cannot be used: its current-context \"gone\" is none of its contexts: it has west, east",
            ),
            (
                Some(&none),
                &[],
                "the kubeconfig FILE cannot be used: it has no current-context; say --context: it has west, east",
            ),
            (Some(&none), &["--context", "east"], ""),
        ] {
            assert_eq!(said(text, context).await, want);
        }
        let nonsense = said(Some("a: [b"), &[]).await;
        assert!(
            nonsense.starts_with("the kubeconfig FILE is none: "),
            "{nonsense}"
        );
    }
}
