//! A service under traffic whose declarations change one after the other, by the command line alone: nothing is lost,
//! and in the end the broker has what the last version declares and nothing else.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Attempt, BusBuilder, Delivered, Handle, HandlerError, Registry, State,
    cli::{Captured, captured},
    group, handler,
};
use es_bus_tests::{Node, Vhost};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::{Journal, OrderPlaced, PATIENCE, TempDir, builder, placed, run, stop, take};

/// Fails now and then, and gives some up.
async fn work(
    order: &OrderPlaced,
    delivered: &Delivered,
    attempt: &Attempt,
    journal: &Journal,
) -> Result<(), HandlerError> {
    sleep(Duration::from_millis(5)).await;
    match order.total {
        7 if attempt.number == 0 => Err(HandlerError::retry("not yet")),
        13 => {
            journal.note(format!("dead {}", order.order_id));
            Err(HandlerError::reject("an order over 13 is no order"))
        }
        _ => {
            assert_eq!((&*delivered.exchange, &*delivered.routing_key), ("shop", "Order.OrderPlaced"));
            journal.note(format!("done {}", order.order_id));
            Ok(())
        }
    }
}

#[handler(group = "ledger", name = "book", retries = 1, backoff(base = "200ms", max = "200ms"))]
async fn first(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    work(&order, &delivered, &attempt, &journal).await
}

/// Bound by another key.
#[handler(
    group = "ledger",
    name = "book",
    bind = "Order.*",
    retries = 1,
    backoff(base = "200ms", max = "200ms")
)]
async fn bound_otherwise(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    work(&order, &delivered, &attempt, &journal).await
}

/// Under another name, and nobody said so.
#[handler(
    group = "ledger",
    name = "enter",
    bind = "Order.*",
    retries = 1,
    backoff(base = "200ms", max = "200ms")
)]
async fn renamed_in_silence(_order: OrderPlaced) {}

/// Under another name.
#[handler(
    group = "ledger",
    name = "enter",
    formerly = "book",
    bind = "Order.*",
    retries = 1,
    backoff(base = "200ms", max = "200ms")
)]
async fn renamed(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    work(&order, &delivered, &attempt, &journal).await
}

/// In a group of another name, and nobody said so.
#[handler(
    group = "accounts",
    name = "enter",
    formerly = "book",
    bind = "Order.*",
    retries = 1,
    backoff(base = "200ms", max = "200ms")
)]
async fn moved_in_silence(_order: OrderPlaced) {}

/// The group, under another name.
#[group(formerly = "ledger")]
struct Accounts;

#[handler(
    group = Accounts,
    name = "enter",
    formerly = "book",
    bind = "Order.*",
    retries = 1,
    backoff(base = "200ms", max = "200ms")
)]
async fn moved(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    work(&order, &delivered, &attempt, &journal).await
}

/// A version of the program.
#[derive(Clone)]
struct Version {
    registry: Registry,
    kind: &'static str,
    ttl: &'static str,
}

impl Version {
    fn with(&self, registry: Registry) -> Self {
        Self { registry, ..self.clone() }
    }
}

/// The service: its broker, its lock, and what its handlers wrote down.
struct Shop {
    vhost: Vhost,
    dir: Arc<TempDir>,
    journal: Journal,
}

impl Shop {
    fn builder(&self, version: &Version) -> BusBuilder {
        builder(self.vhost.url(), version.registry.clone())
            .set("management_url", Node::shared().management_url())
            .set("program", "shop")
            .set("exchange", "shop")
            .set("crash_limit", "none")
            .set("unknown_retries", "0")
            .set("prefetch", "50")
            .set("kind", version.kind)
            .set("message_ttl", version.ttl)
            .state(self.journal.clone())
    }

