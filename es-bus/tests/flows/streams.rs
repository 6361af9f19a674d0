//! Groups with a stream: where they begin, where they go on, and what comes to the queue of the group.

use std::time::Duration;

use es_bus::{
    Attempt, Bus, BusBuilder, Error, Registry, State, StreamError, group, handler,
    migrate::{MigrateError, MigrateOptions},
    model::StreamOffset,
    name::QueueName,
    testing::TestBus,
    transport::{Admin, memory::Memory},
};

use crate::support::{Journal, OrderPlaced, bus_on, eventually, placed, take_all};

#[handler(group = "log", retries = 1, backoff(base = "1s", max = "1s", jitter = 0))]
async fn record(order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    let fails = match order.order_id.as_str() {
        "late" => attempt.number == 0,
        "lost" => true,
        _ => false,
    };
    if fails { Err("not now".to_owned()) } else { Ok(()) }
}

async fn start(broker: &Memory, journal: &Journal, offset: &'static str) -> TestBus {
    bus_on(broker, |builder| {
        builder
            .registry(Registry::new().handler::<record>())
            .set_for_group("log", "kind", "stream")
            .set_for_group("log", "offset", offset)
            .state(journal.clone())
    })
    .await
}

/// A bus that operates on the broker.
fn operator(broker: &Memory) -> Bus {
    Bus::builder()
        .without_environment()
        .transport(std::sync::Arc::new(broker.reconnect()))
        .registry(Registry::new().handler::<record>())
        .set_for_group("log", "kind", "stream")
        .state(Journal::default())
        .build()
        .unwrap()
}

async fn publish(bus: &TestBus, orders: &[&str]) {
    for order in orders {
        bus.publish(&placed(order)).await.unwrap();
    }
}

async fn until(journal: &Journal, expected: &[&str]) {
    eventually("as many are handled", || journal.lines().len() >= expected.len()).await;
    assert_eq!(journal.lines(), expected);
}

async fn messages(broker: &Memory, queue: &str) -> u64 {
    broker.queue_status(&QueueName::new(queue).unwrap()).await.unwrap().unwrap().messages
}

