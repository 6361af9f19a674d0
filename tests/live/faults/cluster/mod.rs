//! Three nodes, of which one or two are lost under a load.

mod load;

use std::{
    ops::{Deref, DerefMut},
    thread,
    time::Duration,
};

use es_bus::{HealthStatus, PublishError};
use es_bus_tests::Cluster;
use tokio::{
    runtime::Handle as Runtime,
    sync::{Mutex, MutexGuard},
    task::block_in_place,
    time::timeout,
};

use uuid::Uuid;

use self::load::{Load, OrderPaid, registry};
use crate::support::{builder, run, soon, stop};

/// The cluster of these tests, one after another.
struct Trio(MutexGuard<'static, Option<Cluster>>);

impl Trio {
    async fn get() -> Self {
        static CLUSTER: Mutex<Option<Cluster>> = Mutex::const_new(None);
        let mut cluster = CLUSTER.lock().await;
        if cluster.is_none() {
            *cluster = Some(block_in_place(Cluster::start));
        }
        Self(cluster)
    }
}

impl Deref for Trio {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0.as_ref().expect("booted")
    }
}

impl DerefMut for Trio {
    fn deref_mut(&mut self) -> &mut Cluster {
        self.0.as_mut().expect("booted")
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(cluster) = self.0.take()
        {
            #[expect(clippy::print_stderr, reason = "beside the panic of a test")]
            {
                eprintln!("{}", cluster.log_tails());
            }
        }
    }
}

/// Within which a quorum queue has a new leader and all flows again: half a second on an idle machine.
const NEW_LEADER: Duration = Duration::from_secs(15);
/// Within which all flows again once the nodes are back.
const BACK: Duration = Duration::from_secs(20);
/// The most events that are handled again for a lost connection, or a lost leader: all that was in hand.
const MOST_AGAIN: usize = 100;

/// What waits for a retry may wait for the dead node: on `RabbitMQ` 3.10 the dead-lettering of a queue whose
/// own leader died goes on to ask the dead leader of the work queue (seen in every second run).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_costs_a_pause_and_no_event() {
    let mut cluster = Trio::get().await;
    let vhost = block_in_place(|| cluster.vhost("leader"));
    let load = Load::start(&cluster, &vhost, "quorum", 1).await;

    block_in_place(|| cluster.node(1).kill9());
    load.flows_within(NEW_LEADER).await;
    let told = load.told();
    let reconnections = [&load.publishing, &load.consuming].map(|service| service.stats().reconnections);
    block_in_place(|| cluster.bring_back(&[1]));
    let again = load.end(&vhost).await;

    // They wait for the new leader; one that comes between the two may be refused, and is sent again.
    told.assert_only(&["a queue refused"]);
    assert!(told.slowest < NEW_LEADER, "{told:?}");
    assert_eq!(reconnections, [0, 0], "they are connected to another node");
    assert!(again <= MOST_AGAIN, "{again}");
}

/// The new host may not know the new leader of a queue yet, and then refuses what is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_to_the_next_host_when_its_node_dies() {
    let mut cluster = Trio::get().await;
    let vhost = block_in_place(|| cluster.vhost("next-host"));
    let load = Load::start(&cluster, &vhost, "quorum", 2).await;

    block_in_place(|| cluster.node(2).kill9());
    load.flows_within(NEW_LEADER).await;
    let told = load.told();
    let reconnections = [&load.publishing, &load.consuming].map(|service| service.stats().reconnections);
    block_in_place(|| cluster.bring_back(&[2]));
    let again = load.end(&vhost).await;

    told.assert_only(&["a queue refused"]);
    assert!(told.slowest < NEW_LEADER, "{told:?}");
    assert!(reconnections.iter().all(|count| *count >= 1), "{reconnections:?}");
    assert!(again <= MOST_AGAIN, "{again}");
}

