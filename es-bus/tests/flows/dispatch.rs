//! Which handlers an event goes to: by its type, then by its first routing key, never by its looks.

use std::time::Duration;

use es_bus::{
    Attempt, RawEvent, Registry, State, event, handler,
    message::Message,
    testing::{Fate, TestBus},
    transport::memory::Memory,
};
use serde::{Deserialize, Serialize};

use crate::support::{
    InvoiceSent, Journal, OrderPlaced, OrderShipped, at_rest, bus_on, claiming_placed, foreign, placed,
    placed_body, publish_raw, ready_in, shipped, take_all, within_a_minute, without_handler,
};

/// The very fields of an `OrderShipped`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderCancelled {
    order_id: String,
}

#[handler(group = "cancellations", bind = "Order.*")]
async fn on_cancelled(cancelled: OrderCancelled, State(journal): State<Journal>) {
    journal.note(format!("cancelled {}", cancelled.order_id));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_never_decoded_as_another_of_the_same_shape() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_cancelled>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&shipped("o-1")).await.unwrap();
    bus.publish(&OrderCancelled { order_id: "o-2".to_owned() }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["cancelled o-2"]);
    assert_eq!(bus.counts().skipped, 1);
    let skipped = without_handler(&bus);
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0].fate, Fate::Skipped);
    assert_eq!(skipped[0].event_type.as_deref(), Some("OrderShipped"));
    assert_eq!(skipped[0].routing_key, "Order.OrderShipped");
    assert_eq!(skipped[0].group, "cancellations");
    assert_eq!(ready_in(&bus, "events.cancellations.dlq").await, 0);
    bus.stop().await.unwrap();
}

mod order {
    use super::*;

    #[event(aggregate = "Order", name = "Settled")]
    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Settled {
        pub sum: u32,
    }
}

mod invoice {
    use super::*;

    #[event(aggregate = "Invoice", name = "Settled")]
    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Settled {
        pub sum: u32,
    }
}

#[handler(group = "settlements", bind = "*.Settled")]
async fn on_order_settled(settled: order::Settled, State(journal): State<Journal>) {
    journal.note(format!("order {}", settled.sum));
}

#[handler(group = "settlements", bind = "*.Settled")]
async fn on_invoice_settled(settled: invoice::Settled, State(journal): State<Journal>) {
    journal.note(format!("invoice {}", settled.sum));
}

#[tokio::test(start_paused = true)]
async fn two_aggregates_may_have_events_of_one_name() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_order_settled>().handler::<on_invoice_settled>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&order::Settled { sum: 1 }).await.unwrap();
    bus.publish(&invoice::Settled { sum: 2 }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["order 1", "invoice 2"]);
    bus.stop().await.unwrap();
}

#[handler(group = "orders", bind = "Order.#")]
async fn on_placed(placed: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("placed {}", placed.order_id));
}

#[handler(group = "exact")]
async fn on_placed_exactly(placed: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("placed {} {}", placed.order_id, attempt.number));
}

#[tokio::test(start_paused = true)]
async fn the_type_counts_before_the_key() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_placed>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let mut other = foreign(placed_body("o-1"));
    other.headers.insert("event_type", "OrderRefused");
    publish_raw(&bus, "Order.OrderPlaced", other).await;
    publish_raw(&bus, "Order.by.another.road", claiming_placed(placed_body("o-2"))).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["placed o-2"]);
    assert_eq!(bus.counts().skipped, 1);
    bus.stop().await.unwrap();
}

/// Where a message can say what it is, and the key that it comes with.
fn identified_by(place: &str) -> (&'static str, Message) {
    let mut message = foreign(placed_body(place));
    match place {
        "header" => {
            message.headers.insert("event_type", "OrderPlaced");
        }
        "property" => message.properties.kind = Some("OrderPlaced".into()),
        "body" => {
            let body = serde_json::json!({ "event_type": "OrderPlaced", "order_id": place, "total": 1 });
            message.body = body.to_string().into();
        }
        "key" => return ("Order.OrderPlaced", message),
        other => panic!("{other}"),
    }
    ("Order.from.abroad", message)
}

