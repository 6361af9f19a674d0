//! Handlers, bindings and consumers that come and go while events flow.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{Error, Handle, Metadata, RawEvent, Registry, Subscription};
use es_bus_tests::Node;
use tokio::{
    task::{JoinHandle, block_in_place},
    time::sleep,
};

use crate::support::{
    Journal, Look, OrderPlaced, OrderShipped, Victim, builder, left_over, placed, publisher, run, shipped,
    stop,
};

fn events() -> Registry {
    Registry::new().event::<OrderPlaced>().event::<OrderShipped>()
}

/// A bus that runs what is subscribed, and nothing else.
async fn bare(url: String) -> Handle {
    publisher(url, events()).await
}

/// Notes the id of every order that is placed.
async fn noting(bus: &Handle, group: &str, journal: &Journal) -> Subscription {
    let journal = journal.clone();
    let subscribe = bus.subscriptions().subscribe(group, move |_: OrderPlaced, metadata: Metadata| {
        let journal = journal.clone();
        async move {
            // Long enough that a change finds some in hand.
            sleep(Duration::from_millis(3)).await;
            journal.note(metadata.event_id);
        }
    });
    subscribe.await.expect("the broker takes it")
}

/// Publishes orders until it is told to stop; gives the ids that the broker confirmed.
struct Publishing {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeSet<String>>,
}

impl Publishing {
    fn start(bus: &Handle) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (publisher, until) = (bus.publisher().clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut ids = BTreeSet::new();
            while !until.load(Ordering::Relaxed) {
                for order in ["o-1", "o-2", "o-3"] {
                    let id = publisher.publish(&placed(order, 1)).await;
                    ids.insert(id.expect("a queue takes it, sooner or later"));
                }
            }
            ids
        });
        Self { stop, task }
    }

    async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no publish failed")
    }
}

