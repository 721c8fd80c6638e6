//! One way to lose a cluster, under load: before, away, back.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::DemoOptions;
use crate::lab::{Lab, Progress};
use crate::load::{self, Epoch, Names, Running, Spec, Tally};
use crate::report::{Marks, Role, ServiceRecords, Way, WayRecords};
use crate::topology::clusters;

/// The cluster that is taken away.
const LOST: &str = "east";
/// Where the clients are.
const CLIENT: &str = "north";
/// Requests per second to each mirror.
const MIRROR_RATE: u32 = 50;
/// The least time before the loss, away, and after the return.
const BEFORE: Duration = Duration::from_secs(11);
const AFTER: Duration = Duration::from_secs(22);
/// How often is said how it goes.
const PERIOD: Duration = Duration::from_secs(4);

/// The loads: a name in north, the application behind it, and whether it is federated.
const LOADS: [(&str, &str); 3] = [
    ("frontend-federated", "frontend"),
    ("api-east", "api"),
    ("analytics-east-gw", "analytics"),
];

struct Load {
    running: Running,
    role: Role,
    service: &'static str,
}

/// Takes the cluster away and brings it back, under load.
pub(super) async fn run(
    options: &DemoOptions,
    lab: &Lab,
    way: Way,
    progress: &Progress,
) -> Result<WayRecords> {
    progress(&format!(
        "way {way}: {LOST} is lost, {}; {} requests/s to frontend-federated, {MIRROR_RATE}/s to each mirror, from {CLIENT}",
        way.describe(),
        options.rate
    ));
    let epoch = Epoch::start();
    let loads = start(options, lab, epoch).await?;
    let away = options.duration.saturating_sub(BEFORE + AFTER);
    let mut watch = Watch {
        loads: &loads,
        progress,
        last: Vec::new(),
    };
    watch.wait("before", BEFORE).await;
    let break_begun = epoch.now();
    lab.break_cluster(LOST, way)
        .await
        .with_context(|| format!("break {LOST}"))?;
    let broken = epoch.now();
    watch.wait("away", away).await;
    let heal_begun = epoch.now();
    lab.heal(LOST)
        .await
        .with_context(|| format!("heal {LOST}"))?;
    let healed = epoch.now();
    progress(&format!(
        "  {LOST} is back after {:.1} s",
        (healed - heal_begun).as_secs_f64()
    ));
    watch.wait("back", AFTER).await;
    let services = finish(loads).await?;
    let marks = Marks {
        break_begun,
        broken,
        heal_begun,
        healed,
    };
    Ok(WayRecords {
        way,
        lost: LOST.to_owned(),
        marks,
        services,
    })
}

async fn start(options: &DemoOptions, lab: &Lab, epoch: Epoch) -> Result<Vec<Load>> {
    let mut loads = Vec::new();
    for (service, application) in LOADS {
        let federated = service.ends_with("-federated");
        let rate = if federated {
            options.rate
        } else {
            MIRROR_RATE.min(options.rate)
        };
        let rate = NonZeroU32::new(rate).context("a rate of 0")?;
        let target = lab.target(CLIENT, service).await?;
        let names = Names {
            service,
            client: CLIENT,
            application,
        };
        let spec = Spec::new(names, target.address, rate, epoch);
        let running = load::start(spec).with_context(|| format!("load on {service}"))?;
        let role = if federated {
            Role::Federated
        } else {
            Role::Mirror {
                cluster: LOST.to_owned(),
            }
        };
        loads.push(Load {
            running,
            role,
            service,
        });
    }
    Ok(loads)
}

async fn finish(loads: Vec<Load>) -> Result<Vec<ServiceRecords>> {
    let mut services = Vec::new();
    for Load {
        running,
        role,
        service,
    } in loads
    {
        let records = running
            .finish()
            .await
            .with_context(|| format!("load on {service}"))?;
        let (service, client) = (service.to_owned(), CLIENT.to_owned());
        services.push(ServiceRecords {
            service,
            client,
            role,
            records,
        });
    }
    Ok(services)
}

/// Says now and then how it goes.
struct Watch<'a> {
    loads: &'a [Load],
    progress: &'a Progress,
    last: Vec<Tally>,
}

impl Watch<'_> {
    async fn wait(&mut self, phase: &str, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            self.last = self.loads.iter().map(|load| load.running.tally()).collect();
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(PERIOD.min(left)).await;
            self.say(phase);
        }
    }

    fn say(&self, phase: &str) {
        let mut parts = Vec::new();
        for (load, last) in self.loads.iter().zip(&self.last) {
            let tally = load.running.tally().since(last);
            let share = |cluster: &str| format!("{:.0}", tally.share(cluster) * 100.0);
            let split = match load.role {
                Role::Federated => {
                    let names = clusters().map(|cluster| cluster.name);
                    format!(" {} {} %,", names.join("/"), names.map(share).join("/"))
                }
                Role::Mirror { .. } => String::new(),
            };
            parts.push(format!(
                "{}:{split} {} of {} failed",
                load.service, tally.failed, tally.requests
            ));
        }
        (self.progress)(&format!("  {phase:<6} {}", parts.join("; ")));
    }
}
