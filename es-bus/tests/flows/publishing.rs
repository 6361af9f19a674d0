//! Publishing: what is said of an event arrives with it, and what fails says how.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use es_bus::{
    Bus, Delivered, Envelope, Metadata, PublishError, RawEvent, Registry, State, event, handler,
    message::Value, name::QueueName, testing::TestBus, transport::memory::Memory,
};
use serde::{Deserialize, Serialize};
use time::macros::datetime;

use crate::support::{
    Gate, InvoiceSent, Journal, Log, OrderPlaced, OrderShipped, at_rest, bus_on, placed, ready_in, shipped,
    take_all,
};

/// What a handler was handed.
#[derive(Clone, Debug)]
struct Seen {
    order: Envelope<OrderPlaced>,
    delivered: Delivered,
    raw: RawEvent,
}

#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Seen>>>);

impl Inbox {
    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

/// The message as the broker delivered it, beside the event.
struct Bytes(RawEvent);

impl es_bus::FromDelivery for Bytes {
    async fn from_delivery(invocation: &es_bus::Invocation) -> Result<Self, es_bus::HandlerError> {
        Ok(Self(RawEvent::from_delivery(invocation).await?))
    }
}

#[handler(group = "inbox", bind = "Order.#")]
async fn receive(
    order: Envelope<OrderPlaced>,
    delivered: Delivered,
    Bytes(raw): Bytes,
    State(inbox): State<Inbox>,
) {
    inbox.0.lock().unwrap().push(Seen { order, delivered, raw });
}

async fn inbox_bus() -> (TestBus, Inbox) {
    let inbox = Inbox::default();
    let registry = Registry::new().handler::<receive>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(inbox.clone())).await.unwrap();
    (bus, inbox)
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_said_of_an_event_arrives_with_it() {
    let (bus, inbox) = inbox_bus().await;

    let id = bus
        .publish(&placed("o-1"))
        .key("Order.OrderPlaced.eu")
        .id("event-1")
        .occurred_at(datetime!(2026-01-02 03:04:05.678901 UTC))
        .aggregate_id("order-1")
        .aggregate_version(7)
        .priority(5)
        .ttl(Duration::from_secs(60))
        .header("region", "eu")
        .header("parts", 3_u32)
        .correlation_id("request-1")
        .causation_id("command-1")
        .tenant("acme")
        .actor("jane")
        .metadata("channel", "web")
        .metadata("score", 4.5)
        .await
        .unwrap();
    bus.run_until_idle().await;

    assert_eq!(id, "event-1");
    let [seen] = &inbox.all()[..] else { panic!("one event") };
    assert_eq!(seen.order.event, placed("o-1"));
    let metadata = &seen.order.metadata;
    assert_eq!(metadata.event_id, "event-1");
    assert_eq!(metadata.event_type, "OrderPlaced");
    assert_eq!(metadata.event_version, 1);
    assert_eq!(metadata.occurred_at, datetime!(2026-01-02 03:04:05.678901 UTC));
    assert_eq!(metadata.aggregate_id.as_deref(), Some("order-1"));
    assert_eq!(metadata.aggregate_type, "Order");
    assert_eq!(metadata.aggregate_version, 7);
    assert_eq!(metadata.correlation_id.as_deref(), Some("request-1"));
    assert_eq!(metadata.causation_id.as_deref(), Some("command-1"));
    assert_eq!(metadata.tenant_id.as_deref(), Some("acme"));
    assert_eq!(metadata.actor_id.as_deref(), Some("jane"));
    assert_eq!(metadata.metadata["channel"], "web");
    assert_eq!(metadata.metadata["score"], 4.5);
    assert_eq!(seen.delivered.routing_key, "Order.OrderPlaced.eu");
    assert_eq!(seen.delivered.exchange, "events");
    assert_eq!(seen.delivered.headers.get_str("region"), Some("eu"));
    assert_eq!(seen.delivered.headers.get_int("parts"), Some(3));
    let properties = &seen.raw.received.message.properties;
    assert_eq!(properties.priority, Some(5));
    assert_eq!(properties.expiration.as_deref(), Some("60000"));
    assert_eq!(properties.timestamp, Some(1_767_323_045));
    assert!(properties.persistent);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_of_which_nothing_is_said_has_defaults() {
    let (bus, inbox) = inbox_bus().await;

    let id = bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let [seen] = &inbox.all()[..] else { panic!("one event") };
    let metadata = &seen.order.metadata;
    assert_eq!(metadata.event_id, id);
    assert!(uuid::Uuid::try_parse(&id).is_ok(), "{id}");
    assert_eq!(metadata.correlation_id.as_deref(), Some(id.as_str()), "its own process");
    assert_eq!(metadata.causation_id, None);
    assert_eq!((&metadata.tenant_id, &metadata.actor_id), (&None, &None));
    assert_eq!(metadata.aggregate_id.as_deref(), Some("o-1"), "from the field");
    assert_eq!(metadata.aggregate_version, 1);
    assert!(metadata.metadata.is_empty());
    let age = time::OffsetDateTime::now_utc() - metadata.occurred_at;
    assert!(age.abs() < time::Duration::minutes(5), "{age}");
    assert_eq!(seen.delivered.routing_key, "Order.OrderPlaced");
    let properties = &seen.raw.received.message.properties;
    assert_eq!(properties.message_id.as_deref(), Some(id.as_str()));
    assert_eq!(properties.expiration, None);
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_no_uuids_come_back_as_they_were_and_travel_as_uuids() {
    let (bus, inbox) = inbox_bus().await;

    bus.publish(&placed("Bestellung Nr. 7 / ü"))
        .id("e/1")
        .correlation_id("c 1")
        .causation_id("x")
        .tenant("ACME & Söhne")
        .await
        .unwrap();
    bus.run_until_idle().await;

    let [seen] = &inbox.all()[..] else { panic!("one event") };
    let metadata = &seen.order.metadata;
    assert_eq!(metadata.event_id, "e/1");
    assert_eq!(metadata.aggregate_id.as_deref(), Some("Bestellung Nr. 7 / ü"));
    assert_eq!(metadata.correlation_id.as_deref(), Some("c 1"));
    assert_eq!(metadata.causation_id.as_deref(), Some("x"));
    assert_eq!(metadata.tenant_id.as_deref(), Some("ACME & Söhne"));
    let body: serde_json::Value = seen.raw.json().unwrap();
    for field in ["event_id", "aggregate_id", "correlation_id", "causation_id", "tenant_id"] {
        let text = body[field].as_str().unwrap_or_default();
        assert!(uuid::Uuid::try_parse(text).is_ok(), "Python loses {field} {text:?}");
    }
    assert!(
        uuid::Uuid::try_parse(seen.raw.received.message.properties.message_id.as_deref().unwrap()).is_ok()
    );
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_header_of_the_bus_itself_cannot_be_written() {
    let (bus, inbox) = inbox_bus().await;

    for name in ["event_type", "aggregate_type", "x-es-attempts", "x-retry-count", "es-delay"] {
        let error = bus.publish(&placed("o-1")).header(name, Value::Void).await.unwrap_err();

        let PublishError::Encode(source) = error else { panic!("{name}: {error:?}") };
        assert!(source.to_string().contains(name), "{source}");
    }
    bus.run_until_idle().await;

    assert!(inbox.all().is_empty());
    bus.stop().await.unwrap();
}

/// Sent when something has been measured: urgent, and stale after a while.
#[event(
    aggregate = "Meter",
    name = "Measured",
    key = "meter.measured",
    version = 3,
    priority = 9,
    ttl = "5s",
    transient,
    headers(unit = "kWh")
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MeterRead {
    value: u32,
}

#[handler(group = "meters")]
async fn on_reading(_read: MeterRead, metadata: Metadata, Bytes(raw): Bytes, State(journal): State<Journal>) {
    let properties = &raw.received.message.properties;
    journal.note(format!("{} v{} {}", metadata.event_type, metadata.event_version, raw.routing_key));
    journal.note(format!("{:?} {:?} {}", properties.priority, properties.expiration, properties.persistent));
    journal.note(format!("{:?}", raw.received.message.headers.get_str("unit")));
}

#[tokio::test(start_paused = true)]
async fn what_the_event_declares_is_on_every_message_of_it() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_reading>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&MeterRead { value: 1 }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(
        journal.lines(),
        ["Measured v3 meter.measured", "Some(9) Some(\"5000\") false", "Some(\"kWh\")"]
    );
    bus.stop().await.unwrap();
}

#[handler(group = "many")]
async fn collect_placed(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("{} {}", order.order_id, order.total));
}

async fn collecting(journal: &Journal) -> TestBus {
    let registry = Registry::new().handler::<collect_placed>().event::<InvoiceSent>();
    TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn many_events_are_published_in_their_order_and_reported_on() {
    let journal = Journal::default();
    let bus = collecting(&journal).await;
    let orders: Vec<_> =
        (0..300).map(|n| OrderPlaced { order_id: format!("o-{}", n % 7), total: n }).collect();

    let report = bus.publisher().publish_all(&orders).await;
    bus.run_until_idle().await;

    assert!(report.is_complete());
    assert_eq!((report.total(), report.published.len()), (300, 300));
    let indices: Vec<_> = report.published.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, (0..300).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<_> = report.published.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 300, "each has an id of its own");
    for of in 0..7 {
        let prefix = format!("o-{of} ");
        let of_one: Vec<u32> = (journal.lines().iter())
            .filter_map(|line| line.strip_prefix(&prefix).map(|total| total.parse().unwrap()))
            .collect();
        assert!(of_one.is_sorted(), "{of_one:?}");
    }
    assert_eq!(bus.counts().published, 300);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_to_publish_is_nothing_wrong() {
    let bus = collecting(&Journal::default()).await;

    let report = bus.publisher().publish_all(&Vec::<OrderPlaced>::new()).await;

    assert!(report.is_complete());
    assert_eq!(report.total(), 0);
    assert!(report.into_result().is_ok());
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn behind_an_event_that_fails_its_aggregate_is_held_back_and_others_go_on() {
    let journal = Journal::default();
    let bus = collecting(&journal).await;
    let order = |order_id: &str, total| OrderPlaced { order_id: order_id.to_owned(), total };
    let orders = [order("a", 1), order("b", 2), order("a", 3), order("b", 4), order("a", 5)];

    // The first to go out is the first of the list.
    bus.broker().faults().refuse_publishes(1);
    let report = bus.publisher().publish_all(&orders).await;
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["b 2", "b 4"]);
    assert!(!report.is_complete());
    assert_eq!(report.published.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3]);
    let failed: Vec<_> = report.failed.iter().map(|failed| (failed.index, failed.error.is_some())).collect();
    assert_eq!(failed, [(0, true), (2, false), (4, false)], "the reason, and those held back");
    assert!(matches!(report.failed[0].error, Some(PublishError::Refused { .. })));
    let text = report.to_string();
    assert!(text.contains("2 of 5") && text.contains("event 0"), "{text}");
    assert!(report.into_result().is_err());
    bus.stop().await.unwrap();
}

/// An event that somebody has to take.
#[event(aggregate = "Payment", mandatory)]
#[derive(Debug, Serialize, Deserialize)]
struct PaymentReceived {
    sum: u32,
}

/// An event that nobody need take.
#[event(aggregate = "Mouse", optional)]
#[derive(Debug, Serialize, Deserialize)]
struct MouseMoved {
    x: u32,
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_takes_is_counted_and_told_of_once_per_key() {
    let log = Log::default();
    let _recording = log.record();
    let registry = Registry::new().event::<OrderPlaced>().event::<InvoiceSent>();
    let bus = TestBus::start(|builder| builder.registry(registry).publish_only()).await.unwrap();

    for _ in 0..5 {
        bus.publish(&placed("o-1")).await.unwrap();
    }
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();

    assert_eq!((bus.counts().published, bus.counts().unroutable), (0, 6));
    let warnings = log.lines_with("no queue takes this event");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0].contains("Order.OrderPlaced") && warnings[1].contains("Invoice.InvoiceSent"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_mandatory_event_that_nobody_takes_is_an_error_and_an_optional_one_is_silent() {
    let log = Log::default();
    let _recording = log.record();
    let registry = Registry::new().event::<PaymentReceived>().event::<MouseMoved>();
    let bus = TestBus::start(|builder| builder.registry(registry).publish_only()).await.unwrap();

    let error = bus.publish(&PaymentReceived { sum: 1 }).await.unwrap_err();
    bus.publish(&MouseMoved { x: 1 }).await.unwrap();

    assert!(
        matches!(&error, PublishError::Unroutable { exchange, routing_key }
            if exchange == "events" && routing_key == "Payment.PaymentReceived"),
        "{error:?}"
    );
    assert!(log.lines_with("MouseMoved").is_empty());
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_an_error_when_a_group_of_this_very_program_misses_an_event() {
    let journal = Journal::default();
    let bus = collecting(&journal).await;

    // An operator deletes the queue; the worker has not noticed yet.
    bus.broker().faults().delete_queue(&QueueName::new("events.many").unwrap());
    let error = bus.publish(&placed("o-1")).await.unwrap_err();

    assert!(matches!(error, PublishError::Unroutable { .. }), "{error:?}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_carried_is_too_large_before_it_is_sent() {
    let bus = collecting(&Journal::default()).await;

    let key = bus.publish(&placed("o-1")).key("k".repeat(256)).await.unwrap_err();
    let header = bus.publish(&placed("o-1")).header("h".repeat(256), 1_u32).await.unwrap_err();

    for error in [key, header] {
        let PublishError::TooLarge { size, limit, .. } = error else { panic!("{error:?}") };
        assert_eq!((size, limit), (256, 255));
    }
    assert_eq!(bus.counts().delivered, 0);
    bus.publish(&placed("o-2")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(bus.counts().handled, 1);
    bus.stop().await.unwrap();
}

#[handler(group = "narrow")]
async fn squeeze(_order: OrderPlaced, State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_the_publisher_is_told() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<squeeze>();
    let bus = TestBus::start(|builder| {
        builder
            .registry(registry)
            .state(gate.clone())
            .set_for_group("narrow", "max_length", "1")
            .set_for_group("narrow", "prefetch", "1")
            .set_for_group("narrow", "concurrency", "1")
    })
    .await
    .unwrap();

    bus.publish(&placed("in hand")).await.unwrap();
    gate.entered(1).await;
    bus.publish(&placed("in the queue")).await.unwrap();
    let error = bus.publish(&placed("too much")).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Refused { routing_key, .. } if routing_key == "Order.OrderPlaced")
    );
    gate.open(10);
    bus.run_until_idle().await;
    bus.publish(&placed("there is room again")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!((bus.counts().published, bus.counts().handled), (3, 3));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_never_confirmed_times_out() {
    let registry = Registry::new().handler::<collect_placed>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(Journal::default()).set("publish_timeout", "5s")
    })
    .await
    .unwrap();
    let started = tokio::time::Instant::now();

    bus.broker().faults().block("memory");
    let error = bus.publish(&placed("o-1")).await.unwrap_err();

    assert!(
        matches!(&error, PublishError::TimedOut { after, .. } if *after == Duration::from_secs(5)),
        "{error:?}"
    );
    assert!(error.to_string().contains("within 5s: the broker takes no publishes: memory;"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 5);
    bus.broker().faults().unblock();
    bus.publish(&placed("o-2")).await.unwrap();
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_for_a_broker_that_is_blocked_for_a_while() {
    let journal = Journal::default();
    let bus = collecting(&journal).await;

    bus.broker().faults().block("memory");
    let publisher = bus.publisher().clone();
    let publish = tokio::spawn(async move { publisher.publish(&placed("o-1")).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!publish.is_finished());
    bus.broker().faults().unblock();
    publish.await.unwrap().unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1 100"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_stop_nothing_is_published_any_more() {
    let bus = collecting(&Journal::default()).await;
    let publisher = bus.publisher().clone();

    bus.stop().await.unwrap();
    let error = publisher.publish(&placed("o-1")).await.unwrap_err();

    assert!(matches!(error, PublishError::Closed), "{error:?}");
    let report = publisher.publish_all(&[placed("o-1"), placed("o-1")]).await;
    assert!(matches!(report.failed[0].error, Some(PublishError::Closed)));
    assert_eq!(report.failed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_publish_is_sent_again_under_the_same_id() {
    let (bus, inbox) = inbox_bus().await;

    // The broker has it, and the confirm is lost: a duplicate that can be told by its id.
    bus.broker().faults().lose_confirms(1);
    let id = bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let ids: Vec<_> = inbox.all().iter().map(|seen| seen.order.metadata.event_id.clone()).collect();
    assert_eq!(ids, [id.as_str(), id.as_str()]);
    let messages: Vec<_> = inbox.all().into_iter().map(|seen| seen.raw.received.message).collect();
    assert_eq!(messages[0], messages[1], "the property `message_id` too");
    assert_eq!((bus.counts().published, bus.counts().republished), (1, 1));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_was_lost_on_the_way_arrives_once() {
    let (bus, inbox) = inbox_bus().await;

    bus.broker().faults().lose_publishes(3);
    let id = bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let ids: Vec<_> = inbox.all().iter().map(|seen| seen.order.metadata.event_id.clone()).collect();
    assert_eq!(ids, [id]);
    assert_eq!(bus.counts().republished, 3);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_sent_again_is_not_overtaken_in_its_aggregate() {
    let (bus, inbox) = inbox_bus().await;
    let (first, second) =
        (OrderPlaced { total: 1, ..placed("o-1") }, OrderPlaced { total: 2, ..placed("o-1") });

    bus.broker().faults().lose_publishes(1);
    let (one, two) = tokio::join!(bus.publish(&first), bus.publish(&second));
    bus.run_until_idle().await;

    let ids: Vec<_> = inbox.all().iter().map(|seen| seen.order.metadata.event_id.clone()).collect();
    assert_eq!(ids, [one.unwrap(), two.unwrap()]);
    assert_eq!(bus.counts().republished, 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_for_a_link_that_is_down() {
    let (bus, inbox) = inbox_bus().await;
    let started = tokio::time::Instant::now();

    bus.broker().faults().cut_link_for(Duration::from_secs(10));
    bus.publish(&placed("o-1")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(10));
    bus.run_until_idle().await;

    assert_eq!(inbox.all().len(), 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_gives_up_when_the_link_stays_down() {
    let (bus, _inbox) = inbox_bus().await;

    bus.broker().faults().cut_link_for(Duration::from_secs(3600));
    let error = bus.publish(&placed("o-1")).await.unwrap_err();

    assert!(matches!(error, PublishError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("within 30s: no connection: a fault was injected"), "{error}");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_none_is_refused() {
    let (bus, _inbox) = inbox_bus().await;

    let error = bus.publish(&placed("o-1")).aggregate_version(0).await.unwrap_err();

    let PublishError::Encode(source) = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("count from 1"), "{source}");
    bus.stop().await.unwrap();
}

/// Fields by names that only the value knows.
#[event(aggregate = "Form")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FormFilled {
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

#[handler(group = "forms")]
async fn on_form(form: FormFilled, State(journal): State<Journal>) {
    journal.note(format!("{:?}", form.fields));
}

#[tokio::test(start_paused = true)]
async fn a_field_with_the_name_of_one_of_the_envelope_is_refused_with_the_remedy() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_form>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    let form = |name: &str| FormFilled { fields: BTreeMap::from([(name.to_owned(), "x".to_owned())]) };

    let error = bus.publish(&form("tenant_id")).await.unwrap_err();
    bus.publish(&form("colour")).await.unwrap();
    bus.run_until_idle().await;

    let PublishError::Encode(source) = error else { panic!("{error:?}") };
    let text = source.to_string();
    assert!(
        text.contains("FormFilled") && text.contains("tenant_id") && text.contains("payload = \"nested\""),
        "{text}"
    );
    assert_eq!(journal.lines(), [r#"{"colour": "x"}"#]);
    bus.stop().await.unwrap();
}

/// A payload with the names of the envelope's fields.
#[event(aggregate = "Import", payload = "nested")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RowImported {
    event_id: u32,
    metadata: Vec<String>,
}

#[handler(group = "imports")]
async fn on_row(row: RowImported, metadata: Metadata, State(journal): State<Journal>) {
    journal.note(format!("{row:?} {}", metadata.event_id));
}

#[tokio::test(start_paused = true)]
async fn a_nested_payload_may_have_any_fields() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_row>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&RowImported { event_id: 7, metadata: vec!["a".to_owned()] }).id("e-1").await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [r#"RowImported { event_id: 7, metadata: ["a"] } e-1"#]);
    bus.stop().await.unwrap();
}

/// Of a service elsewhere.
#[event(aggregate = "Ledger", exchange = "ledger")]
#[derive(Debug, Serialize, Deserialize)]
struct LedgerClosed {
    year: u32,
}

#[handler(group = "yearly")]
async fn on_closed(closed: LedgerClosed, delivered: Delivered, State(journal): State<Journal>) {
    journal.note(format!("{} {} {}", closed.year, delivered.exchange, delivered.queue));
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_the_exchange_that_it_names() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_closed>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&LedgerClosed { year: 2026 }).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["2026 ledger events.yearly"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn publishing_alone_needs_no_handler_and_declares_no_queue() {
    let broker = Arc::new(Memory::new());
    let registry = Registry::new().event::<OrderPlaced>();
    let handle = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(registry)
        .publish_only()
        .transport(Arc::new(broker.reconnect()))
        .build()
        .unwrap()
        .start()
        .await
        .unwrap();

    handle.publisher().publish(&placed("o-1")).await.unwrap();
    at_rest().await;

    assert_eq!(broker.pending().parked, 0);
    assert_eq!(handle.counts().unroutable, 1);
    handle.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_with_a_time_to_live_ends_in_the_dead_letter_queue_of_its_group() {
    let broker = Memory::new();
    let registry = Registry::new().handler::<collect_placed>();
    let declares =
        bus_on(&broker, |builder| builder.registry(registry.clone()).state(Journal::default())).await;
    declares.stop().await.unwrap();
    let publisher = bus_on(&broker, |builder| {
        builder.registry(Registry::new().event::<OrderPlaced>().event::<OrderShipped>()).publish_only()
    })
    .await;

    publisher.publish(&placed("o-1")).ttl(Duration::from_secs(5)).await.unwrap();
    assert_eq!(ready_in(&publisher, "events.many").await, 1);
    tokio::time::sleep(Duration::from_secs(6)).await;

    assert_eq!(ready_in(&publisher, "events.many").await, 0);
    let [dead] = &take_all(&publisher, "events.many.dlq").await[..] else { panic!("one dead letter") };
    assert!(dead.message.headers.get("x-death").is_some());
    publisher.publish(&shipped("o-1")).await.unwrap();
    publisher.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_beyond_the_limit_is_refused_before_it_is_sent() {
    let bus = TestBus::start(|builder| {
        builder.registry(Registry::new()).publish_only().set("max_message_size", "1 KiB")
    })
    .await
    .unwrap();

    let error = bus.publish(&placed(&"x".repeat(2000))).await.unwrap_err();

    assert!(
        matches!(&error, PublishError::TooLarge { what, limit: 1024, .. } if what == "the body"),
        "{error:?}"
    );
    bus.stop().await.unwrap();
}
