//! Two builds of one service side by side, `fleet-old` and `fleet-new`: what each change of a deploy does
//! to the events, and what a roll-back does. The guide `mixed_fleet` has the same cases as a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{Event, Handle, Publisher, Registry, dead_letters::Filter, event};
use es_bus_tests::{Node, Vhost};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::support::{
    Launch, Look, OrderPlaced, PATIENCE, Program, TempDir, placed, publisher, soon, stop, touch,
};

/// How soon everything that waited is handled, once the build that knows it is there.
const RECOVERY: Duration = Duration::from_secs(20);

/// An order was cancelled, as the new build has it.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderCancelled {
    order_id: String,
}

/// Two parcels: the second is known to the new build alone.
#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
struct Sent {
    order_id: String,
}

#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
struct Lost {
    order_id: String,
}

/// Two reports: the second comes by the new build's binding alone.
#[event(aggregate = "Report")]
#[derive(Serialize, Deserialize)]
struct Drawn {
    order_id: String,
}

#[event(aggregate = "Report")]
#[derive(Serialize, Deserialize)]
struct Shared {
    order_id: String,
}

/// One run of a handler, as its process wrote it down.
#[derive(Clone, Debug)]
struct Run {
    process: String,
    handler: String,
    attempt: u32,
    order: String,
    id: String,
    done: bool,
}

/// The fleet of one test: its virtual host, its ledger, its publisher.
struct Fleet {
    vhost: Vhost,
    look: Look,
    dir: Arc<TempDir>,
    group: &'static str,
    settings: Vec<(&'static str, String)>,
    publisher: Handle,
}

impl Fleet {
    /// No process yet. Settings are environment variables of all that follow.
    async fn of(group: &'static str, settings: &[(&'static str, &str)]) -> Self {
        let vhost = Node::shared().vhost(&format!("fleet-{group}"));
        let known = Registry::new()
            .event::<OrderPlaced>()
            .event::<OrderCancelled>()
            .event::<Sent>()
            .event::<Lost>()
            .event::<Drawn>()
            .event::<Shared>();
        Self {
            look: Look::at(&vhost).await,
            publisher: publisher(vhost.url(), known).await,
            dir: Arc::new(TempDir::new()),
            settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            group,
            vhost,
        }
    }

    fn launch(&self, exe: &str, name: &str) -> Launch {
        let launch = Launch::new(exe, &self.dir)
            .env("ES_BUS_URL", self.vhost.url())
            .env("ES_BUS_GROUPS", self.group)
            .env("FLEET_DIR", self.dir.path(""))
            .env("FLEET_NAME", name);
        self.settings.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    }

    /// A process of the old build that is still to be started.
    fn old_build(&self, name: &str) -> Launch {
        self.launch(env!("CARGO_BIN_EXE_fleet-old"), name)
    }

    /// A process of the new build that is still to be started.
    fn new_build(&self, name: &str) -> Launch {
        self.launch(env!("CARGO_BIN_EXE_fleet-new"), name)
    }

    fn queue(&self) -> String {
        format!("events.{}", self.group)
    }

    /// Waits until so many processes consume the group.
    async fn until_consumed_by(&self, consumers: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.look.queue(&self.queue()).await.1 != consumers {
            assert!(Instant::now() < deadline, "{} never had {consumers} consumers", self.queue());
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn publish<E: Event + Sync>(&self, event: &E) -> String {
        self.publisher.publisher().publish(event).await.expect("it is bound")
    }

    fn runs(&self) -> Vec<Run> {
        self.dir.lines("handled").iter().map(|line| run(line)).collect()
    }

    /// Waits until the handlers' runs satisfy the condition.
    fn until(&self, what: &str, condition: impl Fn(&[Run]) -> bool) -> Vec<Run> {
        soon(&format!("{what}, in {}", self.vhost.name()), || {
            Some(self.runs()).filter(|runs| condition(runs))
        })
    }

    /// Waits until a process has run so many handlers.
    fn until_works(&self, process: &str, runs: usize) {
        self.until(&format!("{process} to work"), |all| {
            all.iter().filter(|run| run.process == process).count() >= runs
        });
    }

    /// Waits for so many runs more, in whichever process.
    fn until_further(&self, runs: usize) {
        let so_far = self.runs().len();
        self.until("more runs", |all| all.len() >= so_far + runs);
    }

    /// Waits for dead letters; gives reason and handlers of each.
    async fn dead_letters(&self, count: u64) -> Vec<(String, String)> {
        let dlq = format!("{}.dlq", self.queue());
        self.look.until(&dlq, count, 0).await;
        let letters = self.publisher.dead_letter_queue(&dlq).expect("a name").list(usize::MAX).await;
        let mut letters: Vec<_> = letters
            .expect("listed")
            .into_iter()
            .map(|letter| (letter.reason, letter.handlers.join(",")))
            .collect();
        letters.sort();
        letters
    }

    /// Replays all dead letters.
    async fn replay(&self) -> u64 {
        let letters = self.publisher.dead_letter_queue(&format!("{}.dlq", self.queue())).expect("a name");
        letters.replay(Filter::all()).await.expect("replayed").replayed
    }

    /// Nothing is left in any queue.
    async fn assert_drained(&self) {
        assert_eq!(self.look.left_over(&self.vhost).await, []);
    }

    async fn end(self, processes: impl IntoIterator<Item = Program>) {
        for process in processes {
            terminate(process);
        }
        stop(self.publisher).await;
    }
}

fn run(line: &str) -> Run {
    let words: Vec<_> = line.split(' ').collect();
    let [process, handler, attempt, order, id, outcome] = words[..] else { panic!("{line}") };
    Run {
        process: process.to_owned(),
        handler: handler.to_owned(),
        attempt: attempt.parse().expect("a number"),
        order: order.to_owned(),
        id: id.to_owned(),
        done: outcome == "done",
    }
}

/// Ends a process as an orchestrator does.
#[track_caller]
fn terminate(process: Program) {
    process.signal("TERM");
    process.wait(PATIENCE).assert_code(0);
}

/// The events that these handlers are done with, and how often.
fn done(runs: &[Run], handlers: &[&str]) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    for run in runs.iter().filter(|run| run.done && handlers.contains(&&*run.handler)) {
        *done.entry(run.id.clone()).or_default() += 1;
    }
    done
}

