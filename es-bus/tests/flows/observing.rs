//! What a bus tells of itself: statistics, queues, health, metrics.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Bus, ConnectionStatus, HealthStatus, Monitor, Part, QueueInfoError, QueueState, Registry, State, event,
    handler,
    http::answer,
    model::{Binding, Exchange, Queue},
    name::{ExchangeName, QueueName},
    telemetry::METRICS,
    testing::TestBus,
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Link, Publication, Publish,
        PublishError, QueueStatus, Transport, memory::Memory,
    },
};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Gate, InvoiceSent, Log, OrderPlaced, eventually, placed, publish_raw};

/// Nobody takes it.
#[event(aggregate = "Order", aggregate_id = order_id, optional)]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderForgotten {
    order_id: String,
}

#[handler(group = "ledger", bind = "Order.*")]
async fn enters(_order: OrderPlaced) {}

#[handler(group = "shaky", retries = 1)]
async fn fails(_order: OrderPlaced) -> Result<(), String> {
    Err("card 4111 1111 was refused".to_owned())
}

#[handler(group = "strict", retries = 0)]
async fn refuses(_order: OrderPlaced) -> Result<(), String> {
    Err("never".to_owned())
}

#[handler(group = "gated")]
async fn gated(_order: OrderPlaced, State(gate): State<Gate>) {
    gate.pass().await;
}

