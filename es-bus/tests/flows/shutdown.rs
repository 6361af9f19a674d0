//! Stopping: what is in hand is finished, the rest goes back, nothing is lost.

use std::{sync::Arc, time::Duration};

use es_bus::{
    Bus, Delivered, Handle, HandlerError, PublishError, Publisher, Registry, State, handler,
    message::Headers,
    model::{Exchange, ExchangeKind, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{Admin, memory::Memory},
};
use tokio::time::Instant;

use crate::support::{
    Gate, InvoiceSent, Journal, OrderPlaced, OrderShipped, at_rest, bus_on, eventually, placed, ready_in,
    shipped, take_all, within_a_minute, work_on,
};

/// Writes down when it is dropped: at the end of a run, however it ends.
struct Trace(Journal, String);

impl Drop for Trace {
    fn drop(&mut self) {
        self.0.note(format!("{} dropped", self.1));
    }
}

#[handler(group = "work")]
async fn work(
    order: OrderPlaced,
    delivered: Delivered,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) {
    let _trace = Trace(journal.clone(), order.order_id.clone());
    work_on(&order, &delivered, &journal, &gate).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_in_hand_and_gives_back_the_rest_in_order() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder
            .registry(registry.clone())
            .state(journal.clone())
            .state(gate.clone())
            .set_for_group("work", "concurrency", "2")
            .set_for_group("work", "prefetch", "5")
    })
    .await;
    for n in 1..=8 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    gate.entered(2).await;

    let stopping = tokio::spawn(bus.stop());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!stopping.is_finished(), "it waits for its handlers");
    assert_eq!(broker.pending().unsettled, 2, "what had not started is back at once");
    assert_eq!(gate.count(), 2, "and nothing new is started");
    gate.open(2);
    stopping.await.unwrap().unwrap();

    let lines = journal.lines();
    assert!(lines.contains(&"o-1 ends".to_owned()) && lines.contains(&"o-2 ends".to_owned()), "{lines:?}");
    let next = Journal::default();
    gate.open(100);
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry).state(next.clone()).state(gate.clone()).set_for_group(
            "work",
            "concurrency",
            "1",
        )
    })
    .await;
    bus.run_until_idle().await;
    let begun: Vec<_> = next.lines().into_iter().filter(|line| line.ends_with("begins")).collect();
    assert_eq!(
        begun,
        [
            "o-3 again begins",
            "o-4 again begins",
            "o-5 again begins",
            "o-6 begins",
            "o-7 begins",
            "o-8 begins"
        ]
    );
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_in_a_lane_go_back_in_order() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry.clone()).state(journal.clone()).state(gate.clone())
    })
    .await;
    for total in 1..=5 {
        bus.publish(&OrderPlaced { order_id: format!("o-{total}"), total })
            .aggregate_id("one")
            .await
            .unwrap();
    }
    gate.entered(1).await;
    gate.open(1);
    gate.entered(2).await;
    let stopping = tokio::spawn(bus.stop());
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open(1);
    stopping.await.unwrap().unwrap();
    assert_eq!(gate.count(), 2, "the third never began");

    let next = Journal::default();
    gate.open(100);
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(next.clone()).state(gate.clone())).await;
    bus.run_until_idle().await;

    let begun: Vec<_> = next.lines().into_iter().filter(|line| line.ends_with("begins")).collect();
    assert_eq!(begun, ["o-3 again begins", "o-4 again begins", "o-5 again begins"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_in_time_is_aborted_and_its_event_goes_back() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder
            .registry(registry.clone())
            .state(journal.clone())
            .state(gate.clone())
            .set("shutdown_timeout", "5s")
    })
    .await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    let started = Instant::now();
    bus.stop().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(journal.lines(), ["o-1 begins", "o-1 dropped"], "it was aborted");

    gate.open(100);
    let next = Journal::default();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(next.clone()).state(gate.clone())).await;
    bus.run_until_idle().await;
    assert_eq!(next.lines(), ["o-1 again begins", "o-1 ends", "o-1 dropped"]);
    assert_eq!(ready_in(&bus, "events.work.dlq").await, 0, "no attempt was spent");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_dropped_ends_at_once_and_loses_nothing() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry.clone()).state(journal.clone()).state(gate.clone())
    })
    .await;
    for n in 1..=3 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    gate.entered(3).await;
    let started = Instant::now();

    drop(bus);
    eventually("everything is back", || broker.pending().unsettled == 0).await;

    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(broker.pending().parked, 3);
    gate.open(100);
    let next = Journal::default();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(next.clone()).state(gate.clone())).await;
    bus.run_until_idle().await;
    assert_eq!(bus.counts().handled, 3);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_in_hand_is_immediate() {
    let broker = Memory::new();
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry).state(Journal::default()).state(Gate::default())
    })
    .await;
    let started = Instant::now();

    bus.stop().await.unwrap();

    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[handler(group = "pipeline", name = "ship")]
