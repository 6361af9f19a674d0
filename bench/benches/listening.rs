//! What an event costs from its publish to the end of its handler where nobody listens, and where a log, metrics or
//! traces do. In-process broker; what is compared is the difference.
//!
//! `cargo bench -p es-bus-bench --bench listening`

use std::{
    future::{Future, ready},
    hint::black_box,
    io,
    sync::Arc,
};

use divan::Bencher;
use es_bus::{Bus, Handle, Registry, State, event, handler};
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::global;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};
use tracing::{Dispatch, Level, dispatcher};

fn main() {
    divan::main();
}

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
}

#[handler(group = "orders")]
async fn take(_order: OrderPlaced, State(taken): State<Arc<Semaphore>>) {
    taken.add_permits(1);
}

struct Program {
    runtime: Runtime,
    running: Handle,
    taken: Arc<Semaphore>,
    order: OrderPlaced,
}

impl Program {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let taken = Arc::new(Semaphore::new(0));
        let registry = Registry::new().event::<OrderPlaced>().handler::<take>();
        let bus = Bus::builder().without_environment().registry(registry).state(Arc::clone(&taken));
        let bus = bus.url("memory://").build().expect("it is a program");
        let running = runtime.block_on(bus.start()).expect("the broker is in this process");
        Self { runtime, running, taken, order: OrderPlaced { order_id: "1".to_owned() } }
    }

    fn publish_and_handle(&self) {
        self.runtime.block_on(async {
            self.running.publisher().publish(&self.order).await.expect("the group takes it");
            self.taken.acquire().await.expect("nobody closes it").forget();
        });
    }
}

// In alphabetical order, which is that of the runs: a tracer provider stays.

/// A log at INFO, which has nothing to say of an event that is handled; but its handler may, and is told by its span.
#[divan::bench]
fn a_log_at_info(bencher: Bencher<'_, '_>) {
    let log = tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer(io::sink).finish();
    let log = Dispatch::new(log);
    let program = dispatcher::with_default(&log, Program::start);
    bencher.bench_local(|| dispatcher::with_default(&log, || program.publish_and_handle()));
}

/// Prometheus' recorder.
#[divan::bench]
fn metrics_by_prometheus(bencher: Bencher<'_, '_>) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let program = metrics::with_local_recorder(&recorder, Program::start);
    bencher.bench_local(|| metrics::with_local_recorder(&recorder, || program.publish_and_handle()));
}

#[divan::bench]
fn nobody(bencher: Bencher<'_, '_>) {
    let program = Program::start();
    bencher.bench_local(|| program.publish_and_handle());
}

/// A provider that samples everything, and an exporter that throws it away: two spans for each event.
#[divan::bench]
fn traces_by_opentelemetry(bencher: Bencher<'_, '_>) {
    global::set_tracer_provider(SdkTracerProvider::builder().with_simple_exporter(Nowhere).build());
    let program = Program::start();
    bencher.bench_local(|| program.publish_and_handle());
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        drop(black_box(batch));
        ready(Ok(()))
    }
}
