//! The rights that a bus asks for are enough for a user who provisions and for one as whom the program runs, and are no
//! more than that.

use std::fs;

use es_bus::{
    PublishError, Registry, State,
    dead_letters::Filter,
    group, handler,
    model::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Topology},
    name::{ExchangeName, QueueName},
    transport::{Admin, Consume as _, ConsumeRequest, DeclareError, Transport as _},
};
use es_bus_tests::Node;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::support::{
    InvoiceSent, Journal, OrderPlaced, TempDir, builder, connect_as, placed, run, shipped, stop,
};

#[handler(group = "ledger", retries = 1, backoff(base = "100ms", max = "100ms"))]
async fn enter(_order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note("enter");
    // Once and its retry.
    if journal.of("enter").len() > 2 { Ok(()) } else { Err("the ledger is closed".to_owned()) }
}

#[group(exclusive)]
struct Caches;

#[handler(group = Caches)]
async fn refresh(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("refresh");
}

#[handler(group = "billing")]
async fn bill(_invoice: InvoiceSent) {}

fn registry() -> Registry {
    Registry::new().handler::<enter>().handler::<refresh>().handler::<bill>()
}

async fn declare(admin: &dyn Admin, topology: &Topology) {
    for exchange in topology.exchanges() {
        admin.declare_exchange(exchange).await.expect("it may declare exchanges");
    }
    let lasts = |queue: &&Queue| !queue.exclusive;
    for queue in topology.queues().filter(lasts) {
        admin.declare_queue(queue).await.expect("it may declare queues");
    }
    let lasts =
        |binding: &&Binding| topology.queue(binding.queue.as_str()).is_some_and(|queue| !queue.exclusive);
    for binding in topology.bindings().filter(lasts) {
        admin.bind(binding).await.expect("it may bind");
        admin.unbind(binding).await.expect("it may take back");
        admin.bind(binding).await.expect("it may bind");
    }
}

#[track_caller]
fn assert_forbidden<T: std::fmt::Debug>(result: &Result<T, DeclareError>) {
    assert!(matches!(result, Err(DeclareError::Forbidden { .. })), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_and_a_runtime_user_can_do_all_that_they_have_to_and_no_more() {
    let node = Node::shared();
    let vhost = node.vhost("least-rights");
    let journal = Journal::default();
    let (admin, service) = (format!("{}-admin", vhost.name()), format!("{}-service", vhost.name()));
    let url = vhost.url().replace("guest:guest", &format!("{service}:secret"));
    let service_builder =
        || builder(&url, registry()).state(journal.clone()).set("declare", "passive").set("prefetch", 1);
    let bus = service_builder().build().expect("it is a program");
    let definitions = bus.permissions().definitions(vhost.name(), &admin, &service);
    let mut definitions: Value = serde_json::from_str(&definitions).expect("it is JSON");
    definitions["users"] = [&admin, &service]
        .map(|user| json!({ "name": user, "password": "secret", "tags": "" }))
        .to_vec()
        .into();
    let dir = TempDir::new();
    let file = dir.path("permissions.json");
    fs::write(&file, definitions.to_string()).expect("it is written");
    block_in_place(|| node.rabbitmqctl(&["import_definitions", file.to_str().expect("a plain path")]));

    let provisioning = connect_as(&vhost, &admin, "secret").await;
    declare(&*provisioning, bus.topology()).await;
    let running = run(service_builder()).await;
    running.publisher().publish(&placed("o-1", 1)).await.expect("it may publish");
    journal.until_len(3).await;
    let dead = running.dead_letters("ledger").expect("a group");
    let mut replayed = 0;
    while replayed == 0 {
        // The dead letter is on its way.
        replayed = dead.replay(Filter::all()).await.expect("it may replay").replayed;
    }
    journal.until("the replay", |lines| lines.iter().filter(|line| *line == "enter").count() == 3).await;
    stop(running).await;

    let own = connect_as(&vhost, &service, "secret").await;
    let name = |name: &str| QueueName::new(name).expect("a name");
    let lock = Queue {
        durable: false,
        exclusive: true,
        ..Queue::durable(name("events.ledger.dlq.lock"), QueueKind::Classic)
    };
    own.declare_queue(&lock).await.expect("it may lock dead letters");
    own.delete_queue(&lock.name).await.expect("and unlock them");
    let suspects = ConsumeRequest {
        queue: name("events.ledger.suspects"),
        tag: "own".to_owned(),
        prefetch: 1,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    own.consume(suspects).await.expect("it may take suspects").close().await;
    let refused = format!("refused for user '{service}'");
    let log = node.log();
    let found: Vec<&str> = log.lines().filter(|line| line.contains(&refused)).collect();
    assert_eq!(found, [""; 0], "nothing that a service does is refused");

    let orders = || ExchangeName::new("events").expect("a name");
    for queue in ["events.ledger", "events.ledger.dlq", "events.ledger.retry.100ms", "events.ledger.suspects"]
    {
        assert_forbidden(&own.delete_queue(&name(queue)).await);
    }
    assert_forbidden(&own.delete_exchange(&orders()).await);
    assert_forbidden(&own.declare_queue(&Queue::durable(name("events.ledger2"), QueueKind::Classic)).await);
    assert_forbidden(&own.bind(&Binding::by_key(orders(), name("events.ledger"), "#")).await);
    assert_forbidden(&own.purge(&name("events.ledger.retry.100ms")).await);
    // Not an event of this program.
    let foreign = run(builder(&url, Registry::new()).set("declare", "none").publish_only()).await;
    let refused = foreign.publisher().publish(&shipped("o-1")).await;
    assert!(matches!(refused, Err(PublishError::Rejected { .. })), "{refused:?}");
    stop(foreign).await;
    let other = ExchangeName::new("others").expect("a name");
    assert_forbidden(&provisioning.declare_exchange(&Exchange::durable(other, ExchangeKind::Topic)).await);
    assert_forbidden(&provisioning.bind(&Binding::by_key(orders(), name("events.ledger"), "#")).await);
    own.close().await;
    provisioning.close().await;
}
