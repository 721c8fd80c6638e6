use super::*;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn died(heard_at: Option<Instant>, others_up: usize) -> Event {
    Event::Died {
        death: Death::Silent(ms(200)),
        heard_at,
        others_up,
    }
}

fn verdict(breaker: &Breaker) -> Verdict {
    breaker.decision().verdict
}

#[test]
fn one_dead_pod_is_not_a_dead_cluster_but_the_others_are_asked() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    let effects = breaker.on(start, died(Some(start), 2));
    assert!(effects.ask_all && !effects.changed);
    assert_eq!(verdict(&breaker), Verdict::In);
    let effects = breaker.on(start + ms(5_000), died(Some(start + ms(4_999)), 1));
    assert!(
        !effects.changed,
        "something was heard between the two deaths"
    );
    assert_eq!(verdict(&breaker), Verdict::In);
}

#[test]
fn two_deaths_and_no_sign_of_life_take_the_cluster_out_at_once() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    breaker.on(start, died(Some(start), 2));
    let effects = breaker.on(start + ms(3), died(Some(start), 1));
    assert_eq!(
        effects,
        Effects {
            ask_all: true,
            probe: false,
            changed: true
        }
    );
    assert_eq!(verdict(&breaker), Verdict::Out);
    assert_eq!(
        breaker.decision().because.to_string(),
        "2 paths died and nothing was heard since, the last: silent for 200 ms"
    );
}

#[test]
fn last_path_takes_the_cluster_with_it() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    assert!(breaker.on(start, died(Some(start), 0)).changed);
    assert_eq!(verdict(&breaker), Verdict::Out);
}

#[test]
fn sign_of_life_on_another_path_corrects_a_false_alarm_without_a_penalty() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    breaker.on(start, died(None, 1));
    breaker.on(start, died(None, 1));
    assert!(breaker.on(start + ms(1), Event::Heard).changed);
    assert_eq!(verdict(&breaker), Verdict::In);
    breaker.on(start + ms(2), died(None, 0));
    assert_eq!(breaker.poll_timeout(), Some(start + ms(502)));
}

#[test]
fn one_probe_at_a_time_at_a_constant_rate() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    breaker.on(start, died(None, 0));
    let mut now = start;
    for _ in 0..20 {
        let at = breaker.poll_timeout().unwrap();
        assert_eq!(at - now, ms(500));
        assert!(!breaker.handle_timeout(at - ms(1)).probe);
        assert!(breaker.handle_timeout(at).probe);
        assert!(
            !breaker.handle_timeout(at + ms(900)).probe,
            "the first probe still runs"
        );
        now = at + ms(100);
        breaker.on(now, Event::ProbeFailed);
    }
}

#[test]
fn flapping_waits_longer_each_time_up_to_a_bound_and_calm_forgives() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    let mut now = start;
    for want in [500, 1_000, 2_000, 4_000, 4_000] {
        breaker.on(now, died(None, 0));
        let at = breaker.poll_timeout().unwrap();
        assert_eq!(at - now, ms(want));
        assert!(breaker.handle_timeout(at).probe);
        breaker.on(at, Event::ProbeSucceeded);
        now = at + ms(300);
    }
    now += ms(20_000);
    breaker.on(now, died(None, 0));
    assert_eq!(breaker.poll_timeout(), Some(now + ms(500)));
}

#[test]
fn cluster_without_endpoints_is_forgotten() {
    let start = Instant::now();
    let mut breaker = Breaker::new(Settings::default());
    breaker.on(start, died(None, 0));
    assert!(breaker.on(start, Event::Emptied).changed);
    assert_eq!(verdict(&breaker), Verdict::In);
}

/// The naive model: the cluster is really up or down, and time passes.
#[derive(Clone, Debug)]
struct World {
    clock_ms: u64,
    up: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Fails,
    Heals,
    /// A path dies although the cluster is up (or one more while it is down).
    PathDies,
    /// Traffic is heard, if the cluster is up.
    Traffic,
    Pass(u64),
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = World;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<World> {
        Just(World {
            clock_ms: 0,
            up: true,
        })
        .boxed()
    }

    fn transitions(_: &World) -> BoxedStrategy<Step> {
        prop_oneof![
            Just(Step::Fails),
            Just(Step::Heals),
            Just(Step::PathDies),
            Just(Step::Traffic),
            (1_u64..3_000).prop_map(Step::Pass),
        ]
        .boxed()
    }

    fn apply(mut world: World, step: &Step) -> World {
        match step {
            Step::Fails => world.up = false,
            Step::Heals => world.up = true,
            Step::PathDies | Step::Traffic => {}
            Step::Pass(wait) => world.clock_ms += wait,
        }
        world
    }
}

struct Checked {
    breaker: Breaker,
    start: Instant,
    now: Instant,
    probes: Vec<Instant>,
    up_since: Option<Instant>,
}

impl Checked {
    /// Lets time pass in steps of the machine's own timers; a probe sees the cluster as it is.
    fn pass(&mut self, until: Instant, up: bool) {
        while let Some(at) = self.breaker.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            if self.breaker.handle_timeout(self.now).probe {
                self.probes.push(self.now);
                let event = if up {
                    Event::ProbeSucceeded
                } else {
                    Event::ProbeFailed
                };
                self.breaker.on(self.now, event);
            }
        }
        self.now = until;
    }
}

impl StateMachineTest for Checked {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &World) -> Self {
        let start = Instant::now();
        let breaker = Breaker::new(Settings::default());
        Self {
            breaker,
            start,
            now: start,
            probes: Vec::new(),
            up_since: Some(start),
        }
    }

    fn apply(mut state: Self, world: &World, step: Step) -> Self {
        let until = state.start + ms(world.clock_ms);
        match step {
            Step::Fails => {
                state.up_since = None;
                state.breaker.on(state.now, died(None, 1));
                state.breaker.on(state.now, died(None, 0));
                assert_eq!(verdict(&state.breaker), Verdict::Out);
            }
            Step::Heals => state.up_since = state.up_since.or(Some(state.now)),
            Step::PathDies => {
                state.up_since = state.up_since.map(|_| state.now);
                state.breaker.on(state.now, died(None, 1));
            }
            Step::Traffic if world.up => {
                state.breaker.on(state.now, Event::Heard);
                assert_eq!(verdict(&state.breaker), Verdict::In);
            }
            Step::Traffic => {}
            Step::Pass(_) => state.pass(until, world.up),
        }
        state
    }

    fn check_invariants(state: &Self, _: &World) {
        let longest = Settings::default().probe_every_max;
        if state
            .up_since
            .is_some_and(|since| state.now - since > longest)
        {
            assert_eq!(
                verdict(&state.breaker),
                Verdict::In,
                "a healed cluster returns"
            );
        }
        let closest = state.probes.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(
            closest.is_none_or(|gap| gap >= ms(500)),
            "probes come at a bounded rate"
        );
        assert!(
            verdict(&state.breaker) == Verdict::In || state.breaker.poll_timeout().is_some(),
            "a cluster that is out always has a next probe"
        );
    }
}

prop_state_machine! {
    #[test]
    fn breaker_agrees_with_the_naive_model(sequential 1..80 => Checked);
}