/// A minority confirms nothing: nothing is claimed, and the same ids are sent again when all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_claimed_without_a_majority_and_all_goes_on_with_one() {
    let mut cluster = Trio::get().await;
    let vhost = block_in_place(|| cluster.vhost("majority"));
    let load = Load::start(&cluster, &vhost, "quorum", 1).await;
    let impatient = builder(vhost.url_from(2), registry()).publish_only().set("publish_timeout", "2s");
    let impatient = run(impatient).await;
    let ids: Vec<String> = (0..3).map(|_| Uuid::new_v4().to_string()).collect();
    let publish = async |id: &String| {
        let order = OrderPaid { order_id: id.clone(), number: 1 };
        impatient.publisher().publish(&order).id(id).await
    };

    block_in_place(|| {
        cluster.node(1).kill9();
        cluster.node(2).kill9();
    });
    for id in &ids {
        let told = timeout(Duration::from_secs(5), publish(id)).await.expect("an answer in its time");
        let is_typed = matches!(
            told,
            Err(PublishError::TimedOut { .. }
                | PublishError::Interrupted { .. }
                | PublishError::Refused { .. })
        );
        assert!(is_typed, "{told:?}");
    }
    soon("the consuming one says so", || {
        (load.consuming.monitor().glance().status != HealthStatus::Healthy).then_some(())
    });
    // Connected to the one node that is left, and refused there.
    soon("so does one that only publishes", || {
        (impatient.monitor().glance().status == HealthStatus::Degraded).then_some(())
    });

    block_in_place(|| cluster.bring_back(&[1, 2]));
    load.flows_within(BACK).await;
    for id in ids {
        publish(&id).await.expect("a majority confirms");
        load.ledger.confirmed(id);
    }
    stop(impatient).await;
    let again = load.end(&vhost).await;

    assert!(again <= MOST_AGAIN, "{again}");
}

/// Nobody but its node has a classic queue, and the broker says that there is none (404).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classic_queue_whose_node_is_down_is_waited_for() {
    let mut cluster = Trio::get().await;
    let vhost = block_in_place(|| cluster.vhost("classic"));
    let load = Load::start(&cluster, &vhost, "classic", 1).await;
    let before = load.consuming.counts().consumers;

    block_in_place(|| cluster.node(1).kill9());
    soon("it says whose node is down", || {
        let health = Runtime::current().block_on(load.consuming.health());
        health.error.filter(|error| error.contains("the node that has queue \"events.paid\" is down"))
    });
    // One that starts now waits as well.
    let late = builder(vhost.url_from(2), registry()).set("kind", "classic").state(load.ledger.clone());
    let late = tokio::spawn(run(late));
    // The queue is asked before its consumer is told that it is gone.
    soon("it is not ready", || (!load.consuming.monitor().is_ready()).then_some(()));
    block_in_place(|| cluster.bring_back(&[1]));
    load.flows_within(BACK).await;
    let consumers = load.consuming.counts().consumers - before;
    stop(timeout(BACK, late).await.expect("it starts").expect("no panic")).await;
    let told = load.told();
    let again = load.end(&vhost).await;

    // The broker returns what it cannot store, and refuses what it had in hand.
    told.assert_only(&["no queue takes", "a queue refused"]);
    assert!(consumers <= 3, "it waits, and does not try again and again: {consumers}");
    assert!(again <= MOST_AGAIN, "{again}");
}

/// As an upgrade does it: one node after another is shut down in order, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing() {
    let mut cluster = Trio::get().await;
    let vhost = block_in_place(|| cluster.vhost("rolling"));
    let load = Load::start(&cluster, &vhost, "quorum", 1).await;

    for number in [1, 2, 0] {
        block_in_place(|| cluster.node(number).restart());
        load.flows_within(BACK).await;
    }
    let told = load.told();
    let again = load.end(&vhost).await;

    told.assert_only(&["a queue refused"]);
    assert!(told.slowest < BACK, "{told:?}");
    assert!(again <= 3 * MOST_AGAIN, "{again}");
}
