//! The broker waits for an acknowledgement as long as its consumer timeout says: what could not be
//! finished within it is not begun.

use std::time::Duration;

use es_bus::{Delivered, Registry, State, handler, testing::TestBus};
use tokio::time::sleep;

use crate::support::{Journal, OrderPlaced, at_rest, eventually, placed};

const MINUTE: Duration = Duration::from_secs(60);

#[handler(group = "slow", timeout = "5m")]
async fn slow(order: OrderPlaced, delivered: Delivered, State(journal): State<Journal>) {
    journal.note(format!("{} {}", order.total, if delivered.redelivered { "again" } else { "new" }));
    sleep(4 * MINUTE).await;
}

async fn bus(settings: &[(&str, &str)]) -> (TestBus, Journal) {
    let journal = Journal::default();
    let bus = TestBus::start(|builder| {
        let builder = builder.registry(Registry::new().handler::<slow>()).state(journal.clone());
        settings.iter().fold(builder, |builder, (key, value)| builder.set_for_group("slow", key, *value))
    });
    (bus.await.unwrap(), journal)
}

async fn publish(bus: &TestBus, numbers: std::ops::Range<u32>) {
    for total in numbers {
        bus.publish(&OrderPlaced { total, ..placed("o-1") }).await.unwrap();
    }
}

/// The numbers that were handled, which must be each once and in order.
fn numbers(journal: &Journal) -> Vec<u32> {
    journal.lines().iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_waited_too_long_behind_others_goes_back_in_order_and_comes_again() {
    let (bus, journal) = bus(&[]).await;
    publish(&bus, 0..12).await;
    at_rest().await;

    // Thirty minutes, less half a minute, less the five that a run may take.
    sleep(24 * MINUTE).await;
    assert_eq!(bus.counts().overdue, 0);
    sleep(MINUTE).await;
    assert_eq!(bus.counts().overdue, 5, "six are handled, one runs, and five wait");
    assert_eq!(bus.broker().pending().unsettled, 6, "they have come again at once");
    bus.run_until_idle().await;

    assert_eq!(numbers(&journal), (0..12).collect::<Vec<_>>());
    assert_eq!(journal.lines()[6..8], ["6 new", "7 again"]);
    assert_eq!((bus.counts().handled, bus.counts().stale, bus.counts().consumers), (12, 0, 1));
    bus.stop().await.unwrap();
}

#[handler(group = "brief", timeout = "2s")]
async fn brief(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(order.total.to_string());
    sleep(Duration::from_secs(1)).await;
}

/// A process that has just started takes what comes again for the work of a crash, unless it is told.
#[tokio::test(start_paused = true)]
async fn what_waited_too_long_is_not_suspected() {
    let journal = Journal::default();
    let bus = TestBus::start(|builder| {
        let builder = builder.registry(Registry::new().handler::<brief>()).state(journal.clone());
        builder.set("consumer_timeout", "10s")
    });
    let bus = bus.await.unwrap();

    publish(&bus, 0..20).await;
    bus.run_until_idle().await;

    assert!(bus.counts().overdue > 0, "{:?}", bus.counts());
    assert_eq!(bus.counts().suspects, 0);
    assert_eq!(numbers(&journal), (0..20).collect::<Vec<_>>());
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_strict_order_all_of_it_comes_again_with_the_channel() {
    let (bus, journal) = bus(&[("ordering", "strict")]).await;

    publish(&bus, 0..12).await;
    bus.run_until_idle().await;

    assert_eq!(numbers(&journal), (0..12).collect::<Vec<_>>());
    assert_eq!(journal.lines()[6..8], ["6 new", "7 again"]);
    assert_eq!((bus.counts().handled, bus.counts().stale, bus.counts().consumers), (12, 0, 2));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_blocked_broker_goes_back_and_waits_again() {
    let (bus, journal) = bus(&[]).await;
    publish(&bus, 0..4).await;
    eventually("one is begun", || journal.lines().len() == 1).await;

    bus.broker().faults().block("memory");
    sleep(60 * MINUTE).await;
    assert_eq!(bus.counts().overdue, 6, "three events, twice");
    assert_eq!(journal.lines().len(), 1, "nothing begins");
    bus.broker().faults().unblock();
    bus.run_until_idle().await;

    assert_eq!(numbers(&journal), [0, 1, 2, 3]);
    assert_eq!((bus.counts().handled, bus.counts().stale), (4, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_waits_for_ever_is_given_nothing_back() {
    let journal = Journal::default();
    let bus = TestBus::start(|builder| {
        let builder = builder.registry(Registry::new().handler::<slow>()).state(journal.clone());
        builder.set("consumer_timeout", "none")
    });
    let bus = bus.await.unwrap();

    publish(&bus, 0..12).await;
    bus.run_until_idle().await;

    assert_eq!(numbers(&journal), (0..12).collect::<Vec<_>>());
    assert_eq!((bus.counts().handled, bus.counts().overdue), (12, 0));
    bus.stop().await.unwrap();
}

#[test]
fn a_handler_that_may_run_longer_than_the_broker_waits_does_not_start() {
    let builder = es_bus::Bus::builder().without_environment().url("memory://").state(Journal::default());
    let builder = builder.registry(Registry::new().handler::<slow>());

    let error = builder.set("consumer_timeout", "5m").build().unwrap_err();

    let text = format!("{error:?}");
    assert!(
        text.contains("the handler \"slow\" of group \"slow\" may run for 5m, more than the 4m30s"),
        "{text}"
    );
}
