//! What must be applied to a cluster before its control plane runs, or before others link to it.
use anyhow::Context;
use serde_json::Value;
use tombolo_k8s::{crd, manifest};

/// Print objects that a cluster needs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tombolo manifests crds | kubectl apply -f -
  tombolo manifests control | kubectl apply -f -
  kubectl create token control --namespace tombolo
  tombolo manifests remote-access | kubectl --context east apply -f -
  kubectl --context east get secret remote-access-token --namespace tombolo -o jsonpath='{.data.token}' | base64 -d")]
pub struct ManifestsArgs {
    /// What for
    #[arg(value_enum)]
    pub what: Manifests,
    /// Namespace of the service account
    #[arg(long, default_value = "tombolo")]
    pub namespace: String,
}

/// Objects that are applied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Manifests {
    /// The CustomResourceDefinition of Link
    Crds,
    /// The service account `control` and all that a control plane may do in its own cluster
    Control,
    /// The service account `remote-access`, its token, and all that the control planes of linked clusters may do here: read
    RemoteAccess,
}

/// The objects, as YAML documents.
///
/// # Errors
/// When one cannot be encoded.
pub fn manifests(args: &ManifestsArgs) -> anyhow::Result<String> {
    let objects = match args.what {
        Manifests::Crds => vec![crd::links_crd()],
        Manifests::Control => in_its_namespace(args, manifest::control),
        Manifests::RemoteAccess => in_its_namespace(args, manifest::remote_access),
    };
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object).context("encode an object")?);
    }
    Ok(text)
}

fn in_its_namespace(args: &ManifestsArgs, objects: fn(&str) -> Vec<Value>) -> Vec<Value> {
    let mut all = vec![manifest::namespace(&args.namespace)];
    all.extend(objects(&args.namespace));
    all
}
