//! A program brings the broker to exactly what it declares, or says what is in the way.

use std::{fmt::Write, fs, sync::Arc};

use es_bus::{
    RawEvent, Registry, State, group, handler,
    model::{Queue, QueueKind},
    name::QueueName,
    transport::{Admin as _, Transport as _},
};
use es_bus_tests::{Node, Vhost};
use insta::assert_snapshot;
use serde_json::json;
use tokio::{task::block_in_place, time::timeout};

use crate::support::{
    InvoiceSent, Journal, Launch, OrderPlaced, OrderShipped, PATIENCE, TempDir, builder, connect, placed,
    publisher, start, stop, take,
};

#[handler(group = "projections", retries = 2, backoff(base = "1s", max = "60s"))]
async fn project(_order: OrderPlaced) {}

#[handler(group = "projections", bind = ["Order.OrderShipped", "*.OrderShipped"])]
async fn project_shipment(_shipment: OrderShipped) {}

#[handler(group = "accounting", bind = "Invoice.#")]
async fn book(_invoice: InvoiceSent) {}

#[handler(group = "accounting", name = "prepare")]
async fn prepare(_order: OrderPlaced) {}

#[handler(group = "audit", bind = "#", retries = 0)]
async fn record(_event: RawEvent) {}

/// A group with every limit there is.
#[group(
    exchange = "archive",
    kind = "classic",
    max_length = 1000,
    overflow = "drop-head",
    message_ttl = "1h",
    dlq_ttl = "7d",
    dlq_max_length = 50
)]
struct Archive;

#[handler(group = Archive, bind = "Order.*", retries = 0)]
async fn archive(_order: OrderPlaced) {}

fn registry() -> Registry {
    Registry::new()
        .handler::<project>()
        .handler::<project_shipment>()
        .handler::<book>()
        .handler::<prepare>()
        .handler::<record>()
        .handler::<archive>()
}

/// Everything on a virtual host, as text.
fn render(vhost: &Vhost) -> String {
    let mut text = String::new();
    let flags = |flags: &[(&str, bool)]| -> String {
        flags.iter().filter(|(_, set)| *set).map(|(name, _)| format!(" {name}")).collect()
    };
    for it in vhost.exchanges() {
        let flags =
            flags(&[("durable", it.durable), ("auto-delete", it.auto_delete), ("internal", it.internal)]);
        let _ = writeln!(text, "exchange {} {}{flags}{}", it.name, it.kind, arguments(&it.arguments));
    }
    for it in vhost.queues() {
        let flags =
            flags(&[("durable", it.durable), ("auto-delete", it.auto_delete), ("exclusive", it.exclusive)]);
        let _ = writeln!(text, "queue {} {}{flags}{}", it.name, it.kind, arguments(&it.arguments));
    }
    for it in vhost.bindings() {
        let _ = writeln!(
            text,
            "{} -> {} {:?}{}",
            it.source,
            it.destination,
            it.routing_key,
            arguments(&it.arguments)
        );
    }
    text
}

