//! Subscribing, binding and pausing while the bus runs.

use std::{sync::Arc, time::Duration};

use es_bus::{
    Delivered, Envelope, Error, HandlerError, RawEvent, Registry, State, SubscribeError, Subscriber,
    Subscription, event, handler, testing::TestBus,
};
use serde::{Deserialize, Serialize};

use crate::support::{
    Gate, InvoiceSent, Journal, OrderPlaced, OrderShipped, at_rest, placed, ready_in, shipped, status,
    take_all, within_a_minute,
};

/// What can happen to an order.
#[event]
#[derive(Clone, Debug, Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced(OrderPlaced),
    OrderShipped(OrderShipped),
}

#[handler(group = "projections")]
async fn project(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("project {}", order.order_id));
}

/// A bus whose events are known, and that has no handlers.
async fn bare() -> TestBus {
    TestBus::start(|builder| builder.registry(events()).publish_only()).await.unwrap()
}

fn events() -> Registry {
    Registry::new().event::<OrderPlaced>().event::<OrderShipped>().event::<InvoiceSent>()
}

/// Notes the orders that are placed.
async fn noting(bus: &TestBus, group: &str, word: &'static str, journal: &Journal) -> Subscription {
    let journal = journal.clone();
    let subscribe = bus.subscriptions().subscribe(group, move |order: OrderPlaced| {
        let journal = journal.clone();
        async move { journal.note(format!("{word} {}", order.order_id)) }
    });
    subscribe.await.unwrap()
}

