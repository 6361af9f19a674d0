//! A bus sees through the management API that somebody changed its broker, tells of it, and tells when it is mended.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use es_bus::{
    BusBuilder, HealthStatus, Registry, handler,
    model::Binding,
    name::{ExchangeName, QueueName},
    transport::{Admin as _, Transport as _},
};
use es_bus_tests::{Node, Vhost};
use tokio::time::{sleep, timeout};

use crate::{
    observing::{address, get},
    support::{OrderPlaced, PATIENCE, builder, connect, run, stop},
};

#[handler(group = "projections", retries = 1)]
async fn project(_order: OrderPlaced) {}

fn program(vhost: &Vhost) -> BusBuilder {
    let registry = Registry::new().handler::<project>();
    builder(vhost.url(), registry).set("management_url", Node::shared().management_url())
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn about_drift(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("nobody panics while writing").clone());
        let text = text.expect("a log is text");
        let lines = text.lines().filter_map(|line| Some(line.split_once("es_bus::monitor::drift: ")?.1));
        lines.map(str::to_owned).collect()
    }
}

// On one thread: what is logged on it is this bus's.
#[tokio::test]
async fn a_binding_that_is_removed_by_hand_is_told_of_until_a_plan_is_applied() {
    let vhost = Node::shared().vhost("drift");
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let running = run(program(&vhost).set("http", "0").set("drift_interval", "1s")).await;
    let monitor = running.monitor();
    let address = address(&monitor).await;
    let until = async |told: [&str; 4]| {
        let kinds = ["missing", "conflict", "retired", "foreign"];
        let lines: Vec<String> = kinds
            .iter()
            .zip(told)
            .map(|(kind, count)| format!("es_bus_drift{{kind=\"{kind}\"}} {count}"))
            .collect();
        let mut text = String::new();
        let came = timeout(PATIENCE, async {
            while !lines.iter().all(|line| text.lines().any(|there| there == line)) {
                sleep(Duration::from_millis(20)).await;
                text = get(address, "/metrics").await.1;
            }
        });
        assert!(came.await.is_ok(), "{lines:?} never came in\n{text}\n{:?}", log.about_drift());
    };
    until(["0", "0", "0", "0"]).await;

    let (events, queue) = (ExchangeName::new("events"), QueueName::new("events.projections"));
    let binding = Binding::by_key(events.expect("a name"), queue.expect("a name"), "Order.OrderPlaced");
    let amqp = connect(&vhost).await;
    amqp.unbind(&binding).await.expect("unbound");
    until(["1", "0", "0", "0"]).await;
    let health = monitor.health().await;
    let operator = program(&vhost).build().expect("it is valid");
    let plan = operator.plan().await.expect("a plan");
    operator.apply(&plan).await.expect("applied");
    until(["0", "0", "0", "0"]).await;

    assert_eq!((health.status, health.ready), (HealthStatus::Healthy, true));
    assert_eq!(health.details.drift.expect("it is looked at").missing, 1);
    let told = log.about_drift();
    let [drifted, mended] = &told[..] else { panic!("{told:#?}") };
    let what = "(1 missing): binding \"events\" -> \"events.projections\" by \"Order.OrderPlaced\" is missing. `Bus::apply`";
    assert!(drifted.contains(what), "{drifted}");
    assert_eq!(mended, "the broker is as this program declares it again");
    amqp.close().await;
    stop(running).await;
}
