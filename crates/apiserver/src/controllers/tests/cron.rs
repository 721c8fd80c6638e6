//! CronJobs, by a clock that is set by hand.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::*;

struct Cron {
    world: World,
    /// Seconds; the store's clock.
    now: Arc<AtomicI64>,
}

impl Cron {
    /// At 22:13:20, with a CronJob that is due every minute.
    async fn new(spec: Value) -> Self {
        let now = Arc::new(AtomicI64::new(1_700_000_000));
        let clock = Arc::clone(&now);
        let mut options = running();
        options.clock =
            Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap());
        let world = World::with(options).await;
        let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i"}]}}}});
        let mut cron = json!({"metadata": {"name": "tick"}, "spec": spec});
        cron["spec"]["schedule"] = json!("* * * * *");
        cron["spec"]["jobTemplate"] = template;
        world.create("cronjobs", cron).await.unwrap();
        Self { world, now }
    }

    /// Lets time go by, and has everybody look.
    async fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
        let mut cron = self.world.get("cronjobs", "tick").unwrap();
        cron["metadata"]["annotations"] = json!({"at": format!("{:?}", self.now)});
        self.world
            .update("cronjobs", Subresource::None, cron)
            .await
            .unwrap();
    }

    async fn has_jobs(&self, wanted: &[&str]) {
        let what = format!("the jobs {wanted:?}");
        until(&self.world, &what, |world| world.names("jobs") == wanted).await;
    }

    async fn was_told(&self, reason: &str) {
        until(&self.world, reason, |world| {
            let mut events = world.list("events").into_iter();
            events.any(|event| event["reason"] == reason)
        })
        .await;
    }
}

#[tokio::test]
async fn a_cron_job_makes_a_job_on_time_and_notes_it() {
    let cron = Cron::new(json!({})).await;
    cron.pass(30).await;
    assert!(cron.world.list("jobs").is_empty());
    cron.pass(30).await;
    cron.has_jobs(&["tick-28333334"]).await;
    until(&cron.world, "the status", |world| {
        let status = world.get("cronjobs", "tick").unwrap()["status"].take();
        status["lastScheduleTime"] == "2023-11-14T22:14:00Z"
            && status["active"][0]["name"] == "tick-28333334"
    })
    .await;
    let job = cron.world.get("jobs", "tick-28333334").unwrap();
    assert_eq!(
        job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2023-11-14T22:14:00Z"
    );
    // Of several that were missed only the last is made up for.
    cron.pass(180).await;
    cron.has_jobs(&["tick-28333334", "tick-28333337"]).await;
}

#[tokio::test]
async fn a_cron_job_waits_for_replaces_or_makes_no_job() {
    let cron = Cron::new(json!({"concurrencyPolicy": "Forbid"})).await;
    cron.pass(60).await;
    cron.has_jobs(&["tick-28333334"]).await;
    cron.pass(60).await;
    cron.was_told("JobAlreadyActive").await;
    cron.has_jobs(&["tick-28333334"]).await;
    cron.world.delete("jobs", "tick-28333334").await.unwrap();
    cron.has_jobs(&["tick-28333335"]).await;
    cron.was_told("MissingJob").await;

    let cron = Cron::new(json!({"concurrencyPolicy": "Replace"})).await;
    cron.pass(60).await;
    cron.has_jobs(&["tick-28333334"]).await;
    cron.pass(60).await;
    cron.has_jobs(&["tick-28333335"]).await;

    let cron = Cron::new(json!({"suspend": true})).await;
    cron.pass(60).await;
    cron.pass(60).await;
    assert!(cron.world.list("jobs").is_empty());
}
