//! Connections that are lost, and queues that are taken away, cost time and no event.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{Attempt, Handle, HandlerError, Metadata, PublishError, Registry, State, handler};
use es_bus_tests::Node;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};

use crate::support::{
    Journal, Look, OrderPlaced, PATIENCE, Victim, builder, placed, publisher, run, soon, start, stop,
};

/// Within which events flow again once what was in the way is gone.
const RECOVERY: Duration = Duration::from_secs(10);

#[handler(group = "ledger")]
async fn enter(_order: OrderPlaced, metadata: Metadata, State(journal): State<Journal>) {
    // Long enough that a lost connection finds some in hand.
    sleep(Duration::from_millis(5)).await;
    journal.note(metadata.event_id);
}

/// Publishers that go on until told to stop, and what the broker confirmed to them.
struct Publishers {
    tasks: JoinSet<()>,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Ledger {
    confirmed: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    stop: AtomicBool,
    slowest: Mutex<Duration>,
    errors: Mutex<Vec<String>>,
}

impl Ledger {
    fn took(&self, time: Duration) {
        let mut slowest = self.slowest.lock().expect("no panic");
        *slowest = (*slowest).max(time);
    }
}

impl Publishers {
    fn start(bus: &Handle, count: usize) -> Self {
        let ledger = Arc::new(Ledger::default());
        let mut tasks = JoinSet::new();
        for task in 0..count {
            let (publisher, ledger) = (bus.publisher().clone(), ledger.clone());
            tasks.spawn(async move {
                while !ledger.stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    match publisher.publish(&placed(format!("o-{task}"), 1)).await {
                        Ok(id) => {
                            ledger.confirmed.lock().expect("no panic").insert(id);
                            ledger.count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let typed = matches!(
                                error,
                                PublishError::Interrupted { .. } | PublishError::TimedOut { .. }
                            );
                            assert!(typed, "{error:?}");
                            ledger.errors.lock().expect("no panic").push(error.to_string());
                        }
                    }
                    ledger.took(started.elapsed());
                    // What a handler keeps up with.
                    sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { tasks, ledger }
    }

    /// Waits until so many more are confirmed.
    async fn confirm(&self, more: usize) {
        let goal = self.ledger.count.load(Ordering::Relaxed) + more;
        let reached = timeout(2 * PATIENCE, async {
            while self.ledger.count.load(Ordering::Relaxed) < goal {
                sleep(Duration::from_millis(10)).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("{more} more publishes are confirmed"));
    }

    async fn stop(mut self) -> Arc<Ledger> {
        self.ledger.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no publisher panicked");
        }
        self.ledger
    }
}

/// Connections closed, the node killed, the node shut down in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_confirmed_event_is_handled_although_the_broker_comes_and_goes() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("reconnect");
    let journal = Journal::default();
    let registry = Registry::new().handler::<enter>();
    let consuming = start(&vhost, registry.clone(), &journal).await;
    let publishing = publisher(vhost.url(), registry).await;
    let publishers = Publishers::start(&publishing, 4);

    publishers.confirm(50).await;
    for round in 0..3 {
        block_in_place(|| node.close_all_connections(&format!("round {round}")));
        publishers.confirm(50).await;
    }
    block_in_place(|| {
        node.kill9();
        node.restart();
    });
    publishers.confirm(50).await;
    block_in_place(|| node.restart());
    publishers.confirm(50).await;
    let ledger = publishers.stop().await;

    let confirmed = ledger.confirmed.lock().expect("no panic").clone();
    let handled = |lines: &[String]| -> BTreeSet<String> { lines.iter().cloned().collect() };
    journal.until("every confirmed event", |lines| confirmed.is_subset(&handled(lines))).await;
    assert!(confirmed.len() >= 300, "{}", confirmed.len());
    // Publishes waited for the broker, instead of failing.
    assert_eq!(*ledger.errors.lock().expect("no panic"), Vec::<String>::new());
    let slowest = *ledger.slowest.lock().expect("no panic");
    assert!(slowest > Duration::from_secs(1) && slowest < Duration::from_secs(30), "{slowest:?}");
    stop(publishing).await;
    stop(consuming).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_gets_no_answer_in_its_time_says_so() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("frozen");
    let registry = Registry::new().event::<OrderPlaced>();
    let builder = builder(vhost.url(), registry).publish_only().set("publish_timeout", "3s");
    let bus = run(builder).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("nobody takes it, which is no error here");

    block_in_place(|| node.sigstop());
    let started = Instant::now();
    let error = bus.publisher().publish(&placed("o-1", 2)).await.expect_err("nobody answers");
    let took = started.elapsed();
    block_in_place(|| node.sigcont());

    assert!(matches!(error, PublishError::TimedOut { .. }), "{error:?}");
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(15), "{took:?}");
    stop(bus).await;
}

/// A broker that is short of memory reads nothing from connections that publish; what consumes goes
/// on, acknowledgements included.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_delays_publishes_and_not_handling() {
    let node = Victim::get().await;
    let vhost = node.vhost("memory-alarm");
    let look = Look::at(&vhost).await;
    let journal = Journal::default();
    let gate = Arc::new(AtomicBool::new(false));
    let registry = Registry::new().handler::<hold>();
    let bus = run(builder(vhost.url(), registry.clone()).state(journal.clone()).state(gate.clone())).await;
    let hasty = run(builder(vhost.url(), registry).publish_only().set("publish_timeout", "1s")).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;

    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]));
    // The alarm blocks a connection when it publishes, so the first may still pass.
    let refused = timeout(PATIENCE, async {
        loop {
            if let Err(error) = hasty.publisher().publish(&placed("o-2", 2)).await {
                return error;
            }
        }
    });
    let refused = refused.await.expect("the broker blocks");
    let patient = bus.publisher().clone();
    let waiting = tokio::spawn(async move { patient.publish(&placed("o-3", 3)).await });
    gate.store(true, Ordering::Relaxed);
    journal.until("the first event", |lines| lines.contains(&"end 1".to_owned())).await;
    let before = waiting.is_finished();
    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]));
    let published = timeout(PATIENCE, waiting).await.expect("the alarm is over");

    assert!(matches!(refused, PublishError::TimedOut { .. }), "{refused:?}");
    assert!(!before, "it waited");
    published.expect("no task panicked").expect("routed");
    journal.until("the patient one", |lines| lines.contains(&"end 3".to_owned())).await;
    assert_eq!(look.left_over(&vhost).await, []);
    stop(hasty).await;
    stop(bus).await;
    assert_eq!(look.left_over(&vhost).await, [], "all was acknowledged");
}

