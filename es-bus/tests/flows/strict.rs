//! `ordering = "strict"`: nothing of an aggregate passes an event that fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use es_bus::{
    Attempt, Error, Event, HandlerError, Registry, State, event, group, handler, testing::TestBus,
    transport::memory::Memory,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::support::{Gate, Journal, bus_on, eventually, foreign, publish_raw, ready_in, take_all};

/// A step of something, with a number to see the order by.
#[event(aggregate = "Order", aggregate_id = of)]
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    of: String,
    number: u32,
}

fn step(of: impl Into<String>, number: u32) -> Step {
    Step { of: of.into(), number }
}

/// How often each step still fails, and how.
#[derive(Clone, Default)]
struct Failing(Arc<Mutex<BTreeMap<(String, u32), u32>>>);

impl Failing {
    fn set(&self, of: &str, number: u32, times: u32) {
        self.0.lock().unwrap().insert((of.to_owned(), number), times);
    }

    fn is_next(&self, step: &Step) -> bool {
        match self.0.lock().unwrap().get_mut(&(step.of.clone(), step.number)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

#[group(ordering = "strict", retries = 3, backoff(base = "10s", max = "1m", jitter = 0.1))]
struct Strictly;

#[handler(group = Strictly)]
async fn follow(
    step: Step,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(failing): State<Failing>,
) -> Result<(), String> {
    // Time for others to come in between.
    tokio::time::sleep(Duration::from_millis(u64::from(step.number % 3))).await;
    let fails = failing.is_next(&step);
    journal.note(format!(
        "{} {} {}{}",
        step.of,
        step.number,
        attempt.number,
        if fails { " failed" } else { "" }
    ));
    if fails { Err("not now".to_owned()) } else { Ok(()) }
}

async fn followed(broker: &Memory, journal: &Journal, failing: &Failing) -> TestBus {
    let registry = Registry::new().handler::<follow>();
    bus_on(broker, |builder| builder.registry(registry).state(journal.clone()).state(failing.clone())).await
}

fn of<'a>(lines: &'a [String], of: &str) -> Vec<&'a str> {
    let prefix = format!("{of} ");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

/// The numbers of an aggregate in the order in which they were first done. What was done again, after
/// a connection was lost, began again from an earlier one.
fn done(lines: &[String], aggregate: &str) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let numbers = of(lines, aggregate).into_iter().filter(|line| !line.ends_with("failed"));
    numbers.map(|line| line.split(' ').next().unwrap().parse().unwrap()).filter(|n| seen.insert(*n)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_is_tried_again_before_the_next_of_its_aggregate_and_others_go_on() {
    let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
    failing.set("a", 1, 2);
    let bus = followed(&broker, &journal, &failing).await;

    for number in 1..=3 {
        bus.publish(&step("a", number)).await.unwrap();
        bus.publish(&step("b", number)).await.unwrap();
    }
    eventually("b is done", || of(&journal.lines(), "b").len() == 3).await;
    assert_eq!(of(&journal.lines(), "a"), ["1 0 failed"], "b went on while a waits");
    assert_eq!(bus.broker().pending().unsettled, 3, "no copy was made: the delivery is still in hand");
    bus.run_until_idle().await;

    assert_eq!(of(&journal.lines(), "a"), ["1 0 failed", "1 1 failed", "1 2", "2 0", "3 0"]);
    assert_eq!((bus.counts().retried, bus.counts().dead_lettered, bus.counts().delivered), (2, 0, 6));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_given_up_is_dead_lettered_before_the_next_of_its_aggregate() {
    let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
    failing.set("a", 1, 9);
    let bus = followed(&broker, &journal, &failing).await;

    for number in 1..=2 {
        bus.publish(&step("a", number)).await.unwrap();
    }
    bus.run_until_idle().await;

    assert_eq!(of(&journal.lines(), "a"), ["1 0 failed", "1 1 failed", "1 2 failed", "1 3 failed", "2 0"]);
    let letters = take_all(&bus, "events.strictly.dlq").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.headers.get_str("x-es-reason"), Some("handler_error"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_aggregate_keeps_its_order_whatever_fails() {
    for seed in 0..20 {
        let mut chance = StdRng::seed_from_u64(seed);
        let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
        let bus = followed(&broker, &journal, &failing).await;
        let (mut given_up, mut failures) = (0, 0);
        for number in 0..8 {
            for of in 0..30 {
                if chance.random_bool(0.3) {
                    let times = chance.random_range(1..=4);
                    failures += u64::from(times);
                    given_up += u64::from(times == 4);
                    failing.set(&format!("id-{of}"), number, times);
                }
                bus.publish(&step(format!("id-{of}"), number)).await.unwrap();
            }
        }
        bus.run_until_idle().await;

        let lines = journal.lines();
        for of_id in 0..30 {
            let lines = of(&lines, &format!("id-{of_id}"));
            let runs: Vec<(u32, u32)> = lines
                .iter()
                .map(|line| {
                    let mut words = line.split(' ').map(str::parse);
                    (words.next().unwrap().unwrap(), words.next().unwrap().unwrap())
                })
                .collect();
            assert!(runs.is_sorted(), "seed {seed}: {runs:?}");
            assert_eq!(runs.iter().filter(|(_, attempt)| *attempt == 0).count(), 8);
        }
        let counts = bus.counts();
        assert_eq!((counts.failed, counts.dead_lettered, counts.delivered), (failures, given_up, 240));
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_over_a_lost_connection_and_nothing_runs_beside_itself() {
    for seed in 0..20 {
        let mut chance = StdRng::seed_from_u64(seed);
        let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
        let bus = followed(&broker, &journal, &failing).await;
        for number in 0..6 {
            for of in 0..10 {
                if chance.random_bool(0.3) {
                    failing.set(&format!("id-{of}"), number, chance.random_range(1..=3));
                }
                bus.publish(&step(format!("id-{of}"), number)).await.unwrap();
            }
        }
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..30_000))).await;
            bus.broker().faults().cut_link();
        }
        eventually("the link is up", || bus.broker().pending().parked == 0).await;
        bus.run_until_idle().await;

        for of in 0..10 {
            assert_eq!(
                done(&journal.lines(), &format!("id-{of}")),
                (0..6).collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
        assert_eq!(bus.counts().dead_lettered, 0);
        // Runs are ended with their connection; only one that ends in the same instant is too late.
        assert!(bus.counts().stale <= 5, "seed {seed}: {}", bus.counts().stale);
        bus.stop().await.unwrap();
    }
}

#[handler(group = Strictly, name = "follow")]
async fn held(step: Step, State(journal): State<Journal>, State(gate): State<Gate>) {
    journal.note(format!("{} {} begins", step.of, step.number));
    gate.pass().await;
    journal.note(format!("{} {} ends", step.of, step.number));
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_with_the_connection_that_brought_its_event() {
    let (broker, journal, gate) = (Memory::new(), Journal::default(), Gate::default());
    let registry = Registry::new().handler::<held>();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(journal.clone()).state(gate.clone()))
            .await;
    bus.publish(&step("a", 1)).await.unwrap();
    bus.publish(&step("a", 2)).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link();
    gate.entered(2).await;
    gate.open(10);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["a 1 begins", "a 1 begins", "a 1 ends", "a 2 begins", "a 2 ends"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_standby_goes_on_in_order_where_the_active_one_stops() {
    for seed in 0..20 {
        let mut chance = StdRng::seed_from_u64(seed);
        let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
        let first = followed(&broker, &journal, &failing).await;
        let second = followed(&broker, &journal, &failing).await;
        for number in 0..30 {
            for of in 0..10 {
                if chance.random_bool(0.2) {
                    failing.set(&format!("id-{of}"), number, chance.random_range(1..=3));
                }
                first.publish(&step(format!("id-{of}"), number)).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..60_000))).await;
        assert_eq!(second.counts().delivered, 0, "one is active");
        if chance.random_bool(0.5) {
            first.stop().await.unwrap();
        } else {
            drop(first);
        }
        second.run_until_idle().await;

        for n in 0..10 {
            let id = format!("id-{n}");
            let lines = journal.lines();
            assert_eq!(done(&lines, &id), (0..30).collect::<Vec<_>>(), "seed {seed} {:#?}", of(&lines, &id));
        }
        assert_eq!(second.counts().dead_lettered, 0);
        second.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_rests_goes_back_at_once_when_the_program_stops_and_begins_anew() {
    let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
    failing.set("a", 1, 1);
    let bus = followed(&broker, &journal, &failing).await;
    bus.publish(&step("a", 1)).await.unwrap();
    bus.publish(&step("a", 2)).await.unwrap();
    eventually("it failed", || journal.lines().len() == 1).await;

    let before = tokio::time::Instant::now();
    bus.stop().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "nobody waits for the pause to be over");
    let bus = followed(&broker, &journal, &failing).await;
    bus.run_until_idle().await;

    assert_eq!(of(&journal.lines(), "a"), ["1 0 failed", "1 0", "2 0"]);
    bus.stop().await.unwrap();
}

#[handler(group = Strictly, name = "first")]
async fn done_at_once(step: Step, State(journal): State<Journal>) {
    journal.note(format!("first {}", step.number));
}

#[handler(group = Strictly, name = "second")]
async fn done_later(
    step: Step,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    journal.note(format!("second {} {}", step.number, attempt.number));
    match (step.number, attempt.number) {
        (1, 0) => Err(HandlerError::retry_after(Duration::from_secs(600), "busy")),
        (2, 0) => Err(HandlerError::retry_after(Duration::from_secs(3600), "away")),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_done_does_not_run_again_and_what_wants_too_long_a_pause_is_dead_lettered() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<done_at_once>().handler::<done_later>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    for number in 1..=3 {
        bus.publish(&step("a", number)).await.unwrap();
    }
    let before = tokio::time::Instant::now();
    bus.run_until_idle().await;

    let lines = journal.lines();
    assert_eq!(of(&lines, "first"), ["1", "2", "3"]);
    assert_eq!(of(&lines, "second"), ["1 0", "1 1", "2 0", "3 0"]);
    assert!(before.elapsed() >= Duration::from_secs(600));
    let letters = take_all(&bus, "events.strictly.dlq").await;
    assert_eq!(letters.len(), 1);
    let error = letters[0].message.headers.get_str("x-es-error").map(str::to_owned);
    let error = error.unwrap_or_else(|| format!("{:?}", letters[0].message.headers));
    assert!(error.contains("away; trying again after 1h does not fit into the 29m"), "{error}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_knows_waits_in_place_and_is_then_dead_lettered() {
    const ID: &str = "0f1e2d3c-4b5a-4968-8776-655443322110";
    let (broker, journal, failing) = (Memory::new(), Journal::default(), Failing::default());
    let bus = followed(&broker, &journal, &failing).await;
    let mut message = foreign("{}");
    message.headers.insert("event_type", "StepTaken");
    message.headers.insert("aggregate_type", "Order");
    message.headers.insert("aggregate_id", ID);
    publish_raw(&bus, Step::KINDS[0].key, message).await;
    bus.publish(&step(ID, 1)).await.unwrap();
    bus.publish(&step("b", 1)).await.unwrap();
    eventually("b is done", || journal.lines().len() == 1).await;
    assert_eq!(journal.lines(), ["b 1 0"]);

    let before = tokio::time::Instant::now();
    bus.run_until_idle().await;

    assert!(before.elapsed() > Duration::from_secs(19 * 60), "30 s, 40 times");
    assert_eq!(journal.lines(), ["b 1 0".to_owned(), format!("{ID} 1 0")]);
    assert_eq!(ready_in(&bus, "events.strictly.dlq").await, 1);
    bus.stop().await.unwrap();
}

#[test]
fn what_cannot_be_strict_is_refused_at_the_start() {
    let refused = |settings: &[(&'static str, &'static str)]| {
        let registry = Registry::new().handler::<follow>();
        let mut builder = es_bus::Bus::builder()
            .without_environment()
            .url("memory://")
            .registry(registry)
            .state(Journal::default())
            .state(Failing::default());
        for (name, value) in settings {
            builder = builder.set_for_group("strictly", name, *value);
        }
        builder.build().err().map_or_else(String::new, |error: Error| format!("{error:?}"))
    };

    assert_eq!(refused(&[]), "");
    assert!(refused(&[("timeout", "10m")]).contains("4 × 10m of runs and 1m17s of pauses"));
    for (settings, what) in [
        (("exclusive", "true"), "exclusive"),
        (("compat", "eventsource"), "compat"),
        (("single_active_consumer", "false"), "single_active_consumer = false"),
    ] {
        let text = refused(&[settings, ("on_unknown", "skip")]);
        assert!(text.contains(&format!("ordering \"strict\" and {what}")), "{text}");
    }
}
