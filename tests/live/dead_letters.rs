//! Dead letters on a real broker: looked at, replayed and thrown away by tools that are killed over it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{
    Handle, Metadata, Registry, State,
    dead_letters::{DeadLetterError, DeadLetters, Filter},
    handler,
    message::{Headers, Message, Properties, Value},
    model::{Binding, Exchange, ExchangeKind, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{Admin, Publication, Publish, Transport},
};
use es_bus_tests::{Node, Vhost};
use tokio::{task::block_in_place, time::sleep};

use crate::support::{
    Journal, Launch, Look, OrderPlaced, OrderShipped, PATIENCE, Program, TempDir, Victim, builder, connect,
    placed, publisher, run, stop, take,
};

const WORK: &str = "events.ledger";
const DLQ: &str = "events.ledger.dlq";

/// Declares a group's queue and its dead-letter queue, and puts so many dead letters into it, as
/// eventsource-py writes them: two types in turn, numbered.
async fn with_dead_letters(vhost: &Vhost, kind: QueueKind, count: usize) {
    let amqp = connect(vhost).await;
    let name = |name: &str| QueueName::new(name).expect("a name");
    let entry = ExchangeName::new("events.ledger.in").expect("a name");
    for queue in [WORK, DLQ] {
        amqp.declare_queue(&Queue::durable(name(queue), kind)).await.expect("declared");
    }
    amqp.declare_exchange(&Exchange::durable(entry.clone(), ExchangeKind::Fanout)).await.expect("declared");
    amqp.bind(&Binding::by_key(entry, name(WORK), "")).await.expect("bound");
    for n in 0..count {
        let event_type = if n % 2 == 0 { "OrderPlaced" } else { "OrderShipped" };
        let headers: Headers = [
            ("event_type", Value::from(event_type)),
            ("x-dlq-reason", Value::from("no ink")),
            ("x-dlq-timestamp", Value::from("2026-11-21T08:44:55.899049+00:00")),
            ("x-dlq-retry-count", Value::int(3)),
            ("x-original-routing-key", Value::from(format!("Order.{event_type}"))),
        ]
        .into_iter()
        .collect();
        let message = Message {
            properties: Properties {
                persistent: true,
                message_id: Some(format!("event-{n:05}").into()),
                ..Properties::default()
            },
            headers,
            // Some larger than what is shown of them.
            body: format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(n % 7 * 100)).into(),
        };
        let publication = Publication {
            exchange: ExchangeName::default_exchange(),
            routing_key: DLQ.into(),
            message,
            mandatory: true,
            lane: None,
        };
        amqp.publish(&publication).await.expect("confirmed");
    }
    amqp.close().await;
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("event-{n:05}")).collect()
}

async fn tool(vhost: &Vhost) -> (Handle, DeadLetters) {
    let handle = publisher(vhost.url(), Registry::new()).await;
    let dead = handle.dead_letter_queue(DLQ).expect("a name");
    (handle, dead)
}

async fn listed(dead: &DeadLetters, limit: usize) -> Vec<String> {
    dead.list(limit).await.expect("listed").into_iter().map(|letter| letter.id).collect()
}

