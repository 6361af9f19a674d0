//! Layers around handlers, on a broker that hands out again what is given back.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{Attempt, BusBuilder, Handle, Registry, State, handler};
use es_bus_tests::{Node, Vhost};
use tokio::time::sleep;
use tower::{
    ServiceBuilder,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    timeout::TimeoutLayer,
};

use crate::support::{
    Journal, Look, OrderPlaced, OrderShipped, builder, left_over, placed, run, shipped, stop,
};

/// How many run at this moment, and the most that ever did.
#[derive(Clone, Default)]
struct Running(Arc<[AtomicUsize; 2]>);

impl Running {
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let now = self.0[0].fetch_add(1, Ordering::SeqCst) + 1;
        self.0[1].fetch_max(now, Ordering::SeqCst);
        let done = work.await;
        self.0[0].fetch_sub(1, Ordering::SeqCst);
        done
    }

    fn most(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

#[handler(group = "limited")]
async fn take_placed(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(running): State<Running>,
) {
    running.during(sleep(Duration::from_millis(20))).await;
    journal.note(format!("placed {} {}", order.order_id, attempt.number));
}

#[handler(group = "limited")]
async fn take_shipped(
    order: OrderShipped,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(running): State<Running>,
) {
    running.during(sleep(Duration::from_millis(20))).await;
    journal.note(format!("shipped {} {}", order.order_id, attempt.number));
}

/// A bus of two handlers in one group, on what every other setting has by default.
async fn limited(vhost: &Vhost, layers: impl FnOnce(BusBuilder) -> BusBuilder) -> (Handle, Journal, Running) {
    let (journal, running) = (Journal::default(), Running::default());
    let registry = Registry::new().handler::<take_placed>().handler::<take_shipped>();
    let builder = builder(vhost.url(), registry).state(journal.clone()).state(running.clone());
    (run(layers(builder)).await, journal, running)
}

/// Publishes both events of so many orders, and gives what has to be noted of them: each once, at
/// the first attempt.
async fn publish_orders(bus: &Handle, count: usize) -> BTreeMap<String, usize> {
    let mut ledger = BTreeMap::new();
    for n in 0..count {
        let order = format!("o-{n}");
        bus.publisher().publish(&placed(&order, 1)).await.expect("routed");
        bus.publisher().publish(&shipped(&order)).await.expect("routed");
        ledger.insert(format!("placed {order} 0"), 1);
        ledger.insert(format!("shipped {order} 0"), 1);
    }
    ledger
}

/// How often each line was noted.
fn counted(lines: Vec<String>) -> BTreeMap<String, usize> {
    lines.into_iter().fold(BTreeMap::new(), |mut counts, line| {
        *counts.entry(line).or_default() += 1;
        counts
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrency_limit_holds_over_all_handlers_of_a_group() {
    let vhost = Node::shared().vhost("concurrency-limit");
    let limit = ConcurrencyLimitLayer::new(3);
    let (bus, journal, running) = limited(&vhost, |builder| builder.layer_for_group("limited", limit)).await;

    let ledger = publish_orders(&bus, 30).await;
    journal.until_len(60).await;

    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(counted(journal.lines()), ledger);
    // Sixteen would run without it.
    assert_eq!(running.most(), 3);
    let counts = bus.counts();
    assert_eq!((counts.handled, counts.failed, counts.shed), (60, 0, 0));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_layer_sheds_goes_back_to_the_broker_and_another_process_takes_it() {
    let vhost = Node::shared().vhost("load-shed");
    let shed = ServiceBuilder::new().load_shed().concurrency_limit(1).into_inner();
    let (busy, journal, running) = limited(&vhost, |builder| builder.layer_for_group("limited", shed)).await;

    let ledger = publish_orders(&busy, 30).await;
    // The first comes by with the rest still in the queue.
    journal.until_len(1).await;
    let (idle, others, _) = limited(&vhost, |builder| builder).await;
    let both = || [journal.lines(), others.lines()].concat();
    loop {
        let (here, there) = (journal.lines().len(), others.lines().len());
        if here + there >= 60 {
            break;
        }
        tokio::select! {
            _ = journal.until_len(here + 1) => {}
            _ = others.until_len(there + 1) => {}
        }
    }

    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(counted(both()), ledger);
    assert_eq!(running.most(), 1);
    let counts = busy.counts();
    assert!(counts.shed > 0);
    assert_eq!((counts.failed, counts.retried, counts.dead_lettered), (0, 0, 0));
    stop(busy).await;
    stop(idle).await;
}

#[handler(group = "hasty", retries = 2, backoff(base = "100ms", max = "100ms", jitter = 0.0))]
async fn slow_at_first(order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    if attempt.number == 0 {
        sleep(Duration::from_secs(600)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_layer_costs_one_attempt() {
    let vhost = Node::shared().vhost("timeout-layer");
    let journal = Journal::default();
    let builder = builder(vhost.url(), Registry::new().handler::<slow_at_first>())
        .state(journal.clone())
        .layer_for_handler("hasty", "slow_at_first", TimeoutLayer::new(Duration::from_millis(300)));
    let bus = run(builder).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(2).await;

    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(journal.lines(), ["o-1 0", "o-1 1"]);
    let counts = bus.counts();
    assert_eq!((counts.handled, counts.failed, counts.retried, counts.shed), (1, 1, 1, 0));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_leaves_events_in_the_broker_and_spends_no_attempt() {
    let vhost = Node::shared().vhost("rate-limit");
    let limit = RateLimitLayer::new(5, Duration::from_millis(500));
    let (bus, journal, _) = limited(&vhost, |builder| {
        builder.layer_for_group("limited", limit).set("prefetch", "4").set("concurrency", "4")
    })
    .await;

    let begun = Instant::now();
    let ledger = publish_orders(&bus, 15).await;
    let look = Look::at(&vhost).await;
    let noted = journal.lines().len();
    let (waiting, _) = look.queue("events.limited").await;
    // On a machine so slow that most were handled while they were published, nothing has to wait.
    assert!(waiting > 0 || noted > 20, "what the limit holds up stays in the broker, {noted} came by");
    journal.until_len(30).await;

    // Five at once, then five each half second.
    assert!(begun.elapsed() >= Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(counted(journal.lines()), ledger);
    let counts = bus.counts();
    assert_eq!((counts.handled, counts.failed, counts.shed), (30, 0, 0));
    stop(bus).await;
}
