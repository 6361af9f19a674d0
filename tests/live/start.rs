//! How a service starts: what it says, what it waits for, and what it refuses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use es_bus_tests::Node;
use insta::assert_snapshot;

use crate::support::{Launch, PATIENCE, TempDir, Victim, soon};

/// Within which a service consumes that waited for its broker.
const RECOVERY: Duration = Duration::from_secs(20);

/// Within which a service ends that the broker refuses.
const REFUSED: Duration = Duration::from_secs(15);

/// With all that a URL gives a meaning to.
const PASSWORD: &str = "p@ss%w/rd:?#&x";
const PASSWORD_IN_URL: &str = "p%40ss%25w%2Frd%3A%3F%23%26x";

fn shop(url: &str, dir: &Arc<TempDir>) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_shop"), dir)
        .env("ES_BUS_URL", url)
        .env("ES_BUS_GROUPS", "gated,ledger")
        .env("SHOP_DIR", dir.path(""))
}

/// No form of the password, nor a telling part of it.
#[track_caller]
fn assert_secret(said: &str) {
    for part in [PASSWORD, PASSWORD_IN_URL, "p@ss", "w/rd", "p%40", "w%2Frd"] {
        assert!(!said.contains(part), "{part:?} in {said}");
    }
}

/// A log without times and colours, and with the port and the process taken out.
fn plain(log: &str, node: &Node) -> String {
    let port = node.url().trim_end_matches('/').rsplit_once(':').expect("a port").1.to_owned();
    let lines = log.lines().map(|line| match line.split_once("Z ") {
        Some((time, rest)) if time.starts_with("20") => rest.trim_start(),
        _ => line,
    });
    lines.map(|line| format!("{}\n", line.replace(&port, "PORT"))).collect()
}

#[test]
fn logs_in_with_any_password_and_shows_it_nowhere() {
    let vhost = Node::shared().vhost("secret");
    let node = Node::shared();
    let user = vhost.name().to_owned();
    node.rabbitmqctl(&["add_user", &user, PASSWORD]);
    node.rabbitmqctl(&["set_permissions", "-p", vhost.name(), &user, ".*", ".*", ".*"]);
    let url = vhost.url().replace("guest:guest", &format!("{user}:{PASSWORD_IN_URL}"));
    let dir = Arc::new(TempDir::new());

    let mut service = shop(&url, &dir).env("RUST_LOG", "es_bus=trace,lapin=info").start();
    soon("it consumes", || vhost.queue("events.gated").filter(|queue| queue.consumers == 1));
    service.until_says("events.gated");
    service.signal("TERM");
    let ended = service.wait(PATIENCE);

    ended.assert_code(0);
    assert_secret(&ended.stdout);
    assert_secret(&ended.stderr);
    node.rabbitmqctl(&["delete_user", &user]);
}

#[test]
fn a_wrong_password_ends_it_with_a_report() {
    let node = Node::shared();
    let url = node.url().replace("guest:guest", &format!("guest:{PASSWORD_IN_URL}"));
    let dir = Arc::new(TempDir::new());

    let ended = shop(&url, &dir).env("RUST_LOG", "off").start().wait(REFUSED);
    let talkative = shop(&url, &dir).env("RUST_LOG", "es_bus=trace,lapin=info").run();

    ended.assert_code(1);
    talkative.assert_code(1);
    for said in [&ended.stdout, &ended.stderr, &talkative.stdout, &talkative.stderr] {
        assert_secret(said);
    }
    assert_eq!(ended.stdout, "");
    assert_snapshot!(plain(&ended.stderr, node));
}

#[test]
fn a_missing_virtual_host_ends_it_with_a_report() {
    let node = Node::shared();
    let dir = Arc::new(TempDir::new());

    let ended =
        shop(&format!("{}no-such-shop", node.url()), &dir).env("RUST_LOG", "off").start().wait(REFUSED);

    ended.assert_code(1);
    assert_eq!(ended.stdout, "");
    assert_snapshot!(plain(&ended.stderr, node));
}

#[test]
fn says_on_standard_error_what_each_group_does() {
    let node = Node::shared();
    let vhost = node.vhost("says");
    let dir = Arc::new(TempDir::new());

    let service = shop(&vhost.url(), &dir).start();
    soon("it consumes", || vhost.queue("events.ledger").filter(|queue| queue.consumers == 1));
    service.signal("TERM");
    let ended = service.wait(PATIENCE);

    ended.assert_code(0);
    assert_eq!(ended.stdout, "");
    let said = plain(&ended.stderr, node);
    let groups: String =
        said.lines().filter(|line| line.contains("group \"")).map(|line| format!("{line}\n")).collect();
    assert_snapshot!(groups);
}

#[test]
fn warns_loudly_when_it_runs_on_memory_because_nobody_named_a_broker() {
    let dir = Arc::new(TempDir::new());

    let mut service = Launch::new(env!("CARGO_BIN_EXE_shop"), &dir).env("ES_BUS_GROUPS", "gated").start();
    service.until_says("group \"gated\"");
    service.signal("TERM");
    let ended = service.wait(PATIENCE);

    ended.assert_code(0);
    let warning = ended.stderr.lines().find(|line| line.contains("WARN")).unwrap_or_default();
    assert!(warning.contains("no broker URL is set"), "{}", ended.stderr);
}

/// Absent, there, gone, frozen.
#[test]
fn waits_for_a_broker_and_is_stopped_whatever_the_broker_does() {
    let mut node = Victim::get_blocking();
    let vhost = node.vhost("whatever");
    let url = vhost.url();
    let dir = Arc::new(TempDir::new());
    let consuming = |node: &Node, vhost: &str| {
        soon("both groups are consumed", || {
            let consumers = node.rabbitmqctl(&["list_consumers", "-p", vhost, "queue_name"]);
            ["events.gated", "events.ledger"].iter().all(|queue| consumers.contains(queue)).then_some(())
        });
    };
    node.stop();

    // Stopped before the broker was ever there.
    let mut service = shop(&url, &dir).start();
    service.until_says("no connection");
    service.signal("TERM");
    service.wait(Duration::from_secs(3)).assert_code(0);

    // There later than the service.
    let mut service = shop(&url, &dir).start();
    service.until_says("no connection");
    node.restart();
    let since = Instant::now();
    consuming(&node, vhost.name());
    assert!(since.elapsed() < RECOVERY, "{:?}", since.elapsed());

    // Gone.
    node.kill9();
    service.until_says("consuming stopped");
    service.signal("TERM");
    service.wait(Duration::from_secs(5)).assert_code(0);

    // Frozen: its sockets are there, and nothing answers. With other queues: a quorum queue of 3.10.8
    // that is killed soon after its declaration can be without a leader for a minute.
    node.restart();
    let vhost = node.vhost("frozen");
    let service = shop(&vhost.url(), &dir).start();
    consuming(&node, vhost.name());
    node.sigstop();
    service.signal("TERM");
    service.wait(Duration::from_secs(30)).assert_code(0);
    node.sigcont();
}
