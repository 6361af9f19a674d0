//! A service that is killed between two steps of its work leaves an event that comes again, and no
//! gap: once for each row of the table in ARCHITECTURE.md.
//!
//! The moment is one on the wire, or a line that the service writes. What the proxy holds of it is
//! lost with its connections; then it is started again, without the proxy.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use es_bus::{Handle, Registry, handler};
use es_bus_tests::{Frame, Method, Mode, Node, Proxy, Trap, Vhost, Way};
use tokio::task::block_in_place;

use crate::support::{
    InvoiceSent, Launch, Look, OrderPlaced, PATIENCE, Program, TempDir, builder, placed, publisher, run,
    stop, take, touch,
};

/// How long after its new start a service is through with what a killed one left behind.
const RECOVERY: Duration = Duration::from_secs(15);

#[handler(group = "billing")]
async fn collect(_invoice: InvoiceSent) {}

/// A service of one group, and the broker behind its proxy.
struct Scene {
    vhost: Vhost,
    proxy: Proxy,
    look: Look,
    dir: Arc<TempDir>,
    group: &'static str,
    kind: &'static str,
    publishing: Handle,
}

impl Scene {
    async fn of(group: &'static str, kind: &'static str) -> Self {
        let node = Node::shared();
        let vhost = block_in_place(|| node.vhost(&format!("crash-{group}-{kind}")));
        let look = Look::at(&vhost).await;
        let registry = Registry::new().event::<OrderPlaced>().handler::<collect>();
        stop(run(builder(vhost.url(), registry.clone())).await).await;
        let publishing = publisher(vhost.url(), registry).await;
        let (proxy, dir) = (Proxy::before(node.port()), Arc::new(TempDir::new()));
        Self { vhost, proxy, look, dir, group, kind, publishing }
    }

    /// A service that was killed over its first event, when what is held began to be.
    async fn killed(group: &'static str, kind: &'static str, hold: impl FnOnce(&Self) -> Trap) -> Self {
        let scene = Self::of(group, kind).await;
        let service = scene.start().await;
        let held = hold(&scene);
        scene.publish().await;
        sprung(&held);
        scene.kill(service);
        scene
    }

    fn launch(&self, url: &str) -> Launch {
        Launch::new(env!("CARGO_BIN_EXE_mortal"), &self.dir)
            .env("ES_BUS_URL", url)
            .env("ES_BUS_GROUPS", self.group)
            .env(&format!("ES_BUS_GROUP__{}__KIND", self.group.to_uppercase()), self.kind)
            .env("ES_BUS_CONCURRENCY", "1")
            .env("MORTAL_DIR", self.dir.path(""))
    }

    fn queue(&self) -> String {
        format!("events.{}", self.group)
    }

    /// The service behind the proxy, consuming.
    async fn start(&self) -> Program {
        let service = self.launch(&self.proxy.url(&self.vhost.url())).start();
        self.look.until(&self.queue(), 0, 1).await;
        service
    }

    async fn publish(&self) -> String {
        self.publishing.publisher().publish(&placed("o-1", 1)).await.expect("the queue is there")
    }

    /// Waits until so many lines begin with the word.
    fn until(&self, word: &str, count: usize) {
        let begins = |line: &&String| line.split(' ').next() == Some(word);
        self.dir.until("log", word, |lines| lines.iter().filter(begins).count() >= count);
    }

    /// Kills it; what the proxy holds of it never arrives.
    fn kill(&self, service: Program) {
        service.kill9();
        self.proxy.cut("");
        self.proxy.pass();
    }

    /// Starts it again, opens the gate, waits until a word was written so often and nothing is left, and
    /// stops it in order. Gives how often each word was written.
    async fn again(&self, word: &str, count: usize) -> BTreeMap<String, usize> {
        let started = Instant::now();
        touch(&self.dir.path("gate"));
        let service = self.launch(&self.vhost.url()).start();
        block_in_place(|| self.until(word, count));
        // A retry may be on its way, and a second copy behind it.
        assert_eq!(self.waiting().await, [], "what is left waits for nobody");
        assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
        service.signal("TERM");
        block_in_place(|| service.wait(PATIENCE)).assert_code(0);
        assert_eq!(self.look.queue(&self.queue()).await, (0, 0), "all was acknowledged");
        self.words()
    }

    /// What waits in queues that somebody should have emptied.
    async fn waiting(&self) -> Vec<(String, u64)> {
        self.look.left_over_but(&self.vhost, &["events.rejecting.dlq", "events.billing"]).await
    }

