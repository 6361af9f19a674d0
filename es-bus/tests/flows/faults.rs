//! A broker and a link that fail: what was confirmed is handled, dead-lettered, or still there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use es_bus::{
    Attempt, Registry, State, handler,
    model::{Exchange, ExchangeKind, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    testing::TestBus,
    transport::{Admin, memory::Memory},
};

use crate::support::{
    Gate, InvoiceSent, Journal, Log, OrderPlaced, at_rest, eventually, placed, ready_in, status, take_all,
    within_a_minute,
};

#[handler(group = "gated")]
async fn gated(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) -> Result<(), String> {
    gate.pass().await;
    journal.note(format!("{} {}", order.order_id, attempt.number));
    if order.order_id == "fails at first" && attempt.number == 0 { Err("later".to_owned()) } else { Ok(()) }
}

async fn gated_bus() -> (TestBus, Journal, Gate) {
    let (journal, gate) = (Journal::default(), Gate::default());
    let registry = Registry::new().handler::<gated>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone()).state(gate.clone()))
        .await
        .unwrap();
    (bus, journal, gate)
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

async fn consuming_again(bus: &TestBus, name: &str) {
    within_a_minute("the group consumes again", async {
        while status(bus, name).await.is_none_or(|status| status.consumers == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_waits_for_the_run_of_it_that_still_goes_on() {
    let (bus, journal, gate) = gated_bus().await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link();
    consuming_again(&bus, "events.gated").await;
    at_rest().await;
    assert_eq!(bus.broker().pending().unsettled, 1, "it has been delivered again");
    assert_eq!(gate.count(), 1, "and waits for the first run of it");
    gate.open(1);
    gate.entered(2).await;
    assert_eq!(bus.counts().stale, 1, "the first outcome is nobody's any more");
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1 0", "o-1 0"]);
    assert_eq!((bus.counts().delivered, bus.counts().handled, bus.counts().stale), (2, 2, 1));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn consuming_goes_on_after_the_link_was_cut() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000);

    for n in 0..5 {
        bus.broker().faults().cut_link_for(Duration::from_secs(n));
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
        consuming_again(&bus, "events.gated").await;
        bus.run_until_idle().await;
    }

    assert_eq!(journal.lines(), ["o-0 0", "o-1 0", "o-2 0", "o-3 0", "o-4 0"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_while_a_copy_goes_out_costs_a_duplicate_at_worst() {
    let (bus, journal, gate) = gated_bus().await;
    bus.publish(&placed("fails at first")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().cut_link_for(Duration::from_secs(5));
    gate.open(1);
    at_rest().await;
    assert_eq!(bus.counts().retried, 0, "there is no way to the broker");
    gate.open(1_000);
    consuming_again(&bus, "events.gated").await;
    within_a_minute("all is handled", bus.run_to_the_end()).await;

    let runs = |line: &str| journal.lines().iter().filter(|there| *there == line).count();
    assert_eq!(runs("fails at first 0"), 2, "once for each delivery: {:?}", journal.lines());
    assert_eq!(runs("fails at first 1"), 1, "no copy was made of the first: {:?}", journal.lines());
    assert_eq!(bus.counts().stale, 1);
    assert_eq!(ready_in(&bus, "events.gated.dlq").await, 0);
    bus.stop().await.unwrap();
}

/// What waits longer each time is the connection, as it is told to.
#[tokio::test(start_paused = true)]
async fn a_group_consumes_again_at_once_however_often_the_connection_was_lost() {
    const WITHIN: Duration = Duration::from_secs(1);
    let (bus, _journal, _gate) = gated_bus().await;

    for loss in 0..10 {
        bus.broker().faults().cut_link();
        let since = tokio::time::Instant::now();
        consuming_again(&bus, "events.gated").await;
        assert!(since.elapsed() <= WITHIN, "loss {loss}: {:?}", since.elapsed());
    }
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_confirm_is_lost_is_published_again() {
    let (bus, journal, gate) = gated_bus().await;
    bus.publish(&placed("fails at first")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().lose_publishes(3);
    gate.open(1_000);
    within_a_minute("all is handled", bus.run_to_the_end()).await;

    assert_eq!(journal.lines(), ["fails at first 0", "fails at first 1"]);
    assert_eq!(bus.counts().retried, 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_original_stays_unacknowledged_until_its_copy_is_taken() {
    let (bus, journal, gate) = gated_bus().await;
    bus.publish(&placed("fails at first")).await.unwrap();
    gate.entered(1).await;

    // Each try is refused, as by a retry queue that is full.
    bus.broker().faults().refuse_publishes(1_000_000);
    gate.open(1_000);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((bus.broker().pending().unsettled, bus.counts().retried), (1, 0));
    bus.broker().faults().refuse_publishes(0);
    within_a_minute("it is handled", bus.run_to_the_end()).await;

    assert_eq!(journal.lines(), ["fails at first 0", "fails at first 1"], "it did not run meanwhile");
    assert_eq!(bus.counts().retried, 1);
    bus.stop().await.unwrap();
}

#[handler(group = "held")]
async fn held(_order: OrderPlaced) -> Result<(), String> {
    Err("later".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_retry_queue_is_told_of_once_in_half_a_minute_however_many_events_it_holds_up() {
    let bus = TestBus::start(|builder| builder.registry(Registry::new().handler::<held>())).await.unwrap();
    for order in 0..10 {
        bus.publish(&placed(&format!("o-{order}"))).await.unwrap();
    }
    let log = Log::default();
    let _recording = log.record();

    bus.broker().faults().refuse_publishes(1_000_000);
    tokio::time::sleep(Duration::from_secs(59)).await;

    assert_eq!(bus.broker().pending().unsettled, 10);
    let told = log.lines_with("the retry queue is full");
    let [first, second] = told.as_slice() else { panic!("{told:#?}") };
    for line in [first, second] {
        assert!(line.contains(r#"queue="events.held.retry.1s""#), "{line}");
        assert!(line.contains(r#"exchange=events.held.retry group="held""#), "{line}");
    }
    assert!(log.lines_with("could not be published").is_empty());
    bus.broker().faults().refuse_publishes(0);
    bus.stop().await.unwrap();
}

#[handler(group = "doomed", retries = 0)]
async fn doomed(order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(&*order.order_id);
    Err("no".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_dead_letter_queue_keeps_the_original_until_there_is_room() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<doomed>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).set_for_group("doomed", "dlq_max_length", "1")
    })
    .await
    .unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    bus.publish(&placed("o-2")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bus.broker().pending().unsettled, 1);
    assert_eq!(
        (bus.counts().dead_lettered, bus.fates("doomed").len()),
        (1, 1),
        "no more than there are is told"
    );
    let first = take_all(&bus, "events.doomed.dlq").await;
    within_a_minute("the second lands", bus.run_until_idle()).await;
    let second = take_all(&bus, "events.doomed.dlq").await;

    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(bus.counts().dead_lettered, 2);
    assert_eq!(journal.lines(), ["o-1", "o-2"], "it did not run again for it");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_queue_is_deleted_makes_it_anew() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000);

    bus.broker().faults().delete_queue(&queue("events.gated"));
    consuming_again(&bus, "events.gated").await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1 0"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_works_although_its_queue_was_deleted() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000);

    bus.broker().faults().delete_queue(&queue("events.gated.retry.1s"));
    bus.publish(&placed("fails at first")).await.unwrap();
    within_a_minute("it is handled", bus.run_to_the_end()).await;

    assert_eq!(journal.lines(), ["fails at first 0", "fails at first 1"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_lands_although_the_queue_and_the_exchange_were_deleted() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<doomed>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.broker().delete_queue(&queue("events.doomed.dlq")).await.unwrap();
    bus.publish(&placed("o-1")).await.unwrap();
    within_a_minute("it is settled", bus.run_until_idle()).await;
    assert_eq!(ready_in(&bus, "events.doomed.dlq").await, 1);
    bus.broker().delete_exchange(&ExchangeName::new("events_dlq").unwrap()).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    within_a_minute("it is settled", bus.run_until_idle()).await;

    assert_eq!(ready_in(&bus, "events.doomed.dlq").await, 2);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_was_deleted_is_there_again_for_the_next_publish() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000);

    bus.broker().delete_exchange(&ExchangeName::new("events").unwrap()).await.unwrap();
    let first = bus.publish(&placed("o-1")).await;
    bus.publish(&placed("o-2")).await.unwrap();
    bus.run_until_idle().await;

    assert!(
        matches!(first, Err(es_bus::PublishError::NoExchange { ref exchange, .. }) if exchange == "events"),
        "{first:?}"
    );
    assert_eq!(journal.lines(), ["o-2 0"]);
    bus.stop().await.unwrap();
}

/// A broker may come back without what was declared on it.
#[tokio::test(start_paused = true)]
async fn after_a_lost_connection_all_is_declared_before_the_next_publish() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000);

    bus.broker().faults().cut_link_for(Duration::from_secs(1));
    let operator = bus.broker().reconnect();
    operator.delete_exchange(&ExchangeName::new("events").unwrap()).await.unwrap();
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1 0"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_that_is_declared_otherwise_is_told_at_the_start() {
    let broker = Memory::new();
    let exchange = Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Fanout);
    broker.declare_exchange(&exchange).await.unwrap();
    let work = Queue {
        message_ttl: Some(Duration::from_secs(7)),
        ..Queue::durable(queue("events.doomed"), QueueKind::Quorum)
    };
    broker.declare_queue(&work).await.unwrap();
    broker.declare_queue(&Queue::durable(queue("events.doomed.dlq"), QueueKind::Classic)).await.unwrap();

    let registry = Registry::new().handler::<doomed>();
    let Err(error) = TestBus::on(Arc::new(broker.reconnect()), |builder| {
        builder.registry(registry).state(Journal::default())
    })
    .await
    else {
        panic!("it started on a topology that is not its own")
    };

    let report = format!("{error:?}");
    for text in [
        "exchange \"events\"",
        "\"events.doomed\"",
        "\"events.doomed.dlq\"",
        "fanout",
        "topic",
        "x-queue-type",
    ] {
        assert!(report.contains(text), "{text} is missing in:\n{report}");
    }
    assert_eq!(broker.queue_status(&queue("events.doomed")).await.unwrap().unwrap().consumers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_a_broker_that_is_blocked() {
    let (bus, journal, gate) = gated_bus().await;
    bus.publish(&placed("fails at first")).await.unwrap();
    gate.entered(1).await;

    bus.broker().faults().block("disk");
    gate.open(1_000);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((bus.broker().pending().unsettled, bus.counts().retried), (1, 0));
    bus.broker().faults().unblock();
    within_a_minute("it is handled", bus.run_to_the_end()).await;

    assert_eq!(journal.lines(), ["fails at first 0", "fails at first 1"]);
    bus.stop().await.unwrap();
}

#[handler(group = "bystanders")]
async fn bystander(_sent: InvoiceSent, State(journal): State<Journal>) {
    journal.note("bystander");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_settle_does_not_hold_up_another() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<doomed>().handler::<bystander>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).set_for_group("doomed", "dlq_max_length", "1")
    })
    .await
    .unwrap();
    for n in 0..50 {
        bus.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    eventually("the other group goes on", || journal.lines().contains(&"bystander".to_owned())).await;

    assert_eq!(bus.counts().dead_lettered, 1);
    drop(bus);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_confirmed_is_lost_however_often_the_link_is_cut() {
    let (bus, journal, gate) = gated_bus().await;
    gate.open(1_000_000);
    let publisher = bus.publisher().clone();
    let publishing = tokio::spawn(async move {
        for n in 0..300 {
            publisher.publish(&placed(&format!("o-{n}"))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });

    while !publishing.is_finished() {
        bus.broker().faults().cut_link_for(Duration::from_millis(30));
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    publishing.await.unwrap();
    consuming_again(&bus, "events.gated").await;
    within_a_minute("all is handled", bus.run_to_the_end()).await;

    let mut runs: BTreeMap<String, u32> = BTreeMap::new();
    for line in journal.lines() {
        *runs.entry(line).or_default() += 1;
    }
    assert_eq!(runs.len(), 300, "every event was handled");
    assert_eq!(ready_in(&bus, "events.gated.dlq").await, 0);
    bus.stop().await.unwrap();
}
