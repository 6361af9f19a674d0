//! What a service tells of itself while its broker goes, comes back, blocks and freezes: asked over
//! HTTP, as a probe and Prometheus ask.

use std::{net::SocketAddr, time::Duration};

use es_bus::{Handle, HealthStatus, Monitor, QueueState, Registry, State, handler, transport::Admin};
use es_bus_tests::Node;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, block_in_place},
    time::{sleep, timeout},
};

use crate::support::{InvoiceSent, Journal, OrderPlaced, PATIENCE, Victim, builder, connect, placed, stop};

#[handler(group = "watched", backoff(base = "100ms"))]
async fn watches(order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(&order.order_id);
    if order.order_id.starts_with("bad") { Err("no".to_owned()) } else { Ok(()) }
}

#[handler(group = "bystander")]
async fn looks_on(_order: OrderPlaced) {}

/// Asks, and gives code and body.
pub(super) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the server answers in text");
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).expect("a code");
    (code.parse().expect("a number"), body.to_owned())
}

async fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (code, body) = get(address, path).await;
    (code, serde_json::from_str(&body).expect("JSON"))
}

/// Asks until the code is this one, and gives the body.
async fn until(address: SocketAddr, path: &str, code: u16) -> Value {
    let mut last = (0, Value::Null);
    let asked = timeout(PATIENCE, async {
        loop {
            last = get_json(address, path).await;
            if last.0 == code {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(asked.await.is_ok(), "{path} never answered {code}, but {last:#?}");
    last.1
}

/// A service that starts, whether its broker is there or not.
fn service(url: String, journal: &Journal) -> (JoinHandle<Handle>, Monitor) {
    let registry = Registry::new().handler::<watches>().handler::<looks_on>();
    let bus = builder(url, registry).state(journal.clone()).set("http", "0").build();
    let bus = bus.unwrap_or_else(|error| panic!("{error:?}"));
    let monitor = bus.monitor();
    (tokio::spawn(async { bus.start().await.unwrap_or_else(|error| panic!("{error:?}")) }), monitor)
}

pub(super) async fn address(monitor: &Monitor) -> SocketAddr {
    let bound = async {
        loop {
            if let Some(address) = monitor.http_address() {
                return address;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, bound).await.expect("the server listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_of_a_broker_that_is_late_goes_freezes_and_comes_back() {
    let mut node = Victim::get().await;
    let vhost = block_in_place(|| node.vhost("told-of"));
    block_in_place(|| node.stop());

    // Not there yet.
    let (starting, monitor) = service(vhost.url(), &Journal::default());
    let address = address(&monitor).await;
    let told = until(address, "/ready", 503).await;
    assert!(told["error"].as_str().expect("a reason").contains("the bus is starting"), "{told:#}");
    assert_eq!(get(address, "/health").await.0, 200, "a restart would not help");
    let (code, told) = get_json(address, "/health/rabbitmq").await;
    assert_eq!((code, &told["status"]), (503, &"unhealthy".into()));
    assert!(get(address, "/metrics").await.1.contains("es_bus_connected 0"));

    // There.
    block_in_place(|| node.restart());
    let running = timeout(PATIENCE, starting).await.expect("it starts").expect("no panic");
    until(address, "/ready", 200).await;
    let (code, told) = get_json(address, "/health/rabbitmq").await;
    assert_eq!((code, &told["status"], &told["error"]), (200, &"healthy".into(), &Value::Null), "{told:#}");
    assert_eq!(told["details"]["groups"]["watched"]["consumer_count"], 1);
    assert_eq!(running.stats().reconnections, 0);

    // Frozen: its sockets are there, and nothing answers.
    block_in_place(|| node.sigstop());
    let (code, told) = get_json(address, "/health/rabbitmq").await;
    block_in_place(|| node.sigcont());
    let error = told["error"].as_str().expect("a reason");
    assert_eq!(code, 503);
    assert!(error.contains("did not answer within 5s"), "{told:#}");

    // Gone, and back.
    until(address, "/ready", 200).await;
    block_in_place(|| node.stop());
    let told = until(address, "/ready", 503).await;
    assert_eq!(told["connected"], false);
    assert_eq!(get(address, "/health").await.0, 200);
    block_in_place(|| node.restart());
    until(address, "/ready", 200).await;
    let stats = running.stats();
    assert!(stats.reconnections >= 1 && stats.last_error.is_some(), "{stats:#?}");

    stop(running).await;
    let ended = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, ended).await.expect("the server ends with the bus");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_degrades_it_until_it_is_over() {
    let node = Victim::get().await;
    let vhost = block_in_place(|| node.vhost("degraded"));
    let (starting, monitor) = service(vhost.url(), &Journal::default());
    let running = timeout(PATIENCE, starting).await.expect("it starts").expect("no panic");
    let address = address(&monitor).await;
    until(address, "/ready", 200).await;

    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]));
    // A connection is blocked when it publishes.
    let publisher = running.publisher().clone();
    let publishing = tokio::spawn(async move {
        loop {
            let _ = publisher.publish(&placed("o-1", 1)).await;
            sleep(Duration::from_millis(20)).await;
        }
    });
    until(address, "/ready", 503).await;
    let health = monitor.health().await;
    let alive = get(address, "/health").await.0;
    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]));

    assert_eq!((health.status, alive), (HealthStatus::Degraded, 200));
    let error = health.error.expect("a reason");
    assert!(error.starts_with("the broker takes no publishes"), "{error}");
    until(address, "/ready", 200).await;
    publishing.abort();
    stop(running).await;
}

/// Who probes every second must not have the broker open a connection every second.
#[tokio::test(flavor = "multi_thread")]
async fn probes_and_questions_open_no_connection() {
    let node = Node::shared();
    let vhost = block_in_place(|| node.vhost("probed"));
    let (starting, monitor) = service(vhost.url(), &Journal::default());
    let running = timeout(PATIENCE, starting).await.expect("it starts").expect("no panic");
    let address = address(&monitor).await;
    until(address, "/ready", 200).await;
    let dead = running.dead_letters("watched").expect("there is such a group");

    for _ in 0..10 {
        for path in ["/health", "/ready", "/health/rabbitmq", "/metrics"] {
            assert_eq!(get(address, path).await.0, 200, "{path}");
        }
        running.queue_info("watched").await.expect("the broker answers");
        assert_eq!(dead.count().await.expect("the broker answers"), 0);
    }

    let logged_in = format!("granted access to vhost '{}'", vhost.name());
    let connections = block_in_place(|| node.log()).matches(&logged_in).count();
    assert_eq!(connections, 2, "one publishes, one consumes");
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_agree_with_what_the_broker_has_and_a_deleted_queue_is_told_of() {
    let node = Node::shared();
    let vhost = block_in_place(|| node.vhost("counted"));
    let journal = Journal::default();
    let (starting, monitor) = service(vhost.url(), &journal);
    let running = timeout(PATIENCE, starting).await.expect("it starts").expect("no panic");
    let address = address(&monitor).await;
    until(address, "/ready", 200).await;

    let orders: Vec<OrderPlaced> = (0..20).map(|n| placed(format!("good-{n}"), n)).collect();
    let report = running.publisher().publish_all(&orders).await;
    assert!(report.is_complete(), "{report}");
    running.publisher().publish(&placed("bad-1", 1)).await.expect("confirmed");
    let dead = async {
        while running.queue_info("watched").await.expect("the broker answers").dlq_message_count != Some(1)
            || running.stats().in_flight > 0
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, dead).await.expect("a dead letter");

    let stats = running.stats();
    assert_eq!((stats.events_published, stats.publish_confirms), (21, 21));
    assert_eq!((stats.batch_publishes, stats.batch_events_published), (1, 20));
    // The bystander takes each once; the watched group too, and the bad one three times more.
    assert_eq!(stats.events_consumed, 21 + 21 + 3);
    assert_eq!((stats.events_processed_success, stats.events_processed_failed), (41, 4));
    assert_eq!((stats.handler_errors, stats.events_retried, stats.messages_sent_to_dlq), (4, 3, 1));
    assert_eq!(journal.of("bad-1").len(), 4);
    let queue = running.queue_info("watched").await.expect("the broker answers");
    assert_eq!((queue.message_count, queue.consumer_count, queue.state), (0, 1, QueueState::Running));
    let text = get(address, "/metrics").await.1;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit_once(' ').expect("a value").1;
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }

    // Deleted under it: the consumer is missed, and the queue declared anew.
    let amqp = connect(&vhost).await;
    let started = running.counts().consumers;
    let name = es_bus::name::QueueName::new("events.watched").expect("a name");
    amqp.delete_queue(&name).await.expect("the broker deletes it");
    let anew = async {
        while running.counts().consumers == started || !monitor.is_ready() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, anew).await.expect("it consumes the queue that it declared anew");
    assert_eq!(monitor.health().await.status, HealthStatus::Healthy);
    stop(running).await;
}

/// Nobody consumes here: it is ready when it can publish.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_only_publishes_is_ready_when_it_is_connected() {
    let vhost = block_in_place(|| Node::shared().vhost("publishes-only"));
    let registry = Registry::new().event::<InvoiceSent>();
    let running = crate::support::publisher(vhost.url(), registry).await;

    let health = running.health().await;

    assert_eq!((health.status, health.ready), (HealthStatus::Healthy, true), "{health:#?}");
    assert_eq!((health.details.consuming, health.dlq_status.as_str()), (false, "disabled"));
    stop(running).await;
}
