//! Whether the machine kept up. What a check of times and shares sees counts against the product only
//! if nothing else held everything up.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// A machine that was later than this stalled: the patience of a path begins at twice as much.
const STALL: Duration = Duration::from_millis(100);
/// So often a check is run at most.
const RUNS: usize = 3;
/// A machine that is no later than this for a second is calm, and so long it is given to be.
const CALM: Duration = Duration::from_millis(25);
const CALM_WITHIN: Duration = Duration::from_secs(20);
/// How often the machine is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Held during a check, so that none loads the machine of another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How late the machine was at worst during one run.
pub(crate) struct Machine(Arc<AtomicU64>);

impl Machine {
    /// A thread of its own sleeps and sees how late it wakes, until this is dropped.
    fn watch() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let weak = Arc::downgrade(&worst);
        std::thread::spawn(move || {
            while let Some(worst) = weak.upgrade() {
                let due = Instant::now() + TICK;
                std::thread::park_timeout(TICK);
                worst.fetch_max(ms(due.elapsed()), Relaxed);
            }
        });
        Self(worst)
    }

    /// Something that was due is done so late.
    pub(crate) fn late(&self, late: Duration) {
        self.0.fetch_max(ms(late), Relaxed);
    }

    fn worst(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Runs a check while no other runs. One that fails while the machine stalled says nothing: it is
/// repeated, and fails in the end if the machine never kept up.
pub(crate) async fn alone(check: impl AsyncFn(&Machine) -> Result<(), String>) {
    let _alone = ALONE.lock().await;
    let mut stalls = Vec::new();
    for _ in 0..RUNS {
        let machine = Machine::watch();
        let Err(breach) = check(&machine).await else {
            return;
        };
        let worst = machine.worst();
        assert!(worst >= STALL, "{breach} (the machine: {worst:?} late)");
        stalls.push(format!("{worst:?} late: {breach}"));
        calm().await;
    }
    panic!("the machine stalled in each of {RUNS} runs: {stalls:#?}");
}

/// Waits until the machine is calm; if it never is, the next run shows what that does.
async fn calm() {
    let deadline = Instant::now() + CALM_WITHIN;
    while Instant::now() < deadline {
        let machine = Machine::watch();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if machine.worst() <= CALM {
            return;
        }
    }
}

/// A breach unless `held`.
pub(crate) fn ensure(held: bool, breach: impl FnOnce() -> String) -> Result<(), String> {
    if held { Ok(()) } else { Err(breach()) }
}

#[tokio::test]
async fn check_that_fails_is_repeated_only_if_the_machine_stalled() {
    let runs = AtomicU64::new(1);
    alone(async |machine| {
        let run = runs.fetch_add(1, Relaxed);
        machine.late(STALL);
        ensure(run == 2, || format!("run {run}"))
    })
    .await;
    assert_eq!(runs.load(Relaxed), 3, "the second is the last");
}