fn arguments(arguments: &serde_json::Map<String, serde_json::Value>) -> String {
    let mut sorted: Vec<_> =
        arguments.iter().map(|(name, value)| format!("\n    {name} = {value}")).collect();
    sorted.sort();
    sorted.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_exactly_what_the_program_declares_also_when_started_again() {
    let vhost = Node::shared().vhost("topology");
    let journal = Journal::default();

    let first = start(&vhost, registry(), &journal).await;
    let declared = render(&vhost);
    // Beside the running one, and after it.
    let second = start(&vhost, registry(), &journal).await;
    stop(first).await;
    stop(second).await;
    stop(start(&vhost, registry(), &journal).await).await;

    assert_eq!(render(&vhost), declared);
    assert_snapshot!(declared);
}

/// As whoever may not let programs declare brings a broker to what they need.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_imported_are_exactly_what_the_program_declares() {
    let node = Node::shared();
    let (declared, imported) = (node.vhost("declared"), node.vhost("imported"));
    let journal = Journal::default();
    stop(start(&declared, registry(), &journal).await).await;
    let bus = builder(imported.url(), registry()).state(journal.clone()).build().expect("it is a program");
    let dir = TempDir::new();
    let import = |vhost: &Vhost| {
        let file = dir.path("definitions.json");
        let definitions = bus.topology().definitions(vhost.name()).expect("JSON can hold it");
        fs::write(&file, definitions).expect("it is written");
        block_in_place(|| node.rabbitmqctl(&["import_definitions", file.to_str().expect("a plain path")]));
    };

    import(&imported);

    assert_eq!(render(&imported), render(&declared));
    stop(start(&imported, registry(), &journal).await).await;
    assert_eq!(render(&imported), render(&declared));

    // What is there stays as it is.
    let other = node.vhost("imported-beside");
    let amqp = connect(&other).await;
    let audit = Queue::durable(QueueName::new("events.audit").expect("a name"), QueueKind::Classic);
    amqp.declare_queue(&audit).await.expect("declared");
    amqp.close().await;
    import(&other);
    assert_eq!(other.queue("events.audit").expect("it is there").kind, "classic");
    assert_eq!(other.queues().len(), declared.queues().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_program_that_only_publishes_is_its_exchanges() {
    let vhost = Node::shared().vhost("publish-only");

    stop(publisher(vhost.url(), registry()).await).await;

    assert_snapshot!(render(&vhost), @r"
    exchange billing topic durable
    exchange events topic durable
    ");
}

#[handler(group = "ledger", retries = 1, backoff(base = "100ms", max = "100ms"))]
async fn enter(_order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note("enter");
    Err("the ledger is closed".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn that_is_there_serves_a_user_who_may_not_declare() {
    let node = Node::shared();
    let vhost = node.vhost("runtime-user");
    let journal = Journal::default();
    let registry = Registry::new().handler::<enter>();
    let user = vhost.name();
    block_in_place(|| {
        node.rabbitmqctl(&["add_user", user, "secret"]);
        node.rabbitmqctl(&["set_permissions", "-p", vhost.name(), user, "^$", ".*", ".*"]);
    });
    let url = vhost.url().replace("guest:guest", &format!("{user}:secret"));
    let start_as_user = async || {
        let bus = builder(&url, registry.clone()).state(journal.clone()).build().expect("it is valid");
        timeout(PATIENCE, bus.start()).await.expect("in time")
    };

    let too_early = start_as_user().await.expect_err("somebody has to declare first");
    stop(publisher(vhost.url(), registry.clone()).await).await;
    let without_queues = start_as_user().await.expect_err("somebody has to declare the queues, too");
    stop(start(&vhost, registry.clone(), &journal).await).await;
    let bus = start_as_user().await.expect("all is there");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("it may publish");

    let dead = take(&vhost, "events.ledger.dlq", 1).await;
    assert_eq!(dead[0].message.headers.get_str("x-dlq-reason"), Some("the ledger is closed"));
    assert_eq!(journal.lines(), ["enter", "enter"], "it may consume, retry and dead-letter");
    let too_early = format!("{too_early:?}");
    assert!(too_early.contains("exchange \"events\": no permission"), "{too_early}");
    let without_queues = format!("{without_queues:?}");
    assert!(!without_queues.contains("exchange \"events\":"), "{without_queues}");
    assert!(without_queues.contains("queue \"events.ledger\": no permission"), "{without_queues}");
    stop(bus).await;
    block_in_place(|| node.rabbitmqctl(&["delete_user", user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_differs_is_reported_as_a_whole_and_left_as_it_is() {
    let vhost = Node::shared().vhost("conflicts");
    let queue = |name: &str, arguments: serde_json::Value| json!({"name": name, "durable": true, "auto_delete": false, "arguments": arguments});
    let exchange = |name: &str, kind: &str, durable: bool| json!({"name": name, "type": kind, "durable": durable, "auto_delete": false, "internal": false, "arguments": {}});
    vhost.define(&json!({
        "exchanges": [exchange("events", "fanout", true), exchange("events.ledger.in", "fanout", false)],
        "queues": [
            // As eventsource-py declares it.
            queue("events.gated", json!({
                "x-dead-letter-exchange": "events_dlq",
                "x-dead-letter-routing-key": "events.gated",
            })),
            queue("events.gated.dlq", json!({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000, "x-message-ttl": 86_400_000})),
            queue("events.ledger", json!({
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": "events_dlq",
                "x-dead-letter-routing-key": "events.ledger",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": 1_000_000,
                "x-max-length": 500,
            })),
            queue("events.ledger.retry.200ms", json!({"x-queue-type": "classic"})),
        ],
        "bindings": [],
    }));
    let dir = Arc::new(TempDir::new());

    let ended = Launch::new(env!("CARGO_BIN_EXE_shop"), &dir)
        .env("ES_BUS_URL", vhost.url())
        .env("ES_BUS_GROUPS", "gated,ledger")
        .env("RUST_LOG", "off")
        .run();

    ended.assert_code(1);
    assert_eq!(ended.stdout, "");
    // RabbitMQ 4 takes a queue that was declared without a type for one that was declared as classic.
    let untyped = "x-queue-type  this program: quorum, the broker: ";
    let stderr = ended.stderr.replace(&format!("{untyped}classic"), &format!("{untyped}not set"));
    assert_snapshot!(stderr);
    assert_eq!(vhost.bindings(), [], "nothing is bound into half a topology");
}