#[tokio::test(start_paused = true)]
async fn events_come_by_the_stream_and_stay_in_it() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &journal, "first").await;

    publish(&bus, &["a", "b"]).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["a 0", "b 0"]);
    assert_eq!(messages(&broker, "events.log.stream").await, 2);
    assert_eq!(messages(&broker, "events.log").await, 0);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_where_it_was_after_an_orderly_stop() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &journal, "first").await;
    publish(&bus, &["a", "b"]).await;
    bus.run_until_idle().await;
    bus.stop().await.unwrap();

    let publisher =
        bus_on(&broker, |builder| builder.registry(Registry::new().handler::<record>()).publish_only()).await;
    publish(&publisher, &["c"]).await;
    let bus = start(&broker, &journal, "first").await;
    publish(&bus, &["d"]).await;

    until(&journal, &["a 0", "b 0", "c 0", "d 0"]).await;
    bus.stop().await.unwrap();
    // One position is left, whoever wrote it.
    assert!(messages(&broker, "events.log.position").await >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_group_begins_where_it_says() {
    let broker = Memory::new();
    // Declares the stream, and reads nothing of it.
    let bus = start(&broker, &Journal::default(), "first").await;
    bus.subscriptions().pause("log").await.unwrap();
    publish(&bus, &["a", "b"]).await;
    bus.stop().await.unwrap();
    let journal = Journal::default();

    let bus = start(&broker, &journal, "next").await;
    // Where it begins is found out before anything comes, and holds although nothing came.
    eventually("nothing moves", || broker.pending().unsettled == 0 && broker.pending().ready == 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bus.stop().await.unwrap();
    let publisher =
        bus_on(&broker, |builder| builder.registry(Registry::new().handler::<record>()).publish_only()).await;
    publish(&publisher, &["c"]).await;
    let bus = start(&broker, &journal, "next").await;
    publish(&bus, &["d"]).await;

    until(&journal, &["c 0", "d 0"]).await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_retried_and_dead_lettered_as_ever_and_not_added_to_the_stream() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &journal, "first").await;

    publish(&bus, &["late", "lost"]).await;
    bus.run_to_the_end().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["late 0", "late 1", "lost 0", "lost 1"]);
    assert_eq!(messages(&broker, "events.log.stream").await, 2);
    let letters = take_all(&bus, "events.log.dlq").await;
    assert_eq!(letters.len(), 1);
    let headers = &letters[0].message.headers;
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    assert_eq!(headers.get_str("x-es-original-exchange"), Some("events"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_operator_sets_the_position_while_nobody_reads() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &journal, "first").await;
    publish(&bus, &["a", "b", "c"]).await;
    bus.run_until_idle().await;
    let set = async |to| operator(&broker).set_stream_position("log", to).await;

    let refused = set(StreamOffset::First).await;
    assert!(matches!(refused, Err(Error::Stream(StreamError::Active { .. }))), "{refused:?}");
    bus.stop().await.unwrap();
    set(StreamOffset::First).await.unwrap();
    set(StreamOffset::Offset(1)).await.unwrap();
    let bus = start(&broker, &journal, "first").await;

    until(&journal, &["a 0", "b 0", "c 0", "b 0", "c 0"]).await;
    bus.stop().await.unwrap();
    let unknown = operator(&broker).set_stream_position("logs", StreamOffset::First).await;
    assert!(matches!(unknown, Err(Error::Stream(StreamError::NoGroup { .. }))), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn one_replica_reads_and_the_other_takes_over_when_it_is_gone() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let first = start(&broker, &journal, "first").await;
    let second = start(&broker, &journal, "first").await;
    publish(&first, &["a"]).await;
    until(&journal, &["a 0"]).await;

    // As a process that is killed: its connection is gone, and nothing is written.
    first.broker().faults().cut_link_for(Duration::from_secs(600));
    publish(&second, &["b", "c"]).await;
    eventually("the last is handled", || journal.lines().iter().any(|line| line == "c 0")).await;

    let seen: std::collections::BTreeSet<String> = journal.lines().into_iter().collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a 0", "b 0", "c 0"]);
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_declared_anew_is_read_from_its_beginning_and_once() {
    let stream = QueueName::new("events.log.stream").unwrap();
    // Shorter than what was read of the one before, and longer.
    for more in [&["d"][..], &["d", "e", "f", "g", "h"]] {
        let (broker, journal) = (Memory::new(), Journal::default());
        let bus = start(&broker, &journal, "first").await;
        publish(&bus, &["a", "b", "c"]).await;
        bus.run_until_idle().await;
        bus.stop().await.unwrap();
        broker.delete_queue(&stream).await.unwrap();
        // Declares it anew, and reads nothing of it.
        let bus = start(&broker, &journal, "first").await;
        bus.subscriptions().pause("log").await.unwrap();
        publish(&bus, more).await;
        bus.stop().await.unwrap();

        let bus = start(&broker, &journal, "first").await;

        let all = [&["a", "b", "c"], more].concat();
        let mut expected: Vec<String> = all.iter().map(|id| format!("{id} 0")).collect();
        let lines = |expected: &[String]| journal.lines().len() >= expected.len();
        eventually("all of it is handled", || lines(&expected)).await;
        bus.stop().await.unwrap();
        // From then on its own position counts, although that of the one before was further.
        let bus = start(&broker, &journal, "first").await;
        publish(&bus, &["z"]).await;
        expected.push("z 0".to_owned());
        eventually("what is new is handled", || lines(&expected)).await;
        bus.stop().await.unwrap();
        assert_eq!(journal.lines(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_begins_at_the_end_of_a_stream_that_grows_all_the_time() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &Journal::default(), "first").await;
    bus.subscriptions().pause("log").await.unwrap();
    publish(&bus, &["old"]).await;
    let growing = async {
        for number in 0.. {
            publish(&bus, &[format!("o-{number}").as_str()]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reading = async {
        let reader = start(&broker, &journal, "next").await;
        eventually("what comes is handled", || journal.lines().len() >= 20).await;
        reader.stop().await.unwrap();
    };

    tokio::select! {
        () = growing => {}
        () = reading => {}
    }

    assert!(!journal.lines().iter().any(|line| line.starts_with("old")), "{:?}", journal.lines());
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_gets_a_stream_gets_each_event_once() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let registry = || Registry::new().handler::<record>();
    let before = bus_on(&broker, |builder| builder.registry(registry()).state(journal.clone())).await;
    publish(&before, &["a"]).await;
    before.run_until_idle().await;
    before.stop().await.unwrap();

    let bus = start(&broker, &journal, "first").await;
    publish(&bus, &["b"]).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["a 0", "b 0"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_not_migrated() {
    let (broker, journal) = (Memory::new(), Journal::default());
    start(&broker, &journal, "first").await.stop().await.unwrap();
    let builder = Bus::builder().without_environment().transport(std::sync::Arc::new(broker.reconnect()));
    let other = builder
        .registry(Registry::new().handler::<record>())
        .set_for_group("log", "kind", "stream")
        .set_for_group("log", "max_age", "1h")
        .set_for_group("log", "dlq_max_length", "5")
        .state(journal)
        .build()
        .unwrap();

    let refused = other.migrate(&MigrateOptions::new()).await;

    let Err(Error::Migrate(MigrateError::Unmovable { queue, reason })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(queue, "events.log.stream");
    assert!(reason.contains("let a policy say what it keeps"), "{reason}");
    let plan = other.plan().await.unwrap();
    assert_eq!(plan.conflicts().count(), 2, "no other queue was touched: {plan}");
    let effects: Vec<&str> = plan.conflicts().map(|step| &*step.effect).collect();
    assert!(effects.iter().any(|it| it.contains("let a policy say what it keeps")), "{effects:?}");
}

#[group(kind = "stream", formerly = "journal")]
struct Ledger;

#[handler(group = Ledger)]
async fn enter(_order: OrderPlaced) {}

#[test]
fn a_group_with_a_stream_is_not_renamed() {
    let registry = Registry::new().handler::<enter>();

    let refused = Bus::builder().without_environment().url("memory://").registry(registry.clone()).build();
    let kept = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(registry)
        .set_for_group("ledger", "queue", "events.journal")
        .build();

    let told = format!("{:?}", refused.unwrap_err());
    assert!(told.contains("group \"ledger\" reads a stream, and was \"journal\""), "{told}");
    assert!(told.contains("`queue = \"events.journal\"`"), "{told}");
    assert!(kept.is_ok(), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_has_not_is_refused_with_what_would_do() {
    let build = |change: fn(BusBuilder) -> BusBuilder| {
        let builder = Bus::builder().without_environment().url("memory://").state(Journal::default());
        change(builder.registry(Registry::new().handler::<record>()))
            .build()
            .map(drop)
            .map_err(|error| format!("{error:?}"))
            .unwrap_err()
    };

    let said = build(|it| {
        it.set_for_group("log", "kind", "stream")
            .set_for_group("log", "message_ttl", "1h")
            .set_for_group("log", "max_priority", "9")
            .set_for_group("log", "dlq_kind", "stream")
    });
    let without = build(|it| it.set_for_group("log", "offset", "last"));
    let shared =
        build(|it| it.set_for_group("log", "kind", "stream").set_for_group("log", "exclusive", "true"));

    assert!(said.contains("kind \"stream\" and message_ttl, max_priority do not go together"), "{said}");
    assert!(said.contains("dlq_kind \"stream\" cannot be"), "{said}");
    assert!(without.contains("kind \"quorum\" and offset do not go together"), "{without}");
    assert!(shared.contains("kind \"stream\" and exclusive do not go together"), "{shared}");
}

#[cfg(feature = "cli")]
#[tokio::test(start_paused = true)]
async fn nobody_is_sent_to_migrate_a_stream() {
    let program = || {
        let builder = Bus::builder().without_environment().state(Journal::default());
        builder.registry(Registry::new().handler::<record>()).set_for_group("log", "kind", "stream")
    };
    let running = program().url("memory://stream-plan").build().unwrap().start().await.unwrap();
    let plan = async |setting: &'static str, value: &'static str| {
        let other = || program().set_for_group("log", setting, value);
        es_bus::cli::captured(&["topology", "plan", "--url", "memory://stream-plan"], "", false, other).await
    };

    let stream = plan("max_age", "1h").await;
    let letters = plan("dlq_max_length", "5").await;
    running.stop().await.unwrap();

    assert!(stream.code == 3 && !stream.out.contains("topology migrate"), "{stream:?}");
    assert!(letters.code == 3 && letters.out.contains("topology migrate"), "{letters:?}");
}

#[cfg(feature = "cli")]
#[tokio::test(start_paused = true)]
async fn the_command_line_sets_the_position() {
    let program = || {
        let builder = Bus::builder().without_environment().state(Journal::default());
        builder.registry(Registry::new().handler::<record>()).set_for_group("log", "kind", "stream")
    };
    let at = async |to: &str| {
        let all = ["stream", "position", "--group", "log", "--to", to, "--url", "memory://position"];
        es_bus::cli::captured(&all, "", false, program).await
    };

    let never = at("first").await;
    let running = program().url("memory://position").build().unwrap().start().await.unwrap();
    eventually("it reads", || running.counts().consumers > 0).await;
    let active = at("first").await;
    running.stop().await.unwrap();
    let set = at("first").await;
    let wrong = at("latest").await;

    assert!(never.code == 1 && never.err.contains("was never started on this broker"), "{never:?}");
    assert!(active.code == 1 && active.err.contains("is being read: 1 of its workers"), "{active:?}");
    assert_eq!((set.code, &*set.out), (0, "group \"log\" goes on at first when its workers start"));
    assert!(wrong.code == 64 && wrong.err.contains("write first, last, next"), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_did_not_reach_the_queue_is_brought_once_more() {
    let (broker, journal) = (Memory::new(), Journal::default());
    let bus = start(&broker, &journal, "first").await;
    publish(&bus, &["a"]).await;
    until(&journal, &["a 0"]).await;

    publish(&bus, &["b"]).await;
    // On its way from the stream to the queue.
    bus.broker().faults().lose_publishes(1);

    eventually("it is handled all the same", || journal.lines().iter().any(|line| line == "b 0")).await;
    bus.stop().await.unwrap();
}