/// RabbitMQ takes a delivery back that nobody acknowledges, by closing its channel.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_outlasts_the_consumer_timeout_has_its_event_again_and_no_more() {
    let node = Victim::get().await;
    let vhost = node.vhost("consumer-timeout");
    let look = Look::at(&vhost).await;
    let patience = |ms: &str| {
        let set = format!("application:set_env(rabbit, consumer_timeout, {ms}).");
        block_in_place(|| node.rabbitmqctl(&["eval", &set]));
    };
    patience("1500");
    let journal = Journal::default();
    let gate = Arc::new(AtomicBool::new(false));
    let registry = Registry::new().handler::<hold>();
    let bus = run(builder(vhost.url(), registry).state(journal.clone()).state(gate.clone())).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;
    // Its channel is closed, and the next one has it in hand.
    patience("1800000");
    let closed = "timed out";
    soon("the broker takes it back", || node.log().contains(closed).then_some(()));
    timeout(RECOVERY, look.until("events.slow", 0, 1)).await.expect("handed out again in time");
    gate.store(true, Ordering::Relaxed);
    journal.until("the second run", |lines| lines.len() == 4).await;

    assert_eq!(journal.lines(), ["start 1", "end 1", "start 1", "end 1"], "one after the other");
    assert_eq!(bus.counts().stale, 1);
    assert_eq!(look.left_over(&vhost).await, []);
    stop(bus).await;
    assert_eq!(look.left_over(&vhost).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_declared_and_consumed_again() {
    let vhost = Node::shared().vhost("deleted");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<enter>(), &journal).await;
    let before = bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;

    block_in_place(|| vhost.delete_queue("events.ledger"));
    let published = timeout(RECOVERY, async {
        loop {
            match bus.publisher().publish(&placed("o-1", 2)).await {
                Ok(id) => return id,
                // Nobody takes it for a moment, and the publisher is told.
                Err(PublishError::Unroutable { .. }) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    let after = published.await.expect("the queue is there again");

    let handled = timeout(RECOVERY, journal.until_len(2)).await.expect("consumed again in time");
    assert_eq!(handled, [before, after]);
    stop(bus).await;
}

#[handler(group = "failing", retries = 3, backoff(base = "200ms", max = "200ms"))]
async fn fail_once(
    _order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("fail_once {}", attempt.number));
    if attempt.number == 0 { Err("not yet".to_owned()) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_queue_that_is_deleted_is_declared_again_for_the_next_failure() {
    let vhost = Node::shared().vhost("deleted-retry");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<fail_once>(), &journal).await;

    block_in_place(|| vhost.delete_queue("events.failing.retry.200ms"));
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    let runs = timeout(RECOVERY, journal.until_len(2)).await.expect("tried again in time");
    assert_eq!(runs, ["fail_once 0", "fail_once 1"]);
    stop(bus).await;
}

#[handler(group = "slow", retries = 3, backoff(base = "200ms", max = "200ms"))]
async fn hold(
    order: OrderPlaced,
    State(journal): State<Journal>,
    State(gate): State<Arc<AtomicBool>>,
) -> Result<(), HandlerError> {
    journal.note(format!("start {}", order.total));
    while !gate.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(5)).await;
    }
    journal.note(format!("end {}", order.total));
    Ok(())
}

/// An event that is handed out again while the handler still runs it waits behind that run, and so
/// does its aggregate.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_stays_in_order_over_a_lost_connection() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("lanes");
    let journal = Journal::default();
    let gate = Arc::new(AtomicBool::new(false));
    let registry = Registry::new().handler::<hold>();
    let bus = run(builder(vhost.url(), registry).state(journal.clone()).state(gate.clone())).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    bus.publisher().publish(&placed("o-1", 2)).await.expect("routed");
    journal.until_len(1).await;

    let connections = |node: &Node| {
        let pids = block_in_place(|| node.rabbitmqctl(&["list_connections", "pid"]));
        pids.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let old = connections(&node);
    block_in_place(|| node.close_all_connections("a lost connection"));
    soon("they are closed", || old.is_disjoint(&connections(&node)).then_some(()));
    // Both are in hand again, and then the third.
    let look = Look::at(&vhost).await;
    look.until("events.slow", 0, 1).await;
    bus.publisher().publish(&placed("o-1", 3)).await.expect("routed");
    look.until("events.slow", 0, 1).await;
    assert_eq!(journal.lines(), ["start 1"]);
    gate.store(true, Ordering::Relaxed);

    let lines = journal.until("the last", |lines| lines.iter().any(|line| line == "end 3")).await;
    assert_eq!(lines, ["start 1", "end 1", "start 1", "end 1", "start 2", "end 2", "start 3", "end 3"]);
    stop(bus).await;
}
