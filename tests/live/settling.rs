//! Deliveries are settled where they came from, and in time.

use std::{sync::Arc, time::Duration};

use es_bus::{Handle, Lease, Registry, State, handler};
use es_bus_tests::Vhost;
use tokio::{sync::Semaphore, task::block_in_place, time::sleep};

use crate::support::{Journal, Look, OrderPlaced, Victim, builder, placed, run, soon, stop};

/// How long RabbitMQ waits for the acknowledgements of channels that are opened from now on.
fn consumer_timeout(node: &Victim, ms: u32) {
    let set = format!("application:set_env(rabbit, consumer_timeout, {ms}).");
    block_in_place(|| node.rabbitmqctl(&["eval", &set]));
}

/// RabbitMQ's own.
const HALF_AN_HOUR: u32 = 1_800_000;

#[handler(group = "unhurried", timeout = "1500ms")]
async fn unhurried(order: OrderPlaced, State(journal): State<Journal>) {
    sleep(Duration::from_millis(300)).await;
    journal.note(order.total.to_string());
}

/// Twenty in hand, one after another, take twice as long as the broker waits for any of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_others_never_outlasts_the_consumer_timeout() {
    let node = Victim::get().await;
    let vhost = node.vhost("too-old-to-start");
    let look = Look::at(&vhost).await;
    let journal = Journal::default();
    consumer_timeout(&node, 3000);
    let builder = builder(vhost.url(), Registry::new().handler::<unhurried>()).state(journal.clone());
    let bus = run(builder.set("consumer_timeout", "3s")).await;
    look.until("events.unhurried", 0, 1).await;
    consumer_timeout(&node, HALF_AN_HOUR);

    for total in 0..20 {
        bus.publisher().publish(&placed("o-1", total)).await.expect("routed");
    }

    let expected: Vec<String> = (0..20).map(|total| total.to_string()).collect();
    assert_eq!(journal.until_len(20).await, expected, "each once, and in order");
    let counts = bus.counts();
    assert_eq!((counts.consumers, counts.stale), (1, 0), "no channel was closed");
    assert!(counts.overdue > 0, "they came again");
    assert_eq!(look.left_over(&vhost).await, []);
    stop(bus).await;
    assert_eq!(look.left_over(&vhost).await, [], "all was acknowledged");
}

#[handler(group = "leased", retries = 3)]
async fn leased(
    order: OrderPlaced,
    lease: Lease,
    State(journal): State<Journal>,
    State(gate): State<Arc<Semaphore>>,
) -> Result<(), String> {
    journal.note(format!("start {}", order.total));
    gate.acquire().await.map_err(|closed| closed.to_string())?.forget();
    journal.note(format!("end {}{}", order.total, if lease.is_lost() { " lost" } else { "" }));
    if order.total == 2 { Err("no".to_owned()) } else { Ok(()) }
}

/// One run succeeds and one fails, after the broker has closed the connection that brought their
/// events. On the next connection both have the delivery tags again that they had.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_comes_to_after_its_connection_is_lost_settles_nothing() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("stale");
    let (journal, gate) = (Journal::default(), Arc::new(Semaphore::new(0)));
    let builder = builder(vhost.url(), Registry::new().handler::<leased>());
    let bus = run(builder.state(journal.clone()).state(gate.clone())).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    bus.publisher().publish(&placed("o-2", 2)).await.expect("routed");
    journal.until_len(2).await;

    block_in_place(|| node.close_all_connections("a lost connection"));
    soon("it consumes again", || (bus.counts().consumers == 2).then_some(()));
    let look = Look::at(&vhost).await;
    look.until("events.leased", 0, 1).await;
    gate.add_permits(2);
    let lines = journal.until("both begin again", |lines| lines.len() == 6).await;

    for total in 1..=2 {
        let of: Vec<&String> = lines.iter().filter(|line| line.contains(&total.to_string())).collect();
        assert_eq!(of, [&format!("start {total}"), &format!("end {total} lost"), &format!("start {total}")]);
    }
    assert_eq!((bus.counts().stale, bus.counts().retried), (2, 0));
    // Killed, both go back: neither was acknowledged, and no copy of the failed one is anywhere.
    drop(bus);
    look.until("events.leased", 2, 0).await;
    assert_eq!(look.queue("events.leased.retry.1s").await, (0, 0));
}

#[handler(group = "beside")]
async fn beside(order: OrderPlaced, State(journal): State<Journal>, State(gate): State<Arc<Semaphore>>) {
    if order.order_id == "slow" {
        journal.note(format!("begins {}", order.total));
        gate.acquire().await.expect("the gate is there").forget();
        journal.note(format!("ends {}", order.total));
    }
}

/// A bus with ten events in hand at most, all at once.
async fn ten_at_once(vhost: &Vhost, journal: &Journal, gate: &Arc<Semaphore>) -> Handle {
    ten_at_once_with(vhost, journal, gate, &[]).await
}

