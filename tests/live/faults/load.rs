//! A load that goes on while something is broken: publishers, and workers of two groups, one with a
//! quorum queue and one with a classic one, on connections that go through a proxy.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{
    Attempt, BusBuilder, Handle, HandlerError, Health, Metadata, Part, PublishError, Publisher, Registry,
    State, event, group, handler,
};
use es_bus_tests::{Node, Proxy, Vhost};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{ledger::Ledger, publishers::Publishers};
use crate::support::{Look, PATIENCE, builder, run, stop, take};

/// The groups of the load.
pub(super) const GROUPS: [&str; 2] = ["kept", "brisk"];
/// How many events of a group can be in hand, and so come twice when a connection is lost.
pub(super) const PREFETCH: u16 = 10;
/// How many publish at once, so that as many confirms are lost with a connection.
pub(super) const PUBLISHERS: usize = 3;
/// Between two events of a publisher: what handlers keep up with, and make up for.
const PAUSE: Duration = Duration::from_millis(25);

/// An order was taken. Nobody there to handle it would be an error.
#[event(aggregate = "Order", aggregate_id = order_id, mandatory)]
#[derive(Serialize, Deserialize)]
struct OrderTaken {
    order_id: String,
    total: u32,
}

/// Fails one in ten at first, and rejects another.
#[handler(group = "kept", retries = 5, backoff(base = "200ms", max = "200ms"))]
async fn keep(
    order: OrderTaken,
    attempt: Attempt,
    metadata: Metadata,
    State(ledger): State<Ledger>,
) -> Result<(), HandlerError> {
    // Long enough that a lost connection finds some in hand.
    sleep(Duration::from_millis(3)).await;
    match order.total % 10 {
        3 if attempt.number == 0 => return Err("not yet".into()),
        7 => return Err(HandlerError::reject("never")),
        _ => {}
    }
    ledger.handled("kept", metadata.event_id);
    Ok(())
}

#[group(kind = "classic", dlq_kind = "classic", retries = 5)]
struct Brisk;

#[handler(group = Brisk, backoff(base = "200ms", max = "200ms"))]
async fn hurry(
    order: OrderTaken,
    attempt: Attempt,
    metadata: Metadata,
    State(ledger): State<Ledger>,
) -> Result<(), HandlerError> {
    match order.total % 10 {
        5 if attempt.number == 0 => return Err("not yet".into()),
        _ => {}
    }
    ledger.handled("brisk", metadata.event_id);
    Ok(())
}

pub(super) struct Load {
    pub(super) vhost: Vhost,
    pub(super) proxy: Proxy,
    pub(super) working: Handle,
    pub(super) publishing: Handle,
    pub(super) ledger: Ledger,
    pub(super) look: Look,
    publishers: Publishers,
    watcher: JoinHandle<()>,
    shared: Arc<Shared>,
    since: Instant,
}

struct Shared {
    publisher: Publisher,
    ledger: Ledger,
    /// Since the last look, the worker was not ready.
    unwell: AtomicBool,
    /// What was confirmed last.
    last: Mutex<String>,
    errors: Mutex<BTreeSet<String>>,
}

impl Load {
    /// On a virtual host of the shared node.
    pub(super) async fn start(name: &str) -> Self {
        let node = Node::shared();
        let vhost = node.vhost(name);
        let url = vhost.url();
        Self::start_on(node, vhost, &url).await
    }

