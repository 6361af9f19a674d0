//! Beside real workers of eventsource-py, in processes of their own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use es_bus::{Attempt, Registry, State, dead_letters::Filter, group, handler};
use es_bus_tests::{Node, Vhost, python, script};

use crate::support::{Journal, Launch, OrderPlaced, PATIENCE, Program, TempDir, placed, soon, start, stop};

/// Prints on standard output, see `tests/python/peer.py`.
fn peer(dir: &Arc<TempDir>, vhost: &Vhost, group: &str, words: &[&str]) -> Program {
    let python = python();
    let script = script("peer.py");
    let (python, script) = (python.to_str().expect("UTF-8"), script.to_str().expect("UTF-8"));
    let mut launch =
        Launch::new(python, dir).arg(script).arg("--url").arg(&vhost.url()).arg("--group").arg(group);
    for word in words {
        launch = launch.arg(word);
    }
    launch.start()
}

/// Runs a command to its end, and gives what it printed.
fn ask(dir: &Arc<TempDir>, vhost: &Vhost, group: &str, words: &[&str]) -> Vec<String> {
    let ended = peer(dir, vhost, group, words).wait(PATIENCE);
    ended.assert_code(0);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// A worker that handles, and fails as often as `words` say.
fn worker(dir: &Arc<TempDir>, vhost: &Vhost, group: &str, words: &[&str]) -> Program {
    let mut worker = peer(dir, vhost, group, words);
    worker.until_prints("ready");
    worker
}

#[handler(group = "rust")]
async fn note(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(order.order_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_group_and_a_rust_group_each_handle_what_either_publishes() {
    let vhost = Node::shared().vhost("fan-out");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().event::<OrderPlaced>().handler::<note>(), &journal).await;
    let mut python = worker(&dir, &vhost, "python", &["consume"]);

    bus.publisher().publish(&placed("from-rust", 1)).await.expect("taken");
    ask(&dir, &vhost, "python", &["publish", "from-python"]);

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["from-python", "from-rust"]);
    python.until_prints("handled from-rust");
    python.until_prints("handled from-python");
    python.signal("TERM");
    python.wait(Duration::from_secs(20)).assert_code(0);
    stop(bus).await;
}

/// Its five headers and none of ours; its group has no exchange that leads to it alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_python_group_dead_lettered_is_listed_and_replayed_to_that_group_alone() {
    let vhost = Node::shared().vhost("python-dead-letters");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().event::<OrderPlaced>().handler::<note>(), &journal).await;
    let mut python = worker(&dir, &vhost, "python", &["--max-retries", "0", "consume", "--fail", "2"]);
    for order in ["o-1", "o-2"] {
        bus.publisher().publish(&placed(order, 1)).await.expect("taken");
        python.until_prints(&format!("failed {order}"));
    }
    let dead = bus.dead_letter_queue("events.python.dlq").expect("a name");
    while dead.count().await.expect("it is there") < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let letters = dead.list(10).await.expect("listed");
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        assert_eq!((&*letter.reason, letter.error_type.as_deref()), ("handler_error", Some("ValueError")));
        assert_eq!(letter.error.as_deref(), Some("no ink: ünïcode"));
        assert_eq!(
            (letter.queue.as_deref(), &*letter.routing_key),
            (Some("events.python"), "Order.OrderPlaced")
        );
        assert_eq!((letter.retries, letter.handlers.len()), (Some(0), 0));
    }
    // The second one, which its own replay does not find.
    let second = letters[1].event_id.clone().expect("it has an id");
    let report = dead.replay(Filter::all().event_id(second)).await.expect("replayed");
    assert_eq!((report.matched, report.replayed, report.left), (1, 1, 1), "{report:?}");
    python.until_prints("handled o-2");
    dead.replay(Filter::all()).await.expect("replayed");
    python.until_prints("handled o-1");

    assert_eq!(dead.count().await.expect("it is there"), 0);
    assert_eq!(journal.lines().len(), 2, "the other group did not see the replays");
    python.signal("TERM");
    python.wait(Duration::from_secs(20)).assert_code(0);
    stop(bus).await;
}

