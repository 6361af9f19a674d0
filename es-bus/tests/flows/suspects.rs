//! After a crash: what was in hand is handled alone, and what ends every process is dead-lettered.

use std::{collections::BTreeSet, time::Duration};

use es_bus::{
    Delivered, Registry, State, handler,
    name::QueueName,
    testing::TestBus,
    transport::{Consume, ConsumeRequest, memory::Memory},
};

use crate::support::{
    Gate, Journal, Log, OrderPlaced, OrderShipped, at_rest, bus_on, eventually, placed, ready_in, shipped,
    take_all, work_on,
};

#[handler(group = "fragile")]
async fn carry(
    order: OrderPlaced,
    delivered: Delivered,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) {
    work_on(&order, &delivered, &journal, &gate).await;
}

#[handler(group = "beside")]
async fn watch_it(order: OrderShipped, State(journal): State<Journal>) {
    journal.note(format!("{} shipped", order.order_id));
}

/// Declares the groups, and leaves these orders in their queue.
async fn publish(broker: &Memory, orders: &[&str]) {
    let registry = Registry::new().handler::<carry>().handler::<watch_it>();
    let bus =
        bus_on(broker, |builder| builder.registry(registry).state(Journal::default()).state(Gate::default()))
            .await;
    bus.subscriptions().pause("fragile").await.unwrap();
    for order in orders {
        bus.publish(&placed(order)).await.unwrap();
    }
    bus.stop().await.unwrap();
}

