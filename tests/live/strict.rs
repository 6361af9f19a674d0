//! `ordering = "strict"` on a real broker: what a channel leaves behind comes to the next active
//! consumer in its order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use es_bus::{Handle, Registry, State, handler};
use es_bus_tests::Vhost;
use tokio::{task::block_in_place, time::sleep};

use crate::support::{Journal, Look, OrderPlaced, Victim, builder, placed, publisher, run, stop};

const AGGREGATES: u32 = 12;
const EVENTS: u32 = 40;

/// What failed before: every third event does once.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<BTreeSet<(String, u32)>>>);

#[handler(group = "strict", backoff(base = "20ms", max = "50ms"))]
async fn follow(
    order: OrderPlaced,
    State(journal): State<Journal>,
    State(failed): State<Failed>,
) -> Result<(), String> {
    // Long enough that all of it is amid the events.
    sleep(Duration::from_millis(100)).await;
    let is_due = (order.total + u32::from(order.order_id.ends_with('1'))).is_multiple_of(3);
    if is_due && failed.0.lock().expect("no panic").insert((order.order_id.clone(), order.total)) {
        return Err("not now".to_owned());
    }
    journal.note(format!("{} {}", order.order_id, order.total));
    Ok(())
}

async fn active(vhost: &Vhost, kind: &'static str, journal: &Journal, failed: &Failed) -> Handle {
    let builder = builder(vhost.url(), Registry::new().handler::<follow>())
        .set_for_group("strict", "ordering", "strict")
        .set_for_group("strict", "kind", kind)
        .set_for_group("strict", "prefetch", "60")
        .state(journal.clone())
        .state(failed.clone());
    run(builder).await
}

/// The numbers of each aggregate, in the order in which they were first handled.
fn orders(lines: &[String]) -> BTreeMap<String, Vec<u32>> {
    let mut orders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in lines {
        let (id, number) = line.split_once(' ').expect("two words");
        let (numbers, number) = (orders.entry(id.to_owned()).or_default(), number.parse().expect("a number"));
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    orders
}

async fn keeps_its_order(kind: &'static str) {
    let mut node = Victim::get().await;
    let vhost = node.vhost(&format!("strict-{kind}"));
    let (journal, failed) = (Journal::default(), Failed::default());
    let first = active(&vhost, kind, &journal, &failed).await;
    let second = active(&vhost, kind, &journal, &failed).await;
    let third = active(&vhost, kind, &journal, &failed).await;
    let publishing = publisher(vhost.url(), Registry::new().handler::<follow>()).await;
    let aggregates = |number| (0..AGGREGATES).map(move |of| placed(format!("o-{of}"), number));
    let events: Vec<OrderPlaced> = (0..EVENTS).flat_map(aggregates).collect();
    assert!(publishing.publisher().publish_all(&events).await.is_complete());
    for handled in [40, 160] {
        journal.until("some are handled", |lines| lines.len() >= handled).await;
        block_in_place(|| node.close_all_connections("to see what order is left"));
    }
    // In order, and then as a crash would.
    journal.until("more are handled", |lines| lines.len() >= 280).await;
    stop(first).await;
    journal.until("the next one goes on", |lines| lines.len() >= 340).await;
    drop(second);

    let whole: Vec<u32> = (0..EVENTS).collect();
    let is_whole = |lines: &Vec<String>| {
        let orders = orders(lines);
        orders.len() == AGGREGATES as usize && orders.values().all(|numbers| numbers.len() == whole.len())
    };
    let lines = journal.until("every event", is_whole).await;
    for (id, numbers) in orders(&lines) {
        assert_eq!(numbers, whole, "{id} of a {kind} queue");
    }
    assert_eq!(Look::at(&vhost).await.left_over(&vhost).await, []);
    stop(third).await;
    stop(publishing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_queue_keeps_the_order_over_lost_connections_and_replicas() {
    keeps_its_order("quorum").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classic_queue_keeps_the_order_over_lost_connections_and_replicas() {
    keeps_its_order("classic").await;
}
