//! Groups that get another name while a service goes on: what is there under the old one comes to the new one.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Attempt, Bus, BusBuilder, Delivered, Handle, HandlerError, Registry, State,
    dead_letters::Filter,
    group, handler,
    migrate::{MigrateOptions, MigrationReport},
    model::{Queue, QueueKind},
    name::QueueName,
    plan::Outcome,
    transport::{Admin, memory::Memory},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::support::{Journal, OrderPlaced, placed};

/// The group as it was.
#[group(name = "projections", retries = 2, backoff(base = "1s", max = "1s"))]
struct Before;

/// The group as it is.
#[group(name = "views", formerly = "projections", retries = 2, backoff(base = "1s", max = "1s"))]
struct After;

#[handler(group = Before, name = "project")]
async fn before(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    handle(&order, &delivered, &attempt, &journal, "before").await
}

#[handler(group = After, name = "project")]
async fn after(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    handle(&order, &delivered, &attempt, &journal, "after").await
}

/// Beside it, so that a retry that came to all handlers would show.
#[handler(group = Before, name = "sibling")]
async fn sibling_before(_order: OrderPlaced) {}

#[handler(group = After, name = "sibling")]
async fn sibling_after(order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    if order.order_id.ends_with("-waits") {
        journal.note(format!("sibling {} {}", order.order_id, attempt.number));
    }
}

async fn handle(
    order: &OrderPlaced,
    delivered: &Delivered,
    attempt: &Attempt,
    journal: &Journal,
    version: &str,
) -> Result<(), HandlerError> {
    let id = &order.order_id;
    if id.ends_with("-waits") {
        journal.note(format!("{version} {id} {}", attempt.number));
        if attempt.number == 0 {
            return Err(HandlerError::retry("not yet"));
        }
        return Ok(());
    }
    if id.ends_with("-dies") {
        journal.note(format!("{version} {id} {}", attempt.number));
        // What was replayed is handled.
        return if version == "before" { Err(HandlerError::reject("never")) } else { Ok(()) };
    }
    sleep(Duration::from_millis(20)).await;
    if id.ends_with('7') && attempt.number == 0 {
        return Err(HandlerError::retry("not yet"));
    }
    journal.note(format!("{id} {} {}", delivered.exchange, delivered.routing_key));
    Ok(())
}

/// A version on a connection of its own.
fn builder(broker: &Memory, journal: &Journal, registry: Registry) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .transport(Arc::new(broker.reconnect()))
        .registry(registry)
        .set("crash_limit", "none")
        .set("concurrency", "2")
        .set("prefetch", "20")
        .state(journal.clone())
}

fn old(broker: &Memory, journal: &Journal) -> Bus {
    let registry = Registry::new().handler::<before>().handler::<sibling_before>();
    builder(broker, journal, registry).build().unwrap()
}

fn new(broker: &Memory, journal: &Journal) -> Bus {
    let registry = Registry::new().handler::<after>().handler::<sibling_after>();
    builder(broker, journal, registry).build().unwrap()
}

async fn publishing(broker: &Memory) -> Handle {
    let registry = Registry::new().handler::<before>();
    builder(broker, &Journal::default(), registry).publish_only().build().unwrap().start().await.unwrap()
}

async fn migrate(broker: &Memory) -> MigrationReport {
    let bus = new(broker, &Journal::default());
    let migrated = timeout(Duration::from_secs(600), bus.migrate(&MigrateOptions::new())).await;
    migrated.expect("in time").unwrap()
}