#[handler(group = "reports")]
async fn takes_its_time(_invoice: InvoiceSent) {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[handler(group = "night", slow_handler = "none")]
async fn may_take_its_time(_invoice: InvoiceSent) {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn start(registry: Registry) -> (TestBus, Monitor) {
    let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();
    let monitor = bus.monitor();
    (bus, monitor)
}

async fn start_gated() -> (TestBus, Monitor, Gate) {
    let gate = Gate::default();
    let registry = Registry::new().handler::<gated>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(gate.clone())).await.unwrap();
    let monitor = bus.monitor();
    (bus, monitor, gate)
}

/// What a path answers: code and body.
async fn get(monitor: &Monitor, path: &str) -> (u16, Value) {
    let response = answer(monitor, &Method::GET, path).await;
    (response.status().as_u16(), serde_json::from_str(response.body()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn statistics_agree_with_what_happened() {
    let registry = Registry::new().event::<OrderForgotten>().handler::<enters>().handler::<fails>();
    let (bus, monitor) = start(registry).await;

    bus.publish(&placed("o-1")).await.unwrap();
    let report = bus.publisher().publish_all(&[placed("o-2"), placed("o-3")]).await;
    bus.publish(&OrderForgotten { order_id: "o-1".to_owned() }).await.unwrap_or_default();
    bus.run_until_idle().await;
    bus.advance(Duration::from_secs(5)).await;

    assert!(report.is_complete());
    let stats = monitor.stats();
    assert_eq!(stats.events_published, 4, "`Order.*` of the ledger takes the forgotten one");
    assert_eq!((stats.publish_confirms, stats.publish_returns), (4, 0));
    let (batches, of_batches) = (stats.batch_publishes, stats.batch_events_published);
    assert_eq!((batches, of_batches, stats.batch_partial_failures), (1, 2, 0));
    // Four to the ledger; three to the shaky group, and each once more.
    assert_eq!(stats.events_consumed, 4 + 3 * 2);
    assert_eq!(stats.events_processed_success, 3, "the ledger skips the forgotten one");
    assert_eq!((stats.events_processed_failed, stats.handler_errors), (6, 6));
    assert_eq!((stats.events_retried, stats.messages_sent_to_dlq), (3, 3));
    assert_eq!((stats.reconnections, stats.in_flight, stats.slow_handlers), (0, 0, 0));
    assert!(stats.is_connected && stats.is_consuming);
    assert!(stats.uptime_seconds >= 5.0 && stats.uptime_seconds < 10.0, "{}", stats.uptime_seconds);
    let (published, consumed) = (stats.last_publish_at.unwrap(), stats.last_consume_at.unwrap());
    assert!(consumed >= published + Duration::from_millis(800), "the retries came about a second later");
    assert_eq!(
        stats.last_error.as_deref(),
        Some("handler \"fails\" of group \"shaky\" failed: handler_error")
    );
}

#[tokio::test(start_paused = true)]
async fn statistics_have_the_names_that_dashboards_know() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let told = serde_json::to_value(monitor.stats()).unwrap();

    for name in [
        "events_published",
        "events_consumed",
        "events_processed_success",
        "events_processed_failed",
        "messages_sent_to_dlq",
        "handler_errors",
        "reconnections",
        "last_publish_at",
        "last_consume_at",
        "publish_confirms",
        "publish_returns",
        "batch_publishes",
        "batch_events_published",
        "batch_partial_failures",
        "last_error_at",
        "connected_at",
        "is_connected",
        "is_consuming",
        "uptime_seconds",
    ] {
        assert!(told.get(name).is_some(), "{name} in {told:#}");
    }
    let at = told["last_publish_at"].as_str().unwrap();
    assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");
    assert_eq!(told["last_error_at"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_returned_event_is_counted_as_such_and_not_as_published() {
    let (bus, monitor) = start(Registry::new().event::<OrderForgotten>().handler::<fails>()).await;

    bus.publish(&OrderForgotten { order_id: "o-1".to_owned() }).await.unwrap();

    let stats = monitor.stats();
    assert_eq!((stats.events_published, stats.publish_confirms, stats.publish_returns), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn reset_counts_from_zero_and_keeps_what_is_so() {
    let (bus, monitor) = start(Registry::new().handler::<fails>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    let before = monitor.stats();

    monitor.reset_stats();

    let stats = monitor.stats();
    assert_eq!((before.events_consumed, stats.events_consumed), (1, 0));
    assert_eq!((stats.events_published, stats.handler_errors, stats.events_retried), (0, 0, 0));
    assert_eq!((stats.last_publish_at, stats.last_error_at, stats.last_error), (None, None, None));
    assert!(stats.is_connected && stats.is_consuming);
    assert_eq!(stats.connected_at, before.connected_at);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_seen_and_counted_once_it_is_back() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;
    let first = monitor.stats().connected_at.unwrap();

    bus.broker().faults().cut_link();

    eventually("the loss is seen", || !monitor.is_ready()).await;
    let away = monitor.glance();
    assert_eq!((away.status, away.live), (HealthStatus::Unhealthy, true), "{away:#?}");
    assert_eq!(away.connection_status, ConnectionStatus::Disconnected);
    assert_eq!((away.details.stats.is_connected, away.details.stats.connected_at), (false, None));
    assert!(away.problems.iter().any(|problem| problem.part == Part::Connection), "{away:#?}");
    eventually("it is back", || monitor.is_ready()).await;
    let stats = monitor.stats();
    assert_eq!(stats.reconnections, 1);
    assert!(stats.connected_at.unwrap() > first);
    assert!(stats.last_error.unwrap().starts_with("no connection: "));
}

#[tokio::test(start_paused = true)]
async fn queue_info_is_fresh_and_tells_of_the_dead_letters() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<gated>().handler::<fails>();
    let bus = TestBus::start(|builder| {
        let builder = builder.registry(registry).state(gate.clone());
        builder.set_for_group("gated", "prefetch", 1_u16).set_for_group("gated", "concurrency", 1_u16)
    })
    .await
    .unwrap();
    let monitor = bus.monitor();
    for order in ["o-1", "o-2", "o-3"] {
        bus.publish(&placed(order)).await.unwrap();
    }
    gate.entered(1).await;

    let waiting = monitor.queue_info("gated").await.unwrap();
    gate.open(3);
    bus.run_to_the_end().await;
    let done = monitor.queue_info("gated").await.unwrap();
    let shaky = monitor.queue_info("shaky").await.unwrap();

    assert_eq!(
        (waiting.name.as_str(), waiting.message_count, waiting.consumer_count),
        ("events.gated", 2, 1)
    );
    assert_eq!((waiting.state, done.message_count), (QueueState::Running, 0));
    assert_eq!(shaky.dlq_name.as_deref(), Some("events.shaky.dlq"));
    assert_eq!((done.dlq_message_count, shaky.dlq_message_count), (Some(0), Some(3)));
    let told = serde_json::to_value(&waiting).unwrap();
    assert_eq!((&told["name"], &told["state"]), (&json!("events.gated"), &json!("running")));
}

#[tokio::test(start_paused = true)]
async fn queue_info_says_why_it_knows_nothing() {
    let (bus, monitor) = start(Registry::new().handler::<enters>().handler::<fails>()).await;

    let unknown = monitor.queue_info("leger").await.unwrap_err();
    bus.broker().faults().cut_link();
    let away = monitor.queue_info("ledger").await.unwrap_err();

    assert_eq!(unknown.to_string(), r#"no group "leger" is consumed here; those that are: ledger, shaky"#);
    assert!(matches!(away, QueueInfoError::Unavailable { .. }), "{away}");
}

#[tokio::test(start_paused = true)]
async fn health_has_its_parts_and_names() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let (code, told) = get(&monitor, "/health/rabbitmq").await;

    assert_eq!(code, 200);
    assert_eq!(
        (&told["status"], &told["healthy"], &told["error"]),
        (&json!("healthy"), &json!(true), &Value::Null)
    );
    assert_eq!(
        [&told["connection_status"], &told["channel_status"], &told["queue_status"], &told["dlq_status"]],
        ["connected", "open", "accessible", "accessible"]
    );
    assert_eq!(told["details"]["exchange"], "events");
    assert_eq!(
        told["details"]["groups"]["ledger"],
        json!({
            "queue": "events.ledger", "consuming": true, "idle": false, "queue_status": "accessible",
            "message_count": 0, "consumer_count": 1,
            "dlq_enabled": true, "dlq_queue": "events.ledger.dlq", "dlq_status": "accessible",
            "dlq_message_count": 0,
        })
    );
    assert_eq!(told["details"]["stats"]["events_published"], 1);
    let (code, told) = get(&monitor, "/health").await;
    assert_eq!(code, 200);
    assert_eq!(
        told,
        json!({
            "status": "healthy", "error": null, "ready": true, "connected": true, "consuming": true,
            "events_published": 1, "events_consumed": 1, "handler_errors": 0, "dlq_messages": 0,
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_publishes_degrades_it() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;

    bus.broker().faults().block("low on memory");
    let blocked = monitor.health().await;
    let (ready, _) = get(&monitor, "/ready").await;
    let (health, _) = get(&monitor, "/health").await;
    bus.broker().faults().unblock();

    assert_eq!((blocked.status, blocked.ready, blocked.live), (HealthStatus::Degraded, false, true));
    assert_eq!(blocked.error.as_deref(), Some("the broker takes no publishes: low on memory"));
    assert_eq!((ready, health), (503, 200));
    assert_eq!(monitor.health().await.status, HealthStatus::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_queue_that_is_gone_degrades_it_and_is_named() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;

    bus.broker().faults().delete_queue(&QueueName::new("events.ledger.dlq").unwrap());
    let health = monitor.health().await;

    assert_eq!((health.status, health.ready), (HealthStatus::Degraded, true));
    assert_eq!(health.dlq_status, "missing");
    assert_eq!(health.error.as_deref(), Some(r#"group "ledger": queue "events.ledger.dlq" is missing"#));
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_for_room_in_a_full_queue_degrade_it_and_are_counted() {
    let bus = TestBus::start(|builder| {
        let registry = Registry::new().handler::<refuses>();
        builder.registry(registry).set_for_group("strict", "dlq_max_length", "1")
    });
    let bus = bus.await.unwrap();
    let monitor = bus.monitor();
    let dlq = QueueName::new("events.strict.dlq").unwrap();

    for order in ["o-1", "o-2", "o-3"] {
        bus.publish(&placed(order)).await.unwrap();
    }
    eventually("it is told", || !monitor.glance().healthy).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let full = monitor.health().await;
    let (code, _) = get(&monitor, "/ready").await;
    bus.broker().purge(&dlq).await.unwrap();
    eventually("one has found room", || {
        let error = monitor.glance().error;
        error.is_some_and(|error| error.contains("1 event waits"))
    })
    .await;
    bus.broker().purge(&dlq).await.unwrap();
    eventually("all have", || monitor.glance().healthy).await;

    assert_eq!((full.status, full.ready, full.live, code), (HealthStatus::Degraded, true, true, 200));
    let [problem] = full.problems.as_slice() else { panic!("{full:#?}") };
    assert_eq!((problem.part, problem.group.as_deref()), (Part::Dlq, Some("strict")));
    assert_eq!(
        problem.reason,
        "2 events wait unacknowledged, as the dead-letter copy is not taken: a queue refused \"events.strict\" on \
         exchange \"events_dlq\": it is full, or most of its replicas are away"
    );
    assert_eq!(bus.counts().dead_lettered, 3);
}

#[tokio::test(start_paused = true)]
async fn publishes_that_are_refused_degrade_it_until_others_are_confirmed() {
    let bus = TestBus::start(|builder| builder.registry(Registry::new().handler::<enters>()).publish_only());
    let bus = bus.await.unwrap();
    let monitor = bus.monitor();

    bus.broker().faults().refuse_publishes(1);
    let refused = bus.publish(&placed("o-1")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let told = monitor.health().await;
    bus.publish(&placed("o-1")).await.unwrap();

    assert!(matches!(refused, Err(PublishError::Refused { .. })), "{refused:?}");
    assert_eq!(
        (told.status, told.ready, told.problems[0].part),
        (HealthStatus::Degraded, true, Part::Publishing)
    );
    assert!(told.error.as_ref().is_some_and(|error| error.starts_with("the last publish failed: a queue")));
    assert_eq!(monitor.health().await.status, HealthStatus::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_gone_makes_it_unready_until_it_is_declared_anew() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;

    bus.broker().faults().delete_queue(&QueueName::new("events.ledger").unwrap());

    eventually("the consumer is missed", || !monitor.is_ready()).await;
    let health = monitor.glance();
    assert_eq!((health.status, health.channel_status), (HealthStatus::Unhealthy, "closed"));
    assert!(health.live);
    eventually("it consumes again", || monitor.is_ready()).await;
    assert_eq!(monitor.health().await.status, HealthStatus::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_paused_is_nothing_to_complain_about() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;

    bus.subscriptions().pause("ledger").await.unwrap();
    let paused = monitor.health().await;
    bus.subscriptions().resume("ledger").await.unwrap();

    assert_eq!((paused.status, paused.ready, paused.details.consuming), (HealthStatus::Healthy, true, false));
    assert!(paused.details.groups["ledger"].idle);
    assert!(!monitor.health().await.details.groups["ledger"].idle);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_only_collects_does_not_make_it_look_as_if_it_consumed_nothing() {
    let (bus, monitor) = start(Registry::new().handler::<enters>()).await;

    bus.subscriptions().bind("archive", "Order.#").await.unwrap();

    let is_idle = || monitor.glance().details.groups.get("archive").is_some_and(|group| group.idle);
    eventually("the archive is idle", is_idle).await;
    assert!(monitor.stats().is_consuming);
    assert!(monitor.health().await.details.consuming);
    bus.subscriptions().pause("ledger").await.unwrap();
    assert!(!monitor.stats().is_consuming);
}

#[tokio::test(start_paused = true)]
async fn it_is_unready_from_the_moment_that_it_stops() {
    let (bus, monitor, gate) = start_gated().await;
    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;

    let stopping = tokio::spawn(bus.stop());
    eventually("it stops", || !monitor.is_ready()).await;
    let draining = monitor.glance();
    gate.open(1);
    stopping.await.unwrap().unwrap();
    let stopped = monitor.glance();

    assert_eq!(draining.details.stats.in_flight, 1, "what is in hand is still handled");
    assert_eq!((draining.status, draining.live), (HealthStatus::Degraded, true));
    assert_eq!(draining.error.as_deref(), Some("the bus is stopping"));
    assert_eq!((stopped.status, stopped.live, stopped.ready), (HealthStatus::Unhealthy, false, false));
    assert_eq!(stopped.error.as_deref(), Some("the bus has stopped"));
    assert_eq!(get(&monitor, "/health").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_counted_unless_it_may_be_slow() {
    let registry = Registry::new().handler::<takes_its_time>().handler::<may_take_its_time>();
    let (bus, monitor) = start(registry).await;

    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!((bus.counts().handled, monitor.stats().slow_handlers), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_that_there_are_not_are_said_to_be_not() {
    let (_bus, monitor) = start(Registry::new().handler::<enters>()).await;

    let post = answer(&monitor, &Method::POST, "/health").await;
    let (code, told) = get(&monitor, "/healthz").await;

    assert_eq!((post.status().as_u16(), &post.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(code, 404);
    assert!(told["error"].as_str().unwrap().contains("/health/rabbitmq"), "{told}");
}

/// Every name, and no other: the list is what dashboards are made from.
#[tokio::test(start_paused = true)]
async fn the_metrics_that_are_kept_are_those_in_the_list() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let registry = Registry::new().handler::<enters>().handler::<fails>().handler::<takes_its_time>();
    let drift = |builder: es_bus::BusBuilder| builder.registry(registry).set("drift_interval", "1m");
    let bus = TestBus::start(drift).await.unwrap();
    let monitor = bus.monitor();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    publish_raw(&bus, "Order.OrderShipped", crate::support::foreign("{}")).await;
    bus.run_to_the_end().await;
    bus.broker().faults().cut_link();
    eventually("it is back", || monitor.stats().reconnections == 1 && monitor.is_ready()).await;

    let text = metrics.render();
    let series: Vec<(String, BTreeSet<String>)> = text.lines().filter_map(parse).collect();
    let found: BTreeSet<&str> = series.iter().map(|(name, _)| name.as_str()).collect();
    let listed: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(found, listed, "{text}");
    for metric in METRICS {
        let labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        for (_, found) in series.iter().filter(|(name, _)| name == metric.name) {
            assert_eq!(*found, labels, "{}", metric.name);
        }
    }
    for line in [
        "events_published_total{event_type=\"OrderPlaced\"} 1",
        "events_published_total{event_type=\"unknown\"} 0",
        "events_consumed_total{event_type=\"OrderPlaced\",status=\"success\"} 1",
        "events_consumed_total{event_type=\"OrderPlaced\",status=\"error\"} 2",
        "es_bus_dead_letters_total{reason=\"handler_error\"} 1",
        "es_bus_slow_handlers_total{group=\"reports\",handler=\"takes_its_time\"} 1",
        "es_bus_reconnects_total 1",
        "es_bus_dead_letters_total{reason=\"panic\"} 0",
        "es_bus_retries_total 1",
        "es_bus_connected 1",
        "es_bus_blocked 0",
        "es_bus_drift{kind=\"missing\"} 0",
        "es_bus_in_flight{group=\"ledger\"} 0",
        "es_bus_consumers{group=\"ledger\"} 1",
        "rabbitmq_queue_size{queue_name=\"events.shaky.dlq\"} 0",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
    }
}

/// The name of a series, and its labels but those of buckets and quantiles.
fn parse(line: &str) -> Option<(String, BTreeSet<String>)> {
    if line.starts_with('#') || line.is_empty() {
        return None;
    }
    let (series, _value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
    let labels = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "quantile" && name != "le");
    let name =
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    Some((name.to_owned(), labels.collect()))
}

/// A claim costs no series of its own.
#[tokio::test(start_paused = true)]
async fn a_type_that_is_not_declared_is_measured_as_unknown() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    #[handler(group = "everything", bind = "#")]
    async fn all(_event: es_bus::RawEvent) {}
    let (bus, _monitor) = start(Registry::new().event::<OrderPlaced>().handler::<all>()).await;

    for claim in ["Made.Up", "by-somebody", "{}\"\n"] {
        let mut message = crate::support::foreign("{}");
        message.headers.insert("event_type", claim);
        publish_raw(&bus, "Order.OrderShipped", message).await;
    }
    bus.run_until_idle().await;

    let text = metrics.render();
    let types: BTreeSet<&str> =
        text.lines().filter(|line| line.starts_with("events_consumed_total")).collect();
    assert!(types.contains("events_consumed_total{event_type=\"unknown\",status=\"success\"} 3"), "{text}");
    assert!(!text.contains("Made.Up") && !text.contains("by-somebody"), "{text}");
}

/// A broker whose consumers can be made to fail.
struct Moody {
    memory: Memory,
    mood: Arc<AtomicU8>,
}

const GOOD: u8 = 0;
const REFUSES: u8 = 1;
const PANICS: u8 = 2;
const SILENT: u8 = 3;

impl Transport for Moody {
    fn describe(&self) -> String {
        self.memory.describe()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.memory.link()
    }

    fn close(&self) -> Boxed<'_, ()> {
        self.memory.close()
    }
}

type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Consume for Moody {
    fn consume(&self, request: ConsumeRequest) -> Boxed<'_, Result<Consumer, ConsumeError>> {
        match self.mood.load(Ordering::Relaxed) {
            REFUSES => Box::pin(async move {
                let queue = request.queue.as_str().to_owned();
                Err(ConsumeError::Refused { queue, reason: "somebody has it alone".to_owned() })
            }),
            PANICS => panic!("a mistake in es-bus"),
            SILENT => Box::pin(async move {
                while self.mood.load(Ordering::Relaxed) == SILENT {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                self.memory.consume(request).await
            }),
            _ => self.memory.consume(request),
        }
    }
}

impl Publish for Moody {
    fn publish<'a>(&'a self, publication: &'a Publication) -> Boxed<'a, Result<(), PublishError>> {
        self.memory.publish(publication)
    }
}

impl Admin for Moody {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.declare_exchange(exchange)
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.declare_queue(queue)
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.bind(binding)
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.unbind(binding)
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.delete_queue(queue)
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> Boxed<'a, Result<(), DeclareError>> {
        self.memory.delete_exchange(exchange)
    }

    fn exchange_exists<'a>(&'a self, exchange: &'a ExchangeName) -> Boxed<'a, Result<bool, DeclareError>> {
        self.memory.exchange_exists(exchange)
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> Boxed<'a, Result<Option<QueueStatus>, DeclareError>> {
        self.memory.queue_status(queue)
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> Boxed<'a, Result<u64, DeclareError>> {
        self.memory.purge(queue)
    }
}

async fn moody() -> (es_bus::Handle, Monitor, Arc<AtomicU8>, Memory) {
    let (memory, mood) = (Memory::new(), Arc::new(AtomicU8::new(GOOD)));
    let admin = memory.reconnect();
    let moody = Moody { memory, mood: Arc::clone(&mood) };
    let bus = Bus::builder()
        .without_environment()
        .transport(Arc::new(moody))
        .url("memory://")
        .registry(Registry::new().handler::<enters>())
        .build()
        .unwrap();
    let monitor = bus.monitor();
    let handle = bus.start().await.unwrap();
    eventually("it consumes", || monitor.is_ready()).await;
    (handle, monitor, mood, admin)
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_consume_fails_the_readiness_until_it_can() {
    let (handle, monitor, mood, admin) = moody().await;

    mood.store(REFUSES, Ordering::Relaxed);
    admin.delete_queue(&QueueName::new("events.ledger").unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let health = monitor.health().await;
    mood.store(GOOD, Ordering::Relaxed);

    assert_eq!((health.live, health.ready, health.status), (true, false, HealthStatus::Unhealthy));
    assert_eq!(health.error.as_deref(), Some(r#"group "ledger": no consumer is there"#));
    eventually("it consumes again", || monitor.is_ready()).await;
    handle.stop().await.unwrap();
}

/// As of a quorum queue without its majority.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_the_broker_does_not_answer_is_told_of_once_and_waited_for() {
    let (handle, monitor, mood, admin) = moody().await;
    let log = Log::default();
    let _recording = log.record();
    let reason = "no answer to basic.consume for 10s: a quorum queue may be without its majority";

    mood.store(SILENT, Ordering::Relaxed);
    admin.delete_queue(&QueueName::new("events.ledger").unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    let soon = monitor.glance();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = monitor.glance();
    tokio::time::sleep(Duration::from_secs(60)).await;
    mood.store(GOOD, Ordering::Relaxed);
    eventually("it consumes again", || monitor.is_ready()).await;

    assert_eq!(soon.error.as_deref(), Some(r#"group "ledger": no consumer is there"#));
    let told = format!(r#"group "ledger": no consumer is there; group "ledger": {reason}"#);
    assert_eq!(late.error, Some(told));
    assert_eq!(log.lines_with(reason).len(), 1, "{:#?}", log.lines_with("WARN"));
    assert_eq!(monitor.glance().status, HealthStatus::Healthy);
    handle.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_ends_the_bus_with_an_error_and_its_health() {
    let (handle, monitor, mood, admin) = moody().await;

    mood.store(PANICS, Ordering::Relaxed);
    admin.delete_queue(&QueueName::new("events.ledger").unwrap()).await.unwrap();
    let ended = handle.wait().await;

    let error = ended.unwrap_err().to_string();
    assert!(error.contains("a mistake in es-bus"), "{error}");
    let health = monitor.glance();
    assert_eq!((health.live, health.ready), (false, false));
    assert_eq!(health.error, Some(format!("the bus has ended: {error}")));
    assert_eq!((get(&monitor, "/health").await.0, get(&monitor, "/ready").await.0), (503, 503));
}

#[test]
fn the_alert_rules_speak_of_metrics_that_there_are() {
    let rules = include_str!("../../../deploy/prometheus/alerts.yml");
    let words = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours =
        words.filter(|word| ["es_bus_", "event", "rabbitmq_queue"].iter().any(|it| word.starts_with(it)));
    let ours: BTreeSet<&str> = ours
        .filter(|word| word.contains('_') && *word != "event_type")
        .map(|word| word.trim_end_matches("_bucket"))
        .collect();

    assert!(ours.len() > 8, "{ours:?}");
    for name in ours {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is no metric");
    }
}

#[test]
fn the_guide_tells_of_every_metric() {
    let guide = include_str!("../../src/docs/guide/observing.md");

    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{}` ", metric.name)));
        let row = row.unwrap_or_else(|| panic!("no row for {}", metric.name));
        let cell = row.split('|').nth(2).unwrap().trim();
        assert_eq!(cell, labels.join(", "), "{}", metric.name);
    }
}
