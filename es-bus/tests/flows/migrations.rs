//! Queues that get other settings while a service goes on: nothing is lost, wherever the migration is killed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Attempt, Bus, BusBuilder, Delivered, Error, Handle, Registry, State, handler,
    message::Received,
    migrate::{MigrateError, MigrateOptions, MigrationReport, MigrationStep},
    model::{Exchange, ExchangeKind, Queue},
    name::{ExchangeName, QueueName},
    plan::Outcome,
    transport::{Admin, Consume, ConsumeRequest, Publication, Publish, Settlement, memory::Memory},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::support::{Journal, OrderPlaced, placed};

/// Fails at first, where the order says so.
#[handler(group = "projections", retries = 2, backoff(base = "1s", max = "1s"))]
async fn projects(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    sleep(Duration::from_millis(20)).await;
    if order.order_id.ends_with('7') && attempt.number == 0 {
        return Err("not yet".to_owned());
    }
    journal.note(format!("{} {} {}", order.order_id, delivered.exchange, delivered.routing_key));
    Ok(())
}

fn registry() -> Registry {
    Registry::new().handler::<projects>()
}

/// This version on a connection of its own.
fn builder(broker: &Memory) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .transport(Arc::new(broker.reconnect()))
        .registry(registry())
        .set("crash_limit", "none")
        .state(Journal::default())
}

fn now(broker: &Memory) -> Bus {
    builder(broker).build().unwrap()
}

/// The version before it.
fn earlier(broker: &Memory, journal: &Journal) -> Bus {
    let builder = builder(broker).state(journal.clone());
    let builder = builder.set_for_group("projections", "kind", "classic");
    let builder = builder.set_for_group("projections", "concurrency", "2");
    let builder = builder.set_for_group("projections", "prefetch", "20");
    builder.set_for_group("projections", "dlq_kind", "classic").build().unwrap()
}

async fn publishing(broker: &Memory) -> Handle {
    builder(broker).publish_only().build().unwrap().start().await.unwrap()
}

/// Has nothing in it that a migration leaves, and is what this version declares.
async fn is_through(broker: &Memory) {
    let bus = now(broker);
    let plan = bus.plan().await.unwrap();
    assert_eq!(plan.outcome(), Outcome::Nothing, "{plan}");
    let observed = bus.observe().await.unwrap();
    let names = observed.queues.keys().chain(observed.exchanges.keys());
    let stale: Vec<&String> = names.filter(|name| name.contains("migrat")).collect();
    assert_eq!(stale, Vec::<&String>::new());
}

