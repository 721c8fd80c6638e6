//! Whether the Links work, shown by traffic and not by anybody's word.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};

use super::{Lab, STEP};
use crate::ask;
use crate::cluster::Cluster;
use crate::manifests::SERVICES;
use crate::topology::{DEMO_NAMESPACE, LinkPlan, Route, links};

/// How long the Links may take to work.
const LINKS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one answer may take while it is waited for others.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one answer may take where it is the evidence.
const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// After how many questions without the cluster that is asked for the name is looked up again.
const QUESTIONS: usize = 40;

/// A name of a service, as a client in one cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Service's name in the client's cluster.
    pub service: String,
    /// The client's cluster.
    pub client: &'static str,
    /// The address that the client dials.
    pub address: SocketAddr,
    /// `<name>.<namespace>.svc.<domain>:<port>`
    pub host: String,
}

/// Who answered at a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// How many answers each cluster gave.
    pub answers: BTreeMap<String, u32>,
    /// What went wrong, and how often.
    pub failures: BTreeMap<String, u32>,
}

impl Lab {
    /// Where `service` is for a client in `client`.
    ///
    /// # Errors
    /// The cluster does not have a Service of that name.
    pub async fn target(&self, client: &str, service: &str) -> Result<Target> {
        let cluster = self.cluster(client)?;
        target(cluster, service, self.port).await
    }

    /// The addresses behind `service` for a client in `client`, as the objects of the clusters say: what a
    /// mirror's own slices hold, else those of the Services that it stands for.
    ///
    /// # Errors
    /// An API server does not answer.
    pub async fn endpoints(&self, client: &str, service: &str) -> Result<Vec<String>> {
        let own = addresses(self.cluster(client)?, service).await?;
        if !own.is_empty() {
            return Ok(own);
        }
        let Some((name, target)) = service.rsplit_once('-') else {
            return Ok(own);
        };
        let members = self.clusters.iter();
        let members = members.filter(|c| target == "federated" || c.plan.name == target);
        let all = try_join_all(members.map(|cluster| addresses(cluster, name))).await?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Asks `target` a number of times.
    pub async fn ask(&self, target: &Target, times: u32) -> Evidence {
        let mut evidence = Evidence::default();
        for _ in 0..times {
            let who = match ask::get(target.address, "/", EVIDENCE_TIMEOUT).await {
                Ok(answer) if answer.status == 200 => Ok(answer.cluster.unwrap_or(answer.body)),
                Ok(answer) => Err(match answer.proxy_error {
                    Some(why) => format!("{} {why}", answer.status),
                    None => answer.status.to_string(),
                }),
                Err(error) => Err(format!("{error:#}")),
            };
            let (counts, key) = match who {
                Ok(cluster) => (&mut evidence.answers, cluster),
                Err(why) => (&mut evidence.failures, why),
            };
            *counts.entry(key).or_default() += 1;
        }
        evidence
    }
}

/// The addresses in the slices of a Service, sorted.
async fn addresses(cluster: &Cluster, service: &str) -> Result<Vec<String>> {
    let api: Api<EndpointSlice> = Api::namespaced(cluster.client().await?, DEMO_NAMESPACE);
    let params = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slices = api
        .list(&params)
        .await
        .with_context(|| format!("the endpoints of {service} in {}", cluster.plan.name))?;
    let mut all = Vec::new();
    for slice in &slices {
        let port = slice.ports.as_ref().and_then(|ports| ports.first()?.port);
        for address in slice
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| &endpoint.addresses)
        {
            all.push(port.map_or_else(|| address.clone(), |port| format!("{address}:{port}")));
        }
    }
    all.sort();
    Ok(all)
}

async fn target(cluster: &Cluster, service: &str, port: u16) -> Result<Target> {
    let api: Api<Service> = Api::namespaced(cluster.client().await?, DEMO_NAMESPACE);
    let name = || {
        format!(
            "Service {DEMO_NAMESPACE}/{service} in {}",
            cluster.plan.name
        )
    };
    let object = api.get(service).await.with_context(name)?;
    let address = object.spec.and_then(|spec| spec.cluster_ip);
    let address: IpAddr = address
        .and_then(|text| text.parse().ok())
        .context("has no address")
        .with_context(name)?;
    Ok(Target {
        service: service.to_owned(),
        client: cluster.plan.name,
        address: SocketAddr::new(address, port),
        host: format!("{service}.{DEMO_NAMESPACE}.svc.cluster.local:{port}"),
    })
}

/// Waits until traffic goes over every Link, at every name that it brings; answers how many there are.
pub(super) async fn links_work(lab: &Lab) -> Result<usize> {
    let plans = links();
    let deadline = Instant::now() + LINKS_TIMEOUT;
    let all = plans.iter().flat_map(|plan| {
        let names = names(plan).into_iter();
        names.map(move |(service, answers)| link_works(lab, plan, (service, answers), deadline))
    });
    try_join_all(all).await?;
    Ok(plans.len())
}

/// The names that a Link brings to its source, each with a cluster that must answer there: its target, and
/// at a federated service, which its own cluster may join later, the source as well.
pub(crate) fn names(plan: &LinkPlan) -> Vec<(String, &'static str)> {
    let mut names = Vec::new();
    for service in SERVICES {
        let runs_in = |cluster| service.clusters.contains(&cluster);
        if !runs_in(plan.target) {
            continue;
        }
        match (service.label.1, plan.route) {
            ("member", Route::Flat) => {
                let both = [plan.target, plan.source].into_iter();
                let name = format!("{}-federated", service.name);
                names.extend(both.filter(|c| runs_in(c)).map(|c| (name.clone(), c)));
            }
            ("remote-discovery", Route::Flat) | ("true", Route::Gateway) => {
                names.push((format!("{}-{}", service.name, plan.name), plan.target));
            }
            _ => {}
        }
    }
    names
}

async fn link_works(
    lab: &Lab,
    plan: &LinkPlan,
    (service, answers): (String, &str),
    deadline: Instant,
) -> Result<()> {
    let cluster = lab.cluster(plan.source)?;
    loop {
        let seen = match target(cluster, &service, lab.port).await {
            Ok(target) => match answers_from(&target, answers).await {
                Ok(()) => return Ok(()),
                Err(seen) => seen,
            },
            Err(error) => format!("{error:#}"),
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "the link from {} to {} does not work: {seen}; see {}",
            plan.source,
            plan.name,
            cluster.logs().display()
        );
        tokio::time::sleep(STEP).await;
    }
}

/// Asks until `cluster` answers; else says what was seen last.
async fn answers_from(target: &Target, cluster: &str) -> Result<(), String> {
    let mut seen = String::new();
    for _ in 0..QUESTIONS {
        seen = match ask::get(target.address, "/", ANSWER_TIMEOUT).await {
            Ok(answer) if answer.cluster.as_deref() == Some(cluster) => return Ok(()),
            Ok(answer) if answer.status == 200 => format!("only others answer: {:?}", answer.body),
            Ok(answer) => {
                let why = answer.proxy_error.unwrap_or_default();
                return Err(format!(
                    "{} answers {} {why}",
                    target.service, answer.status
                ));
            }
            Err(error) => return Err(format!("{error:#}")),
        };
    }
    Err(seen)
}
