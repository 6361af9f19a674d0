//! Lists, events in the background and what handlers emit: none is lost, whatever becomes of the
//! broker and of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use es_bus::{Envelope, Metadata, Registry, State, handler, message::Received};
use es_bus_tests::{Node, Vhost};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use crate::support::{
    InvoiceSent, Journal, Launch, Look, OrderPlaced, PATIENCE, TempDir, Victim, builder, placed, publisher,
    run, start, stop, take, touch,
};

/// Has a queue for orders, of which the test takes what is in it.
#[handler(group = "collecting")]
async fn collect(_order: OrderPlaced) {}

/// Declares the queue, and leaves it alone.
async fn with_queue(vhost: &Vhost) {
    stop(start(vhost, Registry::new().handler::<collect>(), &Journal::default()).await).await;
}

/// What arrived of each order, by what was published last: a duplicate comes behind the first of its
/// kind, and does not count.
fn assert_in_order(received: &[Received], per_order: usize) {
    let mut seen = BTreeSet::new();
    let mut orders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for message in received {
        if seen.insert(message.message.properties.message_id.clone()) {
            let order: OrderPlaced = serde_json::from_slice(&message.message.body).expect("an order");
            orders.entry(order.order_id).or_default().push(order.total);
        }
    }
    for (order, totals) in orders {
        assert!(totals.is_sorted() && totals.len() == per_order, "{order}: {totals:?}");
    }
}

fn ids(received: &[Received]) -> BTreeSet<String> {
    let id = |message: &Received| message.message.properties.message_id.as_deref().map(str::to_owned);
    received.iter().filter_map(id).collect()
}

