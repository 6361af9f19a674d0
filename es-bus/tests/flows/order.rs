//! What runs at once, and what waits for what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_bus::{Attempt, Event, Registry, State, event, handler, testing::TestBus};
use serde::{Deserialize, Serialize};

use crate::support::{Gate, Journal, OrderPlaced, at_rest, placed};

/// A step of something, with a number to see the order by.
#[event(aggregate = "Order", aggregate_id = of)]
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    of: String,
    number: u32,
}

/// A step of another kind of aggregate, whose ids may be the same.
#[event(aggregate = "Parcel", aggregate_id = of)]
#[derive(Debug, Serialize, Deserialize)]
struct ParcelMoved {
    of: String,
    number: u32,
}

fn step(of: &str, number: u32) -> Step {
    Step { of: of.to_owned(), number }
}

/// How many runs there are at once, and the most there ever were.
#[derive(Clone, Default)]
struct Meter {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Meter {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[handler(group = "steps")]
async fn take_step(
    step: Step,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
    State(meter): State<Meter>,
) {
    journal.note(format!("{} {} begins", step.of, step.number));
    meter.enter();
    gate.pass().await;
    meter.leave();
    journal.note(format!("{} {} ends", step.of, step.number));
}

#[handler(group = "steps")]
async fn move_parcel(moved: ParcelMoved, State(journal): State<Journal>, State(gate): State<Gate>) {
    journal.note(format!("parcel {} {} begins", moved.of, moved.number));
    gate.pass().await;
}

/// A bus whose handlers wait at a gate, with settings of its group.
async fn gated(settings: &[(&'static str, &'static str)]) -> (TestBus, Journal, Gate, Meter) {
    let (journal, gate, meter) = (Journal::default(), Gate::default(), Meter::default());
    let registry = Registry::new().handler::<take_step>().handler::<move_parcel>();
    let bus = TestBus::start(|mut builder| {
        for (name, value) in settings {
            builder = builder.set_for_group("steps", name, *value);
        }
        builder.registry(registry).state(journal.clone()).state(gate.clone()).state(meter.clone())
    })
    .await
    .unwrap();
    (bus, journal, gate, meter)
}

#[tokio::test(start_paused = true)]
async fn events_of_one_aggregate_run_one_by_one_in_their_order_while_others_run_at_once() {
    let (bus, journal, gate, _meter) = gated(&[]).await;

    for number in 1..=3 {
        bus.publish(&step("a", number)).await.unwrap();
    }
    bus.publish(&step("b", 1)).await.unwrap();
    gate.entered(2).await;
    at_rest().await;
    assert_eq!(journal.lines(), ["a 1 begins", "b 1 begins"], "a 2 waits for a 1, and b for nothing");
    gate.open(100);
    bus.run_until_idle().await;

    let lines = journal.lines();
    let of_a: Vec<_> = lines.iter().filter(|line| line.starts_with('a')).collect();
    assert_eq!(of_a, ["a 1 begins", "a 1 ends", "a 2 begins", "a 2 ends", "a 3 begins", "a 3 ends"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_aggregates_keep_their_order_each() {
    let (bus, journal, gate, meter) = gated(&[]).await;
    gate.open(10_000);

    for number in 0..20 {
        for of in 0..20 {
            bus.publish(&step(&format!("id-{of}"), number)).await.unwrap();
        }
    }
    bus.run_until_idle().await;

    for of in 0..20 {
        let prefix = format!("id-{of} ");
        let lines: Vec<_> = journal
            .lines()
            .into_iter()
            .filter(|line| line.starts_with(&prefix) && line.ends_with("begins"))
            .collect();
        let expected: Vec<_> = (0..20).map(|number| format!("{prefix}{number} begins")).collect();
        assert_eq!(lines, expected);
    }
    assert!(meter.most() <= 16);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_run_at_once_as_the_group_allows_and_no_more() {
    for (settings, bound) in [
        (&[][..], 16),
        (&[("concurrency", "3")][..], 3),
        (&[("concurrency", "1")][..], 1),
        (&[("concurrency", "5"), ("prefetch", "5")][..], 5),
        (&[("concurrency", "40"), ("prefetch", "50"), ("ordering", "none")][..], 40),
    ] {
        let (bus, _journal, gate, meter) = gated(settings).await;

        for n in 0..60 {
            bus.publish(&step(&format!("id-{n}"), 1)).await.unwrap();
        }
        gate.entered(bound).await;
        at_rest().await;
        assert_eq!(gate.count(), bound, "{settings:?}");
        gate.open(1);
        gate.entered(bound + 1).await;
        at_rest().await;
        assert_eq!(gate.count(), bound + 1, "one ends and one begins: {settings:?}");
        gate.open(1_000);
        bus.run_until_idle().await;

        assert_eq!(meter.most(), bound, "{settings:?}");
        assert_eq!(bus.counts().handled, 60);
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_in_hand_than_the_prefetch() {
    let (bus, _journal, gate, _meter) = gated(&[("concurrency", "2"), ("prefetch", "10")]).await;

    for n in 0..60 {
        bus.publish(&step(&format!("id-{n}"), 1)).await.unwrap();
    }
    gate.entered(2).await;
    at_rest().await;

    let pending = bus.broker().pending();
    assert_eq!((pending.unsettled, pending.ready), (10, 50));
    gate.open(1_000);
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_an_order_events_of_one_aggregate_overlap() {
    let (bus, _journal, gate, meter) = gated(&[("ordering", "none")]).await;

    for number in 0..5 {
        bus.publish(&step("a", number)).await.unwrap();
    }
    gate.entered(5).await;
    gate.open(5);
    bus.run_until_idle().await;

    assert_eq!(meter.most(), 5);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_is_known_by_its_type_and_its_id() {
    let (bus, journal, gate, _meter) = gated(&[]).await;

    bus.publish(&step("7", 1)).await.unwrap();
    bus.publish(&ParcelMoved { of: "7".to_owned(), number: 1 }).await.unwrap();
    bus.publish(&step("7", 2)).await.unwrap();
    bus.publish(&ParcelMoved { of: "7".to_owned(), number: 2 }).await.unwrap();
    gate.entered(2).await;
    at_rest().await;

    assert_eq!(journal.lines(), ["7 1 begins", "parcel 7 1 begins"]);
    gate.open(100);
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_a_uuid_has_a_lane_like_any_other() {
    let (bus, journal, gate, _meter) = gated(&[]).await;
    let id = "0f1e2d3c-4b5a-4968-8776-655443322110";

    bus.publish(&step(id, 1)).await.unwrap();
    bus.publish(&step(id, 2)).await.unwrap();
    gate.entered(1).await;
    at_rest().await;

    assert_eq!(journal.lines(), [format!("{id} 1 begins")]);
    gate.open(100);
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

/// A tick of a clock: it happens to nothing in particular.
#[event(aggregate = "Clock")]
#[derive(Debug, Serialize, Deserialize)]
struct Ticked {
    number: u32,
}

#[handler(group = "ticks")]
async fn on_tick(_ticked: Ticked, State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test(start_paused = true)]
async fn events_without_an_aggregate_wait_for_nothing() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<on_tick>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(gate.clone())).await.unwrap();
    assert_eq!(Ticked { number: 0 }.aggregate_id(), None);

    for number in 0..10 {
        bus.publish(&Ticked { number }).await.unwrap();
    }
    gate.entered(10).await;

    gate.open(10);
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

#[handler(group = "overtaken", backoff(base = "10s", max = "10s", jitter = 0.0))]
async fn fails_at_first(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("{} {}", order.total, attempt.number));
    if order.total == 1 && attempt.number == 0 { Err("later".to_owned()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_its_retry_is_overtaken() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<fails_at_first>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    for total in 1..=3 {
        bus.publish(&OrderPlaced { total, ..placed("o-1") }).await.unwrap();
    }
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["1 0", "2 0", "3 0", "1 1"]);
    assert_eq!(bus.counts().overtaken, 2);
    bus.stop().await.unwrap();
}

#[handler(group = "pair", name = "quick")]
async fn quick(step: Step, State(journal): State<Journal>) {
    journal.note(format!("quick {}", step.number));
}

#[handler(group = "pair", name = "slow")]
async fn slow(step: Step, State(journal): State<Journal>, State(gate): State<Gate>) {
    gate.pass().await;
    journal.note(format!("slow {}", step.number));
}

#[tokio::test(start_paused = true)]
async fn handlers_of_a_group_run_side_by_side_and_the_lane_waits_for_all_of_them() {
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<quick>().handler::<slow>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone()).state(gate.clone()))
        .await
        .unwrap();

    bus.publish(&step("a", 1)).await.unwrap();
    bus.publish(&step("a", 2)).await.unwrap();
    gate.entered(1).await;
    at_rest().await;
    assert_eq!(journal.lines(), ["quick 1"], "the second event waits for the slow one");
    gate.open(2);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["quick 1", "slow 1", "quick 2", "slow 2"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_slow_event_does_not_keep_finished_ones_from_being_acknowledged() {
    let (bus, _journal, gate, _meter) = gated(&[("concurrency", "2"), ("prefetch", "2")]).await;

    bus.publish(&step("slow", 1)).await.unwrap();
    gate.entered(1).await;
    for n in 0..10 {
        bus.publish(&step(&format!("id-{n}"), 1)).await.unwrap();
    }
    // Nine of ten pass at the side of the slow one, which came to the gate first and goes first.
    gate.entered(2).await;
    gate.open(1);
    gate.entered(3).await;
    gate.open(9);
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert!(bus.counts().handled >= 9, "{:?}", bus.counts());
    gate.open(100);
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

/// Fails now and then, at once or after a while.
#[handler(group = "threads", retries = 20, backoff(base = "1ms", max = "1ms"))]
async fn on_many_threads(
    step: Step,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(meter): State<Meter>,
) -> Result<(), String> {
    meter.enter();
    tokio::task::yield_now().await;
    meter.leave();
    if (step.number + attempt.number).is_multiple_of(5) && attempt.number < 3 {
        return Err("not now".to_owned());
    }
    journal.note(format!("{} {}", step.of, step.number));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_every_event_is_handled_once_and_the_bound_holds() {
    let (journal, meter) = (Journal::default(), Meter::default());
    let registry = Registry::new().handler::<on_many_threads>();
    let bus =
        TestBus::start(|builder| builder.registry(registry).state(journal.clone()).state(meter.clone()))
            .await
            .unwrap();

    let steps: Vec<_> = (0..1_000).map(|n| step(&format!("id-{}", n % 50), n)).collect();
    assert!(bus.publisher().publish_all(&steps).await.is_complete());
    bus.run_to_the_end().await;

    let mut lines = journal.lines();
    lines.sort();
    lines.dedup();
    assert_eq!((lines.len(), journal.lines().len()), (1_000, 1_000));
    assert!(meter.most() <= 16);
    assert_eq!(bus.counts().dead_lettered, 0);
    bus.stop().await.unwrap();
}