async fn lists_a_thousand(kind: QueueKind) {
    let vhost = Node::shared().vhost("list-thousand");
    with_dead_letters(&vhost, kind, 1000).await;
    let (handle, dead) = tool(&vhost).await;
    let all = ids(1000);

    assert_eq!(listed(&dead, usize::MAX).await, all);
    // What came back is listed in part, and keeps its order all the same.
    assert_eq!(listed(&dead, 10).await, all[..10]);
    assert_eq!(listed(&dead, 300).await, all[..300]);
    let full = dead.show("event-00500").await.expect("shown").expect("it is there");
    assert_eq!((full.letter.position, full.letter.body_size), (500, full.received.message.body.len()));
    let shipped = dead.discard(Filter::all().event_type("OrderShipped")).await.expect("discarded");

    assert_eq!(shipped, 500);
    let left: Vec<_> = all.iter().step_by(2).cloned().collect();
    assert_eq!(listed(&dead, usize::MAX).await, left);
    assert_eq!(dead.count().await.expect("counted"), 500);
    stop(handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_thousand_has_each_once_in_order_classic() {
    lists_a_thousand(QueueKind::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_thousand_has_each_once_in_order_quorum() {
    lists_a_thousand(QueueKind::Quorum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_look_at_a_part_keeps_the_order_of_a_quorum_queue() {
    let vhost = Node::shared().vhost("first-look");
    with_dead_letters(&vhost, QueueKind::Quorum, 300).await;
    let (handle, dead) = tool(&vhost).await;
    let all = ids(300);

    // Each of a size of its own, the second within what the first has seen.
    for part in [100, 40, 1, 200, 3] {
        assert_eq!(listed(&dead, part).await, all[..part], "{part}");
    }

    assert_eq!(listed(&dead, usize::MAX).await, all);
    stop(handle).await;
}

/// A tool that is at work.
fn undertaker(vhost: &Vhost, dir: &Arc<TempDir>, word: &str) -> Program {
    let mut tool = Launch::new(env!("CARGO_BIN_EXE_undertaker"), dir)
        .env("ES_BUS_URL", vhost.url())
        .env("UNDERTAKER_FILE", dir.path("export"))
        .arg(word)
        .start();
    block_in_place(|| tool.until_says("ready"));
    tool
}

/// Runs the tool until it was killed so often, each time at another moment of its work.
async fn killed_again_and_again(vhost: &Vhost, dir: &Arc<TempDir>, word: &str, kills: u64) {
    for kill in 0..kills {
        let tool = undertaker(vhost, dir, word);
        // Any moment will do.
        sleep(Duration::from_millis(kill * 17 % 150)).await;
        tool.kill9();
    }
}

/// How often each event is in a queue; takes them out.
async fn contents(vhost: &Vhost, queue: &str) -> BTreeMap<String, usize> {
    let look = Look::at(vhost).await;
    // What a killed tool held is there when the broker has noticed.
    let mut count = 0;
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        let now = look.queue(queue).await.0;
        if now != count {
            (count, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(20)).await;
    }
    let mut found = BTreeMap::new();
    for received in take(vhost, queue, usize::try_from(count).expect("few")).await {
        let id = received.message.properties.message_id.as_deref().unwrap_or_default().to_owned();
        *found.entry(id).or_insert(0) += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_loses_nothing() {
    const COUNT: usize = 1500;
    let vhost = Node::shared().vhost("killed-replay");
    with_dead_letters(&vhost, QueueKind::Quorum, COUNT).await;
    let dir = Arc::new(TempDir::new());

    killed_again_and_again(&vhost, &dir, "replay", 10).await;

    let (work, dlq) = (contents(&vhost, WORK).await, contents(&vhost, DLQ).await);
    let found: BTreeSet<_> = work.keys().chain(dlq.keys()).cloned().collect();
    assert_eq!(found, ids(COUNT).into_iter().collect());
    let twice = work.values().sum::<usize>() + dlq.values().sum::<usize>() - COUNT;
    assert!(!work.is_empty(), "something was replayed");
    // Acknowledgements leave within 5 ms, together: what was confirmed meanwhile is there twice.
    assert!(twice <= 200, "{twice} duplicates of 10 kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_killed_over_a_part_leaves_the_rest() {
    const COUNT: usize = 1000;
    let vhost = Node::shared().vhost("killed-discard");
    with_dead_letters(&vhost, QueueKind::Quorum, COUNT).await;
    let dir = Arc::new(TempDir::new());

    killed_again_and_again(&vhost, &dir, "discard", 6).await;
    killed_again_and_again(&vhost, &dir, "list", 4).await;

    let found = contents(&vhost, DLQ).await;
    for id in ids(COUNT).iter().step_by(2) {
        assert_eq!(found.get(id), Some(&1), "{id} was not meant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_killed_has_written_what_is_gone() {
    const COUNT: usize = 1000;
    let vhost = Node::shared().vhost("killed-purge");
    with_dead_letters(&vhost, QueueKind::Classic, COUNT).await;
    let dir = Arc::new(TempDir::new());

    killed_again_and_again(&vhost, &dir, "purge", 8).await;
    // However slow the machine is, one of them comes to its end.
    let mut last = undertaker(&vhost, &dir, "purge");
    block_in_place(|| last.until_says("done with"));
    last.kill9();

    let written: BTreeSet<String> = fs::read_dir(dir.path(""))
        .expect("it is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.starts_with("export"))
        .flat_map(|name| dir.lines(&name))
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("a line is written whole"))
        .map(|line| line["id"].as_str().expect("an id").to_owned())
        .collect();
    let left = contents(&vhost, DLQ).await;
    let lost: Vec<_> =
        ids(COUNT).into_iter().filter(|id| !written.contains(id) && !left.contains_key(id)).collect();
    assert_eq!(lost, Vec::<String>::new());
    assert!(left.len() < COUNT, "something was purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tool_is_refused_and_a_killed_one_leaves_no_lock() {
    let vhost = Node::shared().vhost("two-tools");
    with_dead_letters(&vhost, QueueKind::Quorum, 2000).await;
    let dir = Arc::new(TempDir::new());
    let (handle, dead) = tool(&vhost).await;
    let mut other = Launch::new(env!("CARGO_BIN_EXE_undertaker"), &dir)
        .env("ES_BUS_URL", vhost.url())
        .arg("replay")
        .start();
    block_in_place(|| other.until_says("ready"));

    let mut refused = 0;
    let deadline = Instant::now() + PATIENCE;
    while refused == 0 && Instant::now() < deadline {
        match dead.list(1).await {
            Err(DeadLetterError::Busy { queue, lock }) => {
                assert_eq!((&*queue, &*lock), (DLQ, "events.ledger.dlq.lock"));
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
            Ok(_) => {}
        }
    }
    assert_eq!(refused, 1, "the two never met");
    other.kill9();

    let deadline = Instant::now() + PATIENCE;
    loop {
        match dead.list(1).await {
            Ok(_) => break,
            Err(DeadLetterError::Busy { .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    stop(handle).await;
}

#[derive(Clone, Default)]
struct Fixed(Arc<AtomicBool>);

#[handler(group = "ledger", retries = 0)]
async fn enter(
    _order: OrderPlaced,
    metadata: Metadata,
    State(journal): State<Journal>,
    State(Fixed(fixed)): State<Fixed>,
) -> Result<(), String> {
    if !fixed.load(Ordering::Relaxed) {
        return Err("the ledger is closed".to_owned());
    }
    journal.note(metadata.event_id);
    Ok(())
}

#[handler(group = "ledger")]
async fn ship(_order: OrderShipped) {}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_under_load_handles_all_of_them_once_each() {
    let vhost = Node::shared().vhost("replay-load");
    let (journal, fixed) = (Journal::default(), Fixed::default());
    let registry = || Registry::new().handler::<enter>().handler::<ship>();
    let bus = run(builder(vhost.url(), registry()).state(journal.clone()).state(fixed.clone())).await;
    let dead = bus.dead_letters("ledger").expect("it is declared");
    let mut published = BTreeSet::new();
    for n in 0..300 {
        let order = placed(format!("o-{n}"), 1);
        published.insert(bus.publisher().publish(&order).await.expect("confirmed"));
    }
    let look = Look::at(&vhost).await;
    look.until(DLQ, 300, 0).await;

    // First everything fails again, and comes back once; then nothing does. Events go on meanwhile.
    for attempt in 0..2 {
        fixed.0.store(attempt == 1, Ordering::Relaxed);
        let load = async {
            for n in 0..200 {
                let order = placed(format!("l-{attempt}-{n}"), 1);
                published.insert(bus.publisher().publish(&order).await.expect("confirmed"));
            }
        };
        let (report, ()) = tokio::join!(dead.replay(Filter::all()), load);
        let report = report.expect("replayed");
        assert_eq!((report.failed, report.left), (0, 0), "{report:?}");
        assert!(report.replayed >= 300, "{report:?}");
        let due = if attempt == 0 { 500 } else { 0 };
        look.until(WORK, 0, 1).await;
        look.until(DLQ, due, 0).await;
    }

    let handled = journal.until("all", |lines| lines.len() >= published.len()).await;
    assert_eq!(handled.len(), published.len(), "each once");
    assert_eq!(handled.into_iter().collect::<BTreeSet<_>>(), published);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_over_it_is_said_and_loses_nothing() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("gone");
    with_dead_letters(&vhost, QueueKind::Quorum, 2000).await;
    let (handle, dead) = tool(&vhost).await;

    let mut replay = Box::pin(dead.replay(Filter::all()).into_future());
    let look = Look::at(&vhost).await;
    loop {
        tokio::select! {
            biased;
            done = &mut replay => panic!("it was through before the connections were closed: {done:?}"),
            (work, _) = look.queue(WORK) => if work > 20 { break },
        }
    }
    block_in_place(|| node.close_all_connections("maintenance"));
    let error = replay.await.expect_err("it was lost");
    let DeadLetterError::Interrupted { queue, done, .. } = &error else { panic!("{error:?}") };
    assert!(queue == DLQ && *done >= 20, "{error}");
    assert!(error.to_string().contains("the others are in the queue"), "{error}");

    // The same handle goes on once the connection is there again.
    let report = dead.replay(Filter::all()).await.expect("replayed");
    assert!(report.replayed + done >= 2000 - 1, "{report:?} after {done}");
    stop(handle).await;
    let found = contents(&vhost, WORK).await;
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), ids(2000).into_iter().collect());
    assert_eq!(contents(&vhost, DLQ).await, BTreeMap::new());
}