/// Migrates, and is killed when it tells of its progress for the `kill_at`th time.
async fn killed(broker: &Memory, kill_at: usize) -> Option<MigrationReport> {
    let connection = broker.reconnect();
    let registry = Registry::new().handler::<after>().handler::<sibling_after>();
    let builder = builder(broker, &Journal::default(), registry).transport(Arc::new(connection.clone()));
    let bus = builder.build().unwrap();
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

/// Has nothing of the old name, nor of a migration, and is what this version declares.
async fn is_through(broker: &Memory) {
    let bus = new(broker, &Journal::default());
    let plan = bus.plan().await.unwrap();
    assert!(plan.is_exact(), "{plan}");
    let observed = bus.observe().await.unwrap();
    let queues: BTreeSet<&str> = observed.queues.keys().map(String::as_str).collect();
    let declared: BTreeSet<&str> = bus.topology().queues().map(|it| it.name.as_str()).collect();
    assert_eq!(queues, declared);
    let exchanges: BTreeSet<&str> = observed.exchanges.keys().map(String::as_str).collect();
    let declared: BTreeSet<&str> = bus.topology().exchanges().map(|it| it.name.as_str()).collect();
    assert_eq!(exchanges, declared);
    assert_eq!(observed.bindings.unwrap().len(), bus.topology().bindings().count());
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_every_event_is_handled_and_nothing_is_left_of_the_old_name() {
    let mut kills = 0;
    loop {
        let broker = Memory::new();
        let journal = Journal::default();
        let workers =
            [old(&broker, &journal).start().await.unwrap(), old(&broker, &journal).start().await.unwrap()];
        let publisher = publishing(&broker).await;
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let confirmed = Arc::clone(&ledger);
        let traffic = tokio::spawn(async move {
            for number in 0.. {
                let order = format!("o-{number}");
                publisher.publisher().publish(&placed(&order)).await.unwrap();
                confirmed.lock().unwrap().push(order);
                sleep(Duration::from_millis(if number < 110 { 1 } else { 15 })).await;
            }
        });
        sleep(Duration::from_millis(200)).await;

        let first = killed(&broker, kills).await;
        let report = match &first {
            Some(report) => report.clone(),
            None => migrate(&broker).await,
        };
        // The new version comes beside the old one, then that goes, then what is left of it.
        let heir = new(&broker, &journal).start().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        for worker in workers {
            worker.stop().await.unwrap();
        }
        migrate(&broker).await;
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
        heir.stop().await.unwrap();
        if first.is_some() {
            assert_eq!(report.queues[0].consumers, 2, "{report}");
            assert!(kills > 15, "it tells of every step: {kills}");
            break;
        }
        kills += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_and_dead_letters_come_to_the_new_group_with_what_they_had_behind_them() {
    let broker = Memory::new();
    let journal = Journal::default();
    let worker = old(&broker, &journal).start().await.unwrap();
    let publisher = publishing(&broker).await;
    publisher.publisher().publish(&placed("a-waits")).await.unwrap();
    publisher.publisher().publish(&placed("b-dies")).await.unwrap();
    until(&journal, 2).await;
    worker.stop().await.unwrap();

    let report = migrate(&broker).await;

    assert!(
        report.to_string().contains("queue \"events.projections\" was moved to \"events.views\""),
        "{report}"
    );
    assert_eq!(report.queues[0].consumers, 0);
    is_through(&broker).await;
    let heir = new(&broker, &journal).start().await.unwrap();
    let lines = until(&journal, 3).await;
    assert_eq!(&lines[2..], ["after a-waits 1"], "its second attempt, and of no other handler");
    let replayed =
        heir.dead_letters("views").unwrap().replay(Filter::all().queue("events.views")).await.unwrap();
    assert_eq!((replayed.replayed, replayed.left), (1, 0), "{replayed:?}");
    let lines = until(&journal, 4).await;
    assert_eq!(lines[3], "after b-dies 0");
    heir.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn policies_of_the_old_name_go_with_its_queues() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let limited = |registry| {
        let builder = builder(&broker, &journal, registry).set("limits_in", "policies");
        builder.set("max_length", "1000").set("dlq_max_length", "100").build().unwrap()
    };
    let before = limited(Registry::new().handler::<before>().handler::<sibling_before>());
    before.start().await.unwrap().stop().await.unwrap();
    let now = limited(Registry::new().handler::<after>().handler::<sibling_after>());
    let names = async || {
        let policies = now.observe().await.unwrap().policies.unwrap();
        policies.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["es-bus.events.projections", "es-bus.events.projections.dlq"]);

    now.migrate(&MigrateOptions::new()).await.unwrap();

    let left = names().await;
    assert!(left.iter().all(|name| !name.contains("projections")), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_only_called_like_one_of_the_old_name_stays() {
    let (broker, journal) = (Memory::new(), Journal::default());
    old(&broker, &journal).start().await.unwrap().stop().await.unwrap();
    let foreign = QueueName::new("events.projections.retry.by-hand").unwrap();
    broker.declare_queue(&Queue::durable(foreign.clone(), QueueKind::Classic)).await.unwrap();

    migrate(&broker).await;

    assert!(broker.queue_status(&foreign).await.unwrap().is_some());
    assert!(new(&broker, &journal).plan().await.unwrap().is_exact());
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_waits_while_the_old_version_runs_on_comes_to_the_new_one_at_its_attempt() {
    let broker = Memory::new();
    let journal = Journal::default();
    let worker = old(&broker, &journal).start().await.unwrap();
    publishing(&broker).await.publisher().publish(&placed("a-waits")).await.unwrap();
    until(&journal, 1).await;

    let report = migrate(&broker).await;
    let heir = new(&broker, &journal).start().await.unwrap();

    assert_eq!(report.queues[0].consumers, 1);
    let lines = until(&journal, 2).await;
    assert_eq!(lines, ["before a-waits 0", "after a-waits 1"]);
    worker.stop().await.unwrap();
    migrate(&broker).await;
    is_through(&broker).await;
    heir.stop().await.unwrap();
    assert_eq!(journal.lines().len(), 2, "of no other handler: {:?}", journal.lines());
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_a_queue_that_both_names_share_are_replayed_to_the_new_group() {
    let broker = Memory::new();
    let journal = Journal::default();
    let shared = |registry| builder(&broker, &journal, registry).set("dlq", "graveyard").build().unwrap();
    let before = || shared(Registry::new().handler::<before>().handler::<sibling_before>());
    let after = || shared(Registry::new().handler::<after>().handler::<sibling_after>());
    let worker = before().start().await.unwrap();
    publishing(&broker).await.publisher().publish(&placed("a-dies")).await.unwrap();
    until(&journal, 1).await;
    worker.stop().await.unwrap();
    after().migrate(&MigrateOptions::new()).await.unwrap();
    let heir = after().start().await.unwrap();

    let replayed = heir.dead_letters("views").unwrap().replay(Filter::all()).await.unwrap();

    assert_eq!((replayed.replayed, replayed.left), (1, 0), "{replayed:?}");
    assert_eq!(until(&journal, 2).await[1], "after a-dies 0");
    heir.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_beside_the_old_queue_is_refused_and_a_plan_tells_what_to_do() {
    let broker = Memory::new();
    let journal = Journal::default();
    let worker = old(&broker, &journal).start().await.unwrap();
    publishing(&broker).await.publisher().publish(&placed("one")).await.unwrap();
    until(&journal, 1).await;

    let refused = new(&broker, &journal).start().await.unwrap_err();

    assert!(format!("{refused:?}").contains("topology migrate"), "{refused:?}");
    let plan = new(&broker, &journal).plan().await.unwrap();
    assert_eq!(plan.outcome(), Outcome::Conflict);
    assert!(
        plan.to_string().contains("queue \"events.projections\" is to be migrated to \"events.views\""),
        "{plan}"
    );
    let before = broker_state(&broker).await;
    let foreseen = new(&broker, &journal).migrate(&MigrateOptions::new().dry_run()).await.unwrap();
    assert_eq!(broker_state(&broker).await, before, "a dry run changes nothing");
    let report = migrate(&broker).await;
    assert_eq!(foreseen.queues[0].steps, report.queues[0].steps, "{foreseen}{report}");
    // Left to the old version, until that connects anew.
    let plan = new(&broker, &journal).plan().await.unwrap();
    assert_eq!((plan.outcome(), plan.left().count()), (Outcome::Nothing, 1), "{plan}");
    let heir = new(&broker, &journal).start().await.unwrap();
    worker.stop().await.unwrap();
    let again = old(&broker, &journal).start().await.unwrap();
    assert_eq!(new(&broker, &journal).plan().await.unwrap().outcome(), Outcome::Conflict);
    again.stop().await.unwrap();
    migrate(&broker).await;
    is_through(&broker).await;
    heir.stop().await.unwrap();
}

/// What was noted, once there are so many lines.
async fn until(journal: &Journal, lines: usize) -> Vec<String> {
    let enough = timeout(Duration::from_secs(60), async {
        while journal.lines().len() < lines {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(enough.await.is_ok(), "{:?}", journal.lines());
    journal.lines()
}

async fn broker_state(broker: &Memory) -> es_bus::model::Observed {
    new(broker, &Journal::default()).observe().await.unwrap()
}
