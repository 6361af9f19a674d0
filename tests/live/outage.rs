//! A broker that is not there, that refuses, that takes nothing, or that forgets.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use es_bus::{
    Error, Handle, HealthStatus, Metadata, PublishError, Registry, State, handler, transport::LinkState,
};
use es_bus_tests::{Node, Vhost};
use tokio::{sync::Semaphore, task::block_in_place, time::timeout};

use crate::support::{Journal, Look, OrderPlaced, PATIENCE, Victim, builder, placed, run, soon, start, stop};

/// Within so long a bus has noticed what a broker that answers has done to it.
const NOTICED: Duration = Duration::from_secs(15);

#[handler(group = "ledger")]
async fn enter(_order: OrderPlaced, metadata: Metadata, State(journal): State<Journal>) {
    journal.note(metadata.event_id);
}

fn ledger() -> Registry {
    Registry::new().handler::<enter>()
}

/// A port on which nobody listens.
fn nowhere() -> String {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    format!("amqp://orders:s3cret@127.0.0.1:{port}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_broker_as_long_as_it_is_told_to() {
    let url = nowhere();
    let attempt = async |patience: &str| {
        let builder = builder(&*url, ledger()).state(Journal::default()).set("start_timeout", patience);
        let started = Instant::now();
        let bus = builder.build().expect("a valid program");
        let mut link = bus.monitor().link();
        let error = timeout(PATIENCE, bus.start()).await.expect("an end").expect_err("nobody is there");
        assert!(matches!(link.borrow_and_update().state, LinkState::Closed), "{link:?}");
        (started.elapsed(), error.to_string())
    };

    let (at_once, first) = attempt("0s").await;
    let (after_a_second, last) = attempt("1s").await;

    assert!(at_once < Duration::from_secs(1), "{at_once:?}");
    assert!(after_a_second >= Duration::from_secs(1) && after_a_second < Duration::from_secs(5));
    for (text, waited) in [(&first, "at the first attempt"), (&last, "within 1s")] {
        assert!(text.starts_with("no connection to amqp://orders@127.0.0.1:"), "{text}");
        assert!(
            text.contains(waited) && text.contains("refused") && text.contains("start_timeout"),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// The first of its hosts is down, as in a deploy on a cluster where one node restarts.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_does_not_wait_tries_each_host_once() {
    let vhost = Node::shared().vhost("hosts");
    let nowhere = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let url = vhost.url().replace("@127.0.0.1", &format!("@{nowhere},127.0.0.1"));
    assert_ne!(url, vhost.url());

    let bus = run(builder(url, ledger()).state(Journal::default()).set("start_timeout", "0s")).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    stop(bus).await;
}

/// A bus of a user that is its alone.
async fn tenant(name: &str) -> (Vhost, String, Handle) {
    let node = Node::shared();
    let vhost = node.vhost(name);
    let user = vhost.name().to_owned();
    let url = vhost.url().replace("guest:guest", &format!("{user}:before"));
    block_in_place(|| {
        node.rabbitmqctl(&["add_user", &user, "before"]);
        node.rabbitmqctl(&["set_permissions", "-p", vhost.name(), &user, ".*", ".*", ".*"]);
    });
    let bus = run(builder(url, ledger()).state(Journal::default())).await;
    (vhost, user, bus)
}

fn close_connections(vhost: &Vhost) {
    Node::shared().rabbitmqctl(&["close_all_connections", "-p", vhost.name(), "a lost connection"]);
}

async fn ended(bus: Handle) -> Error {
    let monitor = bus.monitor();
    let error = timeout(NOTICED, bus.wait()).await.expect("it ends").expect_err("it was refused");
    assert!(!monitor.is_live(), "a new process would be refused as well, and says so");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_ends_a_running_bus_at_its_next_connection() {
    let (vhost, user, bus) = tenant("password").await;
    let url = vhost.url().replace("guest:guest", &format!("{user}:before"));
    // It has no worker that would notice.
    let publishing = run(builder(url, ledger()).publish_only()).await;

    block_in_place(|| {
        Node::shared().rabbitmqctl(&["change_password", &user, "after"]);
        close_connections(&vhost);
    });

    for bus in [bus, publishing] {
        let text = ended(bus).await.to_string();
        assert!(text.contains("ACCESS_REFUSED") && text.contains("check user and password"), "{text}");
    }
    block_in_place(|| Node::shared().rabbitmqctl(&["delete_user", &user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_or_a_virtual_host_that_is_deleted_ends_a_running_bus() {
    let (_vhost, user, bus) = tenant("user").await;
    block_in_place(|| Node::shared().rabbitmqctl(&["delete_user", &user]));
    let text = ended(bus).await.to_string();
    assert!(text.contains("ACCESS_REFUSED"), "{text}");

    let (vhost, user, bus) = tenant("vhost").await;
    block_in_place(|| Node::shared().rabbitmqctl(&["delete_vhost", vhost.name()]));
    let text = ended(bus).await.to_string();
    // Its permissions go before it does, and whoever comes in between is told of those.
    let is_gone = text.contains(&format!("vhost {} not found", vhost.name()));
    assert!(is_gone || text.contains("ACCESS_REFUSED"), "{text}");
    block_in_place(|| Node::shared().rabbitmqctl(&["delete_user", &user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_are_revoked_end_a_running_bus_at_its_next_connection() {
    let (vhost, user, bus) = tenant("permissions").await;

    // A channel of RabbitMQ remembers what it may: nothing changes before the next one.
    block_in_place(|| {
        Node::shared().rabbitmqctl(&["set_permissions", "-p", vhost.name(), &user, "", "", ""]);
        close_connections(&vhost);
    });

    let error = ended(bus).await;
    assert!(matches!(error, Error::Topology(_)), "{error:?}");
    assert!(error.to_string().contains("no permission for"), "{error}");
    block_in_place(|| Node::shared().rabbitmqctl(&["delete_user", &user]));
}

/// The broker may have stored what nobody confirmed: sent again under its id, it is there twice at
/// worst.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_outage_outlasts_is_published_again_under_its_id() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("outlasted");
    let journal = Journal::default();
    let consuming = start(&vhost, ledger(), &journal).await;
    let publishing = run(builder(vhost.url(), ledger()).publish_only().set("publish_timeout", "700ms")).await;
    publishing.publisher().publish(&placed("o-1", 0)).await.expect("routed");

    block_in_place(|| node.sigstop());
    let error = publishing.publisher().publish(&placed("o-1", 1)).id("order-1").await.expect_err("no answer");
    block_in_place(|| node.sigcont());
    assert!(matches!(error, PublishError::TimedOut { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("within 700ms: the broker does not answer; the broker may have"), "{text}");
    let again = timeout(PATIENCE, async {
        while let Err(error) = publishing.publisher().publish(&placed("o-1", 1)).id("order-1").await {
            assert!(matches!(error, PublishError::TimedOut { .. }), "{error:?}");
        }
    });
    again.await.expect("the broker goes on");
    publishing.publisher().publish(&placed("o-1", 2)).id("last").await.expect("routed");

    let lines = journal.until("the last", |lines| lines.contains(&"last".to_owned())).await;
    let copies = lines.iter().filter(|line| *line == "order-1").count();
    assert!((1..=2).contains(&copies), "{lines:?}");
    stop(publishing).await;
    stop(consuming).await;
}

#[handler(group = "refusing", retries = 5)]
async fn refuse(
    _order: OrderPlaced,
    State(journal): State<Journal>,
    State(gate): State<Arc<Semaphore>>,
) -> Result<(), String> {
    journal.note("begins");
    gate.acquire().await.map_err(|closed| closed.to_string())?.forget();
    Err("not yet".to_owned())
}

/// A copy that the broker does not take keeps its event unacknowledged, and no stop waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_bus_on_a_blocked_broker_says_so_stops_in_time_and_loses_nothing() {
    const SHUTDOWN: Duration = Duration::from_secs(1);
    let node = Victim::get().await;
    let vhost = node.vhost("blocked-stop");
    let (journal, gate) = (Journal::default(), Arc::new(Semaphore::new(0)));
    let bus = || {
        let builder = builder(vhost.url(), Registry::new().handler::<refuse>());
        builder.state(journal.clone()).state(gate.clone()).set("shutdown_timeout", SHUTDOWN)
    };
    let first = run(bus()).await;
    first.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;

    // The alarm blocks a connection when it publishes: here, the copy.
    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]));
    gate.add_permits(1);
    soon("health says why", || {
        let health = first.monitor().glance();
        let says = health.error.is_some_and(|error| error.contains("takes no publishes: low on memory"));
        (health.status == HealthStatus::Degraded && !health.ready && says).then_some(())
    });
    let began = Instant::now();
    let stopped = timeout(PATIENCE, first.stop()).await.expect("it stops");
    let took = began.elapsed();
    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]));

    stopped.expect("in order");
    // The farewell of a blocked connection is waited for as well.
    assert!(took < SHUTDOWN + Duration::from_secs(10), "{took:?}");
    let second = run(bus()).await;
    journal.until_len(2).await;
    stop(second).await;
    // It is there, beside the copy at most that the broker took after the alarm.
    let look = Look::at(&vhost).await;
    let retries = look.queue("events.refusing.retry.1s").await.0;
    let (messages, consumers) = look.queue("events.refusing").await;
    assert_eq!(consumers, 0);
    assert!((1..=2).contains(&(messages + retries)), "{messages} and {retries}");
}

/// Takes its consumer from a quorum queue, behind the back of its channel.
fn forget_consumers(node: &Node, vhost: &Vhost, queue: &str) {
    let forget = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)),
         [ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_checkout({{element(2, C), element(1, C)}}, cancel, #{{}}))
          || C <- rabbit_amqqueue:consumers(Q)].",
        vhost.name()
    );
    node.rabbitmqctl(&["eval", &forget]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_the_broker_forgot_is_found_and_started_anew() {
    let node = Node::shared();
    let vhost = node.vhost("forgotten");
    let journal = Journal::default();
    let bus = run(builder(vhost.url(), ledger()).state(journal.clone()).set("watchdog_interval", "1s")).await;
    let first = bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;

    block_in_place(|| forget_consumers(node, &vhost, "events.ledger"));
    let look = Look::at(&vhost).await;
    let second = bus.publisher().publish(&placed("o-1", 2)).await.expect("routed");
    let began = Instant::now();
    let lines = journal.until_len(2).await;

    assert_eq!(lines, [first, second]);
    assert!(began.elapsed() < NOTICED, "{:?}", began.elapsed());
    assert_eq!((bus.counts().silent, bus.counts().consumers), (1, 2));
    look.until("events.ledger", 0, 1).await;
    soon("all is well", || bus.monitor().is_ready().then_some(()));
    stop(bus).await;
}