#[tokio::test(start_paused = true)]
async fn plain_json_of_another_system_is_known_by_header_property_body_or_key() {
    for place in ["header", "property", "body", "key"] {
        let journal = Journal::default();
        let registry = Registry::new().handler::<on_placed>();
        let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

        let (key, message) = identified_by(place);
        publish_raw(&bus, key, message).await;
        bus.run_until_idle().await;

        assert_eq!(journal.lines(), [format!("placed {place}")], "told by its {place}");
        assert_eq!(bus.counts().dead_lettered, 0, "{place}: {:?}", bus.outcomes());
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_string_in_the_header_wins_over_what_the_body_says() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_placed>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let body = serde_json::json!({ "event_type": "OrderPlaced", "order_id": "o-1", "total": 1 });
    let mut message = foreign(body.to_string());
    message.headers.insert("event_type", "OrderRefused");
    publish_raw(&bus, "Order.from.abroad", message).await;
    bus.run_until_idle().await;

    assert!(journal.lines().is_empty(), "{:?}", journal.lines());
    assert_eq!(bus.counts().skipped, 1);
    bus.stop().await.unwrap();
}

/// What happens to an order.
#[event(aggregate = "Order")]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum OrderLife {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
    Returned { order_id: String, reason: String },
}

#[handler(group = "lives")]
async fn follow(life: OrderLife, State(journal): State<Journal>) {
    journal.note(match life {
        OrderLife::Placed(placed) => format!("placed {}", placed.order_id),
        OrderLife::Shipped(shipped) => format!("shipped {}", shipped.order_id),
        OrderLife::Returned { order_id, reason } => format!("returned {order_id} {reason}"),
    });
}

fn returned(order_id: &str) -> OrderLife {
    OrderLife::Returned { order_id: order_id.to_owned(), reason: "too small".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn an_event_set_takes_each_of_its_events_however_it_was_published() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<follow>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&OrderLife::Placed(placed("o-2"))).await.unwrap();
    bus.publish(&OrderLife::Shipped(shipped("o-3"))).await.unwrap();
    bus.publish(&returned("o-4")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["placed o-1", "placed o-2", "shipped o-3", "returned o-4 too small"]);
    bus.stop().await.unwrap();
}

#[handler(group = "bytes", bind = "Order.#")]
async fn write_down(raw: RawEvent, State(journal): State<Journal>) {
    let body = String::from_utf8_lossy(raw.body());
    journal.note(format!("{} {} {body}", raw.event_type.as_deref().unwrap_or("?"), raw.routing_key));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_the_same_bytes_from_struct_and_from_variant() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<write_down>().event::<OrderPlaced>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let at = time::OffsetDateTime::UNIX_EPOCH;
    bus.publish(&placed("o-1")).id("e-1").occurred_at(at).await.unwrap();
    bus.publish(&OrderLife::Placed(placed("o-1")))
        .id("e-1")
        .occurred_at(at)
        .aggregate_id("o-1")
        .await
        .unwrap();
    bus.run_until_idle().await;

    let lines = journal.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0].starts_with("OrderPlaced Order.OrderPlaced {"), "{}", lines[0]);
    bus.stop().await.unwrap();
}

#[handler(group = "returns", bind = "Order.Returned", partial)]
async fn on_returns_only(life: OrderLife, State(journal): State<Journal>) {
    journal.note(format!("{life:?}"));
}

#[tokio::test(start_paused = true)]
async fn a_partial_handler_gets_only_what_it_binds() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_returns_only>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&OrderLife::Placed(placed("o-1"))).await.unwrap();
    bus.publish(&returned("o-2")).await.unwrap();
    bus.run_until_idle().await;

    let lines = journal.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("o-2"));
    assert_eq!(bus.counts().delivered, 1, "the other one never came");
    assert_eq!(bus.counts().unroutable, 1);
    bus.stop().await.unwrap();
}

#[handler(group = "audit", bind = "#")]
async fn audit(raw: RawEvent, State(journal): State<Journal>) {
    journal.note(format!("{:?} {} {}", raw.event_type, raw.routing_key, raw.exchange));
}

#[tokio::test(start_paused = true)]
async fn a_raw_handler_takes_whatever_its_pattern_brings() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<audit>().event::<OrderPlaced>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    publish_raw(&bus, "weather.report", foreign(&b"\xff\x00"[..])).await;
    bus.run_until_idle().await;

    assert_eq!(
        journal.lines(),
        ["Some(\"OrderPlaced\") Order.OrderPlaced events", "None weather.report events"]
    );
    assert_eq!(bus.counts().handled, 2);
    bus.stop().await.unwrap();
}