async fn ship(
    order: OrderPlaced,
    publisher: Publisher,
    State(gate): State<Gate>,
) -> Result<(), HandlerError> {
    gate.pass().await;
    publisher.publish(&shipped(&order.order_id)).await?;
    Ok(())
}

#[handler(group = "ends", name = "note")]
async fn note(shipped: OrderShipped, State(journal): State<Journal>) {
    journal.note(format!("shipped {}", shipped.order_id));
}

#[tokio::test(start_paused = true)]
async fn a_handler_in_hand_may_still_publish_while_the_bus_stops() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<ship>().handler::<note>();
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry.clone()).state(journal.clone()).state(gate.clone())
    })
    .await;
    let publisher = bus.publisher().clone();
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    let stopping = tokio::spawn(bus.stop());
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open(1);
    stopping.await.unwrap().unwrap();

    assert!(matches!(publisher.publish(&placed("o-2")).await, Err(PublishError::Closed)));
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(journal.clone()).state(gate.clone()))
            .await;
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["shipped o-1"]);
    bus.stop().await.unwrap();
}

#[handler(group = "shaky", backoff(base = "10s", max = "10s", jitter = 0.0))]
async fn fails_at_first(
    _order: OrderPlaced,
    attempt: es_bus::Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("attempt {}", attempt.number));
    if attempt.number == 0 { Err("later".to_owned()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_in_the_broker_while_nobody_is_there() {
    let broker = Memory::new();
    let journal = Journal::default();
    let registry = Registry::new().handler::<fails_at_first>();
    let bus = bus_on(&broker, |builder| builder.registry(registry.clone()).state(journal.clone())).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;

    let bus = bus_on(&broker, |builder| builder.registry(registry).state(journal.clone())).await;
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["attempt 0", "attempt 1"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_link_is_down_ends_in_time_and_loses_nothing() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder
            .registry(registry.clone())
            .state(journal.clone())
            .state(gate.clone())
            .set("shutdown_timeout", "5s")
    })
    .await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;
    bus.broker().faults().cut_link_for(Duration::from_secs(3600));
    at_rest().await;

    let started = Instant::now();
    let stopping = tokio::spawn(bus.stop());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!stopping.is_finished(), "the handler may finish");
    gate.open(1);
    stopping.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    gate.open(100);
    let next = Journal::default();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(next.clone()).state(gate.clone())).await;
    bus.run_until_idle().await;
    assert_eq!(next.lines()[0], "o-1 again begins", "its outcome could not be told");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_broker_that_has_been_gone_for_long() {
    let broker = Memory::new();
    let registry = Registry::new().handler::<work>();
    let bus = bus_on(&broker, |builder| {
        builder.registry(registry).state(Journal::default()).state(Gate::default())
    })
    .await;
    bus.broker().faults().cut_link_for(Duration::from_secs(3600));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let started = Instant::now();

    bus.stop().await.unwrap();

    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_dead_letter_queue_that_is_full() {
    let broker = Memory::new();
    let journal = Journal::default();
    let registry = Registry::new().handler::<fails_at_first>();
    let configure = |builder: es_bus::BusBuilder| {
        builder
            .registry(registry.clone())
            .state(journal.clone())
            .set("shutdown_timeout", "5m")
            .set_for_group("shaky", "retries", "0")
            .set_for_group("shaky", "dlq_max_length", "1")
    };
    let bus = bus_on(&broker, configure).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    bus.publish(&placed("o-2")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.pending().unsettled, 1, "there is no room for it");

    let started = Instant::now();
    bus.stop().await.unwrap();
    assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());

    let bus = bus_on(&broker, configure).await;
    assert_eq!(bus.counts().suspects, 0, "no process ended over it");
    assert_eq!(take_all(&bus, "events.shaky.dlq").await.len(), 1);
    within_a_minute("the second one lands", bus.run_until_idle()).await;
    assert_eq!(take_all(&bus, "events.shaky.dlq").await.len(), 1);
    bus.stop().await.unwrap();
}

