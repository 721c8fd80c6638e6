use serde_json::json;

use super::*;

struct Bench {
    machine: PodMachine,
    start: Instant,
}

fn spec(grace: u64, pre_stop: u64) -> PodSpec {
    let object = json!({
        "metadata": {"name": "a", "namespace": "n", "uid": "u"},
        "spec": {
            "terminationGracePeriodSeconds": grace,
            "containers": [
                {"name": "app", "image": "tombolo/echo",
                 "lifecycle": {"preStop": {"sleep": {"seconds": pre_stop}}}},
                {"name": "linkerd-proxy", "image": "tombolo/proxy",
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": 4191}}},
            ],
        },
    });
    PodSpec::read(&serde_json::from_value(object).unwrap()).unwrap()
}

impl Bench {
    fn new(spec: PodSpec) -> Self {
        let start = Instant::now();
        let now = Now {
            monotonic: start,
            wall: Timestamp::UNIX_EPOCH,
        };
        let machine = PodMachine::new(spec, Ipv4Addr::new(127, 100, 0, 1), &[], now);
        Self { machine, start }
    }

    fn now(&self, ms: u64) -> Now {
        let monotonic = self.start + Duration::from_millis(ms);
        Now {
            monotonic,
            wall: Timestamp::UNIX_EPOCH,
        }
    }

    fn on(&mut self, ms: u64, event: Event) -> Vec<Effect> {
        self.machine.on(self.now(ms), event)
    }

    fn at(&mut self, ms: u64) -> Vec<Effect> {
        self.machine.handle_timeout(self.now(ms))
    }

    fn run(&mut self) {
        assert_eq!(
            self.at(0),
            [
                Effect::Start { container: 0 },
                Effect::Start { container: 1 }
            ]
        );
        for (container, pid) in [(0, 10), (1, 11)] {
            assert_eq!(self.on(1, Event::Started { container, pid }), []);
        }
    }

    fn probe(&mut self, container: usize, answer: Answer) {
        let pid = 10 + u32::try_from(container).unwrap();
        assert_eq!(
            self.on(
                2,
                Event::Probed {
                    container,
                    pid,
                    answer
                }
            ),
            []
        );
    }

    fn end(&mut self, ms: u64) -> Vec<Effect> {
        let spec = PodSpec {
            life: Life::Ending,
            ..self.machine.spec.clone()
        };
        self.on(ms, Event::Object(spec))
    }

    fn exit(&mut self, ms: u64, container: usize) -> Vec<Effect> {
        self.on(ms, Event::Exited { container, code: 0 })
    }
}

#[test]
fn a_pod_is_ready_only_when_application_and_proxy_are() {
    let mut bench = Bench::new(spec(30, 0));
    bench.run();
    bench.probe(0, Answer::Ready);
    assert_eq!(bench.machine.ready.0, Answer::Unready);
    bench.probe(1, Answer::Ready);
    assert_eq!(bench.machine.ready.0, Answer::Ready);
    // Three failures in a row make it unready, not one.
    bench.probe(1, Answer::Unready);
    bench.probe(1, Answer::Unready);
    assert_eq!(bench.machine.ready.0, Answer::Ready);
    bench.probe(1, Answer::Unready);
    assert_eq!(bench.machine.ready.0, Answer::Unready);
}

#[test]
fn an_answer_of_a_process_that_is_gone_counts_for_nothing() {
    let mut bench = Bench::new(spec(30, 0));
    bench.run();
    bench.exit(3, 0);
    bench.on(
        4,
        Event::Probed {
            container: 0,
            pid: 10,
            answer: Answer::Ready,
        },
    );
    assert_eq!(bench.machine.containers()[0].ready, Answer::Unready);
}

#[test]
fn a_crashed_container_starts_again_after_a_growing_wait() {
    let mut bench = Bench::new(spec(30, 0));
    bench.run();
    assert_eq!(bench.exit(1000, 0), []);
    assert_eq!(bench.at(1199), []);
    assert_eq!(bench.at(1200), [Effect::Start { container: 0 }]);
    bench.on(
        1200,
        Event::Started {
            container: 0,
            pid: 20,
        },
    );
    assert_eq!(bench.machine.containers()[0].restarts, 1);
    bench.exit(1300, 0);
    assert_eq!(
        bench.machine.poll_timeout(),
        Some(bench.now(1700).monotonic)
    );
    bench.at(1700);
    bench.on(
        1700,
        Event::Started {
            container: 0,
            pid: 21,
        },
    );
    // Half a minute of life, and the wait is short again.
    bench.exit(40_000, 0);
    assert_eq!(
        bench.machine.poll_timeout(),
        Some(bench.now(40_200).monotonic)
    );
    assert_eq!(
        bench.machine.containers()[1].restarts,
        0,
        "the other one runs on"
    );
}

#[test]
fn an_ending_pod_waits_for_pre_stop_then_terminates_then_kills() {
    let mut bench = Bench::new(spec(5, 2));
    bench.run();
    assert_eq!(bench.end(1000), []);
    assert_eq!(
        bench.machine.poll_timeout(),
        Some(bench.now(3000).monotonic)
    );
    let both = [
        Effect::Terminate { container: 0 },
        Effect::Terminate { container: 1 },
    ];
    assert_eq!(
        bench.at(3000),
        both,
        "the proxy waits as long as the application"
    );
    assert_eq!(bench.at(3001), []);
    assert_eq!(
        bench.exit(3100, 0),
        [],
        "the object stays while the proxy drains"
    );
    assert_eq!(bench.at(6000), [Effect::Kill { container: 1 }]);
    assert_eq!(bench.exit(6001, 1), [Effect::Finished]);
    assert!(bench.machine.finished());
}

#[test]
fn an_object_that_is_gone_leaves_no_process() {
    let mut bench = Bench::new(spec(30, 20));
    bench.run();
    let kill = [Effect::Kill { container: 0 }, Effect::Kill { container: 1 }];
    assert_eq!(bench.on(5, Event::Gone), kill);
    bench.exit(6, 0);
    assert_eq!(bench.exit(7, 1), [Effect::Finished]);
}

#[test]
fn a_process_that_starts_while_its_pod_ends_is_ended_too() {
    let mut bench = Bench::new(spec(1, 0));
    bench.at(0);
    bench.end(1);
    bench.on(
        2,
        Event::NotStarted {
            container: 1,
            why: "no token".to_owned(),
        },
    );
    assert_eq!(
        bench.at(1001),
        [Effect::Kill { container: 0 }],
        "asked for, not known yet"
    );
    bench.on(
        1002,
        Event::Started {
            container: 0,
            pid: 10,
        },
    );
    assert_eq!(bench.at(1600), [Effect::Kill { container: 0 }]);
    assert_eq!(bench.exit(1601, 0), [Effect::Finished]);
}

#[test]
fn an_unknown_image_is_said_and_harms_nothing_else() {
    let mut unknown = spec(30, 0);
    unknown.containers[0].kind = Kind::Unknown;
    unknown.containers[0].image = "nginx".to_owned();
    let mut bench = Bench::new(unknown);
    assert_eq!(bench.at(0), [Effect::Start { container: 1 }]);
    let Run::Waiting {
        reason, message, ..
    } = &bench.machine.containers()[0].run
    else {
        panic!("{:?}", bench.machine.containers()[0].run)
    };
    assert_eq!(*reason, "ErrImagePull");
    assert!(message.contains("\"nginx\""), "{message}");
}

#[test]
fn a_pod_deleted_before_anything_ran_is_finished_at_once() {
    let mut bench = Bench::new(spec(30, 0));
    assert_eq!(bench.end(0), [Effect::Finished]);
}