async fn ten_at_once_with(
    vhost: &Vhost,
    journal: &Journal,
    gate: &Arc<Semaphore>,
    settings: &[(&str, &'static str)],
) -> Handle {
    let all = [("prefetch", "10"), ("concurrency", "10")].iter().chain(settings);
    let builder = builder(vhost.url(), Registry::new().handler::<beside>());
    let builder = all.fold(builder, |builder, (key, value)| builder.set_for_group("beside", key, *value));
    run(builder.state(journal.clone()).state(gate.clone())).await
}

/// Enough that the broker is told of many one by one.
async fn others(bus: &Handle) {
    let handled = bus.counts().handled;
    let others: Vec<_> = (1..=2500).map(|total| placed(format!("o-{}", total % 50), total)).collect();
    let report = bus.publisher().publish_all(&others).await;
    assert!(report.is_complete(), "{report}");
    soon("all others are handled", || (bus.counts().handled >= handled + 2500).then_some(()));
}

/// Waits until the one consumer of the queue may have so many deliveries in hand.
fn until_prefetch(vhost: &Vhost, expected: u64) {
    soon(&format!("a prefetch of {expected}"), || {
        let consumers = vhost.queue("events.beside")?.consumer_details;
        (consumers.iter().map(|it| it.prefetch_count).eq([expected])).then_some(())
    });
}

/// The broker has no more than ten deliveries unacknowledged here: held back behind the first, the
/// acknowledgements of the others would let nine of them through, and no more. And while the first is
/// held, others are acknowledged together again, as they come to another channel.
#[tokio::test(flavor = "multi_thread")]
async fn one_slow_event_does_not_hold_the_prefetch() {
    let node = Victim::get().await;
    let vhost = node.vhost("one-slow-event");
    let (journal, gate) = (Journal::default(), Arc::new(Semaphore::new(0)));
    let bus = ten_at_once(&vhost, &journal, &gate).await;
    bus.publisher().publish(&placed("slow", 0)).await.expect("routed");
    journal.until_len(1).await;

    others(&bus).await;
    until_prefetch(&vhost, 9);

    gate.add_permits(1);
    journal.until_len(2).await;
    others(&bus).await;
    until_prefetch(&vhost, 10);
    let counts = bus.counts();
    assert_eq!((counts.consumers, counts.stale, counts.suspects), (1, 0, 0), "nothing came again");
    stop(bus).await;
    let look = Look::at(&vhost).await;
    assert_eq!(look.left_over(&vhost).await, [], "all was acknowledged");
}

/// The broker deletes such a queue with its last consumer, and what is in it: another one may not take its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_goes_with_its_last_consumer_keeps_it_beside_a_slow_event() {
    let node = Victim::get().await;
    let vhost = node.vhost("auto-delete-beside");
    let (journal, gate) = (Journal::default(), Arc::new(Semaphore::new(0)));
    let settings = [("kind", "classic"), ("auto_delete", "true")];
    let bus = ten_at_once_with(&vhost, &journal, &gate, &settings).await;
    bus.publisher().publish(&placed("slow", 0)).await.expect("routed");
    journal.until_len(1).await;

    others(&bus).await;

    until_prefetch(&vhost, 10);
    gate.add_permits(1);
    journal.until_len(2).await;
    stop(bus).await;
}

/// What waits behind a slow event of its aggregate has come on two channels, and goes back in its order.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_slow_event_goes_back_in_order() {
    let node = Victim::get().await;
    let vhost = node.vhost("behind-a-slow-event");
    let (journal, gate) = (Journal::default(), Arc::new(Semaphore::new(0)));
    let bus = ten_at_once(&vhost, &journal, &gate).await;
    for total in 1..=2 {
        bus.publisher().publish(&placed("slow", total)).await.expect("routed");
    }
    journal.until_len(1).await;
    others(&bus).await;
    until_prefetch(&vhost, 8);
    for total in 3..=4 {
        bus.publisher().publish(&placed("slow", total)).await.expect("routed");
    }
    let look = Look::at(&vhost).await;
    // A quorum queue counts a cancelled consumer, too, as long as it has something in hand.
    look.until("events.beside", 0, 2).await;

    let stopping = tokio::spawn(stop(bus));
    look.until("events.beside", 3, 1).await;
    gate.add_permits(4);
    stopping.await.expect("no panic");
    let bus = ten_at_once(&vhost, &journal, &gate).await;

    let expected: Vec<String> =
        (1..=4).flat_map(|total| [format!("begins {total}"), format!("ends {total}")]).collect();
    assert_eq!(journal.until_len(8).await, expected);
    stop(bus).await;
    assert_eq!(look.left_over(&vhost).await, [], "all was acknowledged");
}