fn are_all_in(ids: &BTreeSet<String>, lines: &[String]) -> bool {
    let noted: BTreeSet<&String> = lines.iter().collect();
    ids.iter().all(|id| noted.contains(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_and_pauses_come_and_go_and_no_event_is_lost() {
    let vhost = Node::shared().vhost("subscribing");
    let journal = Journal::default();
    let bus = bare(vhost.url()).await;
    let subscriptions = bus.subscriptions();
    // From here on a queue takes every order.
    let mut subscription = noting(&bus, "ledger", &journal).await;
    let publishing = Publishing::start(&bus);

    for round in 1..=5_usize {
        journal.until_len(20 * round).await;
        subscriptions.pause("ledger").await.expect("it is there");
        let beside = noting(&bus, "beside", &journal).await;
        subscriptions.resume("ledger").await.expect("it is there");
        drop(beside);
        let second = noting(&bus, "ledger", &journal).await;
        subscription.unsubscribe().await;
        drop(second);
        subscription = noting(&bus, "ledger", &journal).await;
    }
    let confirmed = publishing.stop().await;

    journal.until("every confirmed event", |lines| are_all_in(&confirmed, lines)).await;
    assert!(confirmed.len() >= 60, "{}", confirmed.len());
    assert_eq!(subscription.name(), "OrderPlaced");
    subscriptions.unbind_event::<OrderPlaced>("beside").await.expect("nobody there needs it");
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_brings_events_until_it_is_taken_back() {
    let vhost = Node::shared().vhost("binding");
    let (bus, journal) = (bare(vhost.url()).await, Journal::default());
    let subscriptions = bus.subscriptions();
    let notes = journal.clone();
    let subscribe = subscriptions.subscribe("audit", move |event: RawEvent| {
        notes.note(event.routing_key);
        async {}
    });
    let _subscription = subscribe.bind("Order.OrderPlaced").await.expect("the broker takes it");

    bus.publisher().publish(&shipped("early")).await.expect("nobody takes it");
    subscriptions.bind_event::<OrderShipped>("audit").await.expect("the broker takes it");
    bus.publisher().publish(&shipped("bound")).await.expect("routed");
    journal.until_len(1).await;
    let keys = |vhost: &es_bus_tests::Vhost| -> BTreeSet<String> {
        let bindings = block_in_place(|| vhost.bindings()).into_iter();
        let of_audit = bindings.filter(|it| it.destination == "events.audit" && it.source == "events");
        of_audit.map(|it| it.routing_key).collect()
    };
    assert_eq!(
        keys(&vhost),
        BTreeSet::from(["Order.OrderPlaced".to_owned(), "Order.OrderShipped".to_owned()])
    );
    subscriptions.unbind_event::<OrderShipped>("audit").await.expect("nobody needs it");
    assert_eq!(keys(&vhost), BTreeSet::from(["Order.OrderPlaced".to_owned()]));
    bus.publisher().publish(&shipped("late")).await.expect("nobody takes it");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    journal.until_len(2).await;
    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(journal.lines(), ["Order.OrderShipped", "Order.OrderPlaced"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_subscribed_and_bound_lasts_over_lost_connections_and_a_killed_node() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("lasting");
    let (journal, audit) = (Journal::default(), Journal::default());
    let bus = bare(vhost.url()).await;
    let _subscription = noting(&bus, "ledger", &journal).await;
    let notes = audit.clone();
    let subscribe = bus.subscriptions().subscribe("audit", move |event: RawEvent| {
        notes.note(event.routing_key);
        async {}
    });
    let _audit = subscribe.bind("Order.OrderPlaced").await.expect("the broker takes it");
    bus.subscriptions().bind("audit", "Order.OrderShipped").await.expect("taken");
    bus.subscriptions().bind("spare", "Order.#").await.expect("the broker takes it");
    let publishing = Publishing::start(&bus);

    journal.until_len(30).await;
    block_in_place(|| node.close_all_connections("once"));
    let seen = journal.lines().len();
    journal.until_len(seen + 30).await;
    bus.subscriptions().pause("audit").await.expect("it is there");
    block_in_place(|| {
        node.kill9();
        node.restart();
    });
    let seen = journal.lines().len();
    journal.until_len(seen + 30).await;
    let confirmed = publishing.stop().await;

    journal.until("every confirmed event", |lines| are_all_in(&confirmed, lines)).await;
    let look = Look::at(&vhost).await;
    assert_eq!(look.queue("events.audit").await.1, 0, "a pause lasts as well");
    bus.subscriptions().resume("audit").await.expect("it is there");
    look.until("events.audit", 0, 1).await;

    // Nothing of it is left on the broker but what the bus itself keeps there.
    block_in_place(|| {
        vhost.delete_queue("events.audit");
        vhost.delete_queue("events.spare");
    });
    look.until("events.audit", 0, 1).await;
    let before = audit.lines().len();
    bus.publisher().publish(&shipped("o-1")).await.expect("routed");
    let lines = audit.until_len(before + 1).await;
    assert_eq!(lines.last().map(String::as_str), Some("Order.OrderShipped"));
    look.until("events.spare", 1, 0).await;
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_is_reported_and_stops_nothing() {
    let vhost = Node::shared().vhost("refused");
    let classic = builder(vhost.url(), events())
        .publish_only()
        .group("ledger")
        .set_for_group("ledger", "kind", "classic");
    let (first, journal) = (run(classic).await, Journal::default());
    let _there = noting(&first, "ledger", &journal).await;
    let bus = bare(vhost.url()).await;

    let error = bus.subscriptions().subscribe("ledger", |_: OrderPlaced| async {}).await.unwrap_err();

    assert!(matches!(error, Error::Topology(_)), "{error:?}");
    let _other = noting(&bus, "other", &journal).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(2).await;
    stop(bus).await;
    stop(first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_subscriptions_leave_no_consumer_and_no_channel() {
    let vhost = Node::shared().vhost("churn");
    let (bus, journal) = (bare(vhost.url()).await, Journal::default());
    let held = Arc::new(());
    let _ = noting(&bus, "ledger", &journal).await;
    let queues = bus.subscriptions().topology().queues().count();

    for _ in 0..200 {
        let held = Arc::clone(&held);
        let subscribe = bus.subscriptions().subscribe("ledger", move |_: OrderPlaced| {
            let _ = &held;
            async {}
        });
        subscribe.await.expect("the broker takes it").unsubscribe().await;
    }

    assert_eq!(Arc::strong_count(&held), 1);
    assert!(bus.subscriptions().topology().queues().count() <= queues);
    assert_eq!(bus.subscriptions().subscribers().total, 0);
    let look = Look::at(&vhost).await;
    look.until("events.ledger", 0, 0).await;
    let channels = block_in_place(|| {
        Node::shared().rabbitmqctl(&["list_channels", "-p", vhost.name(), "consumer_count"])
    });
    let channels: Vec<&str> = channels.lines().filter(|line| line.trim().parse::<u32>().is_ok()).collect();
    assert!(channels.len() < 40, "{channels:?}");
    stop(bus).await;
}
