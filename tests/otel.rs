//! What becomes of an event is one trace: exported over OTLP, as a program would, to a collector that
//! listens in this process. One test, as a process has one tracer provider.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use es_bus::{
    Bus, Handle, HandlerError, Publisher,
    dead_letters::Filter,
    event, group, handler,
    transport::{
        Transport,
        amqp::{Amqp, AmqpOptions, Host},
        memory::Memory,
    },
};
use es_bus_tests::Node;
use opentelemetry::{
    KeyValue, global,
    trace::{FutureExt as _, TraceContextExt as _, Tracer as _},
};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::timeout};

const PATIENCE: Duration = Duration::from_secs(60);

#[event(aggregate = "Order", aggregate_id = order_id, exchange = "traced")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
}

#[event(aggregate = "Invoice", aggregate_id = invoice_id, exchange = "traced")]
#[derive(Serialize, Deserialize)]
struct InvoiceSent {
    invoice_id: String,
}

#[group(exchange = "traced", retries = 1)]
struct Billing;

/// Fails until it is told not to, then sends an invoice.
#[handler(group = Billing)]
async fn bill(
    order: OrderPlaced,
    publisher: Publisher,
    shop: es_bus::State<Shop>,
) -> Result<(), HandlerError> {
    if shop.closed() {
        return Err(HandlerError::retry("the shop is closed".to_owned()));
    }
    let _ids = publisher.publish_all(&[InvoiceSent { invoice_id: order.order_id }]).await.into_result()?;
    Ok(())
}

#[handler(group = Billing)]
async fn file(invoice: InvoiceSent, shop: es_bus::State<Shop>) {
    let _ = shop.filed.send(invoice.invoice_id);
}

#[derive(Clone)]
struct Shop {
    attempts: Arc<Mutex<u32>>,
    filed: mpsc::UnboundedSender<String>,
}

