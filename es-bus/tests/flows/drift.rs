//! A bus tells when its broker is no longer as it was declared, once, and when it is again.

use std::{sync::Arc, time::Duration};

use es_bus::{
    BusBuilder, HealthStatus, Monitor, Registry, handler,
    http::answer,
    model::Binding,
    name::{ExchangeName, QueueName},
    testing::TestBus,
    transport::{Admin, memory::Memory},
};
use http::Method;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::support::{InvoiceSent, Log, OrderPlaced, OrderShipped, eventually};

#[handler(group = "ledger")]
async fn enters(_order: OrderPlaced) {}

const MINUTE: Duration = Duration::from_secs(60);
const WARNING: &str = "the broker is not as this program declares it";

fn looking(builder: BusBuilder) -> BusBuilder {
    let registry = Registry::new().handler::<enters>().event::<OrderShipped>().event::<InvoiceSent>();
    builder.registry(registry).set("drift_interval", "1m")
}

async fn start() -> (TestBus, Monitor) {
    let bus = TestBus::start(looking).await.unwrap();
    let monitor = bus.monitor();
    (bus, monitor)
}

fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    (recorder, metrics)
}

/// What the gauge says: missing, conflict, retired, foreign.
fn gauge(metrics: &PrometheusHandle) -> [String; 4] {
    let text = metrics.render();
    ["missing", "conflict", "retired", "foreign"].map(|kind| {
        let series = format!("es_bus_drift{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("none").to_owned()
    })
}

/// A binding of the ledger's queue.
fn bound(key: &str) -> Binding {
    let (events, queue) = (ExchangeName::new("events"), QueueName::new("events.ledger"));
    Binding::by_key(events.unwrap(), queue.unwrap(), key)
}

/// Another connection, as somebody's who does it by hand.
fn hand(bus: &TestBus) -> Memory {
    bus.broker().reconnect()
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_and_added_by_hand_is_told_once_until_it_is_mended() {
    let (log, (recorder, metrics)) = (Log::default(), recorder());
    let (_recorder, _logged) = (metrics::set_default_local_recorder(&recorder), log.record());
    let (bus, monitor) = start().await;
    eventually("it has looked", || monitor.drift().is_some()).await;
    assert_eq!(gauge(&metrics), ["0", "0", "0", "0"]);

    hand(&bus).unbind(&bound("Order.OrderPlaced")).await.unwrap();
    hand(&bus).bind(&bound("Order.#")).await.unwrap();
    tokio::time::sleep(10 * MINUTE).await;

    assert_eq!(gauge(&metrics), ["1", "0", "0", "1"]);
    let warnings = log.lines_with(WARNING);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let told = warnings[0].split_once(" WARN ").unwrap().1;
    assert_eq!(
        told,
        "es_bus::monitor::drift: the broker is not as this program declares it (1 missing, 1 foreign): binding \"events\" -> \
         \"events.ledger\" by \"Order.OrderPlaced\" is missing; binding \"events\" -> \"events.ledger\" by \"Order.#\" is \
         there, and nobody declares it. `Bus::apply` makes what is missing again, and so does a restart with `declare = \
         \"create\"`; what nobody declares stays until it is unbound by hand or named in `retired` of its group; while \
         another version of the program runs beside this one it may be that one's"
    );
    let health = monitor.health().await;
    assert_eq!((health.status, health.ready), (HealthStatus::Healthy, true), "it does its work");
    let body = answer(&monitor, &Method::GET, "/health/rabbitmq").await.into_body();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let found = &body["details"]["drift"]["findings"];
    assert_eq!(
        found[0], "binding \"events\" -> \"events.ledger\" by \"Order.OrderPlaced\" is missing",
        "{body:#}"
    );

    hand(&bus).unbind(&bound("Order.#")).await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(gauge(&metrics), ["1", "0", "0", "0"], "it changes nothing by itself");
    assert_eq!(log.lines_with(WARNING).len(), 2, "what is found changed");

    hand(&bus).bind(&bound("Order.OrderPlaced")).await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(gauge(&metrics), ["0", "0", "0", "0"]);
    assert_eq!(
        log.lines_with(" INFO es_bus::monitor::drift: the broker is as this program declares it again").len(),
        1
    );
    assert!(!monitor.drift().unwrap().has_drifted());

    let broker = hand(&bus);
    bus.stop().await.unwrap();
    broker.unbind(&bound("Order.OrderPlaced")).await.unwrap();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(log.lines_with(WARNING).len(), 2, "it ends with the bus");
}

#[tokio::test(start_paused = true)]
async fn what_is_subscribed_meanwhile_is_no_drift_and_what_passes_is_none_either() {
    let log = Log::default();
    let _logged = log.record();
    let (bus, monitor) = start().await;
    eventually("it has looked", || monitor.drift().is_some()).await;
    let first = monitor.drift().unwrap().seen_at;

    let ledger = bus.subscriptions().subscribe("ledger", |_order: OrderShipped| async {}).await.unwrap();
    let audit = bus.subscriptions().subscribe("audit", |_invoice: InvoiceSent| async {}).await.unwrap();
    tokio::time::sleep(5 * MINUTE).await;
    ledger.unsubscribe().await;
    audit.unsubscribe().await;
    tokio::time::sleep(5 * MINUTE).await;
    // There for a moment, and gone when it is looked at for the second time: somebody is at work.
    for _ in 0..30 {
        hand(&bus).bind(&bound("Invoice.#")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        hand(&bus).unbind(&bound("Invoice.#")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(7)).await;
    }

    let drift = monitor.drift().unwrap();
    assert!(!drift.has_drifted() && drift.seen_at > first, "{drift:?}");
    assert_eq!(log.lines_with(WARNING), Vec::<String>::new());
    // What was subscribed is kept an eye on.
    let _again = bus.subscriptions().subscribe("audit", |_invoice: InvoiceSent| async {}).await.unwrap();
    let (events, queue) = (ExchangeName::new("events"), QueueName::new("events.audit"));
    hand(&bus)
        .unbind(&Binding::by_key(events.unwrap(), queue.unwrap(), "Invoice.InvoiceSent"))
        .await
        .unwrap();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(monitor.drift().unwrap().missing, 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_is_not_said_to_have_drifted_or_not() {
    let (log, (recorder, metrics)) = (Log::default(), recorder());
    let (_recorder, _logged) = (metrics::set_default_local_recorder(&recorder), log.record());
    let (bus, monitor) = start().await;
    hand(&bus).bind(&bound("Order.#")).await.unwrap();
    tokio::time::sleep(2 * MINUTE).await;

    bus.broker().faults().cut_link_for(5 * MINUTE);
    tokio::time::sleep(2 * MINUTE).await;

    assert_eq!(gauge(&metrics), ["NaN", "NaN", "NaN", "NaN"]);
    let away = monitor.drift().unwrap();
    assert_eq!((away.foreign, away.failure.as_deref()), (1, Some("the broker is not there")));
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(monitor.drift().unwrap().failure, None);
    assert_eq!(gauge(&metrics), ["0", "0", "0", "1"]);
    assert_eq!(log.lines_with(WARNING).len(), 1, "it is what was told before");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_unless_asked() {
    let (recorder, metrics) = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let broker = Arc::new(Memory::new());
    let bus = TestBus::on(broker, |builder| looking(builder).set("drift_interval", "none")).await.unwrap();
    tokio::time::sleep(10 * MINUTE).await;

    assert_eq!((bus.monitor().drift(), &*gauge(&metrics)[0]), (None, "none"));
    assert_eq!(bus.monitor().glance().details.drift, None);
}
