//! Publishing in the background: in order, bounded, and waited for when the bus stops.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use es_bus::{PublishError, Registry, State, handler, testing::TestBus};

use crate::support::{InvoiceSent, Journal, Log, OrderPlaced, at_rest, bus_on, placed, take_all};

#[handler(group = "inbox")]
async fn receive(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("{} {}", order.order_id, order.total));
}

async fn bus(journal: &Journal) -> TestBus {
    let registry = Registry::new().handler::<receive>().event::<InvoiceSent>();
    TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap()
}

fn order(order_id: &str, total: u32) -> OrderPlaced {
    OrderPlaced { order_id: order_id.to_owned(), total }
}

/// What arrived of each order, in the order in which it did.
fn by_order(journal: &Journal) -> BTreeMap<String, Vec<u32>> {
    let mut totals: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in journal.lines() {
        let (order, total) = line.split_once(' ').unwrap();
        totals.entry(order.to_owned()).or_default().push(total.parse().unwrap());
    }
    totals
}

#[tokio::test(start_paused = true)]
async fn an_event_in_the_background_is_confirmed_to_whoever_awaits_it() {
    let journal = Journal::default();
    let bus = bus(&journal).await;

    let handle = bus.publisher().publish_background(&placed("o-1")).await.unwrap();
    let id = handle.id().to_owned();
    drop(bus.publish(&placed("o-2")).tenant("acme").in_background().await.unwrap());
    assert_eq!(handle.await.unwrap(), id);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1 100", "o-2 100"]);
    assert_eq!((bus.counts().published, bus.counts().background_failed), (2, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_events_of_an_aggregate_keep_their_order_through_an_outage() {
    let journal = Journal::default();
    let bus = bus(&journal).await;

    // Longer than `publish_timeout`: nobody gives up in the background.
    bus.broker().faults().cut_link_for(Duration::from_secs(100));
    for total in 0..30 {
        drop(bus.publisher().publish_background(&order(&format!("o-{}", total % 3), total)).await.unwrap());
    }
    bus.broker().faults().lose_publishes(5);
    tokio::time::sleep(Duration::from_secs(110)).await;
    bus.run_until_idle().await;

    let arrived = by_order(&journal);
    assert_eq!(arrived.len(), 3);
    for (order, totals) in arrived {
        assert!(totals.is_sorted() && totals.len() == 10, "{order}: {totals:?}");
    }
    assert_eq!((bus.counts().published, bus.counts().background_failed), (30, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_and_the_next_waits() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<receive>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).set("publish_background", "2")
    })
    .await
    .unwrap();

    bus.broker().faults().block("memory");
    for total in 0..2 {
        drop(bus.publisher().publish_background(&order("o-1", total)).await.unwrap());
    }
    let full = bus.publisher().publish_background(&order("o-1", 2)).await.unwrap_err();
    let publisher = bus.publisher().clone();
    let waits = tokio::spawn(async move { publisher.publish_background(&order("o-1", 3)).await });
    at_rest().await;
    assert!(!waits.is_finished());
    bus.broker().faults().unblock();
    drop(waits.await.unwrap().unwrap());
    bus.run_until_idle().await;

    assert!(
        matches!(full, PublishError::Backlog { limit: 2, after } if after == Duration::from_secs(30)),
        "{full:?}"
    );
    assert_eq!(by_order(&journal)["o-1"], [0, 1, 3]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_nobody_awaits_is_counted_and_logged() {
    let log = Log::default();
    let _recording = log.record();
    let bus = bus(&Journal::default()).await;

    bus.broker().faults().refuse_publishes(3);
    let publisher = bus.publisher();
    let awaited = publisher.publish_background(&order("a", 1)).await.unwrap();
    let dropped = publisher.publish_background(&order("b", 1)).await.unwrap();
    let late = publisher.publish_background(&order("c", 1)).await.unwrap();
    let (dropped_id, late_id) = (dropped.id().to_owned(), late.id().to_owned());
    drop(dropped);
    let awaited_id = awaited.id().to_owned();
    assert!(matches!(awaited.await, Err(PublishError::Refused { .. })));
    bus.run_until_idle().await;
    drop(late);

    let lines = log.lines_with("published in the background is lost");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains(&dropped_id) && lines[1].contains(&late_id), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains(&awaited_id)));
    assert_eq!(bus.counts().background_failed, 3);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_does_not_hold_up_those_behind_it() {
    let journal = Journal::default();
    let bus = bus(&journal).await;

    bus.broker().faults().refuse_publishes(1);
    for total in 0..3 {
        drop(bus.publisher().publish_background(&order("o-1", total)).await.unwrap());
    }
    bus.run_until_idle().await;

    assert_eq!(by_order(&journal)["o-1"], [1, 2]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_in_the_background() {
    let journal = Journal::default();
    let bus = bus(&journal).await;
    let broker = Arc::clone(bus.broker());

    bus.broker().faults().cut_link_for(Duration::from_secs(20));
    let mut handles = Vec::new();
    for total in 0..50 {
        handles.push(
            bus.publisher().publish_background(&order(&format!("o-{}", total % 5), total)).await.unwrap(),
        );
    }
    let publisher = bus.publisher().clone();
    bus.stop().await.unwrap();

    for handle in handles {
        handle.await.unwrap();
    }
    let error = publisher.publish_background(&placed("late")).await.unwrap_err();
    assert!(matches!(error, PublishError::Closed), "{error:?}");
    let looks =
        bus_on(&broker, |builder| builder.registry(Registry::new().event::<OrderPlaced>()).publish_only())
            .await;
    let left = take_all(&looks, "events.inbox").await.len();
    assert_eq!(left + journal.lines().len(), 50);
    looks.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_when_the_shutdown_timeout_is_over_is_told_to_be_lost() {
    let log = Log::default();
    let _recording = log.record();
    let bus = bus(&Journal::default()).await;
    let started = tokio::time::Instant::now();

    bus.broker().faults().cut_link_for(Duration::from_secs(3600));
    let awaited = bus.publisher().publish_background(&placed("o-1")).await.unwrap();
    for total in 0..3 {
        drop(bus.publisher().publish_background(&order("o-1", total)).await.unwrap());
    }
    bus.stop().await.unwrap();

    assert!(matches!(awaited.await, Err(PublishError::Closed)));
    let waited = started.elapsed().as_secs();
    assert!((30..=36).contains(&waited), "{waited}");
    assert_eq!(log.lines_with("published in the background is lost").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_refused_before_it_is_taken() {
    let bus = bus(&Journal::default()).await;

    let error = bus.publish(&placed("o-1")).aggregate_version(0).in_background().await.unwrap_err();

    assert!(matches!(error, PublishError::Encode(_)), "{error:?}");
    assert_eq!(bus.counts().background_failed, 0);
    bus.stop().await.unwrap();
}
