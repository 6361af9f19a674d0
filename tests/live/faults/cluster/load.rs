//! What goes on while nodes are lost: publishers that call again and again, and one group that handles.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use es_bus::{Attempt, Handle, Metadata, Publisher, Registry, State, event, handler};
use es_bus_tests::{Cluster, Vhost};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    faults::{ledger::Ledger, publishers::Publishers},
    support::{builder, left_over, publisher, run, soon, stop},
};

/// An order was paid: nobody taking that is an error.
#[event(aggregate = "Order", aggregate_id = order_id, mandatory)]
#[derive(Serialize, Deserialize)]
pub(super) struct OrderPaid {
    pub(super) order_id: String,
    pub(super) number: u32,
}

/// Every tenth event fails once, and waits in a retry queue.
#[handler(group = "paid", retries = 5, backoff(base = "200ms", max = "200ms"))]
async fn enter(
    order: OrderPaid,
    attempt: Attempt,
    metadata: Metadata,
    State(ledger): State<Ledger>,
) -> Result<(), String> {
    // Long enough that a fault finds some in hand.
    sleep(Duration::from_millis(5)).await;
    if fails(order.number) && attempt.number == 0 {
        return Err("not yet".to_owned());
    }
    ledger.handled(GROUP, metadata.event_id);
    Ok(())
}

fn fails(number: u32) -> bool {
    number % 10 == 9
}

pub(super) const GROUP: &str = "paid";
pub(super) const QUEUE: &str = "events.paid";

pub(super) fn registry() -> Registry {
    Registry::new().handler::<enter>()
}

/// Publishers, a service that handles, and their books. Both services are connected to node 2, as long as
/// it is there.
pub(super) struct Load {
    pub(super) consuming: Handle,
    pub(super) publishing: Handle,
    pub(super) ledger: Ledger,
    publishers: Publishers,
    shared: Arc<Shared>,
}

struct Shared {
    publisher: Publisher,
    ledger: Ledger,
    told: Mutex<Told>,
}

/// What publishers were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The errors. The broker may have these events.
    pub(super) errors: Vec<String>,
    /// The longest time from a call to its answer.
    pub(super) slowest: Duration,
    /// The events that fail once.
    late: BTreeSet<String>,
}

const PUBLISHERS: usize = 4;
/// Between two events of a publisher: what the handler keeps up with.
const PAUSE: Duration = Duration::from_millis(10);

impl Load {
    /// The queues are led by the node, or live on it, that is called `home`.
    pub(super) async fn start(cluster: &Cluster, vhost: &Vhost, kind: &str, home: usize) -> Self {
        let ledger = Ledger::default();
        let service =
            |first| builder(vhost.url_from(first), registry()).set("kind", kind).state(ledger.clone());
        // A queue is led by the node over which it was declared.
        stop(run(service(home)).await).await;
        soon("its home is known", || (cluster.home(vhost, QUEUE) == Some(home)).then_some(()));
        let consuming = run(service(2)).await;
        let publishing = publisher(vhost.url_from(2), registry()).await;
        let shared = Arc::new(Shared {
            publisher: publishing.publisher().clone(),
            ledger: ledger.clone(),
            told: Mutex::default(),
        });
        let publishers = Publishers::start(PUBLISHERS, PAUSE, {
            let shared = shared.clone();
            move |task, number| shared.clone().publish(task, number)
        });
        let load = Self { consuming, publishing, ledger, publishers, shared };
        load.flows_within(FIRST).await;
        load
    }

    /// Waits until fifty more publishes are confirmed, and all that is confirmed was handled, but for
    /// those events that fail once.
    pub(super) async fn flows_within(&self, bound: Duration) {
        let goal = self.ledger.count() + 50;
        let flows = async {
            while self.ledger.count() < goal || !self.missing_fresh().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(bound, flows).await.is_err() {
            panic!(
                "it does not flow within {bound:?}: {} of {goal} confirmed, {} not handled, errors {:#?}, {:#?}, {:#?}",
                self.ledger.count(),
                self.missing_fresh().len(),
                self.told().errors.into_iter().collect::<BTreeSet<_>>(),
                self.publishing.monitor().glance(),
                self.consuming.monitor().glance(),
            );
        }
    }

    fn missing_fresh(&self) -> BTreeSet<String> {
        let missing = self.ledger.missing(&[GROUP]).remove(GROUP).unwrap_or_default();
        missing.difference(&self.shared.told.lock().expect("no panic").late).cloned().collect()
    }

    pub(super) fn told(&self) -> Told {
        self.shared.told.lock().expect("no panic").clone()
    }

    /// Stops the publishers, waits until everything confirmed is handled, stops the services, and closes the
    /// books; gives how many events were handled again.
    pub(super) async fn end(self, vhost: &Vhost) -> usize {
        self.publishers.end().await;
        let settled = async {
            while !self.ledger.missing(&[GROUP]).is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(LAST, settled).await;
        stop(self.publishing).await;
        stop(self.consuming).await;
        self.ledger.assert_nothing_lost(&[GROUP]);
        assert_eq!(left_over(vhost).await, [], "nothing waits any more");
        self.ledger.duplicates(GROUP)
    }
}

impl Told {
    /// Every error begins in one of these ways.
    #[track_caller]
    pub(super) fn assert_only(&self, beginnings: &[&str]) {
        let is_known = |error: &str| beginnings.iter().any(|beginning| error.starts_with(beginning));
        let other = self.errors.iter().find(|error| !is_known(error));
        assert_eq!(other, None);
    }
}

impl Shared {
    /// Publishes under an id of its own, and notes what it was told, and after how long.
    async fn publish(self: Arc<Self>, task: usize, number: u32) {
        let id = Uuid::new_v4().to_string();
        let order = OrderPaid { order_id: format!("o-{task}-{number}"), number };
        let started = Instant::now();
        let published = self.publisher.publish(&order).id(&id).await;
        let took = started.elapsed();
        let mut told = self.told.lock().expect("no panic");
        told.slowest = told.slowest.max(took);
        if fails(number) {
            told.late.insert(id.clone());
        }
        match published {
            Ok(_) => {
                self.ledger.confirmed(id);
            }
            Err(error) => told.errors.push(error.to_string()),
        }
    }
}

/// Within which it flows at first.
const FIRST: Duration = Duration::from_secs(20);
/// Within which everything confirmed is handled, once all nodes are there.
const LAST: Duration = Duration::from_secs(30);