/// Takes so many orders in hand as a process does, and ends as one that crashes does.
async fn crash_with(broker: &Memory, count: usize) {
    let process = broker.reconnect();
    let queue = QueueName::new("events.fragile").unwrap();
    let request = ConsumeRequest {
        queue,
        tag: "process".to_owned(),
        prefetch: 100,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = process.consume(request).await.unwrap();
    let mut in_hand = Vec::new();
    for _ in 0..count {
        in_hand.push(consumer.next().await.unwrap().unwrap());
    }
    consumer.close().await;
}

async fn start(broker: &Memory, journal: &Journal, gate: &Gate) -> TestBus {
    let registry = Registry::new().handler::<carry>().handler::<watch_it>();
    bus_on(broker, |builder| {
        builder
            .registry(registry)
            .state(journal.clone())
            .state(gate.clone())
            .set("shutdown_timeout", Duration::from_secs(5))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn what_was_in_hand_is_handled_one_by_one_before_the_rest() {
    let broker = Memory::new();
    publish(&broker, &["o-1", "o-2", "o-3", "o-4", "o-5"]).await;
    crash_with(&broker, 5).await;
    let (journal, gate) = (Journal::default(), Gate::default());

    let bus = start(&broker, &journal, &gate).await;
    // Behind what was in hand.
    bus.publish(&placed("o-6")).await.unwrap();
    for order in 1..=5 {
        gate.entered(order).await;
        at_rest().await;
        assert_eq!(gate.count(), order, "one at a time");
        gate.open(1);
    }
    gate.open(100);
    eventually("the last one", || journal.lines().len() == 12).await;

    let expected: Vec<_> =
        (1..=5).flat_map(|n| [format!("o-{n} again begins"), format!("o-{n} ends")]).collect();
    assert_eq!(journal.lines()[..10], expected);
    assert_eq!(journal.lines()[10..], ["o-6 begins", "o-6 ends"]);
    assert_eq!((bus.counts().suspects, bus.counts().dead_lettered), (5, 0));
    assert_eq!(ready_in(&bus, "events.fragile.suspects").await, 0);
    bus.stop().await.unwrap();
}

/// Of what is behind the suspects no more is taken than shows that they are through: if the process ended
/// over one of them, all that it had in hand would be suspected next.
#[tokio::test(start_paused = true)]
async fn one_other_is_in_hand_while_the_suspects_have_their_turn() {
    let broker = Memory::new();
    publish(&broker, &["o-1", "o-2", "o-3", "o-4", "o-5"]).await;
    crash_with(&broker, 5).await;
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = start(&broker, &journal, &gate).await;
    gate.entered(1).await;

    for order in 6..=50 {
        bus.publish(&placed(&format!("o-{order}"))).await.unwrap();
    }
    at_rest().await;

    assert_eq!(ready_in(&bus, "events.fragile").await, 44);
    assert_eq!(ready_in(&bus, "events.fragile.suspects").await, 4);
    gate.open(50);
    eventually("all are handled", || journal.lines().len() == 100).await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_handler_of_another_group_runs_beside_a_suspect() {
    let broker = Memory::new();
    publish(&broker, &["o-1"]).await;
    crash_with(&broker, 1).await;
    let (journal, gate) = (Journal::default(), Gate::default());

    let bus = start(&broker, &journal, &gate).await;
    gate.entered(1).await;
    bus.publish(&shipped("s-1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(journal.lines(), ["o-1 again begins"]);
    gate.open(1);
    eventually("the other group goes on", || journal.lines().len() == 3).await;

    assert_eq!(journal.lines(), ["o-1 again begins", "o-1 ends", "s-1 shipped"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_what_runs_and_takes_turns_with_the_rest_when_that_takes_long() {
    let broker = Memory::new();
    publish(&broker, &["o-1"]).await;
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = start(&broker, &journal, &gate).await;
    gate.entered(1).await;

    // From another process, which is not heard of again.
    let other = Journal::default();
    publish_suspect(&broker, "o-2").await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(gate.count(), 1, "one is handled, and the suspect waits for it");
    bus.publish(&placed("o-3")).await.unwrap();
    gate.entered(2).await;
    assert_eq!(journal.lines().last().unwrap(), "o-3 begins", "nobody waits for ever");
    gate.open(2);
    gate.entered(3).await;
    gate.open(1);
    eventually("all three", || journal.lines().len() == 6).await;

    assert!(other.lines().is_empty());
    assert_eq!(journal.lines()[4..], ["o-2 again begins", "o-2 ends"]);
    bus.stop().await.unwrap();
}

/// A suspect, as a process left it that had one order in hand and then ended.
async fn publish_suspect(broker: &Memory, order: &str) {
    let elsewhere = Memory::new();
    publish(&elsewhere, &[order]).await;
    crash_with(&elsewhere, 1).await;
    let gate = Gate::default();
    let bus = start(&elsewhere, &Journal::default(), &gate).await;
    gate.entered(1).await;
    bus.stop().await.unwrap();
    let bus = bus_on(broker, |builder| builder.registry(Registry::new()).publish_only()).await;
    let lost = bus_on(&elsewhere, |builder| builder.registry(Registry::new()).publish_only()).await;
    let message = take_all(&lost, "events.fragile.suspects").await.remove(0).message;
    let exchange = es_bus::name::ExchangeName::new("events.fragile.retry").unwrap();
    bus.publisher().publish_message(exchange, "Order.OrderPlaced", message).await.unwrap();
    bus.stop().await.unwrap();
    lost.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_ends_every_process_is_dead_lettered_as_crashed() {
    let broker = Memory::new();
    publish(&broker, &["o-1"]).await;
    crash_with(&broker, 1).await;
    let (journal, gate, log) = (Journal::default(), Gate::default(), Log::default());
    let _recording = log.record();
    let bus = start(&broker, &journal, &gate).await;

    // A connection that ends while the event is handled alone looks like a process that ends.
    for death in 1..=2 {
        gate.entered(death).await;
        bus.broker().faults().cut_link();
        gate.open(1);
    }
    eventually("the dead letter", || bus.counts().dead_lettered == 1).await;

    let letters = take_all(&bus, "events.fragile.dlq").await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let header = |name| letter.message.headers.get_str(name).unwrap_or_default().to_owned();
    assert_eq!(header("x-es-reason"), "crashed");
    assert!(header("x-dlq-reason").starts_with("3 processes of group \"fragile\" ended"), "{letter:?}");
    assert!(letter.message.headers.get("x-es-crashes").is_none());
    assert_eq!((bus.counts().suspects, bus.counts().dead_lettered), (1, 1));
    assert_eq!(log.lines_with("the event is handled alone").len(), 1);
    assert_eq!(log.lines_with("handled alone once more").len(), 1);
    assert_eq!(log.lines_with("dead-lettered: 3 processes").len(), 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_suspect_charges_nobody() {
    let broker = Memory::new();
    publish(&broker, &["o-1"]).await;
    crash_with(&broker, 1).await;
    let gate = Gate::default();

    // The handler is aborted at the shutdown timeout, again and again.
    for stop in 1..=5 {
        let bus = start(&broker, &Journal::default(), &gate).await;
        gate.entered(stop).await;
        bus.stop().await.unwrap();
    }
    let (journal, open) = (Journal::default(), Gate::default());
    open.open(1);
    let bus = start(&broker, &journal, &open).await;
    eventually("it is handled", || journal.lines().len() == 2).await;

    bus.run_until_idle().await;
    assert_eq!(ready_in(&bus, "events.fragile.dlq").await, 0);
    assert_eq!(bus.counts().dead_lettered, 0);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_in_order_is_not_suspected() {
    let broker = Memory::new();
    let orders: Vec<String> = (0..50).map(|n| format!("o-{n}")).collect();
    publish(&broker, &orders.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let done = Journal::default();

    // Aborted with sixteen in hand, and with the others waiting behind them.
    let mut suspects = 0;
    for _ in 0..3 {
        let gate = Gate::default();
        let bus = start(&broker, &Journal::default(), &gate).await;
        gate.entered(16).await;
        suspects += bus.counts().suspects;
        bus.stop().await.unwrap();
    }
    let gate = Gate::default();
    gate.open(1000);
    let bus = start(&broker, &done, &gate).await;
    bus.run_until_idle().await;
    suspects += bus.counts().suspects;

    assert_eq!(suspects, 0);
    let ended: BTreeSet<_> = done.lines().into_iter().filter(|line| line.ends_with(" ends")).collect();
    assert_eq!(ended.len(), orders.len());
    bus.stop().await.unwrap();
}

/// Nothing waited behind what ran: only the runs that are aborted go back.
#[tokio::test(start_paused = true)]
async fn what_runs_at_the_shutdown_timeout_is_not_suspected() {
    let broker = Memory::new();
    publish(&broker, &["o-1", "o-2", "o-3"]).await;
    let gate = Gate::default();
    // At once: the clock of the next bus begins at the time of day.
    let first = bus_on(&broker, |builder| {
        builder
            .registry(Registry::new().handler::<carry>().handler::<watch_it>())
            .state(Journal::default())
            .state(gate.clone())
            .set("shutdown_timeout", Duration::from_millis(1))
    })
    .await;
    gate.entered(3).await;
    first.stop().await.unwrap();

    let (journal, open) = (Journal::default(), Gate::default());
    open.open(3);
    let second = start(&broker, &journal, &open).await;
    eventually("all are handled", || journal.lines().len() == 6).await;

    assert_eq!(second.counts().suspects, 0);
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_of_a_living_process_makes_no_suspects() {
    let broker = Memory::new();
    publish(&broker, &["o-1", "o-2", "o-3"]).await;
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = start(&broker, &journal, &gate).await;
    gate.entered(3).await;

    bus.broker().faults().cut_link();
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open(100);
    eventually("they run again", || {
        journal.lines().iter().filter(|line| line.contains("again")).count() == 3
    })
    .await;
    bus.run_until_idle().await;

    assert_eq!((bus.counts().suspects, bus.counts().dead_lettered), (0, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_may_go_without() {
    let broker = Memory::new();
    let registry = Registry::new().handler::<carry>();
    let (journal, gate) = (Journal::default(), Gate::default());
    let without = || {
        bus_on(&broker, |builder| {
            builder
                .registry(registry.clone())
                .state(journal.clone())
                .state(gate.clone())
                .set("crash_limit", "none")
        })
    };
    let bus = without().await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;
    gate.open(1);
    bus.run_until_idle().await;
    bus.subscriptions().pause("fragile").await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    bus.stop().await.unwrap();
    crash_with(&broker, 1).await;

    gate.open(1);
    let bus = without().await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines()[2..], ["o-2 again begins", "o-2 ends"]);
    assert_eq!(bus.counts().suspects, 0);
    let suspects = bus.broker().consume(ConsumeRequest {
        queue: QueueName::new("events.fragile.suspects").unwrap(),
        tag: "look".to_owned(),
        prefetch: 1,
        exclusive: false,
        may_hold: 0,
        offset: None,
    });
    assert!(suspects.await.is_err(), "there is no such queue");
    bus.stop().await.unwrap();
}
