//! Beside real workers of eventsource-py, in processes of their own.

use std::{sync::Arc, time::Duration};

use es_bus::{Registry, State, handler};
use es_bus_tests::{Node, Vhost, python, script};

use crate::support::{Journal, Launch, OrderPlaced, PATIENCE, Program, TempDir, placed, start, stop};

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
