//! Health and metrics over HTTP, on real sockets and so in real time.

use std::{net::SocketAddr, time::Duration};

use es_bus::{Bus, BusBuilder, Error, Handle, Registry, handler};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{OrderPlaced, placed};

const PATIENCE: Duration = Duration::from_secs(30);

#[handler(group = "served")]
async fn serves(_order: OrderPlaced) {}

fn builder() -> BusBuilder {
    let registry = Registry::new().handler::<serves>();
    Bus::builder().without_environment().url("memory://").registry(registry).set("http", "0")
}

async fn start() -> (Handle, SocketAddr) {
    let handle = builder().build().unwrap().start().await.unwrap();
    let address = handle.monitor().http_address().unwrap();
    (handle, address)
}

/// Asks, and gives code and body.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

#[tokio::test]
async fn health_and_metrics_are_served_on_a_port_of_this_machine_alone() {
    let (bus, address) = start().await;
    bus.publisher().publish(&placed("o-1")).await.unwrap();
    let handled = async {
        while bus.stats().events_processed_success == 0 || !bus.monitor().is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, handled).await.unwrap();

    let (health, told) = get(address, "/health").await;
    let (ready, _) = get(address, "/ready?from=probe").await;
    let (rabbitmq, _) = get(address, "/health/rabbitmq").await;
    let (metrics, text) = get(address, "/metrics").await;

    assert!(address.ip().is_loopback(), "{address}");
    assert_eq!((health, ready, rabbitmq, metrics), (200, 200, 200, 200));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["status"], &told["events_published"]), (&"healthy".into(), &1.into()));
    for line in [
        "# TYPE event_processing_seconds histogram",
        "event_processing_seconds_bucket{event_type=\"OrderPlaced\",le=\"0.005\"}",
        "event_processing_seconds_bucket{event_type=\"OrderPlaced\",le=\"+Inf\"}",
        "es_bus_consumers{group=\"served\"} ",
        "rabbitmq_queue_size{queue_name=\"events.served\"}",
    ] {
        assert!(text.lines().any(|there| there.starts_with(line)), "{line} in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (_series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    bus.stop().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the server ends with the bus");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_of_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();

    let error = builder().set("http", address.to_string()).build().unwrap().start().await.unwrap_err();

    assert!(matches!(error, Error::Http { .. }));
    let text = format!("{error:?}");
    assert!(text.starts_with(&format!("cannot listen on {address} for health and metrics: ")), "{text}");
    assert!(text.contains("ES_BUS_HTTP"), "{text}");
}

#[tokio::test]
async fn clients_that_say_nothing_hold_nobody_up() {
    let (bus, address) = start().await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }

    let (code, _) = get(address, "/health").await;

    assert_eq!(code, 200);
    bus.stop().await.unwrap();
}

#[test]
fn an_address_that_is_none_is_refused_with_an_example() {
    for (said, expected) in [
        ("everywhere", r#"write "9090" for 127.0.0.1:9090, or "0.0.0.0:9090""#),
        ("0.0.0.0", r#""0.0.0.0" has no port, write "127.0.0.1:9090""#),
        (":9090", "is no address and port"),
        ("70000", "is no address and port"),
    ] {
        let error = builder().set("http", said).build().unwrap_err().to_string();

        assert!(error.contains(expected), "{error}");
    }
    for (said, expected) in [
        ("9090", "127.0.0.1:9090"),
        ("localhost:9090", "127.0.0.1:9090"),
        ("0.0.0.0:9090", "0.0.0.0:9090"),
        ("[::]:9090", "[::]:9090"),
    ] {
        let bus = builder().set("http", said).build().unwrap();

        assert_eq!(bus.config().bus.http.value, Some(expected.parse().unwrap()));
    }
}