#[handler(group = "crowd", bind = "Order.*")]
async fn typed_one(_placed: OrderPlaced, State(journal): State<Journal>) {
    journal.note("typed");
}

#[handler(group = "crowd", bind = "Order.OrderPlaced")]
async fn raw_one(_raw: RawEvent, State(journal): State<Journal>) {
    journal.note("raw");
}

#[handler(group = "crowd", bind = "Order.OrderShipped")]
async fn raw_other(_raw: RawEvent, State(journal): State<Journal>) {
    journal.note("other");
}

#[tokio::test(start_paused = true)]
async fn every_handler_whose_pattern_and_type_fit_runs_once() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<typed_one>().handler::<raw_one>().handler::<raw_other>();
    let registry = registry.event::<OrderShipped>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["raw", "typed"]);
    assert_eq!(bus.counts().delivered, 1, "one delivery for both");
    bus.stop().await.unwrap();
}

/// Something with the key of an `OrderPlaced` that calls itself otherwise.
fn refused_order() -> Message {
    let mut message = foreign(placed_body("o-1"));
    message.headers.insert("event_type", "OrderRefused");
    message
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_waits_in_a_group_of_exact_bindings_and_is_then_dead_lettered() {
    let registry = Registry::new().handler::<on_placed_exactly>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(Journal::default())).await.unwrap();
    let started = tokio::time::Instant::now();

    publish_raw(&bus, "Order.OrderPlaced", refused_order()).await;
    bus.run_until_idle().await;
    assert_eq!(bus.counts().waited, 1);
    assert_eq!(ready_in(&bus, "events.exact.retry.30s").await, 1);
    bus.advance(Duration::from_millis(29_900)).await;
    assert_eq!(bus.counts().delivered, 1, "not before 30 s");
    bus.advance(Duration::from_millis(200)).await;
    assert_eq!((bus.counts().delivered, bus.counts().waited), (2, 2));
    bus.run_to_the_end().await;

    let counts = bus.counts();
    assert_eq!((counts.waited, counts.dead_lettered, counts.retried, counts.failed), (40, 1, 0, 0));
    let waited = started.elapsed();
    assert!((1200..1210).contains(&waited.as_secs()), "40 times 30 s: {waited:?}");
    let [dead] = &take_all(&bus, "events.exact.dlq").await[..] else { panic!("one dead letter") };
    assert_eq!(dead.message.body, placed_body("o-1"));
    let headers = &dead.message.headers;
    assert_eq!(headers.get_str("x-es-reason"), Some("unknown_event"));
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    assert_eq!(headers.get_int("x-dlq-retry-count"), Some(0));
    assert!(headers.get_str("x-dlq-reason").is_some_and(|reason| reason.contains("exact")), "{headers:?}");
    assert!(headers.get_str("x-dlq-error-type").is_some());
    assert!(headers.get_str("x-dlq-timestamp").is_some());
    assert!(headers.get("x-es-handler").is_none());
    let fates: Vec<_> = without_handler(&bus).into_iter().map(|seen| seen.fate).collect();
    assert_eq!(fates.len(), 41);
    assert!(fates[..40].iter().all(|fate| *fate == Fate::Waited));
    assert!(matches!(fates[40], Fate::DeadLettered { kind: None, .. }));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn how_long_an_unknown_event_waits_can_be_set() {
    let registry = Registry::new().handler::<on_placed_exactly>();
    let bus = TestBus::start(|builder| {
        builder
            .registry(registry)
            .state(Journal::default())
            .set_for_group("exact", "unknown_delay", "2s")
            .set_for_group("exact", "unknown_retries", "3")
    })
    .await
    .unwrap();

    publish_raw(&bus, "Order.OrderPlaced", refused_order()).await;
    bus.run_to_the_end().await;

    assert_eq!((bus.counts().waited, bus.counts().dead_lettered), (3, 1));
    bus.stop().await.unwrap();
}

#[handler(group = "fleet", name = "placed")]
async fn fleet_placed(_placed: OrderPlaced, State(journal): State<Journal>) {
    journal.note("placed");
}

#[handler(group = "fleet", name = "shipped")]
async fn fleet_shipped(_shipped: OrderShipped, State(journal): State<Journal>) {
    journal.note("shipped");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_only_a_newer_replica_knows_waits_for_it() {
    let broker = Memory::new();
    let journal = Journal::default();
    let newer = Registry::new().handler::<fleet_placed>().handler::<fleet_shipped>();
    let older = Registry::new().handler::<fleet_placed>();
    // The newer replica binds the queue, and goes away again: the older one gets what it asked for.
    bus_on(&broker, |builder| builder.registry(newer.clone()).state(journal.clone()))
        .await
        .stop()
        .await
        .unwrap();
    let old = bus_on(&broker, |builder| builder.registry(older).state(journal.clone())).await;
    old.publish(&shipped("o-1")).await.unwrap();
    old.run_until_idle().await;
    assert_eq!(old.counts().waited, 1);
    old.stop().await.unwrap();

    let new = bus_on(&broker, |builder| builder.registry(newer).state(journal.clone())).await;
    new.run_to_the_end().await;

    assert_eq!(journal.lines(), ["shipped"]);
    assert_eq!(new.counts().dead_lettered, 0);
    assert_eq!(ready_in(&new, "events.fleet.dlq").await, 0);
    new.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_unknown_events_can_be_set_in_any_group() {
    // Group, its setting, and then: skipped, waiting, dead-lettered.
    for (group, on_unknown, expected) in [
        ("exact", "auto", (0, 1, 0)),
        ("exact", "skip", (1, 0, 0)),
        ("exact", "dead_letter", (0, 0, 1)),
        ("orders", "auto", (1, 0, 0)),
        ("orders", "wait", (0, 1, 0)),
        ("orders", "dead_letter", (0, 0, 1)),
    ] {
        let registry = match group {
            "exact" => Registry::new().handler::<on_placed_exactly>(),
            _ => Registry::new().handler::<on_placed>(),
        };
        let bus = TestBus::start(|builder| {
            builder.registry(registry).state(Journal::default()).set_for_group(
                group,
                "on_unknown",
                on_unknown,
            )
        })
        .await
        .unwrap();

        publish_raw(&bus, "Order.OrderPlaced", refused_order()).await;
        bus.run_until_idle().await;

        let counts = bus.counts();
        assert_eq!((counts.skipped, counts.waited, counts.dead_lettered), expected, "{group} {on_unknown}");
        assert_eq!(ready_in(&bus, &format!("events.{group}.dlq")).await, expected.2, "{group} {on_unknown}");
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_retired_event_is_unbound_and_what_is_left_of_it_is_skipped() {
    let broker = Memory::new();
    let journal = Journal::default();
    let before = Registry::new().handler::<fleet_placed>().handler::<fleet_shipped>();
    let after = Registry::new().handler::<fleet_placed>().event::<OrderShipped>();
    let old = bus_on(&broker, |builder| builder.registry(before).state(journal.clone())).await;
    let publisher =
        bus_on(&broker, |builder| builder.registry(Registry::new().event::<OrderShipped>()).publish_only())
            .await;
    old.stop().await.unwrap();
    publisher.publish(&shipped("left over")).await.unwrap();

    let new = bus_on(&broker, |builder| {
        builder.registry(after).state(journal.clone()).set_for_group("fleet", "retired", "Order.OrderShipped")
    })
    .await;
    new.run_until_idle().await;
    assert_eq!((new.counts().delivered, new.counts().skipped, new.counts().waited), (1, 1, 0));
    publisher.publish(&shipped("later")).await.unwrap();
    new.publish(&placed("o-1")).await.unwrap();
    new.run_until_idle().await;

    assert_eq!(journal.lines(), ["placed"]);
    assert_eq!(new.counts().delivered, 2, "the queue is not bound to it any more");
    assert_eq!(publisher.counts().unroutable, 1);
    new.stop().await.unwrap();
    publisher.stop().await.unwrap();
}

#[handler(group = "renamed", name = "book")]
async fn before_renaming(_placed: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note("before");
    Err("closed".to_owned())
}

#[handler(group = "renamed", name = "enter", formerly = ["book"])]
async fn after_renaming(_placed: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("after {}", attempt.number));
}

#[handler(group = "renamed", name = "bystander")]
async fn beside_renaming(_placed: OrderPlaced, State(journal): State<Journal>) {
    journal.note("bystander");
}

#[tokio::test(start_paused = true)]
async fn a_retry_under_way_finds_its_handler_under_the_new_name() {
    let broker = Memory::new();
    let journal = Journal::default();
    let before = Registry::new().handler::<before_renaming>().handler::<beside_renaming>();
    let after = Registry::new().handler::<after_renaming>().handler::<beside_renaming>();
    let old = bus_on(&broker, |builder| builder.registry(before).state(journal.clone())).await;
    old.publish(&placed("o-1")).await.unwrap();
    old.run_until_idle().await;
    old.stop().await.unwrap();

    let new = bus_on(&broker, |builder| builder.registry(after).state(journal.clone())).await;
    new.run_to_the_end().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["after 1", "before", "bystander"], "the bystander has had it");
    new.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_for_a_handler_that_is_gone_waits_and_is_then_dead_lettered() {
    let broker = Memory::new();
    let journal = Journal::default();
    let before = Registry::new().handler::<before_renaming>().handler::<beside_renaming>();
    let after = Registry::new().handler::<beside_renaming>();
    let old = bus_on(&broker, |builder| builder.registry(before).state(journal.clone())).await;
    old.publish(&placed("o-1")).await.unwrap();
    old.run_until_idle().await;
    old.stop().await.unwrap();

    let new = bus_on(&broker, |builder| builder.registry(after).state(journal.clone())).await;
    new.run_to_the_end().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["before", "bystander"], "nobody runs in its place");
    let counts = new.counts();
    assert_eq!((counts.waited, counts.dead_lettered, counts.skipped), (40, 1, 0));
    let [dead] = &take_all(&new, "events.renamed.dlq").await[..] else { panic!("one dead letter") };
    let headers = &dead.message.headers;
    assert_eq!(headers.get_str("x-es-reason"), Some("handler_gone"));
    assert_eq!(headers.get_str("x-es-handler"), Some("book"));
    assert_eq!(headers.get_int("x-dlq-retry-count"), Some(1), "the failures of the handler that is gone");
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    assert!(headers.get("x-es-attempts").is_none());
    new.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_comes_back_gets_the_retry_that_waited_for_it() {
    let broker = Memory::new();
    let journal = Journal::default();
    let before = Registry::new().handler::<before_renaming>().handler::<beside_renaming>();
    let without = Registry::new().handler::<beside_renaming>();
    let back = Registry::new().handler::<after_renaming>().handler::<beside_renaming>();
    let first = bus_on(&broker, |builder| builder.registry(before).state(journal.clone())).await;
    first.publish(&placed("o-1")).await.unwrap();
    first.run_until_idle().await;
    first.stop().await.unwrap();
    let second = bus_on(&broker, |builder| builder.registry(without).state(journal.clone())).await;
    second.advance(Duration::from_secs(2)).await;
    assert_eq!(second.counts().waited, 1);
    second.stop().await.unwrap();

    let third = bus_on(&broker, |builder| builder.registry(back).state(journal.clone())).await;
    third.run_to_the_end().await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["after 1", "before", "bystander"]);
    assert_eq!(third.counts().dead_lettered, 0);
    third.stop().await.unwrap();
}

#[handler(group = "north", name = "shaky")]
async fn north_shaky(
    _placed: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("north shaky {}", attempt.number));
    Err("closed".to_owned())
}

#[handler(group = "north", name = "sound")]
async fn north_sound(_placed: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("north sound {}", attempt.number));
}

#[handler(group = "south", name = "shaky")]
async fn south_shaky(_placed: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("south shaky {}", attempt.number));
}