/// Migrates, and is killed when it tells of its progress for the `kill_at`th time: its connection is cut.
async fn killed(broker: &Memory, kill_at: usize) -> Option<MigrationReport> {
    let connection = broker.reconnect();
    let bus = builder(broker).transport(Arc::new(connection.clone())).build().unwrap();
    let (told, kill) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let now = Arc::clone(&kill);
    let options = MigrateOptions::new().on_progress(move |_| {
        if told.fetch_add(1, Ordering::Relaxed) == kill_at {
            now.notify_one();
        }
    });
    let report = tokio::select! {
        biased;
        () = kill.notified() => None,
        report = bus.migrate(&options) => Some(report.unwrap()),
    };
    connection.faults().cut_link_for(Duration::from_secs(3600));
    report
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_goes_on_and_every_event_is_handled() {
    let mut kills = 0;
    loop {
        let broker = Memory::new();
        let journal = Journal::default();
        let workers = [
            earlier(&broker, &journal).start().await.unwrap(),
            earlier(&broker, &journal).start().await.unwrap(),
        ];
        let publisher = publishing(&broker).await;
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let confirmed = Arc::clone(&ledger);
        let traffic = tokio::spawn(async move {
            for number in 0.. {
                let order = format!("o-{number}");
                publisher.publisher().publish(&placed(&order)).await.unwrap();
                confirmed.lock().unwrap().push(order);
                // More than the workers take, at first: something is to be moved.
                sleep(Duration::from_millis(if number < 150 { 1 } else { 15 })).await;
            }
        });
        sleep(Duration::from_millis(200)).await;

        let first = killed(&broker, kills).await;
        let report = match &first {
            Some(report) => report.clone(),
            None => now(&broker).migrate(&MigrateOptions::new()).await.unwrap(),
        };

        sleep(Duration::from_millis(200)).await;
        traffic.abort();
        let _ = traffic.await;
        let ledger: BTreeSet<String> = ledger.lock().unwrap().iter().cloned().collect();
        let handled = || -> BTreeSet<String> {
            let lines = journal.lines();
            lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
        };
        let all = timeout(Duration::from_secs(60), async {
            while !ledger.is_subset(&handled()) {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let missing = all.await.is_err().then(|| ledger.difference(&handled()).cloned().collect::<Vec<_>>());
        assert_eq!(missing, None, "killed at {kills}");
        for line in journal.lines() {
            assert!(line.ends_with(" events Order.OrderPlaced"), "handlers see what they always saw: {line}");
        }
        is_through(&broker).await;
        for worker in workers {
            worker.stop().await.expect("it ran on all the time");
        }
        if first.is_some() {
            let queues: Vec<&str> = report.queues.iter().map(|it| &*it.queue).collect();
            let group = ["events.projections.dlq", "events.projections"];
            assert_eq!(queues, group, "those that differ, and no others");
            assert!(kills > 20, "it tells of every step: {kills}");
            break;
        }
        kills += 1;
    }
}

/// Everything that is ready in a queue, in its order.
async fn contents(broker: &Memory, queue: &str) -> Vec<Received> {
    let queue = QueueName::new(queue).unwrap();
    let count = broker.queue_status(&queue).await.unwrap().unwrap().messages;
    let request = ConsumeRequest {
        queue,
        tag: "look".to_owned(),
        prefetch: 1000,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = broker.consume(request).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..count {
        let delivery = consumer.next().await.unwrap().unwrap();
        all.push(delivery.received.clone());
        delivery.settle(Settlement::Ack);
    }
    consumer.close().await;
    all
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_stays_before_what_came_meanwhile() {
    let broker = Memory::new();
    earlier(&broker, &Journal::default()).start().await.unwrap().stop().await.unwrap();
    let publisher = publishing(&broker).await;
    for number in 0..20 {
        publisher.publisher().publish(&placed(&format!("{number}"))).await.unwrap();
    }
    let meanwhile = Arc::new(Notify::new());
    let reached = Arc::clone(&meanwhile);
    let traffic = tokio::spawn(async move {
        meanwhile.notified().await;
        for number in 20..40 {
            publisher.publisher().publish(&placed(&format!("{number}"))).await.unwrap();
        }
        publisher
    });
    // Slow enough that the rest comes while the old ones are moved away.
    let options = MigrateOptions::new().rate(50).on_progress(move |it| {
        if it.step == MigrationStep::Empty {
            reached.notify_one();
        }
    });

    let report = now(&broker).migrate(&options).await.unwrap();

    let _publisher = traffic.await.unwrap();
    let all = contents(&broker, "events.projections").await;
    let orders: Vec<String> = all
        .iter()
        .map(|it| {
            serde_json::from_slice::<serde_json::Value>(&it.message.body).unwrap()["order_id"].to_string()
        })
        .collect();
    assert_eq!(orders, (0..40).map(|number| format!("\"{number}\"")).collect::<Vec<_>>());
    assert_eq!(report.queues.last().unwrap().moved, 60, "the old ones twice");
    is_through(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_and_what_waits_for_its_retry_come_through_as_they_are() {
    let broker = Memory::new();
    let topology = now(&broker).topology().clone();
    let retry = topology.queue("events.projections.retry.1s").unwrap();
    let limited = Queue { max_length: Some(100), ..retry.clone() };
    broker.declare_exchange(topology.exchange("events.projections.in").unwrap()).await.unwrap();
    broker.declare_queue(&limited).await.unwrap();
    // The version before this one, as to the dead letters and the retries alone.
    let before = builder(&broker).set_for_group("projections", "dlq_kind", "classic").build().unwrap();
    for queue in before.topology().queues().filter(|queue| queue.name != retry.name) {
        broker.declare_queue(queue).await.unwrap();
    }
    for exchange in before.topology().exchanges() {
        broker.declare_exchange(exchange).await.unwrap();
    }
    for binding in before.topology().bindings() {
        broker.bind(binding).await.unwrap();
    }
    let mut letter = es_bus::message::Message::default();
    letter.properties.message_id = Some("m-1".into());
    letter.headers.insert("x-es-dlq-id", "d-1");
    letter.headers.insert("x-dlq-reason", "it failed");
    let publish = async |exchange: &str, key: &'static str, message: es_bus::message::Message| {
        let exchange = ExchangeName::new(exchange).unwrap();
        let publication =
            Publication { exchange, routing_key: key.into(), message, mandatory: true, lane: None };
        broker.publish(&publication).await.unwrap();
    };
    publish("events_dlq", "events.projections", letter.clone()).await;
    let mut waiting = letter.clone();
    waiting.headers.insert("es-delay", "1s");
    waiting.properties.expiration = Some("3000".into());
    publish("events.projections.retry", "Order.OrderPlaced", waiting.clone()).await;

    // What waits comes back in its time, although its queue goes.
    let report = now(&broker).migrate(&MigrateOptions::new()).await.unwrap();

    let steps = |queue: &str| &report.queues.iter().find(|it| it.queue == queue).unwrap().steps;
    assert!(
        !steps("events.projections.retry.1s").contains(&MigrationStep::ReturnOld),
        "nothing of it is moved"
    );
    assert_eq!(report.queues.len(), 2, "{report}");
    let dead = contents(&broker, "events.projections.dlq").await;
    let headers = &dead[0].message.headers;
    assert_eq!((dead.len(), headers.get_str("x-es-dlq-id")), (1, Some("d-1")));
    assert_eq!(headers.get_str("x-dlq-reason"), Some("it failed"));
    assert_eq!(
        (&*dead[0].routing_key, dead[0].message.properties.message_id.as_deref()),
        ("events.projections", Some("m-1"))
    );
    let back = contents(&broker, "events.projections").await;
    assert_eq!((back.len(), &*back[0].routing_key), (1, "Order.OrderPlaced"));
    is_through(&broker).await;
    // The new one takes what waits as the old one did.
    publish("events.projections.retry", "Order.OrderPlaced", waiting).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(contents(&broker, "events.projections").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_the_steps_and_changes_nothing_and_a_plan_tells_what_is_half_way() {
    let broker = Memory::new();
    earlier(&broker, &Journal::default()).start().await.unwrap().stop().await.unwrap();
    let before = now(&broker).observe().await.unwrap();

    let report = now(&broker).migrate(&MigrateOptions::new().dry_run()).await.unwrap();

    assert_eq!(now(&broker).observe().await.unwrap(), before);
    insta::assert_snapshot!(report.to_string().split("\n\n").next().unwrap(), @r#"
    queue "events.projections.dlq" would be migrated:
       1. declare a queue in which messages wait meanwhile
       2. bind that to all that the queue is bound to
       3. unbind the queue, so that nothing comes in
       4. once it is certainly empty, delete it and declare it anew
       5. bind the queue again
       6. unbind the queue in which messages waited
       7. delete that, once it is empty
       8. delete the exchanges by which messages were moved
    "#);
    // Through with the replacement, and not bound again.
    assert!(killed(&broker, 5).await.is_none());
    let plan = now(&broker).plan().await.unwrap();
    let error = now(&broker).apply(&plan).await.unwrap_err();
    assert_eq!(plan.outcome(), Outcome::Conflict);
    let text = plan.to_string();
    assert!(text.contains("queue \"events.projections.dlq\" is migrated half-way"), "{text}");
    assert!(format!("{error:?}").contains("`migrate` goes on with it"), "{error:?}");
    now(&broker).migrate(&MigrateOptions::new()).await.unwrap();
    is_through(&broker).await;
    assert_eq!(now(&broker).migrate(&MigrateOptions::new()).await.unwrap(), MigrationReport::default());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_migrated_is_refused_with_what_would_do() {
    let broker = Memory::new();
    earlier(&broker, &Journal::default()).start().await.unwrap().stop().await.unwrap();
    let refusal = async |bus: Bus, options: MigrateOptions| match bus.migrate(&options).await.unwrap_err() {
        Error::Migrate(error) => error,
        other => panic!("{other:?}"),
    };

    // Another process is at it.
    let other = broker.reconnect();
    let lock = QueueName::new("events.projections.dlq.migrating.lock").unwrap();
    let kind = es_bus::model::QueueKind::Classic;
    let lock = Queue { durable: false, exclusive: true, ..Queue::durable(lock, kind) };
    other.declare_queue(&lock).await.unwrap();
    let busy = refusal(now(&broker), MigrateOptions::new()).await;
    assert!(matches!(&busy, MigrateError::Busy { queue, .. } if queue == "events.projections.dlq"), "{busy}");
    other.delete_queue(&lock.name).await.unwrap();

    // Somebody holds what is in it.
    let dead = ExchangeName::new("events_dlq").unwrap();
    let letter = Publication {
        exchange: dead,
        routing_key: "events.projections".into(),
        message: Default::default(),
        mandatory: true,
        lane: None,
    };
    broker.publish(&letter).await.unwrap();
    let queue = QueueName::new("events.projections.dlq").unwrap();
    let request = ConsumeRequest {
        queue,
        tag: "holder".to_owned(),
        prefetch: 9,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut holder = other.consume(request).await.unwrap();
    let held = holder.next().await.unwrap().unwrap();
    let stuck = refusal(now(&broker), MigrateOptions::new().patience(Duration::from_secs(5))).await;
    assert!(
        matches!(&stuck, MigrateError::Stuck { reason, .. } if reason.contains("hold 1 messages")),
        "{stuck}"
    );
    held.settle(Settlement::Requeue);
    holder.close().await;
    now(&broker).migrate(&MigrateOptions::new()).await.unwrap();
    assert_eq!(contents(&broker, "events.projections.dlq").await.len(), 1);

    // An exchange.
    let broker = Memory::new();
    let events = ExchangeName::new("events").unwrap();
    broker.declare_exchange(&Exchange::durable(events, ExchangeKind::Direct)).await.unwrap();
    let exchange = refusal(now(&broker), MigrateOptions::new()).await;
    assert!(matches!(&exchange, MigrateError::Exchange { differs, .. } if differs == "type"), "{exchange}");
}

#[tokio::test(start_paused = true)]
async fn one_whose_connection_was_lost_removes_nothing_any_more() {
    // Whether another process goes on with it meanwhile.
    for is_another in [false, true] {
        let broker = Memory::new();
        earlier(&broker, &Journal::default()).start().await.unwrap().stop().await.unwrap();
        let letter = Publication {
            exchange: ExchangeName::new("events_dlq").unwrap(),
            routing_key: "events.projections".into(),
            message: Default::default(),
            mandatory: true,
            lane: None,
        };
        broker.publish(&letter).await.unwrap();
        let queue = QueueName::new("events.projections.dlq").unwrap();
        let request = ConsumeRequest {
            queue: queue.clone(),
            tag: "holder".to_owned(),
            prefetch: 9,
            exclusive: false,
            may_hold: 0,
            offset: None,
        };
        let mut holder = broker.consume(request).await.unwrap();
        let held = holder.next().await.unwrap().unwrap();
        // It waits until nobody holds anything of the queue, and deletes that then.
        let connection = broker.reconnect();
        let bus = builder(&broker).transport(Arc::new(connection.clone())).build().unwrap();
        let waits = Arc::new(Notify::new());
        let reached = Arc::clone(&waits);
        let options = MigrateOptions::new().on_progress(move |it| {
            if it.step == MigrationStep::Replace && it.left == Some(1) {
                reached.notify_one();
            }
        });
        let other = broker.reconnect();
        let lost = async {
            waits.notified().await;
            connection.faults().cut_link_for(Duration::from_millis(1));
            if is_another {
                let lock = QueueName::new("events.projections.dlq.migrating.lock").unwrap();
                let lock = Queue::durable(lock, es_bus::model::QueueKind::Classic);
                other.declare_queue(&Queue { durable: false, exclusive: true, ..lock }).await.unwrap();
            }
            sleep(Duration::from_millis(50)).await;
            held.settle(Settlement::Ack);
            holder.close().await;
        };
        let migration = timeout(Duration::from_secs(60), bus.migrate(&options));
        let (ended, ()) = tokio::join!(migration, lost);
        let ended = ended.expect("it ends");

        match (is_another, ended) {
            (true, Err(Error::Migrate(MigrateError::Busy { queue, .. })))
            | (false, Err(Error::Migrate(MigrateError::Interrupted { queue, .. }))) => {
                assert_eq!(queue, "events.projections.dlq");
            }
            (_, ended) => panic!("{is_another}: {ended:?}"),
        }
        let observed = other.observe(&[], &[]).await.unwrap();
        let kind = |name: &str| observed.queues[name].settings.as_ref().unwrap().kind.clone();
        assert_eq!(kind("events.projections.dlq"), "classic", "it was not deleted");
    }
}
