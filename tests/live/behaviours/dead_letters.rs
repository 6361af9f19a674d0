//! `TestRabbitMQEventBusDLQ`, `TestRabbitMQReliabilityDLQ`

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use es_bus::{Handle, Metadata, Registry, State, dead_letters::Filter, handler};
use es_bus_tests::{Node, Vhost};

use crate::support::{Journal, OrderPlaced, builder, placed, run, soon, stop};

/// Whether the bug is mended.
type Mended = Arc<AtomicBool>;

#[handler(group = "shaky", retries = 1, backoff(base = "50ms", max = "50ms"))]
async fn book(
    order: OrderPlaced,
    metadata: Metadata,
    State(mended): State<Mended>,
    State(journal): State<Journal>,
) -> Result<(), String> {
    if mended.load(Ordering::Relaxed) {
        journal.note(format!("booked {} {}", order.order_id, metadata.event_id));
        Ok(())
    } else {
        journal.note(format!("failed {}", order.order_id));
        Err(format!("no ledger for {}", order.order_id))
    }
}

/// A bus whose handler fails until it is mended, and so many dead letters.
async fn dead(name: &str, letters: u32) -> (Vhost, Journal, Mended, Handle) {
    let vhost = Node::shared().vhost(name);
    let (journal, mended) = (Journal::default(), Mended::default());
    let builder = builder(vhost.url(), Registry::new().handler::<book>())
        .state(journal.clone())
        .state(Arc::clone(&mended));
    let bus = run(builder).await;
    for order in 0..letters {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("one queue takes it");
    }
    soon("all are dead letters", || (bus.counts().dead_lettered == u64::from(letters)).then_some(()));
    (vhost, journal, mended, bus)
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_exception_sends_to_dlq() {
    let (_vhost, _, _, bus) = dead("exception-to-dlq", 1).await;

    assert_eq!(bus.dead_letters("shaky").expect("a group").count().await.expect("it is there"), 1);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_errors_tracked_in_stats() {
    let (_vhost, _, _, bus) = dead("errors-in-stats", 2).await;

    let counts = bus.counts();
    assert_eq!((counts.failed, counts.retried, counts.dead_lettered), (4, 2, 2));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_sent_to_dlq_after_max_retries() {
    let (_vhost, journal, _, bus) = dead("dlq-after-retries", 1).await;

    assert_eq!(journal.lines(), ["failed o-0", "failed o-0"], "the first attempt, and one retry");
    assert_eq!(bus.dead_letters("shaky").expect("a group").count().await.expect("it is there"), 1);
    stop(bus).await;
}

/// Each is listed once, and in order, where Python lists the first one again and again.
#[tokio::test(flavor = "multi_thread")]
async fn get_dlq_messages_returns_metadata() {
    let (_vhost, _, _, bus) = dead("dlq-metadata", 3).await;
    let letters = bus.dead_letters("shaky").expect("a group");

    let listed = letters.list(100).await.expect("the queue is there");

    assert_eq!(listed.len(), 3);
    for letter in &listed {
        let order = letter.aggregate_id.as_deref().expect("an order");
        assert_eq!(letter.error, Some(format!("no ledger for {order}")));
        assert_eq!(letter.event_type.as_deref(), Some("OrderPlaced"));
        assert_eq!((letter.reason.as_str(), letter.retries), ("handler_error", Some(1)));
        assert_eq!(letter.routing_key, "Order.OrderPlaced");
        assert!(letter.dead_lettered_at.is_some());
    }
    assert_eq!(letters.count().await.expect("it is there"), 3, "they are still there");
    stop(bus).await;
}

/// Of several, whichever is named; and under the id that it had, in the group that failed.
#[tokio::test(flavor = "multi_thread")]
async fn replay_dlq_message_success() {
    let (_vhost, journal, mended, bus) = dead("dlq-replay", 3).await;
    let letters = bus.dead_letters("shaky").expect("a group");
    let last = letters.list(100).await.expect("the queue is there").pop().expect("three");
    mended.store(true, Ordering::Relaxed);

    let report = letters.replay(Filter::one(&last.id)).await.expect("it is there");

    assert_eq!((report.matched, report.replayed, report.left), (1, 1, 2));
    let booked = format!("booked {} ", last.aggregate_id.expect("an order"));
    let lines = journal.until("the replay", |lines| lines.iter().any(|line| line.starts_with(&booked))).await;
    assert!(lines.last().expect("one").ends_with(&last.event_id.expect("an id")), "{lines:?}");
    assert_eq!(letters.count().await.expect("it is there"), 2);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_dlq_removes_messages() {
    let (_vhost, _, _, bus) = dead("dlq-purge", 3).await;
    let letters = bus.dead_letters("shaky").expect("a group");

    assert_eq!(letters.purge().await.expect("it is there"), 3);

    assert_eq!(letters.count().await.expect("it is there"), 0);
    assert_eq!(letters.list(100).await.expect("it is there"), []);
    stop(bus).await;
}

/// `TestRabbitMQReliabilityQueueInfo`: what the queue holds now, not what it held when it was declared.
#[tokio::test(flavor = "multi_thread")]
async fn dlq_stats_tracking() {
    let (_vhost, journal, mended, bus) = dead("dlq-stats", 2).await;
    let letters = bus.dead_letters("shaky").expect("a group");
    assert_eq!(letters.count().await.expect("it is there"), 2);
    mended.store(true, Ordering::Relaxed);

    let report = letters.replay(Filter::all()).await.expect("they are there");
    journal.until("both", |lines| lines.iter().filter(|line| line.starts_with("booked")).count() == 2).await;

    assert_eq!(report.replayed, 2);
    assert_eq!(letters.count().await.expect("it is there"), 0);
    assert_eq!(bus.counts().dead_lettered, 2, "what was sent there, not what lies there");
    stop(bus).await;
}