#[handler(group = "south", name = "sound")]
async fn south_sound(_placed: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("south sound {}", attempt.number));
}

/// A bus of the group that fails, and the copy that waits for its retry, taken out of the broker.
async fn with_a_copy_from_the_north(
    broker: &Memory,
    registry: Registry,
    journal: &Journal,
) -> (TestBus, Message) {
    let bus = bus_on(broker, |builder| builder.registry(registry).state(journal.clone())).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    let [copy] = &take_all(&bus, "events.north.retry.1s").await[..] else { panic!("one copy waits") };
    let mut message = copy.message.clone();
    message.properties.expiration = None;
    (bus, message)
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_another_queue_are_not_obeyed() {
    let broker = Memory::new();
    let journal = Journal::default();
    let north = Registry::new().handler::<north_shaky>().handler::<north_sound>();
    let south = Registry::new().handler::<south_shaky>().handler::<south_sound>();
    let (bus, copy) = with_a_copy_from_the_north(&broker, north, &journal).await;
    bus.stop().await.unwrap();

    // eventsource-py copies all headers when it publishes a failed message again.
    let bus = bus_on(&broker, |builder| builder.registry(south).state(journal.clone())).await;
    publish_raw(&bus, "Order.OrderPlaced", copy).await;
    bus.run_until_idle().await;

    let mut lines = journal.lines();
    lines.retain(|line| line.starts_with("south"));
    lines.sort();
    assert_eq!(lines, ["south shaky 0", "south sound 0"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_its_own_queue_are_obeyed_until_python_replays_the_event() {
    for (replayed, expected) in
        [(false, &["north shaky 1"][..]), (true, &["north shaky 0", "north sound 0"][..])]
    {
        let broker = Memory::new();
        let journal = Journal::default();
        let north = Registry::new().handler::<north_shaky>().handler::<north_sound>();
        let (bus, mut copy) = with_a_copy_from_the_north(&broker, north, &journal).await;
        let before = journal.lines().len();

        if replayed {
            copy.headers.insert("x-replayed-from-dlq", "2026-11-21T08:44:57.711763+00:00");
            copy.headers.insert("x-retry-count", 0_u32);
        }
        publish_raw(&bus, "Order.OrderPlaced", copy).await;
        bus.run_until_idle().await;

        let mut lines = journal.lines().split_off(before);
        lines.sort();
        assert_eq!(lines, expected, "replayed: {replayed}");
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_python_replayed_still_has_all_its_retries() {
    let broker = Memory::new();
    let journal = Journal::default();
    let north = Registry::new().handler::<north_shaky>().handler::<north_sound>();
    let (bus, mut copy) = with_a_copy_from_the_north(&broker, north, &journal).await;
    let before = journal.lines().len();

    copy.headers.insert("x-replayed-from-dlq", "2026-11-21T08:44:57.711763+00:00");
    publish_raw(&bus, "Order.OrderPlaced", copy).await;
    bus.run_to_the_end().await;

    let mut lines = journal.lines().split_off(before);
    lines.sort();
    let expected = ["north shaky 0", "north shaky 1", "north shaky 2", "north shaky 3", "north sound 0"];
    assert_eq!(lines, expected, "its own copies carry the mark on and are obeyed");
    assert_eq!(bus.counts().dead_lettered, 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_retry_count_of_another_library_is_not_our_attempt() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_placed_exactly>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let mut message = claiming_placed(placed_body("o-1"));
    message.headers.insert("x-retry-count", 7_u32);
    publish_raw(&bus, "Order.OrderPlaced", message).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["placed o-1 0"]);
    bus.stop().await.unwrap();
}

#[handler(group = "billing")]
async fn bill(_placed: OrderPlaced, State(journal): State<Journal>) {
    journal.note("billed");
}

#[handler(group = "mailing")]
async fn mail(_sent: InvoiceSent, State(journal): State<Journal>) {
    journal.note("mailed");
}

#[tokio::test(start_paused = true)]
async fn a_process_consumes_only_the_groups_that_it_selects() {
    let broker = Memory::new();
    let journal = Journal::default();
    let registry = Registry::new().handler::<bill>().handler::<mail>();
    let all = bus_on(&broker, |builder| builder.registry(registry.clone()).state(journal.clone())).await;
    all.stop().await.unwrap();

    let bus =
        bus_on(&broker, |builder| builder.registry(registry).state(journal.clone()).groups(["billing"]))
            .await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    within_a_minute("the selected group is done", bus.run_until_idle()).await;
    at_rest().await;

    assert_eq!(journal.lines(), ["billed"]);
    assert_eq!(ready_in(&bus, "events.mailing").await, 1, "it waits for a process that takes it");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn replicas_of_a_group_share_its_events() {
    let broker = Memory::new();
    let journal = Journal::default();
    let registry = Registry::new().handler::<bill>();
    let one = bus_on(&broker, |builder| builder.registry(registry.clone()).state(journal.clone())).await;
    let two = bus_on(&broker, |builder| builder.registry(registry).state(journal.clone())).await;

    for n in 0..20 {
        one.publish(&placed(&format!("o-{n}"))).await.unwrap();
    }
    one.run_until_idle().await;

    assert_eq!(journal.lines().len(), 20, "each event once");
    assert_eq!(one.counts().handled + two.counts().handled, 20);
    assert!(one.counts().handled > 0 && two.counts().handled > 0);
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}