    /// Types a command; `LOCK` is the file.
    #[track_caller]
    fn types(&self, version: &Version, command: &str, code: u8) -> impl Future<Output = String> {
        let lock = self.dir.path("es-bus.lock").display().to_string();
        let command = command.replace("LOCK", &lock);
        let builder = self.builder(version);
        let at = std::panic::Location::caller();
        async move {
            let arguments: Vec<&str> = command.split(' ').collect();
            let ended = timeout(PATIENCE * 2, captured(&arguments, "", false, || builder)).await;
            let Captured { code: ended, out, err } =
                ended.unwrap_or_else(|_| panic!("{command}: it does not end"));
            assert_eq!(ended, code, "{at}: {command}:\n{out}\n{err}");
            out + &err
        }
    }

    async fn starts(&self, version: &Version) -> Handle {
        run(self.builder(version)).await
    }

    /// What is on the broker, beside what expires by itself and the note of what the program declares.
    fn has(&self) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
        let is_ours = |name: &String| !name.contains(".handover.") && !name.starts_with("es-bus.");
        let queues = self.vhost.queues().into_iter().map(|it| it.name).filter(is_ours);
        let exchanges = self.vhost.exchanges().into_iter().map(|it| it.name).filter(is_ours);
        let bindings = self.vhost.bindings().into_iter();
        let bindings =
            bindings.map(|it| format!("{} -> {} by {:?}", it.source, it.destination, it.routing_key));
        (queues.collect(), exchanges.collect(), bindings.collect())
    }

    /// What a version declares.
    fn declares(&self, version: &Version) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
        let bus = self.builder(version).build().unwrap_or_else(|error| panic!("{error:?}"));
        let topology = bus.topology();
        let bindings = topology.bindings().map(|it| format!("{} -> {} by {:?}", it.source, it.queue, it.key));
        (
            topology.queues().map(|it| it.name.to_string()).collect(),
            topology.exchanges().map(|it| it.name.to_string()).collect(),
            bindings.collect(),
        )
    }
}

/// Publishes until it is told to stop; gives the orders that were confirmed, and those of them that no handler takes.
struct Traffic {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(BTreeSet<String>, BTreeSet<String>)>,
}

