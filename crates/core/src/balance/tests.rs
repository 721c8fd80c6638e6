use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

struct Fixture {
    candidates: Vec<Candidate>,
    spans: bool,
    round: u64,
}

impl Set for Fixture {
    fn len(&self) -> usize {
        self.candidates.len()
    }
    fn candidate(&self, index: usize) -> Candidate {
        self.candidates[index]
    }
    fn spans_clusters(&self) -> bool {
        self.spans
    }
}

fn up() -> Candidate {
    Candidate {
        standing: Standing::Up,
        tried: Tried::No,
        pending: 0,
        latency_us: 500,
        weight: WHOLE,
        turn: 0,
    }
}

fn set(candidates: Vec<Candidate>) -> Fixture {
    Fixture {
        candidates,
        spans: true,
        round: 0,
    }
}

impl Fixture {
    /// Chooses `n` times with nothing ever pending; how often each was used.
    fn shares(&mut self, n: usize) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = vec![0; self.candidates.len()];
        for _ in 0..n {
            if let Choice::Use { index, round, turn } = choose(self, self.round, &mut rng) {
                counts[index] += 1;
                self.round = round;
                self.candidates[index].turn = turn;
            }
        }
        counts
    }
}

#[test]
fn equal_replicas_get_equal_shares() {
    assert_eq!(set(vec![up(); 9]).shares(900), vec![100; 9]);
}

#[test]
fn noise_below_the_floor_does_not_move_shares() {
    let mut set = set(vec![up(); 3]);
    set.candidates[0].latency_us = 40_000;
    set.candidates[1].latency_us = 100;
    assert_eq!(set.shares(300), vec![100; 3]);
}

#[test]
fn equally_slow_replicas_get_equal_shares() {
    let mut set = set(vec![up(); 3]);
    for (candidate, latency) in set.candidates.iter_mut().zip([300_000, 350_000, 420_000]) {
        candidate.latency_us = latency;
    }
    assert_eq!(set.shares(300), vec![100; 3]);
}

#[test]
fn much_slower_replica_gives_way() {
    let mut set = set(vec![up(); 3]);
    set.candidates[2].latency_us = 200_000;
    assert_eq!(set.shares(300), vec![150, 150, 0]);
}

#[test]
fn weights_give_shares_also_when_nothing_is_pending() {
    let mut set = set(vec![up(); 3]);
    set.candidates[2].weight = WHOLE / 4;
    let counts = set.shares(900);
    assert!((90..=110).contains(&counts[2]), "a ninth: {counts:?}");
}

#[test]
fn returning_endpoint_starts_small_and_does_not_catch_up() {
    let mut set = set(vec![up(); 3]);
    set.candidates[2].standing = Standing::Down;
    set.shares(1_000);
    set.candidates[2].standing = Standing::Up;
    set.candidates[2].weight = ramped(WHOLE, Duration::ZERO);
    let early = set.shares(210);
    assert!((5..=20).contains(&early[2]), "about a twentieth: {early:?}");
    set.candidates[2].weight = ramped(WHOLE, Duration::from_secs(3));
    set.shares(60);
    assert_eq!(set.shares(300)[2], 100);
}

#[test]
fn ramp_grows_steadily_to_the_whole() {
    let at = |ms| ramped(WHOLE, Duration::from_millis(ms));
    assert_eq!(
        [at(0), at(1_250), at(2_500), at(9_999)],
        [1_000, 5_500, 10_000, 10_000]
    );
}

#[test]
fn rescue_prefers_another_cluster() {
    let mut set = set(vec![up(); 3]);
    set.candidates[0].tried = Tried::Endpoint;
    set.candidates[1].tried = Tried::Cluster;
    set.candidates[2].pending = 50;
    assert_eq!(set.shares(10), vec![0, 0, 10]);
    set.candidates[2].standing = Standing::Down;
    assert_eq!(set.shares(10), vec![0, 10, 0]);
}