/// Waits until at least so many messages are in the queue, and says how many.
async fn at_least(vhost: &Vhost, count: u64) -> usize {
    let look = Look::at(vhost).await;
    let came = timeout(PATIENCE, async {
        loop {
            let (messages, _) = look.queue("events.collecting").await;
            if messages >= count {
                return messages;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    let messages = came.await.unwrap_or_else(|_| panic!("{count} messages"));
    usize::try_from(messages).expect("they fit")
}

fn kill_and_restart(node: &mut Victim) {
    block_in_place(|| {
        node.kill9();
        node.restart();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_published_in_order_although_the_broker_is_killed_amid_it() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("batch-killed");
    with_queue(&vhost).await;
    // After the restart a quorum queue of 3.10 may have no leader for a minute.
    let builder = builder(vhost.url(), Registry::new().handler::<collect>()).publish_only();
    let bus = run(builder.set("publish_timeout", "3m")).await;
    let orders: Vec<_> = (0..6000).map(|number| placed(format!("o-{}", number % 20), number)).collect();

    let batch = bus.publisher().clone();
    let publishing = tokio::spawn(async move { batch.publish_all(&orders).await });
    at_least(&vhost, 100).await;
    kill_and_restart(&mut node);
    let report = publishing.await.expect("no panic");

    assert!(report.is_complete(), "{report}");
    let count = at_least(&vhost, 6000).await;
    let received = take(&vhost, "events.collecting", count).await;
    let confirmed: BTreeSet<String> = report.published.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids(&received), confirmed);
    assert_in_order(&received, 300);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_background_outlives_the_broker_and_is_drained_by_a_stop() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("background-killed");
    with_queue(&vhost).await;
    let registry = Registry::new().handler::<collect>();
    // Shorter than the broker is away.
    let bus = run(builder(vhost.url(), registry)
        .publish_only()
        .set("publish_timeout", "1s")
        .set("publish_background", "10000"))
    .await;

    let mut handles = Vec::new();
    for number in 0..6000 {
        let order = placed(format!("o-{}", number % 20), number);
        handles.push(bus.publisher().publish_background(&order).await.expect("there is room"));
    }
    at_least(&vhost, 100).await;
    kill_and_restart(&mut node);
    stop(bus).await;

    let mut confirmed = BTreeSet::new();
    for handle in handles {
        confirmed.insert(handle.await.expect("the stop waited for it"));
    }
    let count = at_least(&vhost, 6000).await;
    let received = take(&vhost, "events.collecting", count).await;
    assert_eq!((confirmed.len(), ids(&received)), (6000, confirmed));
    assert_in_order(&received, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_waits_for_what_a_handler_published_in_the_background() {
    let vhost = Node::shared().vhost("background-sigterm");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<note_invoice>(), &journal).await;
    let look = Look::at(&vhost).await;
    let service = invoicer(&vhost, &dir, "reminding").start();
    look.until("events.reminding", 0, 1).await;
    let orders = publisher(vhost.url(), Registry::new().event::<OrderPlaced>()).await;
    orders.publisher().publish(&placed("o-1", 2000)).await.expect("routed");

    dir.until("accepted", "the last reminder", |lines| lines.len() == 2000);
    service.signal("TERM");
    service.wait(PATIENCE).assert_code(0);

    let accepted: BTreeSet<String> = dir.lines("accepted").into_iter().collect();
    let arrived = |lines: &[String]| -> BTreeSet<String> {
        lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    journal.until("every reminder", |lines| accepted.is_subset(&arrived(lines))).await;
    stop(orders).await;
    stop(bus).await;
}

#[handler(group = "billing")]
async fn note_invoice(invoice: Envelope<InvoiceSent>, State(journal): State<Journal>) {
    let Metadata { event_id, causation_id, correlation_id, tenant_id, .. } = invoice.metadata;
    journal.note(format!(
        "{event_id} {} {} {}",
        causation_id.unwrap_or_default(),
        correlation_id.unwrap_or_default(),
        tenant_id.unwrap_or_default()
    ));
}

fn invoicer(vhost: &Vhost, dir: &Arc<TempDir>, group: &str) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_invoicer"), dir)
        .env("ES_BUS_URL", vhost.url())
        .env("ES_BUS_GROUPS", group)
        .env("INVOICER_DIR", dir.path(""))
}

/// The kill falls between what the handler emits and the acknowledgement of its event.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_after_it_emitted_emits_the_same_ids_again() {
    let vhost = Node::shared().vhost("emit-killed");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<note_invoice>(), &journal).await;
    let look = Look::at(&vhost).await;
    let first = invoicer(&vhost, &dir, "invoicing").start();
    look.until("events.invoicing", 0, 1).await;
    let orders = publisher(vhost.url(), Registry::new().event::<OrderPlaced>()).await;
    let order = placed("o-1", 3);
    let publish = orders.publisher().publish(&order).id("order-1").correlation_id("request-1");
    publish.tenant("acme").await.expect("routed");

    dir.until("committing", "the invoices to be out", |lines| lines.len() == 1);
    let before: BTreeSet<String> = journal.until_len(3).await.into_iter().collect();
    first.kill9();
    look.until("events.invoicing", 1, 0).await;
    touch(&dir.path("gate"));
    let second = invoicer(&vhost, &dir, "invoicing").start();
    let all = journal.until_len(6).await;
    look.until("events.invoicing", 0, 1).await;
    second.signal("TERM");
    second.wait(PATIENCE).assert_code(0);

    assert_eq!(before.len(), 3, "{before:?}");
    assert!(before.iter().all(|line| line.ends_with(" order-1 request-1 acme")), "{before:?}");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), before, "the same ids");
    // RabbitMQ 4 counts a consumer for a moment longer than its connection lasts.
    look.until("events.invoicing", 0, 0).await;
    stop(orders).await;
    stop(bus).await;
}

/// Publishes wait in line for room on the one connection, whoever makes them.
#[tokio::test(flavor = "multi_thread")]
async fn callers_share_the_connection_and_keep_their_order() {
    let vhost = Node::shared().vhost("shared-connection");
    with_queue(&vhost).await;
    let registry = Registry::new().handler::<collect>();
    let bus = run(builder(vhost.url(), registry).publish_only().set("publish_window", 2_u32)).await;

    let mut callers = Vec::new();
    for caller in 0..4_u32 {
        let publisher = bus.publisher().clone();
        callers.push(tokio::spawn(async move {
            let orders: Vec<_> = (0..200).map(|number| placed(format!("o-{caller}"), number)).collect();
            publisher.publish_all(&orders).await.into_result().map(|ids| ids.len())
        }));
    }
    for caller in callers {
        assert_eq!(caller.await.expect("no panic").expect("all are published"), 200);
    }

    assert_in_order(&take(&vhost, "events.collecting", 800).await, 200);
    stop(bus).await;
}