/// The events that a handler was given at all.
fn given(runs: &[Run], handler: &str) -> BTreeSet<String> {
    runs.iter().filter(|run| run.handler == handler).map(|run| run.id.clone()).collect()
}

/// Each of these events, handled once.
fn once_each<'a>(ids: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, usize> {
    ids.into_iter().map(|id| (id.clone(), 1)).collect()
}

/// Whether an event that failed in one build was done by the same handler in the other.
fn has_crossed(runs: &[Run], handler: &str, from: &str, to: &str) -> bool {
    let of = |build: &str, is_done: bool| -> BTreeSet<&str> {
        let of = runs.iter().filter(|run| run.handler == handler && run.process.starts_with(build));
        of.filter(|run| run.done == is_done).map(|run| &*run.id).collect()
    };
    !of(from, false).is_disjoint(&of(to, true))
}

/// Handler, attempt and outcome of all runs in a process, sorted.
fn of(runs: &[Run], process: &str) -> Vec<(String, u32, bool)> {
    let mut of: Vec<_> = runs
        .iter()
        .filter(|run| run.process == process)
        .map(|run| (run.handler.clone(), run.attempt, run.done))
        .collect();
    of.sort();
    of
}

/// Publishes orders, of which some fail at first and some are cancelled, until it is told to end; gives the
/// ids of both events that the broker confirmed.
async fn publish_until(publisher: Publisher, ends: Arc<AtomicBool>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut placed_ids, mut cancelled_ids) = (BTreeSet::new(), BTreeSet::new());
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        let order_id = if number % 5 == 0 { format!("shaky-{number}") } else { format!("o-{number}") };
        placed_ids.insert(publisher.publish(&placed(&*order_id, 1)).await.expect("it is bound"));
        if number % 3 == 0 {
            let event = OrderCancelled { order_id };
            cancelled_ids.insert(publisher.publish(&event).await.expect("it is bound"));
        }
        number += 1;
        // For a load that is the same on every machine.
        sleep(Duration::from_millis(5)).await;
    }
    (placed_ids, cancelled_ids)
}

