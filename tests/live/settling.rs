//! Deliveries are settled where they came from, and in time.

use std::time::Duration;

use es_bus::{Registry, State, handler};
use tokio::{task::block_in_place, time::sleep};

use crate::support::{Journal, Look, OrderPlaced, Victim, builder, placed, run, stop};

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
