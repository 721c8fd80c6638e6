//! The same sequence of requests has the same answers on both kinds of server.
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::Client;
use proptest::collection::vec;
use serde_json::{Value, json};
use tombolo_judge::{Cluster, Kind, Parts, managers, normal};

use crate::operation::{Step, ask, collection, make_namespace, perform, step};

const CASES: u32 = 10;
const DEADLINE: Duration = Duration::from_secs(300);

pub(crate) fn law() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let clusters = runtime.block_on(async {
        tokio::try_join!(
            Cluster::start(Kind::Ours, "laws", Parts::ApiOnly),
            Cluster::start(Kind::Real, "laws", Parts::ApiOnly)
        )
    })?;
    let ours = runtime.block_on(clusters.0.client())?;
    let real = runtime.block_on(clusters.1.client())?;
    let mut count = 0;
    crate::hold(CASES, &vec(step(), 8..24), |steps| {
        count += 1;
        let namespace = format!("law-{count}");
        runtime.block_on(async {
            let both = async {
                tokio::try_join!(
                    play(&ours, &namespace, &steps),
                    play(&real, &namespace, &steps)
                )
            };
            let both = tokio::time::timeout(DEADLINE, both).await;
            let (ours, real) = both.context("not done in time")??;
            for (number, (ours, real)) in ours.iter().zip(&real).enumerate() {
                let step = steps.get(number);
                ensure!(
                    ours == real,
                    "{number}: {step:?}\nreal: {real}\nours: {ours}"
                );
            }
            Ok(())
        })
    })
}

/// What is answered to each step, and at the end what is there.
async fn play(client: &Client, namespace: &str, steps: &[Step]) -> Result<Vec<String>> {
    make_namespace(client, namespace).await?;
    let mut versions = BTreeMap::new();
    let mut answers = Vec::new();
    for step in steps {
        answers.push(match perform(client, namespace, step).await {
            Ok(object) => answer(object, &mut versions),
            Err(kube::Error::Api(mut status)) => {
                // The real one tells conflicts with several managers in an order drawn by lot.
                if let Some(details) = &mut status.details {
                    details.causes.sort_by(|a, b| a.message.cmp(&b.message));
                }
                normal::normal(&format!(
                    "{} {} {} {:?}",
                    status.code, status.reason, status.message, status.details
                ))
            }
            Err(other) => return Err(other.into()),
        });
    }
    let path = collection(namespace);
    let list = ask(
        client,
        Method::GET,
        &path,
        ("application/json", Value::Null),
    )
    .await?;
    for object in list["items"].as_array().context("a list")? {
        answers.push(answer(object.clone(), &mut versions));
    }
    Ok(answers)
}

/// An object without what may differ; its version says only whether it is another than the one before.
fn answer(mut object: Value, versions: &mut BTreeMap<String, String>) -> String {
    managers::settle(&mut object);
    let metadata = &mut object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&metadata["resourceVersion"]);
    let before = versions.insert(text(&metadata["name"]), version.clone());
    let word = if before == Some(version) {
        "kept"
    } else {
        "new"
    };
    metadata["resourceVersion"] = json!(word);
    normal::normal(&object.to_string())
}