impl Traffic {
    async fn start(vhost: &Vhost) -> Self {
        let registry = Registry::new().handler::<first>();
        let publisher = run(builder(vhost.url(), registry).set("exchange", "shop").publish_only()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
            for number in 0_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let order = placed(format!("o-{number}"), number % 50);
                publisher.publisher().publish(&order).await.expect("a queue takes it");
                if order.total == 13 { &mut bad } else { &mut good }.insert(order.order_id);
                sleep(Duration::from_millis(10)).await;
            }
            crate::support::stop(publisher).await;
            (good, bad)
        });
        Self { stop, task }
    }

    async fn end(self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it published")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_under_traffic_loses_nothing_and_leaves_nothing() {
    let vhost = Node::shared().vhost("evolution");
    let shop = Shop { vhost, dir: Arc::new(TempDir::new()), journal: Journal::default() };
    let mut now = Version { registry: Registry::new().handler::<first>(), kind: "classic", ttl: "1h" };
    shop.types(&now, "lock LOCK", 0).await;
    shop.types(&now, "topology apply --yes", 0).await;
    let mut service = shop.starts(&now).await;
    let traffic = Traffic::start(&shop.vhost).await;
    shop.journal.until_len(50).await;

    // How long a message may wait, then how the broker keeps the queues.
    for (ttl, kind, told) in [
        ("2h", "classic", "x-message-ttl was 3600000, is 7200000"),
        ("2h", "quorum", "x-queue-type was \"classic\", is \"quorum\""),
    ] {
        now = Version { ttl, kind, ..now };
        let refused = shop.types(&now, "check --lock LOCK", 1).await;
        assert!(refused.contains(told), "{refused}");
        shop.types(&now, "check --lock LOCK --update", 0).await;
        let planned = shop.types(&now, "topology plan", 3).await;
        assert!(planned.contains("topology migrate"), "{planned}");
        shop.types(&now, "topology migrate --yes", 0).await;
        shop.types(&now, "topology plan", 0).await;
        let next = shop.starts(&now).await;
        stop(std::mem::replace(&mut service, next)).await;
    }

    // By which key its queue is bound.
    now = now.with(Registry::new().handler::<bound_otherwise>());
    let refused = shop.types(&now, "check --lock LOCK", 1).await;
    assert!(
        refused.contains("the binding to exchange \"shop\" by \"Order.OrderPlaced\" is dropped"),
        "{refused}"
    );
    shop.types(&now, "check --lock LOCK --update", 0).await;
    shop.types(&now, "topology plan", 2).await;
    shop.types(&now, "topology apply --yes", 0).await;
    let next = shop.starts(&now).await;
    stop(std::mem::replace(&mut service, next)).await;
    shop.types(&now, "topology prune --yes", 0).await;

    // What the handler is called.
    let silent = now.with(Registry::new().handler::<renamed_in_silence>());
    let refused = shop.types(&silent, "check --lock LOCK", 1).await;
    assert!(refused.contains("handler \"book\" is gone") && refused.contains("formerly"), "{refused}");
    now = now.with(Registry::new().handler::<renamed>());
    let told = shop.types(&now, "check --lock LOCK", 0).await;
    assert!(told.contains("handler \"book\" is \"enter\" now"), "{told}");
    shop.types(&now, "check --lock LOCK --update", 0).await;
    shop.types(&now, "topology plan", 0).await;
    let next = shop.starts(&now).await;
    stop(std::mem::replace(&mut service, next)).await;

    // What its group is called.
    let silent = now.with(Registry::new().handler::<moved_in_silence>());
    let refused = shop.types(&silent, "check --lock LOCK", 1).await;
    assert!(refused.contains("group \"ledger\": is gone") && refused.contains("formerly"), "{refused}");
    now = now.with(Registry::new().handler::<moved>());
    let told = shop.types(&now, "check --lock LOCK", 0).await;
    assert!(told.contains("topology migrate"), "{told}");
    shop.types(&now, "check --lock LOCK --update", 0).await;
    shop.types(&now, "topology plan", 3).await;
    let bus = shop.builder(&now).build().unwrap_or_else(|error| panic!("{error:?}"));
    let refused = timeout(PATIENCE, bus.start()).await.expect("in time").expect_err("both would handle it");
    assert!(format!("{refused:?}").contains("topology migrate"), "{refused:?}");
    let migrated = shop.types(&now, "topology migrate --yes", 0).await;
    assert!(migrated.contains("then migrate once more"), "{migrated}");
    let next = shop.starts(&now).await;
    stop(std::mem::replace(&mut service, next)).await;
    shop.types(&now, "topology migrate --yes", 0).await;

    let (good, bad) = traffic.end().await;
    let handled = |lines: &[String], word: &str| -> BTreeSet<String> {
        let of = lines.iter().filter_map(|line| line.split_once(' '));
        of.filter(|(it, _)| *it == word).map(|(_, id)| id.to_owned()).collect()
    };
    let all = |lines: &Vec<String>| {
        good.is_subset(&handled(lines, "done")) && bad.is_subset(&handled(lines, "dead"))
    };
    shop.journal.until("every event", all).await;
    stop(service).await;
    let told = shop.types(&now, "dlq count --json", 0).await;
    let counts: serde_json::Value =
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    // At worst one of them is there twice.
    let count = counts[0]["count"].as_u64().and_then(|count| usize::try_from(count).ok()).expect("a number");
    let letters = take(&shop.vhost, "shop.accounts.dlq", count).await;
    let kept: BTreeSet<String> = letters
        .iter()
        .map(|letter| {
            let body: serde_json::Value = serde_json::from_slice(&letter.message.body).expect("an event");
            body["order_id"].as_str().expect("an order").to_owned()
        })
        .collect();
    assert_eq!(kept, bad, "each is kept, and no other");
    let plan = shop.types(&now, "topology plan --prune", 0).await;
    assert!(plan.contains("nothing to do, it has what is declared"), "{plan}");
    shop.types(&now, "topology verify", 0).await;
    assert_eq!(shop.has(), shop.declares(&now), "what the last version declares, and nothing else");
    shop.types(&now, "check --lock LOCK", 0).await;
}
