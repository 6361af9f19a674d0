//! What the settings of a group are on a real broker: its queue, its arguments, its consumer.

use es_bus::{Registry, State, group, handler};
use es_bus_tests::Node;
use serde_json::{Value, json};

use crate::support::{Journal, Look, OrderPlaced, Victim, builder, placed, run, start, stop};

#[group(
    queue = "all_orders",
    kind = "classic",
    max_priority = 10,
    expires = "1h",
    single_active_consumer,
    arguments("x-queue-mode" = "lazy"),
    dlx = "dlx.events",
    dlx_kind = "topic",
    dlq = "dlq.events",
    dlq_bind = "#",
    dlq_key = "{queue}.dead",
    dlq_ttl = "1h",
    dlq_max_length = 5,
    retries = 0
)]
struct Shaped;

#[handler(group = Shaped)]
async fn shape(_order: OrderPlaced) -> Result<(), String> {
    Err("never".to_owned())
}

#[group(exclusive)]
struct Caches;

#[handler(group = Caches)]
async fn refresh(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(order.order_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_the_arguments_that_its_group_says() {
    let vhost = Node::shared().vhost("shaped");
    let bus = start(&vhost, Registry::new().handler::<shape>(), &Journal::default()).await;

    let queue = vhost.queue("all_orders").expect("the queue");
    let dlq = vhost.queue("dlq.events").expect("the dead-letter queue");

    assert_eq!(
        Value::Object(queue.arguments),
        json!({
            "x-queue-type": "classic",
            "x-max-priority": 10,
            "x-expires": 3_600_000,
            "x-single-active-consumer": true,
            "x-queue-mode": "lazy",
            "x-dead-letter-exchange": "dlx.events",
            "x-dead-letter-routing-key": "all_orders.dead",
        })
    );
    assert_eq!(
        Value::Object(dlq.arguments),
        json!({
            "x-queue-type": "classic",
            "x-message-ttl": 3_600_000,
            "x-max-length": 5,
            "x-overflow": "reject-publish",
        })
    );
    let bound = vhost.bindings().into_iter().find(|binding| binding.source == "dlx.events");
    assert_eq!(
        bound.map(|binding| (binding.destination, binding.routing_key)),
        Some(("dlq.events".into(), "#".into()))
    );
    bus.publisher().publish(&placed("o-1", 1)).await.expect("taken");
    Look::at(&vhost).await.until("dlq.events", 1, 0).await;
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_of_an_exclusive_group_has_a_queue_that_goes_with_it() {
    let vhost = Node::shared().vhost("exclusive");
    let journals = [Journal::default(), Journal::default()];
    let mut running = Vec::new();
    for journal in &journals {
        running.push(start(&vhost, Registry::new().handler::<refresh>(), journal).await);
    }

    running[0].publisher().publish(&placed("o-1", 1)).await.expect("taken");
    for journal in &journals {
        assert_eq!(journal.until_len(1).await, ["o-1"]);
    }
    let own = |queues: Vec<es_bus_tests::QueueInfo>| {
        queues.into_iter().filter(|queue| queue.name.starts_with("events.caches.")).count()
    };
    let queues = vhost.queues();
    assert!(queues.iter().all(|queue| queue.exclusive), "{queues:?}");
    assert_eq!(own(queues), 2);
    for handle in running {
        stop(handle).await;
    }
    crate::support::soon("the queues are gone", || (own(vhost.queues()) == 0).then_some(()));
}

/// So that whoever looks at the broker finds the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_tagged_with_its_group_and_the_name_of_its_process() {
    let node = Node::shared();
    let vhost = tokio::task::block_in_place(|| node.vhost("tags"));
    let worker = |name: &'static str| {
        run(builder(vhost.url(), Registry::new().handler::<shape>())
            .state(Journal::default())
            .set("consumer_name", name))
    };
    let first = worker("pod-1").await;
    let second = worker("pod-2").await;
    Look::at(&vhost).await.until("all_orders", 0, 2).await;

    let arguments =
        ["list_consumers", "-p", vhost.name(), "--no-table-headers", "queue_name", "consumer_tag"];
    let told = tokio::task::block_in_place(|| node.rabbitmqctl(&arguments));

    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["all_orders\tshaped@pod-1", "all_orders\tshaped@pod-2"]);
    stop(first).await;
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_declares_nothing_looks_and_then_consumes() {
    let vhost = Node::shared().vhost("passive");
    let passive = || {
        builder(vhost.url(), Registry::new().handler::<shape>())
            .state(Journal::default())
            .set("declare", "passive")
            .build()
            .expect("nothing is wrong with it")
    };

    let report = format!("{:?}", passive().start().await.expect_err("nothing is there"));
    for name in ["exchange \"dlx.events\" is missing", "queue \"all_orders\" is missing"] {
        assert!(report.contains(name), "{report}");
    }
    assert!(vhost.queues().is_empty() && vhost.exchanges().is_empty(), "nothing was declared");

    stop(start(&vhost, Registry::new().handler::<shape>(), &Journal::default()).await).await;
    let bus = run(builder(vhost.url(), Registry::new().handler::<shape>())
        .state(Journal::default())
        .set("declare", "passive"))
    .await;
    Look::at(&vhost).await.until("all_orders", 0, 1).await;
    stop(bus).await;
}

/// What is published while the queue is away, nobody hears; once it is there again, everybody does.
#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_queue_is_there_again_after_a_lost_connection() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("exclusive-again");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<refresh>(), &journal).await;
    bus.publisher().publish(&placed("before", 1)).await.expect("taken");
    journal.until_len(1).await;

    tokio::task::block_in_place(|| node.close_all_connections("to lose the queue"));
    crate::support::soon("it is connected again", || (bus.stats().reconnections == 1).then_some(()));
    crate::support::soon("it consumes again", || bus.stats().is_consuming.then_some(()));
    bus.publisher().publish(&placed("after", 1)).await.expect("taken");

    assert_eq!(journal.until_len(2).await, ["before", "after"]);
    stop(bus).await;
}
