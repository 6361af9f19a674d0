//! A consumer that the broker has forgotten is found, told of, and started anew.

use std::time::Duration;

use es_bus::{
    HealthStatus, Part, Registry, State, handler, name::QueueName, testing::TestBus,
    transport::memory::Memory,
};
use tokio::time::sleep;

use crate::support::{Gate, Journal, OrderPlaced, bus_on, eventually, placed};

#[handler(group = "ledger", timeout = "20m")]
async fn enter(order: OrderPlaced, State(journal): State<Journal>, State(gate): State<Gate>) {
    journal.note(order.order_id);
    gate.pass().await;
}

async fn bus(settings: &[(&str, &str)]) -> (TestBus, Journal, Gate) {
    let (journal, gate) = (Journal::default(), Gate::default());
    let bus = TestBus::start(|builder| {
        let builder = builder.registry(Registry::new().handler::<enter>());
        let builder = builder.state(journal.clone()).state(gate.clone());
        settings.iter().fold(builder, |builder, (key, value)| builder.set(key, *value))
    });
    (bus.await.unwrap(), journal, gate)
}

fn queue() -> QueueName {
    QueueName::new("events.ledger").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_consumer_is_started_anew_within_its_interval() {
    let (bus, journal, gate) = bus(&[]).await;
    gate.open(10);

    bus.broker().faults().forget_consumers(&queue(), 0);
    bus.publish(&placed("o-1")).await.unwrap();
    sleep(Duration::from_secs(29)).await;
    assert_eq!((journal.lines().len(), bus.counts().silent), (0, 0));
    sleep(Duration::from_secs(3)).await;

    assert_eq!(journal.lines(), ["o-1"]);
    assert_eq!((bus.counts().silent, bus.counts().consumers), (1, 2));
    assert!(bus.monitor().is_ready());
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_goes_on_not_to_deliver_is_no_good_health() {
    let (bus, journal, gate) = bus(&[]).await;
    gate.open(10);

    bus.broker().faults().forget_consumers(&queue(), 3);
    bus.publish(&placed("o-1")).await.unwrap();
    eventually("it is found", || bus.counts().silent == 1).await;
    eventually("it consumes again", || bus.counts().consumers == 2).await;
    let health = bus.monitor().glance();
    assert_eq!((health.status, health.ready, health.live), (HealthStatus::Degraded, false, true));
    assert_eq!(health.problems[0].part, Part::Delivery);
    assert_eq!(
        health.error.as_deref(),
        Some(
            "group \"ledger\": the consumer of \"events.ledger\" gets nothing: 1 messages are ready, and none comes"
        )
    );
    eventually("it is handled", || !journal.lines().is_empty()).await;

    assert_eq!((bus.counts().silent, bus.monitor().glance().status), (4, HealthStatus::Healthy));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_alarmed_by_what_is_as_it_should_be() {
    let (bus, journal, gate) = bus(&[("concurrency", "1"), ("prefetch", "1")]).await;

    // An empty queue; then one event in hand for long, and another behind it in the queue; then a broker
    // that is blocked.
    sleep(Duration::from_secs(600)).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(journal.lines(), ["o-1"]);
    gate.open(10);
    eventually("both are handled", || journal.lines().len() == 2).await;
    bus.broker().faults().block("memory");
    sleep(Duration::from_secs(600)).await;

    assert_eq!((bus.counts().silent, bus.counts().consumers), (0, 1));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_turn_is_not_forgotten() {
    let (broker, journal, gate) = (Memory::new(), Journal::default(), Gate::default());
    let start = || {
        bus_on(&broker, |builder| {
            let builder = builder.registry(Registry::new().handler::<enter>());
            let builder = builder.set_for_group("ledger", "single_active_consumer", "true");
            let builder = builder.set_for_group("ledger", "prefetch", "1");
            let builder = builder.set_for_group("ledger", "concurrency", "1");
            builder.state(journal.clone()).state(gate.clone())
        })
    };
    let (active, standby) = (start().await, start().await);

    active.publish(&placed("o-1")).await.unwrap();
    active.publish(&placed("o-2")).await.unwrap();
    sleep(Duration::from_secs(600)).await;

    assert_eq!(journal.lines(), ["o-1"], "the other one waits in the queue");
    assert_eq!((standby.counts().silent, standby.counts().consumers), (0, 1));
    assert!(standby.monitor().is_ready());
    gate.open(10);
    active.stop().await.unwrap();
    standby.stop().await.unwrap();
}
