//! Who wants very much does not hold up others.
use serde_json::{Value, json};

use super::{running, until};
use crate::testing::{World, deployment};

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "many"}}, "spec": {
        "containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn whoever_wants_billions_of_pods_holds_up_nobody() {
    let spec = json!({"replicas": i32::MAX, "selector": {"matchLabels": {"app": "many"}},
        "template": template()});
    let mut parallel = spec.clone();
    parallel["podManagementPolicy"] = json!("Parallel");
    let mut job = json!({"parallelism": i32::MAX, "template": template()});
    job["template"]["spec"]["restartPolicy"] = json!("Never");
    for (plural, spec) in [
        ("statefulsets", parallel),
        ("deployments", spec),
        ("jobs", job),
    ] {
        let began = tokio::time::Instant::now();
        let world = World::with(running()).await;
        let many = json!({"metadata": {"name": "a-many"}, "spec": spec});
        world.create(plural, many).await.unwrap();
        until(&world, plural, |world| !world.list("pods").is_empty()).await;
        let one = deployment("z-one", 1);
        world.create("deployments", one).await.unwrap();
        until(&world, "the other's pod", |world| {
            let one = world.get("deployments", "z-one").unwrap();
            one["status"]["replicas"] == 1
        })
        .await;
        let many = world.names("pods").len();
        // The burst, what comes of the time that has passed, and the last step of each.
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        let most = 500 + 50 * seconds + 100;
        assert!(many <= most, "{plural} made {many} in {seconds} s");
    }
}
