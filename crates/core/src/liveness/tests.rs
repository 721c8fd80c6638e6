use super::*;
use proptest::prelude::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A connection, and a peer that answers `Some(after)` a question or never; the shell in miniature.
struct Bench {
    machine: Liveness,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            machine: Liveness::new(Settings::default(), start, ms(1)),
            start,
            now: start,
        }
    }

    fn at(&mut self, at_ms: u64) -> &mut Self {
        self.now = self.start + ms(at_ms);
        self
    }

    fn on(&mut self, event: Event) -> Effect {
        self.machine.on(self.now, event)
    }

    fn tick(&mut self) -> Effect {
        self.machine.handle_timeout(self.now, Silence::Cluster)
    }

    fn due_ms(&self) -> Option<u128> {
        self.machine
            .poll_timeout()
            .map(|at| (at - self.start).as_millis())
    }
}

#[test]
fn frozen_peer_is_found_within_a_third_of_a_second() {
    let mut bench = Bench::new();
    bench.at(10_000).on(Event::Sent);
    assert_eq!(bench.due_ms(), Some(1_000), "a measurement is overdue");
    assert_eq!(bench.tick(), Effect::Ask);
    bench.at(10_002).on(Event::Answered);
    bench.at(10_003).on(Event::Heard);
    bench.at(10_030).on(Event::Sent);
    assert_eq!(bench.due_ms(), Some(10_053));
    assert_eq!(bench.at(10_053).tick(), Effect::Ask);
    assert!(bench.machine.doubtful());
    assert_eq!(bench.at(10_153).tick(), Effect::AskSiblings);
    assert_eq!(bench.at(10_252).tick(), Effect::None);
    assert_eq!(bench.at(10_253).tick(), Effect::Dead(ms(250)));
    assert_eq!(bench.due_ms(), None);
}

#[test]
fn steady_sending_does_not_put_the_question_off() {
    let mut bench = Bench::new();
    for at in (0..50).step_by(2) {
        bench.at(at).on(Event::Sent);
        assert_eq!(bench.tick(), Effect::None);
    }
    assert_eq!(bench.at(50).tick(), Effect::Ask);
}

#[test]
fn slow_application_is_never_taken_for_a_dead_path() {
    let mut bench = Bench::new();
    bench.on(Event::Sent);
    let mut questions = 0;
    while let Some(due) = bench.due_ms().filter(|due| *due < 60_000) {
        bench.at(u64::try_from(due).unwrap());
        match bench.tick() {
            Effect::Ask => {
                questions += 1;
                let later = u64::try_from(due).unwrap() + 1;
                bench.at(later).on(Event::Answered);
            }
            Effect::None | Effect::AskSiblings => {}
            Effect::Dead(_) => panic!("dead after {due} ms"),
        }
    }
    assert!(
        (50..120).contains(&questions),
        "a long wait is asked about once a second: {questions}"
    );
}

#[test]
fn idle_path_asks_nothing() {
    let mut bench = Bench::new();
    bench.on(Event::Sent);
    bench.at(3).on(Event::Heard);
    bench.at(3).on(Event::Idle);
    assert_eq!(bench.due_ms(), None);
    assert_eq!(bench.at(100_000).tick(), Effect::None);
}

#[test]
fn own_starvation_is_not_the_peers_silence() {
    let mut bench = Bench::new();
    bench.on(Event::Sent);
    assert_eq!(bench.at(50).tick(), Effect::Ask);
    assert_eq!(
        bench.at(700).tick(),
        Effect::AskSiblings,
        "half a second late"
    );
    assert_eq!(bench.due_ms(), Some(800));
    assert_eq!(bench.at(900).tick(), Effect::None, "late again");
    assert_eq!(bench.due_ms(), Some(1_000));
    bench.at(905).on(Event::Answered);
    assert_eq!(bench.due_ms(), Some(1_105));
}

#[test]
fn machine_that_is_always_late_still_decides() {
    let mut bench = Bench::new();
    bench.on(Event::Sent);
    bench.at(60).tick();
    let mut now = 60;
    for _ in 0..10 {
        let Some(due) = bench.due_ms() else { break };
        now = u64::try_from(due).unwrap() + 40;
        bench.at(now).tick();
    }
    assert_eq!(bench.due_ms(), None);
    assert!(now < 1_000, "{now}");
}