#[group(name = "shared", compat = "eventsource", on_unknown = "skip", prefetch = 1, concurrency = 1)]
struct Shared;

/// Fails orders that say so.
#[handler(group = Shared, retries = 1, backoff(base = "50ms", max = "50ms"))]
async fn share(order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    if order.order_id.starts_with("bad") { Err("no ink".to_owned()) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_rust_workers_share_the_work_of_one_group() {
    let vhost = Node::shared().vhost("shared");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    // Python first, so that its declaration is the one that has to be met.
    let python = worker(&dir, &vhost, "shared", &["consume"]);
    let bus = start(&vhost, Registry::new().handler::<share>(), &journal).await;
    let orders: BTreeSet<String> = (0..40).map(|number| format!("order-{number}")).collect();

    for order in &orders {
        bus.publisher().publish(&placed(order, 1)).await.expect("taken");
    }

    let handled = || -> Vec<String> {
        let by_rust = journal.lines().into_iter().map(|line| line.trim_end_matches(" 0").to_owned());
        let by_python = python.printed();
        let by_python = by_python.iter().filter_map(|line| line.strip_prefix("handled ")).map(str::to_owned);
        by_rust.chain(by_python).collect()
    };
    soon("every order is handled", || (handled().len() >= orders.len()).then_some(()));
    let all = handled();
    assert_eq!(all.len(), orders.len(), "each once: {all:?}");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), orders);
    assert!(!journal.lines().is_empty() && python.printed().len() > 1, "both had some");
    let queue = vhost.queue("events.shared").expect("the queue");
    // RabbitMQ 4 writes the type of a queue down that was declared without one.
    let names: Vec<_> =
        queue.arguments.keys().map(String::as_str).filter(|it| *it != "x-queue-type").collect();
    assert_eq!(queue.kind, "classic");
    assert_eq!(names, ["x-dead-letter-exchange", "x-dead-letter-routing-key"]);
    python.signal("TERM");
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rust_dead_letters_python_reads_and_replays() {
    let vhost = Node::shared().vhost("shared-dlq");
    let dir = Arc::new(TempDir::new());
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<share>(), &journal).await;
    ask(&dir, &vhost, "shared", &["publish", "bad-1"]);
    assert_eq!(journal.until_len(2).await, ["bad-1 0", "bad-1 1"]);

    let dead = soon("the dead letter", || {
        let lines = ask(&dir, &vhost, "shared", &["dead-letters"]);
        lines.into_iter().find(|line| line.starts_with("dead "))
    });
    let words: Vec<_> = dead.splitn(5, ' ').collect();
    assert_eq!(words[2..], ["1", "String", "no ink"], "{dead}");
    assert_eq!(ask(&dir, &vhost, "shared", &["replay", words[1]]), ["replayed true"]);

    let lines = journal.until_len(4).await;
    assert_eq!(lines[2..], ["bad-1 0", "bad-1 1"], "a replay starts anew");
    stop(bus).await;
}

/// Each side counts the attempts of the other: `x-retry-count` is the attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_python_failed_at_rust_goes_on_with() {
    let vhost = Node::shared().vhost("shared-retry");
    let dir = Arc::new(TempDir::new());
    let python = worker(&dir, &vhost, "shared", &["--max-retries", "100", "consume", "--fail", "1000"]);
    ask(&dir, &vhost, "shared", &["publish", "order-7"]);
    // After the second failure the first is in the message, whatever becomes of the worker.
    let failed = || python.printed().iter().filter(|line| *line == "failed order-7").count();
    soon("it has failed twice", || (failed() >= 2).then_some(()));
    python.kill9();

    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<share>(), &journal).await;

    let line = journal.until_len(1).await.remove(0);
    let (order, attempt) = line.split_once(' ').expect("two words");
    assert_eq!(order, "order-7");
    assert!(attempt.parse::<u32>().expect("a number") >= 1, "{line}");
    stop(bus).await;
}
