//! What becomes of an event: handled, retried, dead-lettered, skipped, or kept for who knows it.

use std::{collections::BTreeSet, time::Duration};

use es_bus::{
    Attempt, Delivered, HandlerError, Metadata, Registry, State, handler,
    message::{Headers, Message, Properties},
    name::ExchangeName,
};
use es_bus_tests::Node;
use tokio::time::{sleep, timeout};

use crate::support::{
    InvoiceSent, Journal, Look, OrderPlaced, OrderShipped, PATIENCE, builder, left_over, placed, publisher,
    run, shipped, start, stop, take,
};

#[handler(group = "projections")]
async fn project(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("project {} {}", order.order_id, order.total));
}

#[handler(group = "projections", bind = "Invoice.*")]
async fn invoice(invoice: InvoiceSent, delivered: Delivered, State(journal): State<Journal>) {
    journal.note(format!("invoice {} {}", invoice.number, delivered.exchange));
}

#[handler(group = "mails", bind = "Order.#")]
async fn mail(order: OrderPlaced, metadata: Metadata, State(journal): State<Journal>) {
    journal.note(format!("mail {} {}", order.order_id, metadata.event_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_handles_every_event_once_on_the_exchange_where_it_lives() {
    let vhost = Node::shared().vhost("flow");
    let journal = Journal::default();
    let registry = Registry::new().handler::<project>().handler::<invoice>().handler::<mail>();
    let bus = start(&vhost, registry, &journal).await;

    let id = bus.publisher().publish(&placed("o-1", 7)).await.expect("two groups take it");
    bus.publisher().publish(&InvoiceSent { number: 9 }).await.expect("one group takes it");
    let mut lines = journal.until_len(3).await;

    lines.sort();
    assert_eq!(lines, ["invoice 9 billing".to_owned(), format!("mail o-1 {id}"), "project o-1 7".to_owned()]);
    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(journal.lines().len(), 3);
    stop(bus).await;
}

#[handler(group = "shaky", retries = 5, backoff(base = "300ms", max = "300ms"))]
async fn third_time_lucky(
    _order: OrderPlaced,
    attempt: Attempt,
    delivered: Delivered,
    metadata: Metadata,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    journal.note(format!(
        "third_time_lucky {} {} {} {}",
        attempt.number, delivered.exchange, delivered.routing_key, metadata.event_id
    ));
    if attempt.number < 2 { Err("not yet".into()) } else { Ok(()) }
}

#[handler(group = "shaky")]
async fn sibling(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("sibling");
}

#[handler(group = "bystanders", bind = "#")]
async fn look_on(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("look_on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_comes_back_to_its_handler_alone_under_its_own_key() {
    let vhost = Node::shared().vhost("retry");
    let journal = Journal::default();
    let registry = Registry::new().handler::<third_time_lucky>().handler::<sibling>().handler::<look_on>();
    let bus = start(&vhost, registry, &journal).await;

    let id = bus.publisher().publish(&placed("o-1", 1)).await.expect("two groups take it");
    journal
        .until("the third attempt", |lines| lines.iter().any(|line| line.starts_with("third_time_lucky 2")))
        .await;

    assert_eq!(left_over(&vhost).await, []);
    let attempts: Vec<_> =
        (0..3).map(|n| format!("third_time_lucky {n} events Order.OrderPlaced {id}")).collect();
    assert_eq!(journal.of("third_time_lucky"), attempts);
    assert_eq!(journal.of("sibling").len(), 1, "{:?}", journal.lines());
    assert_eq!(journal.of("look_on").len(), 1, "{:?}", journal.lines());
    assert_eq!(bus.counts().retried, 2);
    stop(bus).await;
}

#[handler(
    group = "clumsy",
    timeout = "200ms",
    retries = 1,
    backoff(base = "500ms", max = "500ms", jitter = 0.0)
)]
async fn fail_in_every_way(
    order: OrderPlaced,
    attempt: Attempt,
    delivered: Delivered,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    let again = if delivered.redelivered { " again" } else { "" };
    journal.note(format!("{} {}{again}", order.order_id, attempt.number));
    match order.order_id.as_str() {
        "error" => Err("not yet".into()),
        "later" => Err(HandlerError::retry_after(Duration::from_millis(500), "closed")),
        "reject" => Err(HandlerError::reject("no such order")),
        "drop" => Err(HandlerError::drop_event("booked already")),
        "timeout" => {
            sleep(PATIENCE).await;
            Ok(())
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failure_puts_its_event_back_into_the_work_queue() {
    let vhost = Node::shared().vhost("requeue");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<fail_in_every_way>(), &journal).await;

    for order in ["error", "later", "reject", "drop", "timeout", "panic"] {
        bus.publisher().publish(&placed(order, 1)).await.expect("routed");
    }
    take(&vhost, "events.clumsy.dlq", 5).await;

    // A requeued delivery would be marked as redelivered, and come at once, without an end.
    assert_eq!(left_over(&vhost).await, []);
    let mut lines = journal.lines();
    lines.sort();
    let both_attempts =
        ["error", "later", "panic", "timeout"].map(|way| [format!("{way} 0"), format!("{way} 1")]);
    let mut expected = both_attempts.concat();
    expected.extend(["drop 0", "reject 0"].map(str::to_owned));
    expected.sort();
    assert_eq!(lines, expected);
    stop(bus).await;
}

#[handler(group = "hopeless", retries = 1, backoff(base = "100ms", max = "100ms"))]
async fn never(_order: OrderPlaced, State(journal): State<Journal>) -> Result<(), std::io::Error> {
    journal.note("never");
    Err(std::io::Error::other("the ledger is closed: ünïcode\nand a second line"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_keeps_failing_ends_in_the_dead_letter_queue_with_the_reason() {
    let vhost = Node::shared().vhost("dead");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<never>(), &journal).await;

    let id =
        bus.publisher().publish(&placed("o-1", 1)).header("region", "eu").await.expect("a group takes it");

    let dead = take(&vhost, "events.hopeless.dlq", 1).await.remove(0);
    assert_eq!((&*dead.exchange, &*dead.routing_key), ("events_dlq", "events.hopeless"));
    let headers = &dead.message.headers;
    // As eventsource-py's tools read them.
    assert_eq!(headers.get_str("x-dlq-reason"), Some("the ledger is closed: ünïcode\nand a second line"));
    assert!(headers.get_str("x-dlq-error-type").is_some_and(|it| it.ends_with("Error")), "{headers:?}");
    assert_eq!(headers.get_int("x-dlq-retry-count"), Some(1));
    assert!(headers.get_str("x-dlq-timestamp").is_some_and(|it| it.contains('T')), "{headers:?}");
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    // Ours.
    assert_eq!(headers.get_str("x-es-handler"), Some("never"));
    let own: BTreeSet<_> =
        headers.iter().map(|(name, _)| name).filter(|it| it.starts_with("x-es-")).collect();
    assert!(own.len() >= 4, "{own:?}");
    assert!(
        headers.iter().all(|(name, _)| name != "es-delay" && !name.starts_with("x-death")),
        "{headers:?}"
    );
    // The event itself.
    assert_eq!(headers.get_str("region"), Some("eu"));
    assert_eq!(headers.get_str("event_type"), Some("OrderPlaced"));
    let body: serde_json::Value = serde_json::from_slice(&dead.message.body).expect("the event's own body");
    assert_eq!((&body["event_id"], &body["order_id"]), (&id.clone().into(), &"o-1".into()));
    assert_eq!(journal.lines().len(), 2);
    assert_eq!(bus.counts().dead_lettered, 1);
    stop(bus).await;
}

#[handler(group = "talkative", retries = 1, backoff(base = "100ms", max = "100ms"))]
async fn complain(_order: OrderPlaced) -> Result<(), String> {
    Err("ü".repeat(500_000))
}

/// Headers that do not fit a frame would close the connection, with all consumers on it.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_megabyte_is_cut_and_harms_nobody() {
    let vhost = Node::shared().vhost("megabyte");
    let journal = Journal::default();
    let registry = Registry::new().handler::<complain>().handler::<project>();
    let bus = start(&vhost, registry, &journal).await;

    let event = placed("o-1", 1);
    // Nearly as much as a frame takes, so that what is added does not fit.
    bus.publisher().publish(&event).header("notes", "n".repeat(120_000)).await.expect("two groups take it");
    let dead = take(&vhost, "events.talkative.dlq", 1).await.remove(0);
    bus.publisher().publish(&placed("o-2", 2)).await.expect("the connection lives");

    let headers = &dead.message.headers;
    let reason = headers.get_str("x-dlq-reason").expect("it is cut, and there");
    assert!(reason.starts_with('ü') && reason.len() <= 4096, "{} bytes", reason.len());
    assert_eq!(headers.get_str("notes").map(str::len), Some(120_000));
    assert_eq!(journal.until_len(2).await, ["project o-1 1", "project o-2 2"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_body_is_dead_lettered_at_once_as_it_came() {
    let vhost = Node::shared().vhost("undecodable");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<project>(), &journal).await;
    let bodies: [&'static [u8]; 4] = [b"\xff\x00 no json", b"", b"[1, 2]", br#"{"order_id": 17}"#];

    for body in bodies {
        let message = Message {
            properties: Properties { persistent: true, ..Properties::default() },
            headers: [("event_type", "OrderPlaced")].into_iter().collect::<Headers>(),
            body: body.into(),
        };
        let exchange = ExchangeName::new("events").expect("a name");
        bus.publisher().publish_message(exchange, "Order.OrderPlaced", message).await.expect("routed");
    }
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    let dead = take(&vhost, "events.projections.dlq", bodies.len()).await;

    let found: BTreeSet<_> = dead.iter().map(|dead| dead.message.body.to_vec()).collect();
    assert_eq!(found, bodies.iter().map(|body| body.to_vec()).collect::<BTreeSet<_>>());
    assert!(
        dead.iter().all(|dead| dead.message.headers.get_int("x-dlq-retry-count") == Some(0)),
        "{dead:#?}"
    );
    assert_eq!(journal.until_len(1).await, ["project o-1 1"], "the worker goes on");
    assert_eq!(left_over(&vhost).await, []);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_wide_binding_brings_to_no_handler_is_skipped() {
    let vhost = Node::shared().vhost("skip");
    let journal = Journal::default();
    let registry = Registry::new().handler::<mail>().event::<OrderShipped>();
    let bus = start(&vhost, registry, &journal).await;

    bus.publisher().publish(&shipped("o-1")).await.expect("routed");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    journal.until_len(1).await;

    assert_eq!(left_over(&vhost).await, []);
    assert_eq!((bus.counts().skipped, bus.counts().handled, bus.counts().failed), (1, 1, 0));
    stop(bus).await;
}

#[handler(group = "fleet")]
async fn place(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("place");
}

#[handler(group = "fleet")]
async fn ship(
    _shipment: OrderShipped,
    delivered: Delivered,
    metadata: Metadata,
    State(journal): State<Journal>,
) {
    journal.note(format!("ship {} {}", delivered.routing_key, metadata.event_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_an_old_replica_does_not_know_waits_for_a_new_one() {
    let vhost = Node::shared().vhost("fleet");
    let (old, new) = (Journal::default(), Journal::default());
    let newer = Registry::new().handler::<place>().handler::<ship>();
    let configure = |registry, journal: &Journal| {
        builder(vhost.url(), registry)
            .state(journal.clone())
            .set("unknown_delay", Duration::from_millis(400))
            .set("unknown_retries", 1000)
    };
    // The new version was there, and went again; its bindings stay.
    stop(run(configure(newer.clone(), &new)).await).await;
    let older = run(configure(Registry::new().handler::<place>(), &old)).await;
    let publishing = publisher(vhost.url(), newer.clone()).await;

    let id = publishing.publisher().publish(&shipped("o-1")).await.expect("bound by the new replica");
    publishing.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    timeout(PATIENCE, async {
        while older.counts().waited < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the old replica makes it wait, and again");
    let newest = run(configure(newer, &new)).await;
    let lines = new.until("the shipment", |lines| lines.iter().any(|line| line.starts_with("ship"))).await;

    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(lines, [format!("ship Order.OrderShipped {id}")]);
    assert_eq!(old.lines(), ["place"]);
    for bus in [publishing, older, newest] {
        stop(bus).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_ever_knows_is_dead_lettered_after_its_waits() {
    let vhost = Node::shared().vhost("unknown");
    let journal = Journal::default();
    let both = Registry::new().handler::<place>().handler::<ship>();
    let settings = |registry| {
        builder(vhost.url(), registry)
            .state(journal.clone())
            .set("unknown_delay", Duration::from_millis(100))
            .set("unknown_retries", 2)
    };
    stop(run(settings(both.clone())).await).await;
    let older = run(settings(Registry::new().handler::<place>())).await;
    let publishing = publisher(vhost.url(), both).await;

    publishing.publisher().publish(&shipped("o-1")).await.expect("bound");
    let dead = take(&vhost, "events.fleet.dlq", 1).await.remove(0);

    let headers = &dead.message.headers;
    assert_eq!(headers.get_str("x-dlq-error-type"), Some("UnknownEvent"));
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderShipped"));
    assert_eq!(older.counts().waited, 2);
    assert_eq!(journal.lines(), Vec::<String>::new());
    stop(publishing).await;
    stop(older).await;
}

#[handler(group = "ordered")]
async fn in_order(order: OrderPlaced, State(journal): State<Journal>) {
    // The first of each aggregate is slow, and must not be overtaken.
    sleep(Duration::from_millis(if order.total.is_multiple_of(5) { 30 } else { 1 })).await;
    journal.note(format!("{} {}", order.order_id, order.total));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_an_aggregate_are_handled_in_the_order_of_their_publishing() {
    const EACH: u32 = 20;
    let vhost = Node::shared().vhost("order");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<in_order>(), &journal).await;
    let events: Vec<OrderPlaced> =
        (0..EACH).flat_map(|total| ["a", "b", "c", "d", "e"].map(|order| placed(order, total))).collect();

    bus.publisher().publish_all(&events).await.into_result().map(drop).expect("all are routed");
    journal.until_len(events.len()).await;

    for order in ["a", "b", "c", "d", "e"] {
        let expected: Vec<_> = (0..EACH).map(|total| format!("{order} {total}")).collect();
        assert_eq!(journal.of(order), expected);
    }
    stop(bus).await;
}

#[handler(group = "load-balanced-consumers")]
async fn work(order: OrderPlaced, State(journal): State<Journal>) {
    // Slow enough that one worker cannot take all.
    sleep(Duration::from_millis(20)).await;
    journal.note(order.order_id);
}

/// Demo 3 of the tutorial that es-bus comes from.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_group_share_the_events() {
    let vhost = Node::shared().vhost("share");
    let (one, two) = (Journal::default(), Journal::default());
    let worker = async |journal: &Journal| {
        let builder = builder(vhost.url(), Registry::new().handler::<work>());
        run(builder.state(journal.clone()).set("prefetch", 1).set("concurrency", 1)).await
    };
    let (first, second) = (worker(&one).await, worker(&two).await);
    Look::at(&vhost).await.until("events.load-balanced-consumers", 0, 2).await;
    let events: Vec<_> = (0..10).map(|number| placed(format!("o-{number}"), 1)).collect();

    first.publisher().publish_all(&events).await.into_result().map(drop).expect("all are routed");

    assert_eq!(left_over(&vhost).await, []);
    let (one, two) = (one.lines(), two.lines());
    let mut all = [one.clone(), two.clone()].concat();
    all.sort();
    assert_eq!(all, (0..10).map(|number| format!("o-{number}")).collect::<Vec<_>>(), "each once");
    assert!(!one.is_empty() && !two.is_empty(), "{one:?} {two:?}");
    stop(first).await;
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_group_that_is_not_running() {
    let vhost = Node::shared().vhost("later");
    let journal = Journal::default();
    let registry = Registry::new().handler::<project>();
    stop(start(&vhost, registry.clone(), &journal).await).await;
    let publishing = publisher(vhost.url(), registry.clone()).await;

    publishing.publisher().publish(&placed("o-1", 3)).await.expect("the queue is there");
    Look::at(&vhost).await.until("events.projections", 1, 0).await;
    let bus = start(&vhost, registry, &journal).await;

    assert_eq!(journal.until_len(1).await, ["project o-1 3"]);
    stop(publishing).await;
    stop(bus).await;
}
