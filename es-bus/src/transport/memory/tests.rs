//! What only this broker can do: clocks, names, faults, and knowing that it is idle.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    message::{Message, Value},
    model::{Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, Delivery, LinkState, Publication, Publish,
        PublishError, Settlement,
    },
};

fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn exchange_name(name: &str) -> ExchangeName {
    ExchangeName::new(name).unwrap()
}

fn queue(name: &str) -> Queue {
    Queue::durable(queue_name(name), QueueKind::Quorum)
}

fn to_queue(queue: &str, body: &'static str) -> Publication {
    Publication {
        exchange: ExchangeName::default_exchange(),
        routing_key: queue.to_owned().into(),
        message: Message { body: body.into(), ..Message::default() },
        mandatory: true,
        lane: None,
    }
}

async fn consume(memory: &Memory, queue: &str, prefetch: u16) -> Consumer {
    let request = ConsumeRequest {
        queue: queue_name(queue),
        tag: "orders".to_owned(),
        prefetch,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    memory.consume(request).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(Duration::from_secs(3600), consumer.next()).await.unwrap().unwrap().unwrap()
}

/// The retry layout of design.md 4: `.retry` (headers) → delay queue → `.in` (fanout) → work queue.
async fn retry_layout(memory: &Memory) {
    memory.declare_queue(&queue("work")).await.unwrap();
    for (name, kind) in [("in", ExchangeKind::Fanout), ("retry", ExchangeKind::Headers)] {
        memory.declare_exchange(&Exchange::durable(exchange_name(name), kind)).await.unwrap();
    }
    memory.bind(&Binding::by_key(exchange_name("in"), queue_name("work"), "")).await.unwrap();
    let delay = Queue {
        dead_letter: Some(DeadLetter {
            exchange: exchange_name("in"),
            routing_key: None,
            strategy: DeadLetterStrategy::AtLeastOnce,
        }),
        overflow: Some(Overflow::RejectPublish),
        ..queue("retry.4s")
    };
    memory.declare_queue(&delay).await.unwrap();
    let mut by_delay = Binding::by_key(exchange_name("retry"), queue_name("retry.4s"), "");
    by_delay.arguments.insert("es-delay", "4s");
    memory.bind(&by_delay).await.unwrap();
}

fn to_retry() -> Publication {
    let mut publication = to_queue("Order.Placed", "order");
    publication.exchange = exchange_name("retry");
    publication.message.headers.insert("es-delay", "4s");
    publication.message.properties.expiration = Some("4000".into());
    publication
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_runs_through_an_hour_of_retries() {
    let memory = Memory::new();
    retry_layout(&memory).await;
    let mut consumer = consume(&memory, "work", 10).await;
    let start = Instant::now();

    for _ in 0..900 {
        memory.publish(&to_retry()).await.unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.received.routing_key, "Order.Placed");
        assert_eq!(delivery.received.exchange, "in");
        delivery.settle(Settlement::Ack);
    }

    assert_eq!(start.elapsed().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn idle_waits_for_what_is_scheduled_and_unsettled() {
    let memory = Memory::new();
    retry_layout(&memory).await;
    let mut consumer = consume(&memory, "work", 10).await;
    let start = Instant::now();
    memory.publish(&to_retry()).await.unwrap();
    assert_eq!(memory.pending().scheduled, 1);
    assert_eq!(memory.pending().next_due, Some(start + Duration::from_secs(4)));

    let worker = tokio::spawn(async move {
        let delivery = next(&mut consumer).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        delivery.settle(Settlement::Ack);
        consumer
    });
    memory.idle().await;

    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(memory.pending(), Pending::default());
    worker.await.unwrap().close().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_consumes_does_not_keep_it_from_being_idle() {
    let memory = Memory::new();
    memory.declare_queue(&queue("dlq")).await.unwrap();
    memory.publish(&to_queue("dlq", "dead")).await.unwrap();

    memory.idle().await;

    assert_eq!(memory.pending().parked, 1);
}

#[test]
fn is_made_outside_a_runtime_and_used_in_several() {
    let memory = Memory::new();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let quick = Queue { message_ttl: Some(Duration::from_millis(20)), ..queue("quick") };
            memory.declare_queue(&quick).await.unwrap();
            memory.publish(&to_queue("quick", "gone soon")).await.unwrap();
            timeout(Duration::from_secs(5), memory.idle()).await.unwrap();
        });
    }
}

#[tokio::test]
async fn two_buses_share_a_broker_by_its_name_and_not_without() {
    let (one, two, alone) = (Memory::named("shared"), Memory::named("shared"), Memory::new());
    one.declare_queue(&queue("orders")).await.unwrap();

    assert!(two.queue_status(&queue_name("orders")).await.unwrap().is_some());
    assert!(alone.queue_status(&queue_name("orders")).await.unwrap().is_none());
    assert_eq!(two.describe(), "the in-process broker \"shared\"");
}

#[tokio::test(start_paused = true)]
async fn a_cut_link_ends_consumers_gives_back_and_comes_up_in_the_next_generation() {
    let memory = Memory::new();
    memory.declare_queue(&queue("orders")).await.unwrap();
    memory.publish(&to_queue("orders", "one")).await.unwrap();
    let mut consumer = consume(&memory, "orders", 10).await;
    let held = next(&mut consumer).await;
    let mut link = memory.link();

    memory.faults().cut_link();

    assert!(matches!(consumer.next().await, Some(Err(ConsumeError::Interrupted { .. }))));
    assert!(consumer.next().await.is_none());
    assert!(!held.settle(Settlement::Ack), "the channel that brought it is gone");
    assert!(matches!(
        memory.publish(&to_queue("orders", "two")).await,
        Err(PublishError::Interrupted { .. })
    ));
    assert!(matches!(link.borrow_and_update().state, LinkState::Backoff { .. }));
    link.wait_for(|link| matches!(link.state, LinkState::Up) && link.generation == 2).await.unwrap();
    let mut consumer = consume(&memory, "orders", 10).await;
    assert!(next(&mut consumer).await.received.redelivered);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_broker_takes_publishes_once_the_alarm_is_over() {
    let memory = Memory::new();
    memory.declare_queue(&queue("orders")).await.unwrap();
    memory.faults().block("low on memory");
    assert_eq!(memory.link().borrow().blocked.as_deref(), Some("low on memory"));

    let late = to_queue("orders", "late");
    let publish = memory.publish(&late);
    tokio::pin!(publish);
    assert!(timeout(Duration::from_secs(60), &mut publish).await.is_err());
    memory.faults().unblock();

    publish.await.unwrap();
}

#[tokio::test]
async fn publishes_fail_as_often_as_was_asked_for() {
    let memory = Memory::new();
    memory.declare_queue(&queue("orders")).await.unwrap();
    memory.faults().refuse_publishes(1);
    memory.faults().lose_publishes(1);
    memory.faults().lose_confirms(1);

    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(memory.publish(&to_queue("orders", "order")).await);
    }

    assert!(matches!(outcomes[0], Err(PublishError::Refused { .. })));
    assert!(matches!(outcomes[1], Err(PublishError::Interrupted { .. })));
    assert!(matches!(outcomes[2], Err(PublishError::Interrupted { .. })));
    assert!(outcomes[3].is_ok());
    let status = memory.queue_status(&queue_name("orders")).await.unwrap().unwrap();
    assert_eq!(status.messages, 2, "the lost confirm and the last one are stored");
}

#[tokio::test]
async fn a_dropped_consumer_gives_back_what_nobody_holds() {
    let memory = Memory::new();
    memory.declare_queue(&queue("orders")).await.unwrap();
    for body in ["one", "two"] {
        memory.publish(&to_queue("orders", body)).await.unwrap();
    }
    let mut consumer = consume(&memory, "orders", 10).await;
    let held = next(&mut consumer).await;

    drop(consumer);
    assert_eq!(memory.pending().unsettled, 2, "the channel is open while a delivery is");
    drop(held);

    assert_eq!(memory.pending().parked, 2);
}

#[tokio::test]
async fn an_exclusive_queue_belongs_to_its_connection() {
    let memory = Memory::new();
    let other = memory.reconnect();
    let mine = Queue { exclusive: true, kind: QueueKind::Classic, ..queue("mine") };
    memory.declare_queue(&mine).await.unwrap();

    assert!(other.queue_status(&queue_name("mine")).await.is_err());
    memory.close().await;

    assert!(other.queue_status(&queue_name("mine")).await.unwrap().is_none());
    assert!(matches!(memory.publish(&to_queue("mine", "")).await, Err(PublishError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn an_unused_queue_expires_and_a_used_one_does_not() {
    let memory = Memory::new();
    for name in ["idle", "busy"] {
        let short = Queue { expires: Some(Duration::from_secs(5)), ..queue(name) };
        memory.declare_queue(&short).await.unwrap();
    }
    let _consumer = consume(&memory, "busy", 1).await;

    tokio::time::sleep(Duration::from_secs(6)).await;

    assert!(memory.queue_status(&queue_name("idle")).await.unwrap().is_none());
    assert!(memory.queue_status(&queue_name("busy")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cycle_without_a_rejection_ends() {
    let memory = Memory::new();
    for (name, target) in [("a", "b"), ("b", "a")] {
        let hop = Queue {
            message_ttl: Some(Duration::from_secs(1)),
            dead_letter: Some(DeadLetter {
                exchange: ExchangeName::default_exchange(),
                routing_key: Some(target.to_owned()),
                strategy: DeadLetterStrategy::AtMostOnce,
            }),
            ..queue(name)
        };
        memory.declare_queue(&hop).await.unwrap();
    }
    let start = Instant::now();
    memory.publish(&to_queue("a", "round")).await.unwrap();

    memory.idle().await;

    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(memory.pending(), Pending::default());
}

#[tokio::test]
async fn a_quorum_queue_counts_returns_and_gives_up_beyond_the_limit() {
    let memory = Memory::new();
    memory.declare_queue(&Queue { delivery_limit: Some(2), ..queue("orders") }).await.unwrap();
    memory.publish(&to_queue("orders", "poison")).await.unwrap();
    let mut consumer = consume(&memory, "orders", 1).await;

    for returns in [None, Some(Value::I64(1)), Some(Value::I64(2))] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.received.message.headers.get("x-delivery-count"), returns.as_ref());
        delivery.settle(Settlement::Requeue);
    }

    assert_eq!(memory.pending(), Pending::default());
}

/// On one thread, where nobody runs unless somebody gives way.
#[tokio::test]
async fn consumers_have_their_turn_while_somebody_publishes_without_end() {
    let memory = Memory::new();
    memory.declare_queue(&queue("orders")).await.unwrap();
    let mut consumer = consume(&memory, "orders", 100).await;
    let acknowledging = tokio::spawn(async move {
        for _ in 0..5000 {
            assert!(next(&mut consumer).await.settle(Settlement::Ack));
        }
    });

    let mut longest = 0;
    for _ in 0..5000 {
        memory.publish(&to_queue("orders", "{}")).await.unwrap();
        longest = longest.max(memory.pending().ready);
    }
    acknowledging.await.unwrap();

    assert!(longest < 1000, "{longest} stood in the queue");
}