/// Old replicas are replaced by new ones, one after another, and back, while events are published. Every
/// change of `Orders` is under way at once.
async fn rolls_over_and_back(kind: &str) {
    let fleet = Fleet::of(
        "orders",
        // Long enough for any machine: what waits here is to be handled.
        &[("ES_BUS_GROUP__ORDERS__KIND", kind), ("ES_BUS_GROUP__ORDERS__UNKNOWN_RETRIES", "1000")],
    )
    .await;
    // Declares what the new build asks for, so that its event has a queue from the start.
    let first = fleet.new_build("new-0").start();
    fleet.until_consumed_by(1).await;
    terminate(first);
    let (old_1, old_2) = (fleet.old_build("old-1").start(), fleet.old_build("old-2").start());
    fleet.until_consumed_by(2).await;
    let ends = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish_until(fleet.publisher.publisher().clone(), Arc::clone(&ends)));

    fleet.until_works("old-1", 60);
    fleet.until_works("old-2", 60);
    let new_1 = fleet.new_build("new-1").start();
    fleet.until_works("new-1", 60);
    terminate(old_1);
    let new_2 = fleet.new_build("new-2").start();
    fleet.until_works("new-2", 60);
    terminate(old_2);
    fleet.until_further(120);
    // It was a mistake: back.
    let old_3 = fleet.old_build("old-3").start();
    fleet.until_works("old-3", 60);
    terminate(new_1);
    let old_4 = fleet.old_build("old-4").start();
    fleet.until_works("old-4", 60);
    terminate(new_2);
    fleet.until_further(120);
    ends.store(true, Ordering::Relaxed);
    let (placed_ids, cancelled_ids) = publishing.await.expect("the publisher ends");
    let back_alone = fleet.runs();
    assert!(done(&back_alone, &["cancel"]).len() < cancelled_ids.len(), "some wait for the new build");
    let forward = Instant::now();
    let new_3 = fleet.new_build("new-3").start();
    fleet.until("the cancelled orders", |runs| done(runs, &["cancel"]).len() == cancelled_ids.len());
    fleet.assert_drained().await;
    let took = forward.elapsed();

    let runs = fleet.runs();
    // Whichever build took it, each has it once, whatever was retried on the way.
    assert_eq!(done(&runs, &["place"]), once_each(&placed_ids));
    assert_eq!(done(&runs, &["book", "enter"]), once_each(&placed_ids), "renamed, and says so");
    assert_eq!(done(&runs, &["wrap", "pack"]), once_each(&placed_ids), "renamed, and does not say so");
    assert_eq!(done(&runs, &["cancel"]), once_each(&cancelled_ids), "the new event");
    // Removed and added: each has what its own build took first, and nothing of that is lost.
    let (audited, counted) = (given(&runs, "audit"), given(&runs, "count"));
    assert_eq!(done(&runs, &["audit"]), once_each(&audited));
    assert_eq!(done(&runs, &["count"]), once_each(&counted));
    assert!(audited.is_disjoint(&counted));
    assert_eq!(audited.union(&counted).cloned().collect::<BTreeSet<_>>(), placed_ids);
    for (from, to) in [("old", "new"), ("new", "old")] {
        assert!(has_crossed(&runs, "place", from, to), "a retry went from an {from} one to a {to} one");
    }
    assert!(took < RECOVERY, "{took:?}");
    fleet.end([old_3, old_4, new_3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolls_over_and_back_under_load_and_handles_each_event_once_quorum() {
    rolls_over_and_back("quorum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolls_over_and_back_under_load_and_handles_each_event_once_classic() {
    rolls_over_and_back("classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_waits_in_the_old_build_and_is_replayed_after_a_roll_back() {
    let fleet = Fleet::of("orders", &[("ES_BUS_GROUP__ORDERS__UNKNOWN_RETRIES", "3")]).await;
    let new = fleet.new_build("new").start();
    fleet.until_consumed_by(1).await;
    terminate(new);
    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;

    let id = fleet.publish(&OrderCancelled { order_id: "o-1".to_owned() }).await;
    let letters = fleet.dead_letters(1).await;
    assert_eq!(letters, [("unknown_event".to_owned(), String::new())]);
    terminate(old);
    let again = fleet.new_build("again").start();
    fleet.until_consumed_by(1).await;
    assert_eq!(fleet.replay().await, 1);
    let runs = fleet.until("the replayed event", |runs| !runs.is_empty());

    assert_eq!(done(&runs, &["cancel"]), once_each([&id]));
    assert_eq!(of(&runs, "again"), [("cancel".to_owned(), 0, true)]);
    fleet.assert_drained().await;
    fleet.end([again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_under_a_wide_binding_is_skipped_by_the_old_build_or_waits_when_it_says_so() {
    let fleet = Fleet::of("parcels", &[]).await;
    let new = fleet.new_build("new").start();
    fleet.until_consumed_by(1).await;
    terminate(new);

    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;
    fleet.publish(&Lost { order_id: "skipped".to_owned() }).await;
    fleet.publish(&Sent { order_id: "taken".to_owned() }).await;
    fleet.until("the known event", |runs| done(runs, &["send"]).len() == 1);
    fleet.assert_drained().await;
    terminate(old);
    let old = fleet.old_build("patient").env("ES_BUS_GROUP__PARCELS__ON_UNKNOWN", "wait").start();
    fleet.until_consumed_by(1).await;
    fleet.publish(&Lost { order_id: "waits".to_owned() }).await;
    fleet.publish(&Sent { order_id: "taken-too".to_owned() }).await;
    fleet.until("the known event", |runs| done(runs, &["send"]).len() == 2);
    let new = fleet.new_build("again").start();
    let runs = fleet.until("the event that waited", |runs| !done(runs, &["search"]).is_empty());

    let searched: Vec<_> = runs.iter().filter(|run| run.handler == "search").map(|run| &run.order).collect();
    assert_eq!(searched, ["waits"], "what was skipped is gone");
    fleet.assert_drained().await;
    fleet.end([old, new]).await;
}

/// Publishes an order that fails at every handler of a build; ends the build when the retries wait, and
/// mends what was broken.
async fn leaves_retries_behind(fleet: &Fleet, build: Launch, handlers: usize) -> String {
    touch(&fleet.dir.path("down"));
    let process = build.start();
    fleet.until_consumed_by(1).await;
    let id = fleet.publish(&placed("stuck", 1)).await;
    fleet.until("the first attempts", |runs| runs.iter().filter(|run| run.id == id).count() >= handlers);
    terminate(process);
    fs::remove_file(fleet.dir.path("down")).expect("it is there");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finds_a_renamed_handler_forwards_and_waits_for_it_backwards() {
    let fleet = Fleet::of("orders", &[("ES_BUS_GROUP__ORDERS__UNKNOWN_RETRIES", "3")]).await;

    // The old build fails at place, book, wrap and audit; the new one knows place and, by its former
    // name, book.
    leaves_retries_behind(&fleet, fleet.old_build("old"), 4).await;
    let new = fleet.new_build("new").start();
    let letters = fleet.dead_letters(2).await;
    assert_eq!(letters, [gone("audit"), gone("wrap")]);
    let runs = fleet.runs();
    let names: Vec<_> = of(&runs, "new").into_iter().map(|(handler, _, done)| (handler, done)).collect();
    assert_eq!(names, [("enter".to_owned(), true), ("place".to_owned(), true)]);
    assert!(runs.iter().all(|run| run.process == "old" || run.attempt > 0), "attempts go on: {runs:#?}");
    terminate(new);
    // Rolled back, the old build takes what is replayed, each letter in the handler that it names.
    let back = fleet.old_build("back").start();
    fleet.until_consumed_by(1).await;
    assert_eq!(fleet.replay().await, 2);
    let runs = fleet.until("the replayed ones", |runs| of(runs, "back").len() == 2);
    assert_eq!(of(&runs, "back"), [("audit".to_owned(), 0, true), ("wrap".to_owned(), 0, true)]);
    fleet.assert_drained().await;
    fleet.end([back]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_the_new_build_wrote_waits_in_the_old_one_for_the_roll_forward() {
    let fleet = Fleet::of("orders", &[("ES_BUS_GROUP__ORDERS__UNKNOWN_RETRIES", "3")]).await;

    // The new build fails at place, enter, pack and count; the old one knows place alone.
    let id = leaves_retries_behind(&fleet, fleet.new_build("new"), 4).await;
    let old = fleet.old_build("old").start();
    let letters = fleet.dead_letters(3).await;
    assert_eq!(letters, [gone("count"), gone("enter"), gone("pack")]);
    let runs = fleet.runs();
    assert_eq!(done(&runs, &["place"]), once_each([&id]));
    assert_eq!(given(&runs, "book"), BTreeSet::new(), "the old build cannot know the new name");
    terminate(old);
    let forward = fleet.new_build("forward").start();
    fleet.until_consumed_by(1).await;
    assert_eq!(fleet.replay().await, 3);
    let runs = fleet.until("the replayed ones", |runs| of(runs, "forward").len() == 3);

    let expected = ["count", "enter", "pack"].map(|handler| (handler.to_owned(), 0, true));
    assert_eq!(of(&runs, "forward"), expected);
    fleet.assert_drained().await;
    fleet.end([forward]).await;
}

fn gone(handler: &str) -> (String, String) {
    ("handler_gone".to_owned(), handler.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_is_declared_beside_the_old_one_and_each_build_goes_by_its_own() {
    let fleet = Fleet::of("payments", &[]).await;

    let id = leaves_retries_behind(&fleet, fleet.old_build("old"), 1).await;
    touch(&fleet.dir.path("down"));
    let new = fleet.new_build("new").start();
    // Five attempts by the new policy, the first of which the old build made.
    let letters = fleet.dead_letters(1).await;
    assert_eq!(letters, [("handler_error".to_owned(), "charge".to_owned())]);
    let runs = fleet.runs();
    assert_eq!(of(&runs, "old"), [("charge".to_owned(), 0, false)]);
    assert_eq!(of(&runs, "new"), [1, 2, 3, 4].map(|attempt| ("charge".to_owned(), attempt, false)));
    terminate(new);
    // The retries of the new build come to the old one, which gives up after two.
    let id_2 = leaves_retries_behind(&fleet, fleet.new_build("new-2"), 1).await;
    touch(&fleet.dir.path("down"));
    let back = fleet.old_build("back").start();
    fleet.dead_letters(2).await;
    let runs = fleet.runs();
    assert_eq!(of(&runs, "back"), [1, 2].map(|attempt| ("charge".to_owned(), attempt, false)));
    fs::remove_file(fleet.dir.path("down")).expect("it is there");
    assert_eq!(fleet.replay().await, 2);
    let runs = fleet.until("the replayed ones", |runs| done(runs, &["charge"]).len() == 2);

    assert_eq!(done(&runs, &["charge"]), once_each([&id, &id_2]));
    fleet.assert_drained().await;
    fleet.end([back]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_cannot_change_is_refused_and_the_old_build_goes_on() {
    let fleet = Fleet::of("ledger", &[]).await;
    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;

    let refused = fleet.new_build("new").env("RUST_LOG", "off").run();
    let id = fleet.publish(&placed("o-1", 1)).await;
    let runs = fleet.until("the event", |runs| !runs.is_empty());

    refused.assert_code(1);
    for said in [
        "queue \"events.ledger\" exists with other settings",
        "x-queue-type            this program: classic, the broker: quorum",
        "queue \"events.ledger.dlq\" exists with other settings",
        "x-message-ttl     this program: 172800000, the broker: 86400000",
        "keep what the broker has: `#[group(kind = \"quorum\")]`",
    ] {
        assert!(refused.stderr.contains(said), "{said}:\n{}", refused.stderr);
    }
    assert_eq!(of(&runs, "old"), [("ledger".to_owned(), 0, true)]);
    assert_eq!(done(&runs, &["ledger"]), once_each([&id]));
    fleet.end([old]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_events_from_its_first_start_on_and_keeps_them_when_its_build_goes() {
    let fleet = Fleet::of("mailing", &[]).await;
    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;
    let before = fleet.publish(&placed("before", 1)).await;
    fleet.until("the old group", |runs| runs.len() == 1);

    // The new build has a group more and one less.
    let new = fleet.new_build("new").env("ES_BUS_GROUPS", "statistics").start();
    fleet.look.until("events.statistics", 0, 1).await;
    let both = fleet.publish(&placed("both", 1)).await;
    fleet.until("both groups", |runs| runs.len() == 3);
    terminate(old);
    let without = fleet.publish(&placed("without", 1)).await;
    fleet.until("the new group", |runs| done(runs, &["tally"]).len() == 2);
    fleet.look.until("events.mailing", 1, 0).await;
    // Rolled back: the queue that nobody consumed has kept its event, and so does the other now.
    terminate(new);
    let back = fleet.old_build("back").start();
    fleet.until("what was kept", |runs| done(runs, &["mail"]).len() == 3);
    let after = fleet.publish(&placed("after", 1)).await;
    fleet.until("the old group", |runs| done(runs, &["mail"]).len() == 4);
    fleet.look.until("events.statistics", 1, 0).await;

    let runs = fleet.runs();
    assert_eq!(done(&runs, &["mail"]), once_each([&before, &both, &without, &after]));
    assert_eq!(done(&runs, &["tally"]), once_each([&both, &without]));
    fleet.end([back]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widened_binding_stays_after_a_roll_back_until_it_is_retired() {
    let fleet = Fleet::of("reports", &[("ES_BUS_GROUP__REPORTS__UNKNOWN_RETRIES", "3")]).await;
    let drawn = || Drawn { order_id: "drawn".to_owned() };
    let shared = || Shared { order_id: "shared".to_owned() };
    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;
    let new = fleet.new_build("new").start();
    fleet.until_consumed_by(2).await;
    terminate(old);
    fleet.publish(&shared()).await;
    fleet.until("what only the wide binding brings", |runs| of(runs, "new").len() == 1);
    terminate(new);

    let back = fleet.old_build("back").start();
    fleet.until_consumed_by(1).await;
    fleet.publish(&shared()).await;
    fleet.publish(&drawn()).await;
    let letters = fleet.dead_letters(1).await;
    assert_eq!(letters, [("unknown_event".to_owned(), String::new())]);
    terminate(back);
    let retired = fleet.old_build("retired").env("ES_BUS_GROUP__REPORTS__RETIRED", "Report.*").start();
    fleet.until_consumed_by(1).await;
    fleet.publisher.publisher().publish(&shared()).await.expect("an event may have no queue");
    fleet.publish(&drawn()).await;
    let runs = fleet.until("the known event", |runs| of(runs, "retired").len() == 1);

    assert_eq!(of(&runs, "back"), [("draw".to_owned(), 0, true)]);
    assert_eq!(of(&runs, "retired"), [("draw".to_owned(), 0, true)]);
    let keys: Vec<_> = fleet
        .vhost
        .bindings()
        .into_iter()
        .filter(|binding| binding.source == "events")
        .map(|binding| binding.routing_key)
        .collect();
    assert_eq!(keys, ["Report.Drawn"]);
    fleet.dead_letters(1).await;
    fleet.end([retired]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_a_build_cannot_read_is_dead_lettered_and_replayed_to_one_that_can() {
    let fleet = Fleet::of("invoicing", &[]).await;
    let undecodable = |handler: &str| ("undecodable".to_owned(), handler.to_owned());

    // What the new build writes, before the old one: a field more is not minded, one less and another
    // type are.
    let old = fleet.old_build("old").start();
    fleet.until_consumed_by(1).await;
    fleet.new_build("writer").arg("by-new").run().assert_code(0);
    assert_eq!(fleet.dead_letters(2).await, [undecodable("pay"), undecodable("void")]);
    let runs = fleet.until("the readable one", |runs| runs.len() == 1);
    assert_eq!(of(&runs, "old"), [("issue".to_owned(), 0, true)]);
    terminate(old);
    // The other way round, a field that is missing has its default, and one more is not minded.
    let new = fleet.new_build("new").start();
    fleet.until_consumed_by(1).await;
    fleet.old_build("writer").arg("by-old").run().assert_code(0);
    fleet.dead_letters(3).await;
    let runs = fleet.until("the readable ones", |runs| of(runs, "new").len() == 2);
    let orders: BTreeSet<_> = runs.iter().map(|run| run.order.as_str()).collect();
    assert_eq!(orders, BTreeSet::from(["by-new", "by-old", "by-old-none"]));
    // All are replayed to the new build, which cannot read what the old one wrote of the third.
    assert_eq!(fleet.replay().await, 3);
    let runs = fleet.until("the replayed ones", |runs| of(runs, "new").len() == 4);

    assert_eq!(fleet.dead_letters(1).await, [undecodable("void")]);
    let mut of_new: Vec<_> =
        runs.iter().filter(|run| run.order == "by-new").map(|run| &*run.handler).collect();
    of_new.sort_unstable();
    assert_eq!(of_new, ["issue", "pay", "void"]);
    fleet.end([new]).await;
}