    /// With a login of its own, or on a node of one's own.
    pub(super) async fn start_on(node: &Node, vhost: Vhost, url: &str) -> Self {
        let proxy = Proxy::before(node.port());
        let ledger = Ledger::default();
        let registry = Registry::new().handler::<keep>().handler::<hurry>();
        let set = |builder: BusBuilder| {
            builder
                .set("heartbeat", "1s")
                .set("connect_timeout", "2s")
                .set("publish_timeout", "20s")
                .set("prefetch", u32::from(PREFETCH))
                .set("concurrency", 4_u32)
        };
        let url = proxy.url(url);
        let working = run(set(builder(&url, registry.clone()).state(ledger.clone()))).await;
        let publishing = run(set(builder(&url, registry)).publish_only()).await;
        let look = Look::at(&vhost).await;

        let shared = Arc::new(Shared {
            publisher: publishing.publisher().clone(),
            ledger: ledger.clone(),
            unwell: AtomicBool::new(false),
            last: Mutex::default(),
            errors: Mutex::default(),
        });
        let publishers = Publishers::start(PUBLISHERS, PAUSE, {
            let shared = shared.clone();
            move |task, number| shared.clone().publish(task, number)
        });
        let watcher = tokio::spawn({
            let (monitor, shared) = (working.monitor(), shared.clone());
            async move {
                loop {
                    if !monitor.is_ready() {
                        shared.unwell.store(true, Ordering::Relaxed);
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            }
        });
        let load = Self {
            vhost,
            proxy,
            working,
            publishing,
            ledger,
            look,
            publishers,
            watcher,
            shared,
            since: Instant::now(),
        };
        load.flows_within(PATIENCE).await;
        load
    }

    /// Waits until events are confirmed, until one that was published from now on is handled in both
    /// groups, and until the bus says that it is well.
    pub(super) async fn flows_within(&self, bound: Duration) {
        let started = Instant::now();
        let before = self.ledger.count();
        self.shared.last.lock().expect("no panic").clear();
        let flows = async {
            loop {
                let last = self.shared.last.lock().expect("no panic").clone();
                let handled = GROUPS.iter().all(|group| self.ledger.has_handled(group, &last));
                if handled && self.ledger.count() >= before + 20 && self.is_well() {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(bound, flows).await.is_err() {
            panic!(
                "it does not flow again within {bound:?}: {} confirmed since, errors {:?}, {:#?}",
                self.ledger.count() - before,
                self.errors(),
                self.glance()
            );
        }
        say(&self.vhost, "flows again after", started.elapsed());
        self.shared.unwell.store(false, Ordering::Relaxed);
    }

    /// Waits until the worker has said that it is not ready, since it last flowed.
    pub(super) async fn unwell_within(&self, bound: Duration) {
        let started = Instant::now();
        let told = async {
            while !self.shared.unwell.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(bound, told).await.is_ok(), "it says that all is well: {:#?}", self.glance());
        say(&self.vhost, "told of after", started.elapsed());
    }

    /// Whether the worker was ready all the time.
    pub(super) fn was_well(&self) -> bool {
        !self.shared.unwell.load(Ordering::Relaxed)
    }

    /// Waits until a publisher has been told something that has this in it.
    pub(super) async fn told_within(&self, bound: Duration, text: &str) {
        let told = async {
            while !self.errors().iter().any(|error| error.contains(text)) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(bound, told).await.is_ok(), "{:?} says nothing of {text:?}", self.errors());
    }

    /// What publishers were told, where it was no id.
    pub(super) fn errors(&self) -> BTreeSet<String> {
        self.shared.errors.lock().expect("no panic").clone()
    }

    fn is_well(&self) -> bool {
        let publishing = self.publishing.monitor().glance();
        // A refusal is told for a while after others were confirmed.
        let is_past = publishing.problems.iter().all(|problem| problem.part == Part::Publishing);
        self.working.monitor().glance().healthy && is_past
    }

    fn glance(&self) -> [Health; 2] {
        [self.working.monitor().glance(), self.publishing.monitor().glance()]
    }

    /// Ends the publishing, waits until every confirmed event has come to its end, closes the books, and
    /// gives how many duplicates there are in each group.
    pub(super) async fn end(mut self) -> [usize; 2] {
        // Its own connection may be one of those that were lost.
        self.look = Look::at(&self.vhost).await;
        self.publishers.end().await;
        let settled = async {
            loop {
                note_dead_letters(&self.vhost, &self.look, &self.ledger).await;
                if self.ledger.missing(&GROUPS).is_empty() {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(PATIENCE, settled).await;
        stop(self.publishing).await;
        stop(self.working).await;
        self.watcher.abort();
        note_dead_letters(&self.vhost, &self.look, &self.ledger).await;
        self.ledger.assert_nothing_lost(&GROUPS);
        assert_eq!(self.look.left_over(&self.vhost).await, [], "nothing waits any more");
        let duplicates = GROUPS.map(|group| self.ledger.duplicates(group));
        say(
            &self.vhost,
            &format!("{} confirmed, duplicates {duplicates:?}, in", self.ledger.count()),
            self.since.elapsed(),
        );
        duplicates
    }
}

impl Shared {
    async fn publish(self: Arc<Self>, task: usize, number: u32) {
        let order = OrderTaken { order_id: format!("o-{task}-{}", number % 5), total: number };
        match self.publisher.publish(&order).await {
            Ok(id) => {
                // The id that a fresh event is told by, in both groups.
                if number.is_multiple_of(10) {
                    self.last.lock().expect("no panic").clone_from(&id);
                }
                self.ledger.confirmed(id);
            }
            Err(error) => {
                self.errors.lock().expect("no panic").insert(error.to_string());
                assert!(!matches!(error, PublishError::Closed | PublishError::Encode(_)), "{error:?}");
            }
        }
    }
}

/// Enters what is in the dead-letter queues into the books.
async fn note_dead_letters(vhost: &Vhost, look: &Look, ledger: &Ledger) {
    for group in GROUPS {
        let queue = format!("events.{group}.dlq");
        let (dead, _) = look.queue(&queue).await;
        if dead == 0 {
            continue;
        }
        for letter in take(vhost, &queue, usize::try_from(dead).expect("few")).await {
            let id = letter.message.properties.message_id.as_deref().expect("a copy keeps the id");
            ledger.dead_lettered(group, id.to_owned());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the figures of a run, for who asks for its output")]
fn say(vhost: &Vhost, what: &str, time: Duration) {
    eprintln!("{}: {what} {time:?}", vhost.name());
}
