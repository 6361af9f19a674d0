//! An event that ends its process reaches the dead-letter queue, and takes no other with it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use es_bus::{Handle, Registry, event};
use es_bus_tests::{Node, Vhost};
use serde::{Deserialize, Serialize};
use tokio::{task::block_in_place, time::sleep};

use crate::support::{Launch, Look, PATIENCE, Program, TempDir, publisher, stop, take};

/// A parcel came; as the program `fragile` has it.
#[event(aggregate = "Parcel", aggregate_id = parcel_id)]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ParcelArrived {
    parcel_id: String,
    explosive: bool,
}

/// How many processes may end over an event, as is the default.
const LIMIT: usize = 3;
/// How many deliveries a process has in hand.
const PREFETCH: usize = 20;
/// Within which all is handled that can be, from the first start on.
const RECOVERS_WITHIN: Duration = Duration::from_secs(40);

/// Replicas of the service, each started again when it ends.
struct Fleet {
    vhost: Vhost,
    dir: Arc<TempDir>,
    kind: &'static str,
    pause_ms: u32,
    running: Vec<Program>,
    /// What those said that ended.
    said: Vec<String>,
    deaths: usize,
}

impl Fleet {
    fn new(name: &str, kind: &'static str) -> Self {
        let vhost = Node::shared().vhost(name);
        let dir = Arc::new(TempDir::new());
        Self { vhost, dir, kind, pause_ms: 5, running: Vec::new(), said: Vec::new(), deaths: 0 }
    }

    fn start(&mut self) {
        let program = Launch::new(env!("CARGO_BIN_EXE_fragile"), &self.dir)
            .env("ES_BUS_URL", self.vhost.url())
            .env("ES_BUS_KIND", self.kind)
            .env("ES_BUS_PREFETCH", PREFETCH.to_string())
            .env("ES_BUS_CONCURRENCY", "8")
            .env("ES_BUS_SHUTDOWN_TIMEOUT", "10s")
            // A consumer that the broker forgot is found in time.
            .env("ES_BUS_WATCHDOG_INTERVAL", "2s")
            .env("FRAGILE_DIR", self.dir.path(""))
            .env("FRAGILE_PAUSE_MS", self.pause_ms.to_string())
            .start();
        self.running.push(program);
    }

    /// Waits until the queues are there.
    async fn ready(&self, look: &Look) {
        for queue in ["events.carriers", "events.clerks"] {
            look.until(queue, 0, self.running.len() as u64).await;
        }
    }

    /// Publishes so many parcels, of which one is explosive where that is said.
    async fn publish(&self, count: usize, explosive: Option<usize>) {
        let bus: Handle = publisher(self.vhost.url(), Registry::new().event::<ParcelArrived>()).await;
        let parcels: Vec<_> = (0..count)
            .map(|n| ParcelArrived { parcel_id: format!("p-{n}"), explosive: Some(n) == explosive })
            .collect();
        bus.publisher().publish_all(&parcels).await.into_result().expect("all are confirmed");
        stop(bus).await;
    }

    /// Starts again what ended.
    fn tend(&mut self) {
        let running = std::mem::take(&mut self.running);
        for mut program in running {
            if program.is_running() {
                self.running.push(program);
            } else {
                self.said.push(program.stderr());
                self.deaths += 1;
                self.start();
            }
        }
    }