    fn words(&self) -> BTreeMap<String, usize> {
        let mut words = BTreeMap::new();
        for line in self.dir.lines("log") {
            *words.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        words
    }

    /// From the first confirm on, nothing arrives at the service.
    fn hold_confirms(&self) -> Trap {
        self.proxy.at("(publishing)", Way::ToClient, Mode::Hold, |frame: &Frame| frame.is(Method::Ack))
    }

    /// From the first publish to the exchange on, nothing arrives at the broker.
    fn hold_publishes(&self, exchange: &'static str) -> Trap {
        self.proxy.at("(publishing)", Way::ToBroker, Mode::Hold, move |frame| frame.publishes_to(exchange))
    }

    /// From the first acknowledgement on, nothing arrives at the broker.
    fn hold_acks(&self) -> Trap {
        self.proxy.at("(consuming)", Way::ToBroker, Mode::Hold, |frame: &Frame| frame.is(Method::Ack))
    }
}

fn sprung(trap: &Trap) {
    block_in_place(|| trap.until_sprung(PATIENCE));
}

#[track_caller]
fn assert_words(found: &BTreeMap<String, usize>, expected: &[(&str, usize)]) {
    let expected = expected.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
    assert_eq!(*found, expected);
}

/// How many messages a queue has, all of one id.
async fn of_one_id(scene: &Scene, queue: &str, count: usize) {
    scene.look.until(queue, count as u64, 0).await;
    let taken = take(&scene.vhost, queue, count).await;
    let id = |index: usize| taken[index].message.properties.message_id.clone();
    assert!((1..count).all(|index| id(index) == id(0)), "{taken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_and_in_the_handler_what_was_taken_comes_again() {
    for kind in ["quorum", "classic"] {
        let scene = Scene::of("waiting", kind).await;
        let service = scene.start().await;
        let (first, second) = (scene.publish().await, scene.publish().await);
        // One is in its handler, the other waits for its turn.
        block_in_place(|| scene.until("start", 1));
        scene.look.until("events.waiting", 0, 1).await;

        scene.kill(service);
        let words = scene.again("end", 2).await;

        assert_words(&words, &[("start", 3), ("end", 2)]);
        let log = ["start", "start", "end", "start", "end"].into_iter();
        let ids = [&first, &first, &first, &second, &second];
        let expected: Vec<String> = log.zip(ids).map(|(word, id)| format!("{word} {id}")).collect();
        assert_eq!(scene.dir.lines("log"), expected, "in the old order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_its_acknowledgement_is_there_an_event_comes_again_and_afterwards_not() {
    for kind in ["quorum", "classic"] {
        let scene = Scene::of("waiting", kind).await;
        touch(&scene.dir.path("gate"));
        let service = scene.start().await;
        let held = scene.hold_acks();
        scene.publish().await;
        sprung(&held);
        scene.kill(service);
        assert_words(&scene.again("end", 2).await, &[("start", 2), ("end", 2)]);

        let service = scene.start().await;
        let passed = scene.proxy.at("(consuming)", Way::ToBroker, Mode::Pass, |frame| frame.is(Method::Ack));
        scene.publish().await;
        sprung(&passed);
        // What it wrote arrives, and then its end.
        service.kill9();
        scene.look.until("events.waiting", 0, 0).await;
        assert_words(&scene.again("end", 3).await, &[("start", 3), ("end", 3)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_was_cut_short_is_done_again() {
    let scene = Scene::of("committing", "quorum").await;
    let service = scene.start().await;
    scene.publish().await;
    block_in_place(|| scene.until("committing", 1));

    scene.kill(service);
    let words = scene.again("committed", 1).await;

    assert_words(&words, &[("run", 2), ("committing", 2), ("committed", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_was_done_is_done_twice_before_the_acknowledgement() {
    let scene = Scene::of("committing", "quorum").await;
    touch(&scene.dir.path("gate"));
    let service = scene.start().await;
    let held = scene.hold_acks();
    scene.publish().await;
    sprung(&held);

    scene.kill(service);
    let words = scene.again("committed", 2).await;

    assert_words(&words, &[("run", 2), ("committing", 2), ("committed", 2)]);
}

/// On its way to the broker, at the broker without the service knowing it, known to the service.
#[tokio::test(flavor = "multi_thread")]
async fn around_its_retry_copy_an_event_is_tried_again_once_or_twice() {
    for kind in ["quorum", "classic"] {
        let scene =
            Scene::killed("failing", kind, |scene| scene.hold_publishes("events.failing.retry")).await;
        assert_words(&scene.again("end", 1).await, &[("fail", 2), ("end", 1)]);
    }
    for hold in [Scene::hold_confirms, Scene::hold_acks] {
        let scene = Scene::killed("failing", "quorum", hold).await;
        // The copy that the broker has, and the one of the second run.
        assert_words(&scene.again("end", 2).await, &[("fail", 2), ("end", 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn around_its_dead_letter_an_event_is_dead_lettered_once_or_twice() {
    let scene = Scene::killed("rejecting", "quorum", |scene| scene.hold_publishes("events_dlq")).await;
    assert_words(&scene.again("reject", 2).await, &[("reject", 2)]);
    of_one_id(&scene, "events.rejecting.dlq", 1).await;

    for hold in [Scene::hold_confirms, Scene::hold_acks] {
        let scene = Scene::killed("rejecting", "quorum", hold).await;
        assert_words(&scene.again("reject", 2).await, &[("reject", 2)]);
        of_one_id(&scene, "events.rejecting.dlq", 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn around_what_it_emits_a_handler_emits_the_same_id_once_or_twice() {
    let scene = Scene::killed("invoicing", "quorum", |scene| scene.hold_publishes("billing")).await;
    assert_words(&scene.again("committed", 1).await, &[("run", 2), ("committing", 1), ("committed", 1)]);
    of_one_id(&scene, "events.billing", 1).await;

    let scene = Scene::killed("invoicing", "quorum", Scene::hold_confirms).await;
    assert_words(&scene.again("committed", 1).await, &[("run", 2), ("committing", 1), ("committed", 1)]);
    of_one_id(&scene, "events.billing", 2).await;

    // Confirmed, before the completions.
    let scene = Scene::of("invoicing", "quorum").await;
    let service = scene.start().await;
    scene.publish().await;
    block_in_place(|| scene.until("committing", 1));
    scene.kill(service);
    assert_words(&scene.again("committed", 1).await, &[("run", 2), ("committing", 2), ("committed", 1)]);
    of_one_id(&scene, "events.billing", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_was_not_confirmed_is_there_or_not_and_was_never_told_to_be() {
    let scene = Scene::of("waiting", "quorum").await;
    touch(&scene.dir.path("gate"));
    scene.kill(scene.start().await);
    let url = scene.proxy.url(&scene.vhost.url());

    let held = scene.hold_publishes("events");
    let lost = scene.launch(&url).arg("publish").start();
    sprung(&held);
    scene.kill(lost);
    scene.look.until("events.waiting", 0, 0).await;
    let held = scene.hold_confirms();
    let unknown = scene.launch(&url).arg("publish").start();
    sprung(&held);
    scene.kill(unknown);
    scene.look.until("events.waiting", 1, 0).await;

    assert_words(&scene.again("end", 1).await, &[("start", 1), ("end", 1)]);
}

/// What is accepted in the background is in memory until it is confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_background_goes_with_the_process() {
    let scene = Scene::of("waiting", "quorum").await;
    touch(&scene.dir.path("gate"));
    scene.kill(scene.start().await);

    let held = scene.hold_publishes("events");
    let service = scene.launch(&scene.proxy.url(&scene.vhost.url())).arg("background").start();
    sprung(&held);
    block_in_place(|| scene.until("accepted", 3));
    scene.kill(service);

    scene.look.until("events.waiting", 0, 0).await;
    assert_words(&scene.words(), &[("accepted", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn amid_a_stop_in_order_what_was_not_settled_comes_again() {
    // Cancelled, and the handler runs still.
    let scene = Scene::of("waiting", "quorum").await;
    let service = scene.start().await;
    scene.publish().await;
    block_in_place(|| scene.until("start", 1));
    let cancelled =
        scene.proxy.at("(consuming)", Way::ToBroker, Mode::Pass, |frame| frame.is(Method::Cancel));
    service.signal("TERM");
    sprung(&cancelled);
    scene.kill(service);
    assert_words(&scene.again("end", 1).await, &[("start", 2), ("end", 1)]);

    // The handler is done, and its acknowledgement on the way.
    let scene = Scene::of("waiting", "quorum").await;
    let service = scene.start().await;
    scene.publish().await;
    block_in_place(|| scene.until("start", 1));
    let cancelled =
        scene.proxy.at("(consuming)", Way::ToBroker, Mode::Pass, |frame| frame.is(Method::Cancel));
    let held = scene.hold_acks();
    service.signal("TERM");
    sprung(&cancelled);
    touch(&scene.dir.path("gate"));
    sprung(&held);
    scene.kill(service);
    assert_words(&scene.again("end", 2).await, &[("start", 2), ("end", 2)]);
}