#[test]
fn single_silent_path_is_given_longer_than_a_silent_cluster() {
    for silence in [Silence::Alone, Silence::Everyone] {
        let mut bench = Bench::new();
        bench.on(Event::Sent);
        bench.at(50).tick();
        bench.at(150).tick();
        bench.at(250);
        assert_eq!(
            bench.machine.handle_timeout(bench.now, silence),
            Effect::None
        );
        assert_eq!(bench.due_ms(), Some(400));
        bench.at(400);
        assert_eq!(
            bench.machine.handle_timeout(bench.now, silence),
            Effect::Dead(ms(400))
        );
    }
}

#[test]
fn patience_follows_the_worst_answer_and_fades() {
    let mut bench = Bench::new();
    bench.on(Event::Sent);
    bench.at(50).tick();
    bench.at(150).on(Event::Answered);
    assert_eq!(bench.machine.patience(bench.now), ms(300));
    bench.at(10_150);
    assert_eq!(bench.machine.patience(bench.now), ms(200));
}

#[test]
fn doubted_idle_path_is_asked_and_its_silence_counts() {
    let mut bench = Bench::new();
    assert_eq!(bench.at(5_000).on(Event::Doubted), Effect::Ask);
    assert_eq!(
        bench.on(Event::Doubted),
        Effect::None,
        "one question at a time"
    );
    assert_eq!(bench.at(5_100).tick(), Effect::AskSiblings);
    assert!(matches!(bench.at(5_200).tick(), Effect::Dead(_)));
}

#[derive(Clone, Debug)]
enum Step {
    Sent,
    Heard,
    Idle,
    Doubted,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Sent),
        3 => Just(Step::Heard),
        1 => Just(Step::Idle),
        1 => Just(Step::Doubted),
        4 => (0_u64..400).prop_map(Step::Wait),
    ]
}

/// Runs the steps against a peer that answers each question after `answer_ms` (never: `None`) while
/// this process is woken `late_ms` late. Returns when the path was declared dead.
fn run(steps: &[Step], answer_ms: Option<u64>, late_ms: u64) -> Option<(Instant, Instant)> {
    let mut bench = Bench::new();
    let mut answer_at = None;
    let mut unanswered_since = None;
    let mut clock = 0;
    let asked = |effect: Effect, clock: u64, answer_at: &mut Option<u64>| {
        if effect == Effect::Ask {
            *answer_at = answer_ms.map(|after| clock + after);
        }
    };
    for step in steps {
        let event = match step {
            Step::Sent => Event::Sent,
            Step::Heard => Event::Heard,
            Step::Idle => Event::Idle,
            Step::Doubted => Event::Doubted,
            Step::Wait(wait) => {
                let end = clock + wait;
                while clock < end {
                    clock += 1;
                    bench.at(clock);
                    if answer_at.is_some_and(|at| at <= clock) {
                        answer_at = None;
                        unanswered_since = None;
                        bench.on(Event::Answered);
                    }
                    let due = bench
                        .due_ms()
                        .is_some_and(|due| due + u128::from(late_ms) <= clock.into());
                    if !due {
                        continue;
                    }
                    let effect = bench.tick();
                    if matches!(effect, Effect::Dead(_)) {
                        return Some((bench.now, unanswered_since.unwrap_or(bench.start)));
                    }
                    asked(effect, clock, &mut answer_at);
                }
                continue;
            }
        };
        match event {
            Event::Sent => unanswered_since = unanswered_since.or(Some(bench.now)),
            Event::Heard if answer_ms.is_none() => continue,
            Event::Heard => unanswered_since = None,
            _ => {}
        }
        let effect = bench.at(clock).on(event);
        asked(effect, clock, &mut answer_at);
    }
    None
}

proptest! {
    #[test]
    fn peer_that_answers_in_time_never_dies(
        steps in proptest::collection::vec(step(), 1..60), answer in 0_u64..190, late in 0_u64..9,
    ) {
        prop_assert!(run(&steps, Some(answer), late).is_none());
    }

    #[test]
    fn late_process_does_not_blame_a_peer_that_answers(
        steps in proptest::collection::vec(step(), 1..60), answer in 0_u64..100, late in 0_u64..60,
    ) {
        prop_assert!(run(&steps, Some(answer), late).is_none());
    }

    #[test]
    fn silent_peer_dies_soon_once_an_answer_is_due(
        mut steps in proptest::collection::vec(step(), 0..30),
    ) {
        steps.retain(|step| !matches!(step, Step::Heard | Step::Idle));
        steps.insert(0, Step::Sent);
        steps.push(Step::Wait(400));
        let Some((at, since)) = run(&steps, None, 0) else { panic!("never found") };
        prop_assert!(at - since <= ms(400), "{:?}", at - since);
    }
}