    /// Tends the fleet until the condition holds.
    async fn until(&mut self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + RECOVERS_WITHIN;
        while !condition(self).await {
            assert!(
                Instant::now() < deadline,
                "not within {RECOVERS_WITHIN:?}: {what}; {} deaths",
                self.deaths
            );
            self.tend();
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the replicas in order.
    fn stop(&mut self) {
        for program in self.running.drain(..) {
            program.signal("TERM");
            let ended = program.wait(PATIENCE);
            ended.assert_code(0);
            self.said.push(ended.stderr);
        }
    }

    /// The parcels that a file has lines of this word about, one by one.
    fn lines(&self, file: &str, word: &str) -> Vec<String> {
        let words = |line: &String| {
            let (first, id) = line.split_once(' ').expect("two words");
            (first == word).then(|| id.to_owned())
        };
        self.dir.lines(file).iter().filter_map(words).collect()
    }

    fn set(&self, file: &str, word: &str) -> BTreeSet<String> {
        self.lines(file, word).into_iter().collect()
    }

    fn said(&self, text: &str) -> usize {
        self.said.iter().flat_map(|said| said.lines()).filter(|line| line.contains(text)).count()
    }
}

fn parcels(count: usize, without: Option<usize>) -> BTreeSet<String> {
    (0..count).filter(|n| Some(*n) != without).map(|n| format!("p-{n}")).collect()
}

/// The prefetch of each consumer of a queue.
fn prefetch(vhost: &Vhost, queue: &str) -> Vec<usize> {
    let args = ["list_consumers", "-p", vhost.name(), "--no-table-headers", "queue_name", "prefetch_count"];
    let listed = block_in_place(|| Node::shared().rabbitmqctl(&args));
    let count = |line: &str| line.strip_prefix(queue)?.trim().parse().ok();
    listed.lines().filter_map(count).collect()
}

/// Publishes 120 parcels with a bomb among them to so many replicas, and tends these until every other
/// parcel is handled and the bomb is dead-lettered.
async fn a_bomb(name: &str, kind: &'static str, replicas: usize, most_deaths: usize) -> Fleet {
    const PARCELS: usize = 120;
    const BOMB: usize = 40;
    let mut fleet = Fleet::new(name, kind);
    (0..replicas).for_each(|_| fleet.start());
    let look = Look::at(&fleet.vhost).await;
    fleet.ready(&look).await;
    fleet.publish(PARCELS, Some(BOMB)).await;

    let (innocent, all) = (parcels(PARCELS, Some(BOMB)), parcels(PARCELS, None));
    fleet
        .until("every other parcel is handled, and the bomb is dead", async |fleet| {
            fleet.set("carried", "end") == innocent
                && fleet.set("written", "end") == all
                && look.queue("events.carriers.dlq").await.0 == 1
        })
        .await;

    // Another replica may have dead-lettered it before the last death was seen.
    fleet.until("all deaths are seen", async |fleet| fleet.deaths >= LIMIT).await;
    let letters = take(&fleet.vhost, "events.carriers.dlq", 1).await;
    assert_eq!(look.left_over(&fleet.vhost).await, [], "there is no other");
    let headers = &letters[0].message.headers;
    assert_eq!(headers.get_str("x-es-reason"), Some("crashed"), "{headers:?}");
    assert_eq!(headers.get_str("x-es-aggregate-id"), Some(format!("p-{BOMB}").as_str()), "{headers:?}");
    assert!(fleet.deaths <= most_deaths, "{} deaths", fleet.deaths);
    assert_eq!(fleet.lines("carried", "boom").len(), fleet.deaths, "each for the bomb");
    for (file, count) in [("carried", innocent.len()), ("written", all.len())] {
        let runs = fleet.lines(file, "end").len();
        // What was in hand of a process that ended may be handled again.
        assert!(runs <= count + fleet.deaths * PREFETCH, "{runs} runs of {count} parcels");
    }
    // And they go on as ever.
    fleet.publish(PARCELS, None).await;
    fleet
        .until("the next parcels are handled", async |fleet| {
            fleet.lines("carried", "end").len() >= innocent.len() + PARCELS
        })
        .await;
    // A replica that was started last takes more at once when it is given something.
    let is_wide = |fleet: &Fleet| {
        let full = vec![PREFETCH; replicas];
        ["events.carriers", "events.clerks"].iter().all(|queue| prefetch(&fleet.vhost, queue) == full)
    };
    let deadline = Instant::now() + RECOVERS_WITHIN;
    while !is_wide(&fleet) {
        assert!(Instant::now() < deadline, "a replica still takes one at a time");
        fleet.publish(replicas * PREFETCH, None).await;
    }
    let deaths = fleet.deaths;
    fleet.stop();
    assert_eq!(fleet.deaths, deaths);
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_aborts_its_process_is_dead_lettered_alone_from_a_quorum_queue() {
    let fleet = a_bomb("bomb-quorum", "quorum", 1, LIMIT).await;

    assert!(fleet.said("taking one delivery at a time") >= 1);
    assert_eq!(fleet.said("handled alone once more"), 1);
    assert_eq!(fleet.said("dead-lettered: 3 processes"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_aborts_its_process_is_dead_lettered_alone_from_a_classic_queue() {
    a_bomb("bomb-classic", "classic", 1, LIMIT).await;
}

/// Each may end once with the event among others.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_aborts_two_replicas_is_dead_lettered_alone() {
    a_bomb("bomb-two", "quorum", 2, LIMIT + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_makes_no_suspects() {
    const PARCELS: usize = 400;
    let mut fleet = Fleet::new("rolling", "quorum");
    // Each has something in hand at any moment.
    fleet.pause_ms = 150;
    fleet.start();
    fleet.start();
    let look = Look::at(&fleet.vhost).await;
    fleet.ready(&look).await;
    fleet.publish(PARCELS, None).await;

    for restart in 1..=4 {
        let before = fleet.lines("carried", "end").len();
        fleet
            .until("some are handled", async |fleet| fleet.lines("carried", "end").len() > before + 20)
            .await;
        let old = fleet.running.remove(0);
        old.signal("TERM");
        fleet.start();
        let ended = old.wait(PATIENCE);
        ended.assert_code(0);
        fleet.said.push(ended.stderr);
        assert_eq!(fleet.deaths, 0, "restart {restart}");
    }
    let all = parcels(PARCELS, None);
    fleet
        .until("all are handled", async |fleet| {
            fleet.set("carried", "end") == all && fleet.set("written", "end") == all
        })
        .await;

    assert_eq!(look.left_over(&fleet.vhost).await, []);
    fleet.stop();
    for text in ["handled alone", "taking one delivery at a time"] {
        assert_eq!(fleet.said(text), 0, "{text:?}:\n{}", fleet.said.join("\n--- another replica\n"));
    }
}

/// A machine that is out of memory over something else, or somebody with `kill -9`.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_for_no_events_fault_dead_letters_none() {
    const PARCELS: usize = 200;
    let mut fleet = Fleet::new("no-fault", "quorum");
    fleet.pause_ms = 20;
    fleet.start();
    let look = Look::at(&fleet.vhost).await;
    fleet.ready(&look).await;
    fleet.publish(PARCELS, None).await;

    for _ in 0..3 {
        let before = fleet.lines("carried", "end").len();
        fleet
            .until("some are handled", async |fleet| fleet.lines("carried", "end").len() > before + 10)
            .await;
        let program = fleet.running.remove(0);
        fleet.said.push(program.stderr());
        program.kill9();
        fleet.start();
    }
    let all = parcels(PARCELS, None);
    fleet
        .until("all are handled", async |fleet| {
            fleet.set("carried", "end") == all && fleet.set("written", "end") == all
        })
        .await;

    assert_eq!(look.left_over(&fleet.vhost).await, []);
    fleet.stop();
    assert!(fleet.said("the event is handled alone") > 0, "they were suspected");
    assert_eq!(fleet.said("dead-lettered"), 0);
    assert_eq!(fleet.deaths, 0);
}