#[handler(group = "second")]
async fn second(_sent: InvoiceSent, State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test(start_paused = true)]
async fn all_groups_finish_before_the_bus_ends() {
    let broker = Memory::new();
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<work>().handler::<second>();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(journal.clone()).state(gate.clone()))
            .await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    gate.entered(2).await;

    let stopping = tokio::spawn(bus.stop());
    gate.open(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!stopping.is_finished());
    gate.open(1);
    stopping.await.unwrap().unwrap();

    assert_eq!(broker.pending().unsettled + broker.pending().parked, 0, "both were acknowledged");
}

/// A running bus without the help of a `TestBus`.
async fn start(broker: &Memory, registry: Registry, journal: &Journal) -> Handle {
    let bus = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(registry)
        .state(journal.clone())
        .transport(Arc::new(broker.reconnect()))
        .build()
        .unwrap();
    bus.start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_bus_can_be_stopped_from_elsewhere_and_waited_for() {
    let journal = Journal::default();
    let handle = start(&Memory::new(), Registry::new().handler::<note>(), &journal).await;
    handle.publisher().publish(&shipped("o-1")).await.unwrap();
    eventually("it is handled", || handle.counts().handled == 1).await;

    handle.stopper().cancel();

    within_a_minute("the bus ends", handle.wait()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_go_on_ends_the_bus_with_the_reason() {
    let broker = Memory::new();
    let journal = Journal::default();
    let handle = start(&broker, Registry::new().handler::<note>(), &journal).await;
    let publisher = handle.publisher().clone();
    publisher.publish(&shipped("o-1")).await.unwrap();
    eventually("it works", || handle.counts().handled == 1).await;

    // Somebody makes another exchange in the place of its own, and deletes the queue.
    let events = ExchangeName::new("events").unwrap();
    broker.delete_exchange(&events).await.unwrap();
    broker.declare_exchange(&Exchange::durable(events, ExchangeKind::Fanout)).await.unwrap();
    broker.delete_queue(&QueueName::new("events.ends").unwrap()).await.unwrap();
    let error = within_a_minute("the bus ends", handle.wait()).await.unwrap_err();

    let report = format!("{error:?}");
    assert!(report.contains("exchange \"events\"") && report.contains("fanout"), "{report}");
    assert!(matches!(publisher.publish(&shipped("o-2")).await, Err(PublishError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_queue_with_other_settings_since_is_bound_and_consumed_as_it_is() {
    let broker = Memory::new();
    let journal = Journal::default();
    let handle = start(&broker, Registry::new().handler::<note>(), &journal).await;
    handle.publisher().publish(&shipped("o-0")).await.unwrap();
    eventually("it works", || handle.counts().handled == 1).await;

    // Somebody deletes the queue and makes another one in its place.
    let name = QueueName::new("events.ends").unwrap();
    broker.delete_queue(&name).await.unwrap();
    let other = Queue { arguments: Headers::new(), ..Queue::durable(name, QueueKind::Classic) };
    broker.declare_queue(&other).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.publisher().publish(&shipped("o-1")).await.expect("the queue is bound again");

    eventually("it works", || handle.counts().handled == 2).await;
    handle.stop().await.expect("it ran on");
    let again = Bus::builder().without_environment().transport(Arc::new(broker.reconnect()));
    let again = again.registry(Registry::new().handler::<note>()).state(journal).build().unwrap();
    let report = format!("{:?}", again.start().await.unwrap_err());
    assert!(report.contains("events.ends") && report.contains("x-queue-type"), "{report}");
}