fn refused(error: Error) -> SubscribeError {
    match error {
        Error::Subscribe(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_takes_its_event_until_it_is_unsubscribed() {
    let (bus, journal) = (bare().await, Journal::default());

    let subscription = noting(&bus, "projections", "saw", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.publish(&shipped("1")).await.unwrap();
    bus.run_until_idle().await;
    subscription.unsubscribe().await;
    bus.publish(&placed("2")).await.unwrap();
    at_rest().await;

    assert_eq!(journal.lines(), ["saw 1"]);
    assert_eq!(ready_in(&bus, "events.projections").await, 1, "the queue stays, and goes on collecting");
    let _again = noting(&bus, "projections", "saw again", &journal).await;
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["saw 1", "saw again 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_ends_its_subscription_and_a_kept_one_does_not() {
    let (bus, journal) = (bare().await, Journal::default());

    noting(&bus, "kept", "kept", &journal).await.keep();
    drop(noting(&bus, "dropped", "dropped", &journal).await);
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["kept 1"]);
    assert_eq!(bus.subscriptions().subscribers().total, 1);
}

#[tokio::test(start_paused = true)]
async fn arguments_are_extractors_and_what_is_returned_is_the_outcome() {
    let journal = Journal::default();
    let state = journal.clone();
    let bus = TestBus::start(|builder| builder.registry(events()).state(state).publish_only()).await.unwrap();

    let subscribe = bus.subscriptions().subscribe(
        "projections",
        |State(journal): State<Journal>, order: Envelope<OrderPlaced>, came: Delivered| async move {
            journal.note(format!("{} {} {}", came.handler, order.order_id, order.metadata.event_id));
            if came.redelivered { Ok(()) } else { Err(HandlerError::reject("no")) }
        },
    );
    let _subscription = subscribe.name("refuse").await.unwrap();
    let id = bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [format!("refuse 1 {id}")]);
    assert_eq!(ready_in(&bus, "events.projections.dlq").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_is_retried_by_the_name_of_the_subscription() {
    let (bus, journal) = (bare().await, Journal::default());
    let notes = journal.clone();
    let failing = move |order: OrderPlaced| {
        notes.note(format!("fails {}", order.order_id));
        async { Err::<(), _>("not today") }
    };

    let subscription =
        bus.subscriptions().subscribe("projections", failing).name("project").retries(5).await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    subscription.unsubscribe().await;
    let notes = journal.clone();
    let well = move |order: OrderPlaced| {
        let notes = notes.clone();
        async move { notes.note(format!("handles {}", order.order_id)) }
    };
    let _again = bus.subscriptions().subscribe("projections", well).name("project").await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["fails 1", "handles 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_subscription_is_gone_waits_and_is_dead_lettered_in_the_end() {
    let (bus, journal) = (bare().await, Journal::default());
    let failing = |_: OrderPlaced| async { Err::<(), _>("not today") };

    let subscription = bus.subscriptions().subscribe("projections", failing).name("gone").await.unwrap();
    let _other = noting(&bus, "projections", "saw", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    subscription.unsubscribe().await;
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["saw 1"]);
    let dead = take_all(&bus, "events.projections.dlq").await;
    let reasons: Vec<_> = dead.iter().map(|dead| dead.message.headers.get_str("x-dlq-reason")).collect();
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].is_some_and(|reason| reason.contains("the handler \"gone\"")), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_blocks_runs_beside_the_runtime() {
    let (bus, journal) = (bare().await, Journal::default());

    let notes = journal.clone();
    let subscribe = bus.subscriptions().subscribe_blocking("projections", move |order: OrderPlaced| {
        notes.note(format!("{} {}", order.order_id, std::thread::current().name().unwrap_or_default()));
        Ok::<(), String>(())
    });
    let subscription = subscribe.await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    subscription.unsubscribe().await;

    assert_eq!(journal.lines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_event_goes_to_whoever_subscribes_to_all() {
    let (bus, journal) = (bare().await, Journal::default());

    let notes = journal.clone();
    let subscribe = bus.subscriptions().subscribe_to_all("audit", move |event: RawEvent| {
        notes.note(event.routing_key);
        async {}
    });
    let _subscription = subscribe.await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    bus.publish(&InvoiceSent { number: 7 }).await.unwrap();
    crate::support::publish_raw(&bus, "Parcel.Lost", crate::support::foreign("?")).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["Order.OrderPlaced", "Invoice.InvoiceSent", "Parcel.Lost"]);
}

/// Counts what happens to orders.
#[derive(Default)]
struct OrderStatistics {
    journal: Journal,
}

impl Subscriber for OrderStatistics {
    type Events = OrderEvent;

    async fn handle(&self, event: OrderEvent) -> Result<(), HandlerError> {
        self.journal.note(match event {
            OrderEvent::OrderPlaced(order) => format!("placed {}", order.total),
            OrderEvent::OrderShipped(order) => format!("shipped {}", order.order_id),
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_takes_all_events_of_its_set() {
    let (bus, statistics) = (bare().await, Arc::new(OrderStatistics::default()));

    let subscription =
        bus.subscriptions().subscribe_all("statistics", Arc::clone(&statistics)).await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    bus.publish(&shipped("1")).await.unwrap();
    bus.publish(&InvoiceSent { number: 7 }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(subscription.name(), "OrderEvent");
    assert_eq!(statistics.journal.lines(), ["placed 100", "shipped 1"]);
    let subscribers = bus.subscriptions().subscribers();
    assert_eq!((subscribers.of::<OrderPlaced>(), subscribers.of::<OrderEvent>()), (1, 2));
    subscription.unsubscribe().await;
    assert_eq!(Arc::strong_count(&statistics), 1, "nobody holds what has ended");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_joins_a_group_of_handlers() {
    let journal = Journal::default();
    let state = journal.clone();
    let bus =
        TestBus::start(|builder| builder.registry(events().handler::<project>()).state(state)).await.unwrap();

    let first = noting(&bus, "projections", "also", &journal).await;
    let second = noting(&bus, "projections", "too", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["also 1", "project 1", "too 1"]);
    assert_eq!((first.name(), second.name()), ("OrderPlaced", "OrderPlaced-2"));

    first.unsubscribe().await;
    drop(second);
    bus.publish(&placed("2")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines()[3..], ["project 2"], "the group goes on");
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_waits_for_the_run_that_goes_on() {
    let (bus, gate, journal) = (bare().await, Gate::default(), Journal::default());
    let (passing, notes) = (gate.clone(), journal.clone());
    let subscribe = bus.subscriptions().subscribe("projections", move |order: OrderPlaced| {
        let (gate, journal) = (passing.clone(), notes.clone());
        async move {
            gate.pass().await;
            journal.note(format!("done {}", order.order_id));
        }
    });
    let subscription = subscribe.await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    gate.entered(1).await;
    for id in ["1", "1", "1"] {
        bus.publish(&placed(id)).await.unwrap();
    }

    let notes = journal.clone();
    let unsubscribed = tokio::spawn(async move {
        subscription.unsubscribe().await;
        notes.note("unsubscribed");
    });
    at_rest().await;
    assert_eq!(journal.lines(), [""; 0], "the run goes on, and is waited for");
    gate.open(1);
    unsubscribed.await.unwrap();

    assert_eq!(journal.lines(), ["done 1", "unsubscribed"]);
    assert_eq!(ready_in(&bus, "events.projections").await, 3, "what had not started is back");
}

#[tokio::test(start_paused = true)]
async fn the_group_and_its_order_survive_a_subscription_that_comes_while_the_last_run_goes_on() {
    let (bus, gate, journal) = (bare().await, Gate::default(), Journal::default());
    let (passing, notes) = (gate.clone(), journal.clone());
    let subscribe = bus.subscriptions().subscribe("projections", move |order: OrderPlaced| {
        let (gate, journal) = (passing.clone(), notes.clone());
        async move {
            gate.pass().await;
            journal.note(format!("old {}", order.total));
        }
    });
    let subscription = subscribe.await.unwrap();
    bus.publish(&OrderPlaced { order_id: "1".to_owned(), total: 1 }).await.unwrap();
    gate.entered(1).await;
    bus.publish(&OrderPlaced { order_id: "1".to_owned(), total: 2 }).await.unwrap();

    drop(subscription);
    let notes = journal.clone();
    let subscribe = bus.subscriptions().subscribe("projections", move |order: OrderPlaced| {
        notes.note(format!("new {}", order.total));
        async {}
    });
    let _subscription = subscribe.await.unwrap();
    at_rest().await;
    assert_eq!(journal.lines(), [""; 0], "the next event of the order waits for the run before it");
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["old 1", "new 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_while_it_runs_goes_to_every_handler_that_takes_it() {
    let (bus, journal) = (bare().await, Journal::default());
    let notes = journal.clone();
    let subscribe = bus.subscriptions().subscribe("projections", move |event: RawEvent| {
        notes.note(event.routing_key);
        async {}
    });
    let _subscription = subscribe.bind("Order.*").await.unwrap();
    let subscriptions = bus.subscriptions();

    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    subscriptions.bind("projections", "Invoice.*").await.unwrap();
    bus.publish(&InvoiceSent { number: 2 }).await.unwrap();
    subscriptions.unbind("projections", "Invoice.*").await.unwrap();
    bus.publish(&InvoiceSent { number: 3 }).await.unwrap();
    subscriptions.bind_event::<InvoiceSent>("projections").await.unwrap();
    bus.publish(&InvoiceSent { number: 4 }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["Invoice.InvoiceSent"; 2]);
    assert_eq!(bus.counts().skipped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_bound_first_collects_for_whoever_subscribes_later() {
    let (bus, journal) = (bare().await, Journal::default());

    bus.subscriptions().bind("projections", "Order.#").await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    let _subscription = noting(&bus, "projections", "saw", &journal).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["saw 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_came_by_a_binding_before_it_was_taken_back_is_handled() {
    let (bus, journal) = (bare().await, Journal::default());
    let subscriptions = bus.subscriptions();
    let notes = journal.clone();
    let subscribe = subscriptions.subscribe("projections", move |event: RawEvent| {
        notes.note(event.routing_key);
        async {}
    });
    let _subscription = subscribe.bind("Order.OrderPlaced").await.unwrap();
    subscriptions.bind("projections", "Invoice.*").await.unwrap();

    subscriptions.pause("projections").await.unwrap();
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    subscriptions.unbind("projections", "Invoice.*").await.unwrap();
    subscriptions.resume("projections").await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["Invoice.InvoiceSent"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_takes_nothing_and_gives_back_what_had_not_started() {
    let (bus, gate, journal) = (bare().await, Gate::default(), Journal::default());
    let (passing, notes) = (gate.clone(), journal.clone());
    let subscribe = bus.subscriptions().subscribe("projections", move |order: OrderPlaced| {
        let (gate, journal) = (passing.clone(), notes.clone());
        async move {
            gate.pass().await;
            journal.note(order.total.to_string());
        }
    });
    let _subscription = subscribe.await.unwrap();
    for total in 1..=3 {
        bus.publish(&OrderPlaced { order_id: "1".to_owned(), total }).await.unwrap();
    }
    gate.entered(1).await;

    within_a_minute("the pause", bus.subscriptions().pause("projections")).await.unwrap();
    let paused = status(&bus, "events.projections").await.unwrap();
    assert_eq!((paused.messages, paused.consumers), (2, 0));
    bus.publish(&OrderPlaced { order_id: "1".to_owned(), total: 4 }).await.unwrap();
    gate.open(4);
    at_rest().await;
    assert_eq!(journal.lines(), ["1"], "what ran has finished, and nothing else has begun");

    bus.subscriptions().resume("projections").await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn all_groups_are_paused_those_that_come_too() {
    let (bus, journal) = (bare().await, Journal::default());
    let subscriptions = bus.subscriptions();
    let _first = noting(&bus, "first", "first", &journal).await;

    subscriptions.pause_all().await;
    let _second = noting(&bus, "second", "second", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    at_rest().await;
    assert_eq!(journal.lines(), [""; 0]);
    subscriptions.resume_all().await;
    bus.run_until_idle().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["first 1", "second 1"]);
}

#[tokio::test(start_paused = true)]
async fn handlers_are_counted_in_total_by_event_and_for_every_event() {
    let journal = Journal::default();
    let state = journal.clone();
    let bus =
        TestBus::start(|builder| builder.registry(events().handler::<project>()).state(state)).await.unwrap();
    let subscriptions = bus.subscriptions();

    let _one = noting(&bus, "projections", "saw", &journal).await;
    let _all = subscriptions.subscribe_to_all("audit", |_: RawEvent| async {}).await.unwrap();
    let count = subscriptions.subscribers();

    assert_eq!((count.total, count.wildcard), (3, 1));
    assert_eq!((count.of::<OrderPlaced>(), count.of::<OrderShipped>()), (2, 0));
    assert_eq!(
        serde_json::to_value(&count).unwrap(),
        serde_json::json!({
            "total": 3,
            "wildcard": 1,
            "events": { "Order.OrderPlaced": 2 },
            "groups": { "audit": 1, "projections": 2 },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_of_subscriptions_leave_nothing_behind() {
    let (bus, journal) = (bare().await, Journal::default());
    let before = bus.subscriptions().topology().queues().count();
    let held = Arc::new(());

    for number in 0..2000 {
        let held = Arc::clone(&held);
        let group = format!("group-{}", number % 10);
        let subscribe = bus.subscriptions().subscribe(group, move |_: OrderPlaced| {
            let _ = &held;
            async {}
        });
        let subscription = subscribe.await.unwrap();
        if number % 2 == 0 { drop(subscription) } else { subscription.unsubscribe().await }
    }
    at_rest().await;

    let count = bus.subscriptions().subscribers();
    assert_eq!((count.total, count.groups.len()), (0, 0));
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(bus.subscriptions().topology().queues().count(), before);
    let _last = noting(&bus, "group-0", "saw", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["saw 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_may_own_another_one() {
    let (bus, journal) = (bare().await, Journal::default());
    let inner = noting(&bus, "inner", "inner", &journal).await;

    let outer = bus.subscriptions().subscribe("outer", move |_: OrderPlaced| {
        let _ = &inner;
        async {}
    });
    drop(outer.await.unwrap());
    at_rest().await;

    assert_eq!(bus.subscriptions().subscribers().total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_publish_knows_the_queues_that_were_bound_while_it_runs() {
    let bus = bare().await;
    let queue = es_bus::name::QueueName::new("events.projections").unwrap();
    bus.publish(&placed("nobody")).await.expect("nobody takes it, and that is told in the log");

    bus.subscriptions().bind_event::<OrderPlaced>("projections").await.unwrap();
    es_bus::transport::Admin::delete_queue(&**bus.broker(), &queue).await.unwrap();

    bus.publish(&placed("1")).await.expect_err("a queue that this program bound is not there");
    bus.publish(&placed("2")).await.expect("it was declared and bound anew");
    assert_eq!(ready_in(&bus, "events.projections").await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_subscribed_and_bound_is_declared_anew_when_somebody_deletes_it() {
    let (bus, journal) = (bare().await, Journal::default());
    let _subscription = noting(&bus, "projections", "saw", &journal).await;
    let queue = es_bus::name::QueueName::new("events.projections").unwrap();

    es_bus::transport::Admin::delete_queue(&**bus.broker(), &queue).await.unwrap();
    within_a_minute("a consumer of the new queue", async {
        while status(&bus, "events.projections").await.is_none_or(|queue| queue.consumers == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["saw 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_said_and_changes_nothing() {
    let journal = Journal::default();
    let bus = bare().await;
    let subscriptions = bus.subscriptions();
    let topology = subscriptions.topology();
    let noop = |_: OrderPlaced| async {};

    for (error, text) in [
        (subscriptions.subscribe("", noop).await.unwrap_err(), "group name is empty"),
        (
            subscriptions.subscribe("p", noop).bind("Order.Placed*").await.unwrap_err(),
            "binding key \"Order.Placed*\" has a wildcard inside a word",
        ),
        (
            subscriptions.subscribe("p", noop).bind("Invoice.*").await.unwrap_err(),
            "binding key \"Invoice.*\" matches no event of the handler, which takes Order.OrderPlaced",
        ),
        (
            subscriptions
                .subscribe("p", |_: OrderEvent| async {})
                .bind("Order.OrderPlaced")
                .await
                .unwrap_err(),
            "no binding key of the handler matches \"Order.OrderShipped\"",
        ),
        (
            subscriptions.subscribe("p", |_: RawEvent| async {}).await.unwrap_err(),
            "a handler of raw events says which it wants",
        ),
        (
            subscriptions.subscribe("p", |_: OrderPlaced, _: State<Journal>| async {}).await.unwrap_err(),
            "the handler needs `State<flows::support::Journal>`",
        ),
        (
            subscriptions.subscribe("p", noop).name("").await.unwrap_err(),
            "\"\" cannot be the name of a handler",
        ),
        (
            subscriptions.subscribe("p", noop).retries(1000).await.unwrap_err(),
            "retries: \"1000\" is out of bounds, write 0 to 100",
        ),
        (
            subscriptions.subscribe("p", noop).timeout(Duration::from_secs(3600)).await.unwrap_err(),
            "may run for 1h, more than the 29m that RabbitMQ leaves it",
        ),
        (
            subscriptions.bind("p", "Order..*").await.unwrap_err(),
            "binding key \"Order..*\" has an empty word",
        ),
        (subscriptions.pause("p").await.unwrap_err(), "this process has no group \"p\""),
        (subscriptions.unbind("p", "Order.*").await.unwrap_err(), "this process has no group \"p\""),
    ] {
        assert!(error.to_string().contains(text), "{error}\nwithout: {text}");
    }
    assert_eq!(subscriptions.topology(), topology);

    let _first = subscriptions.subscribe("p", noop).name("one").await.unwrap();
    let error = subscriptions.subscribe("p", noop).name("one").await.unwrap_err();
    assert_eq!(refused(error), SubscribeError::NameTaken { group: "p".to_owned(), name: "one".to_owned() });
    let error = subscriptions.unbind_event::<OrderPlaced>("p").await.unwrap_err();
    assert!(matches!(refused(error), SubscribeError::StillBound { .. }));
    drop(journal);

    // What another run left bound has a queue, and is unbound without being consumed here.
    let later = TestBus::on(bus.broker().clone(), |builder| builder.registry(events()).publish_only());
    later.await.unwrap().subscriptions().unbind("p", "Order.*").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_handlers_do_not_run_here_is_left_alone() {
    let bus = TestBus::start(|builder| builder.registry(events().handler::<project>()).publish_only())
        .await
        .unwrap();

    let error = bus.subscriptions().subscribe("projections", |_: OrderPlaced| async {}).await.unwrap_err();

    assert!(matches!(refused(error), SubscribeError::NotConsumed { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_leaves_the_bus_as_it_was() {
    let (bus, journal) = (bare().await, Journal::default());
    let other = es_bus::model::Queue::durable(
        es_bus::name::QueueName::new("events.projections").unwrap(),
        es_bus::model::QueueKind::Classic,
    );
    es_bus::transport::Admin::declare_queue(&**bus.broker(), &other).await.unwrap();

    let error = bus.subscriptions().subscribe("projections", |_: OrderPlaced| async {}).await.unwrap_err();
    assert!(matches!(error, Error::Topology(_)), "{error}");

    let _subscription = noting(&bus, "others", "saw", &journal).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;
    // The bus declares what it keeps at every connect, and what was refused is not among that.
    bus.broker().faults().cut_link_for(Duration::from_secs(1));
    bus.publish(&placed("2")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["saw 1", "saw 2"]);
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_group_that_comes_later_are_those_of_its_configuration() {
    let bus = TestBus::start(|builder| {
        builder
            .registry(events())
            .publish_only()
            .group("projections")
            .set_for_group("projections", "retries", 0)
            .set_for_group("projections", "max_length", 5)
    })
    .await
    .unwrap();

    let failing = |_: OrderPlaced| async { Err::<(), _>("no") };
    let _subscription = bus.subscriptions().subscribe("projections", failing).await.unwrap();
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(ready_in(&bus, "events.projections.dlq").await, 1);
    let topology = bus.subscriptions().topology();
    assert_eq!(topology.queue("events.projections").unwrap().max_length, Some(5));
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_subscribed_to_once_the_bus_has_stopped() {
    let (bus, journal) = (bare().await, Journal::default());
    let subscriptions = bus.subscriptions();
    let subscription = noting(&bus, "projections", "saw", &journal).await;
    let kept = Arc::new(());
    let held = Arc::clone(&kept);
    let subscribe = subscriptions.subscribe("projections", move |_: OrderPlaced| {
        let _ = &held;
        async {}
    });
    subscribe.await.unwrap().keep();

    bus.stop().await.unwrap();

    assert_eq!(Arc::strong_count(&kept), 1, "a bus that has ended holds no handler");
    let error = subscriptions.subscribe("projections", |_: OrderPlaced| async {}).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    subscription.unsubscribe().await;
    subscriptions.pause_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_waits_for_a_broker_that_is_away_and_can_be_given_up() {
    let (bus, journal) = (bare().await, Journal::default());

    bus.broker().faults().cut_link_for(Duration::from_secs(20));
    let given_up = bus.subscriptions().subscribe("given-up", |_: OrderPlaced| async {});
    tokio::time::timeout(Duration::from_secs(5), given_up).await.expect_err("the broker is away");
    let subscription = within_a_minute("the broker", noting(&bus, "projections", "saw", &journal)).await;
    bus.publish(&placed("1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["saw 1"]);
    assert_eq!(bus.subscriptions().subscribers().groups.len(), 1, "what was given up is not there");
    assert_eq!(status(&bus, "events.given-up").await, None);
    subscription.unsubscribe().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_also_while_the_broker_is_away() {
    let (bus, journal) = (bare().await, Journal::default());
    let subscription = noting(&bus, "projections", "saw", &journal).await;

    bus.broker().faults().cut_link_for(Duration::from_secs(600));
    within_a_minute("the end", subscription.unsubscribe()).await;
    at_rest().await;

    assert_eq!(bus.subscriptions().subscribers().groups.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_end_its_own_subscription() {
    let (bus, journal) = (bare().await, Journal::default());
    let guard: Arc<std::sync::Mutex<Option<Subscription>>> = Arc::default();
    let (own, notes) = (Arc::clone(&guard), journal.clone());
    let subscribe = bus.subscriptions().subscribe("once", move |order: OrderPlaced| {
        let (own, journal) = (Arc::clone(&own), notes.clone());
        async move {
            journal.note(order.order_id);
            drop(own.lock().unwrap().take());
        }
    });
    let subscription = subscribe.await.unwrap();
    *guard.lock().unwrap() = Some(subscription);

    for id in ["1", "1", "1"] {
        bus.publish(&placed(id)).await.unwrap();
    }
    at_rest().await;

    assert_eq!(journal.lines(), ["1"]);
    assert_eq!(ready_in(&bus, "events.once").await, 2, "what came after it waits");
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_a_binding_outlast_a_lost_connection() {
    let (bus, journal) = (bare().await, Journal::default());
    let _subscription = noting(&bus, "projections", "saw", &journal).await;
    bus.subscriptions().bind("projections", "Payment.*").await.unwrap();
    bus.subscriptions().pause("projections").await.unwrap();

    bus.broker().faults().cut_link_for(Duration::from_secs(5));
    tokio::time::sleep(Duration::from_secs(60)).await;
    bus.publish(&placed("1")).await.unwrap();
    at_rest().await;

    assert_eq!(journal.lines(), [""; 0]);
    let bindings = bus.subscriptions().topology();
    assert!(bindings.bindings().any(|binding| binding.key == "Payment.*"));
    bus.subscriptions().resume("projections").await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["saw 1"]);
}