#[test]
fn everything_dead_panics_across_clusters_and_fails_within_one() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut set = set(vec![up(); 3]);
    for candidate in &mut set.candidates {
        candidate.standing = Standing::Down;
    }
    set.candidates[0].tried = Tried::Endpoint;
    assert!(matches!(choose(&set, 0, &mut rng), Choice::Panic(1 | 2)));
    set.spans = false;
    assert_eq!(choose(&set, 0, &mut rng), Choice::Nothing);
    set.candidates[1].standing = Standing::Coming;
    assert_eq!(choose(&set, 0, &mut rng), Choice::Wait);
    set.candidates.clear();
    assert_eq!(choose(&set, 0, &mut rng), Choice::Nothing);
}

#[test]
fn latency_fades_and_survives_its_packing() {
    let slow = Latency::default().with(0, Duration::from_millis(160));
    assert_eq!(slow.at(0), 10_000);
    assert_eq!(slow.at(1_000), 7_500);
    assert_eq!(slow.at(2_000), 5_000);
    assert_eq!(slow.at(1_000_000), 0);
    let before = Latency::default().with(u32::MAX - 999, Duration::from_millis(160));
    assert_eq!(before.at(0), 7_500, "the clock may wrap");
    assert_eq!(Latency::from_bits(slow.to_bits()), slow);
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let standing = prop_oneof![
        Just(Standing::Up),
        Just(Standing::Doubtful),
        Just(Standing::Coming),
        Just(Standing::Down)
    ];
    let tried =
        prop_oneof![3 => Just(Tried::No), 1 => Just(Tried::Cluster), 1 => Just(Tried::Endpoint)];
    (
        standing,
        tried,
        0..100_u32,
        any::<u32>(),
        any::<u32>(),
        0..u64::MAX / 2,
    )
        .prop_map(
            |(standing, tried, pending, latency_us, weight, turn)| Candidate {
                standing,
                tried,
                pending,
                latency_us,
                weight,
                turn,
            },
        )
}

proptest! {
    #[test]
    fn dead_or_tried_endpoint_is_never_used_and_a_live_one_never_missed(
        candidates in proptest::collection::vec(candidate(), 0..40), spans: bool, seed: u64, round in 0..u64::MAX / 2,
    ) {
        let set = Fixture { candidates, spans, round };
        let live = |c: &Candidate| c.tried != Tried::Endpoint && c.standing <= Standing::Doubtful;
        let best = set.candidates.iter().map(class).min().unwrap_or(UNUSABLE);
        match choose(&set, round, &mut StdRng::seed_from_u64(seed)) {
            Choice::Use { index, turn, round: after } => {
                prop_assert!(live(&set.candidates[index]));
                prop_assert_eq!(class(&set.candidates[index]), best, "the best class wins");
                prop_assert!(turn > set.candidates[index].turn && after >= round, "the round only advances");
            }
            Choice::Wait => prop_assert!(!set.candidates.iter().any(live)),
            Choice::Panic(index) => {
                prop_assert!(spans && !set.candidates.iter().any(live));
                prop_assert!(set.candidates[index].tried != Tried::Endpoint);
            }
            Choice::Nothing => prop_assert!(!set.candidates.iter().any(live)),
        }
    }

    #[test]
    fn pending_requests_stay_even_when_nothing_completes(n in 1_usize..30, requests in 0_usize..300, seed: u64) {
        let mut set = set(vec![up(); n]);
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..requests {
            let Choice::Use { index, round, turn } = choose(&set, set.round, &mut rng) else { panic!() };
            set.round = round;
            set.candidates[index].turn = turn;
            set.candidates[index].pending += 1;
        }
        let most = set.candidates.iter().map(|c| c.pending).max().unwrap_or(0);
        let least = set.candidates.iter().map(|c| c.pending).min().unwrap_or(0);
        let allowed = if n <= SCAN_MAX { 1 } else { 8 };
        prop_assert!(most - least <= allowed, "{} .. {}", least, most);
    }
}
