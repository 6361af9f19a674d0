//! A group with a stream on a real broker: its position over restarts, a kill, and a hand-over between replicas.

use std::{collections::BTreeSet, sync::Arc};

use es_bus::{Handle, Registry, State, handler};
use es_bus_tests::{Node, Vhost};

use crate::support::{
    Journal, Launch, Look, OrderPlaced, PATIENCE, TempDir, builder, placed, publisher, run, stop,
};

#[handler(group = "log")]
async fn record(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("{}", order.total));
}

async fn reader(vhost: &Vhost, journal: &Journal) -> Handle {
    let builder = builder(vhost.url(), Registry::new().handler::<record>())
        .set_for_group("log", "kind", "stream")
        .set_for_group("log", "max_age", "7d")
        .state(journal.clone());
    run(builder).await
}

async fn publish(publishing: &Handle, numbers: std::ops::Range<u32>) {
    let events: Vec<OrderPlaced> = numbers.map(|number| placed("o-1", number)).collect();
    assert!(publishing.publisher().publish_all(&events).await.is_complete());
}

fn numbers(lines: &[String]) -> BTreeSet<u32> {
    lines.iter().map(|line| line.parse().expect("a number")).collect()
}

/// What was handled, in its order, each once.
async fn until_all(journal: &Journal, count: u32) -> Vec<String> {
    let all: BTreeSet<u32> = (0..count).collect();
    journal.until("every event", |lines| numbers(lines) == all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_after_a_stop_and_a_hand_over() {
    let vhost = Node::shared().vhost("streams");
    let journal = Journal::default();
    let first = reader(&vhost, &journal).await;
    let publishing = publisher(vhost.url(), Registry::new().handler::<record>()).await;
    publish(&publishing, 0..300).await;
    until_all(&journal, 300).await;

    // In order: nothing comes twice.
    stop(first).await;
    publish(&publishing, 300..400).await;
    let first = reader(&vhost, &journal).await;
    let lines = until_all(&journal, 400).await;
    assert_eq!(lines, (0..400).map(|number| number.to_string()).collect::<Vec<_>>());

    // Another replica stands by, and takes over from one that ends at once, amid the events.
    let second = reader(&vhost, &journal).await;
    publish(&publishing, 400..800).await;
    journal.until("some are handled", |lines| lines.len() > 450).await;
    drop(first);
    publish(&publishing, 800..850).await;
    until_all(&journal, 850).await;

    // And once more when nobody is left.
    drop(second);
    publish(&publishing, 850..900).await;
    let third = reader(&vhost, &journal).await;
    until_all(&journal, 900).await;
    stop(third).await;
    stop(publishing).await;
    let look = Look::at(&vhost).await;
    assert_eq!(look.queue("events.log").await.0, 0);
}

/// What the survivor handles.
mod survivor {
    use es_bus::event;
    use serde::{Deserialize, Serialize};

    #[event(aggregate = "Order")]
    #[derive(Serialize, Deserialize)]
    pub(super) struct OrderPlaced {
        pub(super) customer: String,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_left_out_when_the_reader_of_a_stream_is_killed() {
    const EVENTS: usize = 600;
    let vhost = Node::shared().vhost("streams-killed");
    let look = Look::at(&vhost).await;
    let dir = Arc::new(TempDir::new());
    let start = || {
        Launch::new(env!("CARGO_BIN_EXE_survivor"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("ES_BUS_GROUPS", "bystanders")
            .env("ES_BUS_KIND", "stream")
            .env("SURVIVOR_LOG", dir.path("log"))
            .start()
    };
    let ids = |lines: &[String]| -> BTreeSet<String> {
        lines.iter().filter_map(|line| line.split(' ').nth(3).map(str::to_owned)).collect()
    };

    let first = start();
    look.until("events.bystanders.position", 0, 1).await;
    let publishing = publisher(vhost.url(), Registry::new().event::<survivor::OrderPlaced>()).await;
    let events: Vec<_> =
        (0..EVENTS).map(|number| survivor::OrderPlaced { customer: number.to_string() }).collect();
    let sending = publishing.publisher().clone();
    let sent = tokio::spawn(async move { sending.publish_all(&events).await.is_complete() });
    dir.until("log", "some are handled", |lines| lines.len() > 50);
    first.kill9();
    let second = start();
    assert!(sent.await.expect("no panic"));

    dir.until("log", "every event", |lines| ids(lines).len() == EVENTS);
    second.signal("TERM");
    second.wait(PATIENCE).assert_code(0);
    stop(publishing).await;
}