impl Shop {
    fn closed(&self) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        *attempts += 1;
        *attempts <= 2
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_becomes_of_an_event_is_one_trace() {
    let collector = Collector::start();
    let provider = collector.provider();
    global::set_tracer_provider(provider.clone());
    let node = Node::shared();
    let vhost = node.vhost("traced");
    let amqp = Amqp::connect(AmqpOptions {
        hosts: vec![Host { host: "127.0.0.1".to_owned(), port: node.port() }],
        vhost: vhost.name().to_owned(),
        ..AmqpOptions::default()
    });

    for transport in [Arc::new(Memory::new()) as Arc<dyn Transport>, amqp] {
        story(Arc::clone(&transport)).await;
        provider.force_flush().expect("the collector listens");
        assert_trace(&transport.describe(), &collector.take());
    }
    let quiet = Arc::new(Memory::new());
    untraced(quiet).await;
    provider.force_flush().expect("the collector listens");
    assert_eq!(collector.take().len(), 0, "the setting `tracing` is off");
}

fn bus(transport: &Arc<dyn Transport>) -> (es_bus::BusBuilder, mpsc::UnboundedReceiver<String>) {
    let (filed, files) = mpsc::unbounded_channel();
    let builder = Bus::builder()
        .without_environment()
        .transport(Arc::clone(transport))
        .state(Shop { attempts: Arc::default(), filed })
        .set("retry_ladder", "none")
        .set("backoff_base", "10ms")
        .set("backoff_max", "10ms");
    (builder, files)
}

async fn start(builder: es_bus::BusBuilder) -> Handle {
    let bus = builder.build().unwrap_or_else(|error| panic!("{error:?}"));
    timeout(PATIENCE, bus.start()).await.expect("in time").unwrap_or_else(|error| panic!("{error:?}"))
}

/// Publishes within a span of the program's own; the event fails, is retried, dead-lettered, replayed,
/// and handled.
async fn story(transport: Arc<dyn Transport>) {
    let (builder, mut files) = bus(&transport);
    let handle = start(builder).await;
    let tracer = global::tracer("the program");
    let request = opentelemetry::Context::new().with_span(tracer.start("POST /orders"));

    let order = OrderPlaced { order_id: "o-1".to_owned() };
    let publish = async { handle.publisher().publish(&order).await };
    publish.with_context(request.clone()).await.expect("taken");
    request.span().end();
    replay(&handle).await;

    let filed = timeout(PATIENCE, files.recv()).await.expect("in time");
    assert_eq!(filed.as_deref(), Some("o-1"));
    timeout(PATIENCE, handle.stop()).await.expect("in time").expect("nothing ended it");
}

/// Once the dead letter is there, the way a program does it.
async fn replay(handle: &Handle) {
    let letters = handle.dead_letters("billing").expect("the group has dead letters");
    let replayed = async {
        while letters.count().await.expect("the broker answers") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        letters.replay(Filter::all()).await.expect("the broker takes it")
    };
    assert_eq!(timeout(PATIENCE, replayed).await.expect("in time").replayed, 1);
}

async fn untraced(transport: Arc<dyn Transport>) {
    let (builder, mut files) = bus(&transport);
    let handle = start(builder.set("tracing", false)).await;

    handle.publisher().publish(&InvoiceSent { invoice_id: "i-1".to_owned() }).await.expect("taken");

    timeout(PATIENCE, files.recv()).await.expect("in time");
    timeout(PATIENCE, handle.stop()).await.expect("in time").expect("nothing ended it");
}

fn assert_trace(broker: &str, spans: &[Span]) {
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (&*span.span_id, span)).collect();
    let parent = |span: &Span| by_id.get(&*span.parent_span_id).map(|parent| parent.name.as_str());
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| span.start_time_unix_nano);
    let told: Vec<String> = sorted
        .iter()
        .map(|span| {
            let words = ["es_bus.handler", "es_bus.attempt", "es_bus.outcome", "error.type"];
            let words: Vec<_> = words.iter().filter_map(|name| attribute(span, name)).collect();
            format!("{} <- {} {}", span.name, parent(span).unwrap_or("nothing"), words.join(" "))
                .trim_end()
                .to_owned()
        })
        .collect();

    let order = "send traced:Order.OrderPlaced";
    // Retries and replays come through the exchange that leads to the group's queue alone.
    let again = "process traced.billing.in:Order.OrderPlaced:traced.billing";
    assert_eq!(
        told,
        [
            "POST /orders <- nothing".to_owned(),
            format!("{order} <- POST /orders"),
            format!("process traced:Order.OrderPlaced:traced.billing <- {order} bill 0 retry handler_error"),
            format!("{again} <- {order} bill 1 dead_letter handler_error"),
            format!("{again} <- {order} bill 0 handled"),
            format!("send traced:Invoice.InvoiceSent <- {again}"),
            "process traced:Invoice.InvoiceSent:traced.billing <- send traced:Invoice.InvoiceSent file 0 handled"
                .to_owned(),
        ],
        "on {broker}"
    );
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "one trace on {broker}");
    let sent = sorted[1];
    for (name, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "traced:Order.OrderPlaced"),
        ("messaging.rabbitmq.destination.routing_key", "Order.OrderPlaced"),
    ] {
        assert_eq!(attribute(sent, name).as_deref(), Some(value), "{name}");
    }
    let id = attribute(sent, "messaging.message.id").expect("an event has an id");
    for process in [sorted[2], sorted[3], sorted[4]] {
        assert_eq!(attribute(process, "messaging.message.id"), Some(id.clone()));
        assert_eq!(attribute(process, "messaging.operation.type").as_deref(), Some("process"));
        assert_eq!(attribute(process, "messaging.consumer.group.name").as_deref(), Some("billing"));
        assert_eq!(process.links.len(), 1);
        assert_eq!(process.links[0].span_id, sent.span_id, "each attempt is linked to the publish");
    }
    assert_eq!(sorted[2].status.as_ref().map(|status| status.message.as_str()), Some("the shop is closed"));
    assert_eq!((sent.kind, sorted[2].kind), (4, 5), "producer, consumer");
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// Takes OTLP over HTTP, as protobuf.
struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = Arc::clone(&spans);
        thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                let request = receive(&client).expect("an exporter speaks HTTP");
                let request = ExportTraceServiceRequest::decode(&*request).expect("protobuf");
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.extend(scopes.flat_map(|scope| scope.spans));
                drop(taken);
                // Not before: whoever flushed looks as soon as this is there.
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Self { port, spans }
    }

    fn provider(&self) -> SdkTracerProvider {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("http://127.0.0.1:{}/v1/traces", self.port))
            .build()
            .expect("the endpoint is a URL");
        let resource =
            Resource::builder_empty().with_attribute(KeyValue::new("service.name", "shop")).build();
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()
    }

    fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn receive(client: &TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// The least that posts.
#[derive(Debug)]
struct Client;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let address = request.uri().authority().expect("an address").as_str();
            let mut stream = TcpStream::connect(address)?;
            let (path, body) = (request.uri().path(), request.body());
            write!(
                stream,
                "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(body)?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(Response::new(Bytes::new()))
        })
    }
}
