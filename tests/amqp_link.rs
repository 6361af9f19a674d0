//! What only a real RabbitMQ shows: connections lost and made again, and verdicts under load.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{
    message::{Headers, Message, Properties, Value},
    model::{Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Delivery, Link, LinkState,
        Publication, Publish, PublishError, Settlement, Transport, TransportError,
        amqp::{Amqp, AmqpOptions, Host},
    },
};
use es_bus_tests::{Node, eventually};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// Within which connections are there again that the broker closed.
const RECOVERY: Duration = Duration::from_secs(8);

fn options(url: &str) -> AmqpOptions {
    let rest = url.rsplit_once('@').expect("a user").1;
    let (authority, vhost) = rest.split_once('/').expect("a path");
    let (host, port) = authority.split_once(':').expect("a port");
    AmqpOptions {
        hosts: vec![Host { host: host.to_owned(), port: port.parse().expect("a number") }],
        vhost: if vhost.is_empty() { "/".to_owned() } else { vhost.to_owned() },
        reconnect_min: Duration::from_millis(100),
        reconnect_max: Duration::from_millis(500),
        ..AmqpOptions::default()
    }
}

async fn connected(options: AmqpOptions) -> Arc<Amqp> {
    let amqp = Amqp::connect(options);
    until(&amqp, "up", |link| matches!(link.state, LinkState::Up)).await;
    amqp
}

async fn until(amqp: &Amqp, what: &str, condition: impl FnMut(&Link) -> bool) -> Link {
    let mut link = amqp.link();
    let found = timeout(PATIENCE, link.wait_for(condition)).await;
    found.unwrap_or_else(|_| panic!("never {what}: {:?}", amqp.link().borrow())).expect("kept").clone()
}

async fn fatal(amqp: &Amqp) -> Arc<TransportError> {
    match until(amqp, "fatal", |link| matches!(link.state, LinkState::Fatal(_))).await.state {
        LinkState::Fatal(error) => error,
        state => panic!("{state:?}"),
    }
}

/// What was logged.
#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

fn exchange_name(name: &str) -> ExchangeName {
    ExchangeName::new(name).expect("a name")
}

/// Topic exchange `orders`, and a quorum queue of that name bound to `order.*`.
async fn orders(amqp: &Amqp) {
    amqp.declare_exchange(&Exchange::durable(exchange_name("orders"), ExchangeKind::Topic))
        .await
        .expect("new");
    amqp.declare_queue(&work_queue("orders")).await.expect("new");
    let binding = Binding::by_key(exchange_name("orders"), queue_name("orders"), "order.*");
    amqp.bind(&binding).await.expect("both exist");
}

fn work_queue(name: &str) -> Queue {
    let mut queue = Queue::durable(queue_name(name), QueueKind::Quorum);
    queue.delivery_limit = Some(1_000_000);
    queue
}

/// A message with an id of its own.
fn publication(exchange: &str, key: &str, body: &str) -> Publication {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let message_id = Some(COUNT.fetch_add(1, Ordering::Relaxed).to_string().into());
    Publication {
        exchange: exchange_name(exchange),
        routing_key: key.to_owned().into(),
        message: Message {
            properties: Properties { persistent: true, message_id, ..Properties::default() },
            headers: Headers::new(),
            body: body.to_owned().into(),
        },
        mandatory: true,
        lane: None,
    }
}

async fn consume(amqp: &Amqp, queue: &str, prefetch: u16) -> Consumer {
    amqp.consume(request(queue, prefetch)).await.expect("the queue exists")
}

fn request(queue: &str, prefetch: u16) -> ConsumeRequest {
    ConsumeRequest {
        queue: queue_name(queue),
        tag: format!("{queue}-consumer"),
        prefetch,
        exclusive: false,
        may_hold: 0,
        offset: None,
    }
}

async fn next(consumer: &mut Consumer) -> Option<Result<Delivery, ConsumeError>> {
    timeout(PATIENCE, consumer.next()).await.expect("a delivery, an error or the end")
}

async fn delivery(consumer: &mut Consumer) -> Delivery {
    next(consumer).await.expect("not the end").expect("not an error")
}

async fn failure(consumer: &mut Consumer) -> ConsumeError {
    loop {
        match next(consumer).await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.received.message.body.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_fatal_and_never_shown() {
    let secret = "s3cr@t/w%40rd";
    let amqp = Amqp::connect(AmqpOptions { password: secret.to_owned(), ..options(&Node::shared().url()) });

    let error = fatal(&amqp).await;

    assert!(matches!(*error, TransportError::Login { .. }), "{error:?}");
    let shown = format!("{error} {error:?} {amqp:?} {:?} {}", amqp.link().borrow(), amqp.describe());
    assert!(shown.contains("ACCESS_REFUSED"), "{shown}");
    assert!(!shown.contains("s3cr"), "{shown}");
    assert!(matches!(
        amqp.publish(&publication("orders", "order.placed", "")).await,
        Err(PublishError::Interrupted { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_needs_no_escaping() {
    let node = Node::shared();
    let (user, secret) = ("odd@user", "s3cr@t/w%40:rd?#");
    node.rabbitmqctl(&["add_user", user, secret]);
    node.rabbitmqctl(&["set_permissions", user, ".*", ".*", ".*"]);

    let options = AmqpOptions { user: user.to_owned(), password: secret.to_owned(), ..options(&node.url()) };
    let amqp = connected(options).await;

    amqp.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_virtual_host_is_fatal() {
    let amqp = Amqp::connect(AmqpOptions { vhost: "no such".to_owned(), ..options(&Node::shared().url()) });

    let error = fatal(&amqp).await;

    assert!(matches!(&*error, TransportError::VirtualHost { vhost, .. } if vhost == "no such"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_http_is_fatal() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = server.accept() {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let options = options(&format!("amqp://guest@127.0.0.1:{port}/"));

    let error = fatal(&Amqp::connect(options)).await;

    assert!(matches!(*error, TransportError::Protocol { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_is_tried() {
    let mut options = options(&Node::shared().url());
    options.hosts.insert(0, Host { host: "127.0.0.1".to_owned(), port: 1 });

    connected(options).await.close().await;
}

/// Hosts take turns: one that takes connections and says nothing costs `connect_timeout`, at the start
/// and after a loss, and no loop without a pause.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_nothing_is_passed_within_the_connect_timeout() {
    let node = Node::shared();
    let vhost = node.vhost("hosts");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let (accepted, connects) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((client, _)) = silent.accept() {
            if accepted.send(client).is_err() {
                return;
            }
        }
    });
    let mut options = AmqpOptions { connect_timeout: Duration::from_millis(300), ..options(&vhost.url()) };
    options.hosts.insert(0, Host { host: "127.0.0.1".to_owned(), port });

    let started = Instant::now();
    let amqp = connected(options).await;
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(5));
    let failures = amqp.link().borrow().failures;
    assert_eq!(failures, 1, "each side failed once");
    tokio::task::block_in_place(|| {
        node.rabbitmqctl(&["close_all_connections", "-p", vhost.name(), "a lost connection"]);
    });
    let again = until(&amqp, "up again", |link| link.generation == 2).await;

    // The first failure is forgotten when the connection lasted for `reconnect_max`.
    assert!((2..=4).contains(&again.failures), "the loss, the silent host: {}", again.failures);
    amqp.close().await;
    let connects = std::iter::from_fn(|| connects.try_recv().ok()).count();
    assert!((3..=6).contains(&connects), "two sides, at most two turns each: {connects}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_transport_says_so() {
    let vhost = Node::shared().vhost("closed");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let mut consumer = consume(&amqp, "orders", 10).await;

    timeout(PATIENCE, amqp.close()).await.expect("an end");

    assert!(matches!(amqp.link().borrow().state, LinkState::Closed));
    let published = amqp.publish(&publication("orders", "order.placed", "")).await;
    assert!(matches!(published, Err(PublishError::Closed)), "{published:?}");
    assert!(next(&mut consumer).await.is_none());
    timeout(PATIENCE, amqp.close()).await.expect("idempotent");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_broker_and_resumes_after_it_was_killed() {
    let mut node = Node::start();
    let url = node.url();
    // 3.10.8 never again finds a leader for a quorum queue when it is killed within seconds of
    // declaring it; a stop in order writes everything down.
    let amqp = connected(options(&url)).await;
    orders(&amqp).await;
    amqp.close().await;
    node.stop();
    let amqp = Amqp::connect(options(&url));
    until(&amqp, "waiting", |link| matches!(link.state, LinkState::Backoff { .. })).await;

    let node = restarted(node).await;
    until(&amqp, "up", |link| matches!(link.state, LinkState::Up)).await;
    let mut consumer = consume_once_led(&amqp, "orders").await;
    amqp.publish(&publication("orders", "order.placed", "one")).await.expect("stored");
    let held = delivery(&mut consumer).await;
    let first = amqp.link().borrow().generation;

    let mut node = node;
    node.kill9();
    let error = failure(&mut consumer).await;
    assert!(matches!(error, ConsumeError::Interrupted { .. }), "{error:?}");
    assert!(next(&mut consumer).await.is_none());
    assert!(!held.settle(Settlement::Ack));
    assert!(matches!(
        amqp.publish(&publication("orders", "order.placed", "two")).await,
        Err(PublishError::Interrupted { .. })
    ));
    consumer.close().await;

    let _node = restarted(node).await;
    let again = until(&amqp, "up again", |link| matches!(link.state, LinkState::Up)).await.generation;
    assert_eq!(again, first + 1);
    let mut consumer = consume_once_led(&amqp, "orders").await;
    let redelivered = delivery(&mut consumer).await;
    assert_eq!(body(&redelivered), "one");
    assert!(redelivered.settle(Settlement::Ack));
    amqp.publish(&publication("orders", "order.placed", "three")).await.expect("stored");
    assert_eq!(body(&delivery(&mut consumer).await), "three");
}

/// A quorum queue that has no leader yet answers 541, which ends the connection.
async fn consume_once_led(amqp: &Amqp, queue: &str) -> Consumer {
    let since = Instant::now();
    loop {
        match amqp.consume(request(queue, 10)).await {
            Ok(consumer) => return consumer,
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error:?}"),
        }
        until(amqp, "up", |link| matches!(link.state, LinkState::Up)).await;
    }
}

async fn restarted(mut node: Node) -> Node {
    tokio::task::spawn_blocking(move || {
        node.restart();
        node
    })
    .await
    .expect("it boots")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_broker_closes_are_made_again() {
    let mut node = Node::start();
    let amqp = connected(options(&node.url())).await;
    orders(&amqp).await;
    let mut consumer = consume(&amqp, "orders", 10).await;

    let node = tokio::task::spawn_blocking(move || {
        node.close_all_connections("maintenance");
        node
    })
    .await
    .expect("closed");

    let since = Instant::now();
    let error = failure(&mut consumer).await;
    assert!(
        matches!(&error, ConsumeError::Interrupted { reason } if reason.contains("maintenance")),
        "{error:?}"
    );
    until(&amqp, "up again", |link| matches!(link.state, LinkState::Up) && link.generation == 2).await;
    assert!(since.elapsed() < RECOVERY, "{:?}", since.elapsed());
    amqp.publish(&publication("orders", "order.placed", "one")).await.expect("stored");
    assert_eq!(body(&delivery(&mut consume(&amqp, "orders", 10).await).await), "one");
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_noticed() {
    let mut node = Node::start();
    let amqp = connected(AmqpOptions { heartbeat: Duration::from_secs(1), ..options(&node.url()) }).await;
    orders(&amqp).await;
    let mut consumer = consume(&amqp, "orders", 10).await;

    node.sigstop();
    let since = Instant::now();
    let published = amqp.publish(&publication("orders", "order.placed", "one")).await;
    let error = failure(&mut consumer).await;

    assert!(matches!(published, Err(PublishError::Interrupted { .. })), "{published:?}");
    assert!(matches!(error, ConsumeError::Interrupted { .. }), "{error:?}");
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    timeout(PATIENCE, consumer.close()).await.expect("does not hang");
    node.sigcont();
    until(&amqp, "up again", |link| matches!(link.state, LinkState::Up) && link.generation == 2).await;
}

/// The paused clock goes on at once when there is nothing to do but to wait.
#[tokio::test]
async fn what_the_broker_does_not_answer_is_given_up_after_half_a_minute() {
    let mut node = Node::start();
    let amqp = connected(AmqpOptions { heartbeat: Duration::from_secs(600), ..options(&node.url()) }).await;
    orders(&amqp).await;

    node.sigstop();
    tokio::time::pause();
    let told = timeout(2 * PATIENCE, amqp.queue_status(&queue_name("orders"))).await;
    tokio::time::resume();
    node.sigcont();

    let Ok(Err(DeclareError::Down { reason, .. })) = told else { panic!("{told:?}") };
    assert_eq!(reason, "the broker has not answered for 30 s");
}

/// As RabbitMQ 4.0 does about a classic queue whose node is down, for as long as it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_does_not_answer_is_not_asked_again_and_again() {
    let mut node = Node::start();
    let amqp = connected(AmqpOptions { heartbeat: Duration::from_secs(60), ..options(&node.url()) }).await;
    orders(&amqp).await;
    let (orders, other) = (queue_name("orders"), queue_name("other"));
    let ask = async |queue| timeout(Duration::from_millis(50), amqp.queue_status(queue)).await;

    node.sigstop();
    let since = Instant::now();
    let mut asked = 0;
    let told = loop {
        asked += 1;
        match ask(&orders).await {
            Ok(told) => break told,
            Err(_elapsed) => assert!(since.elapsed() < PATIENCE, "asked {asked} times"),
        }
    };
    let unasked = ask(&other).await;
    node.sigcont();
    let back = async {
        loop {
            match amqp.queue_status(&orders).await {
                Ok(status) => return status,
                Err(DeclareError::Down { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let back = timeout(PATIENCE, back).await.expect("asked again once it has answered");

    let Err(DeclareError::Down { what: "queue", name, reason }) = told else { panic!("{told:?}") };
    assert_eq!(name, "orders");
    assert!(reason.starts_with("the broker has not answered for "), "{reason}");
    assert!(unasked.is_err(), "others are asked: {unasked:?}");
    assert!(back.is_some(), "the queue is there");
    assert_eq!(amqp.link().borrow().generation, 1, "the connection was kept");
    assert_eq!(amqp.queue_status(&other).await.expect("answered"), None);
}

/// On one thread, so that all that is logged comes to one subscriber.
#[tokio::test]
async fn a_blocked_connection_is_told_and_holds_nothing_for_ever() {
    let log = Arc::new(Log::default());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&log)).finish();
    let _recording = tracing::subscriber::set_default(subscriber);
    let node = Node::start();
    let amqp = connected(options(&node.url())).await;
    orders(&amqp).await;
    let mut consumer = consume(&amqp, "orders", 10).await;
    let order = |body: &str| Publication { lane: Some(7), ..publication("orders", "order.placed", body) };
    let [first, second, third] = ["first", "second", "third"].map(order);
    // All is well there, so that more than one may be on its way.
    for _ in 0..2 {
        amqp.publish(&order("before")).await.expect("stored");
    }

    node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
    // The broker blocks a connection when it publishes.
    assert!(timeout(Duration::from_secs(3), amqp.publish(&first)).await.is_err());
    let blocked = until(&amqp, "blocked", |link| link.blocked.is_some()).await.blocked;
    assert!(blocked.is_some_and(|reason| reason.contains("memory")));
    for publication in [&second, &first, &second] {
        assert!(timeout(Duration::from_millis(200), amqp.publish(publication)).await.is_err());
    }
    assert!(timeout(Duration::from_millis(200), amqp.queue_status(&queue_name("orders"))).await.is_ok());
    node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
    until(&amqp, "unblocked", |link| link.blocked.is_none()).await;
    amqp.publish(&third).await.expect("stored");
    amqp.publish(&first).await.expect("stored, again or not");

    // What was dropped was on its way, and was not sent again while it was. Nothing passed it.
    for expected in ["before", "before", "first", "second", "third"] {
        let delivery = delivery(&mut consumer).await;
        assert_eq!(body(&delivery), expected);
        assert!(delivery.settle(Settlement::Ack));
    }
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    let told: Vec<_> = log.lines().filter(|line| line.contains("blocked: ")).collect();
    let [warning, end] = told.as_slice() else { panic!("{log}") };
    assert!(
        warning.contains("WARN") && warning.contains("side=\"publishing\" reason=\"low on memory\""),
        "{log}"
    );
    assert!(end.contains("INFO") && end.contains("takes publishes again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_its_consumer_ends_it_with_an_error() {
    let vhost = Node::shared().vhost("deleted");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let mut consumer = consume(&amqp, "orders", 10).await;

    amqp.delete_queue(&queue_name("orders")).await.expect("deleted");

    let error = failure(&mut consumer).await;
    assert!(matches!(&error, ConsumeError::Cancelled { queue } if queue == "orders"), "{error:?}");
    assert!(next(&mut consumer).await.is_none());
    let again = amqp.consume(request("orders", 1)).await.map(drop);
    assert!(matches!(again, Err(ConsumeError::NoQueue { .. })), "{again:?}");
    amqp.delete_queue(&queue_name("orders")).await.expect("nothing to do");
    assert_eq!(amqp.queue_status(&queue_name("orders")).await.expect("asked"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_somebody_has_alone_is_refused() {
    let vhost = Node::shared().vhost("exclusive");
    let amqp = connected(options(&vhost.url())).await;
    // A quorum queue of 3.10 lets a second consumer in all the same.
    amqp.declare_queue(&Queue::durable(queue_name("orders"), QueueKind::Classic)).await.expect("new");
    let _first =
        amqp.consume(ConsumeRequest { exclusive: true, ..request("orders", 1) }).await.expect("free");

    let second =
        amqp.consume(ConsumeRequest { tag: "other".to_owned(), ..request("orders", 1) }).await.map(drop);

    assert!(matches!(second, Err(ConsumeError::Refused { .. })), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_hurts_nobody_else() {
    let vhost = Node::shared().vhost("missing");
    let amqp = connected(AmqpOptions { window: 64, ..options(&vhost.url()) }).await;
    orders(&amqp).await;

    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..400 {
        let amqp = amqp.clone();
        tasks.spawn(async move {
            let exchange = if number % 2 == 0 { "orders" } else { "nowhere" };
            let publication = Publication {
                lane: (number % 3 == 0).then_some(number),
                ..publication(exchange, "order.placed", "")
            };
            (number, amqp.publish(&publication).await)
        });
    }

    while let Some(done) = tasks.join_next().await {
        let (number, verdict) = done.expect("no panic");
        match verdict {
            Ok(()) => assert_eq!(number % 2, 0),
            Err(PublishError::NoExchange { exchange, .. }) => {
                assert_eq!((number % 2, exchange.as_str()), (1, "nowhere"));
            }
            Err(error) => panic!("{number}: {error:?}"),
        }
    }
    assert_eq!(amqp.link().borrow().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verdict_is_given_to_the_wrong_publish() {
    let vhost = Node::shared().vhost("verdicts");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;

    for round in 0..20 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..1000_u64 {
            let amqp = amqp.clone();
            tasks.spawn(async move {
                let key = if number % 2 == 0 { "order.placed" } else { "nobody.listens" };
                let lane = (number % 5 == 0).then_some(number % 50);
                (number, amqp.publish(&Publication { lane, ..publication("orders", key, "") }).await)
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (number, verdict) = done.expect("no panic");
            let right = match &verdict {
                Ok(()) => number % 2 == 0,
                Err(PublishError::Unroutable { .. }) => number % 2 == 1,
                Err(_) => false,
            };
            assert!(right, "round {round}, {number}: {verdict:?}");
        }
    }

    let status = amqp.queue_status(&queue_name("orders")).await.expect("asked").expect("there");
    assert_eq!(status.messages, 20 * 500);
    assert_eq!(amqp.purge(&queue_name("orders")).await.expect("purged"), 20 * 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_keeps_its_order() {
    let vhost = Node::shared().vhost("lanes");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;

    let publications = (0..600_u64).map(|number| {
        let lane = Some(number % 3);
        Publication { lane, ..publication("orders", "order.placed", &number.to_string()) }
    });
    let publications: Vec<_> = publications.collect();
    let publishes = publications.iter().map(|publication| amqp.publish(publication));
    for verdict in all(publishes.collect()).await {
        verdict.expect("stored");
    }

    let mut consumer = consume(&amqp, "orders", 100).await;
    let mut last = [None; 3];
    for _ in 0..600 {
        let delivery = delivery(&mut consumer).await;
        let number: u64 = body(&delivery).parse().expect("a number");
        let last = &mut last[usize::try_from(number % 3).expect("small")];
        assert!(*last < Some(number), "{number} after {last:?}");
        *last = Some(number);
        delivery.settle(Settlement::Ack);
    }
}

/// Polls all at once, in their order, and returns when all are ready.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = std::pin::Pin::new(future).poll(cx)
            {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_delivery_does_not_hold_the_prefetch() {
    let vhost = Node::shared().vhost("slow");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    for number in 0..50 {
        amqp.publish(&publication("orders", "order.placed", &number.to_string())).await.expect("stored");
    }
    let mut consumer = consume(&amqp, "orders", 4).await;

    let slow = delivery(&mut consumer).await;
    let mut seen = BTreeSet::new();
    for _ in 1..50 {
        let delivery = delivery(&mut consumer).await;
        seen.insert(body(&delivery));
        assert!(delivery.settle(Settlement::Ack));
    }
    assert_eq!(seen.len(), 49);
    assert!(slow.settle(Settlement::Requeue));

    let again = delivery(&mut consumer).await;
    assert_eq!((body(&again).as_str(), again.received.redelivered), ("0", true));
    assert!(again.settle(Settlement::Reject));
    consumer.close().await;
    until_ready(&amqp, 0).await;
}

/// What is on its way to a consumer when it is cancelled comes again, redelivered, from a quorum queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_holds_one_for_long_ends_when_nothing_is_on_its_way() {
    const ALL: usize = 3000;
    let vhost = Node::shared().vhost("left");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let publications: Vec<_> =
        (0..ALL).map(|n| publication("orders", "order.placed", &n.to_string())).collect();
    for stored in all(publications.iter().map(|it| amqp.publish(it)).collect()).await {
        stored.expect("stored");
    }
    let mut first = amqp
        .consume(ConsumeRequest { may_hold: 2, ..request("orders", 10) })
        .await
        .expect("the queue exists");

    let slow = delivery(&mut first).await;
    let mut count = 1;
    while let Some(delivery) = next(&mut first).await {
        assert!(delivery.expect("no error").settle(Settlement::Ack));
        count += 1;
    }
    assert!(count < ALL, "all came before it ended");
    assert_eq!((first.settler().has_left(), first.settler().held()), (true, 1));
    let mut second = consume(&amqp, "orders", 9).await;
    for _ in count..ALL {
        let delivery = delivery(&mut second).await;
        assert!(!delivery.received.redelivered, "{}", body(&delivery));
        assert!(delivery.settle(Settlement::Ack));
    }

    assert!(slow.settle(Settlement::Ack), "its channel is open still");
    second.close().await;
    first.close().await;
    until_ready(&amqp, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_consumer_still_gets_what_is_on_its_way() {
    let vhost = Node::shared().vhost("cancelled");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    for number in 0..10 {
        amqp.publish(&publication("orders", "order.placed", &number.to_string())).await.expect("stored");
    }
    let mut consumer = consume(&amqp, "orders", 5).await;
    let first = delivery(&mut consumer).await;

    consumer.cancel().await;
    let mut rest = Vec::new();
    while let Some(delivery) = next(&mut consumer).await {
        rest.push(delivery.expect("no error"));
    }
    assert!(rest.len() <= 4);
    assert!(first.settle(Settlement::Ack));
    for delivery in rest.drain(..) {
        assert!(delivery.settle(Settlement::Requeue));
    }
    consumer.close().await;

    until_ready(&amqp, 9).await;
}

/// Waits until so many messages are ready in `orders`, which nobody consumes any more.
async fn until_ready(amqp: &Amqp, count: u64) {
    let since = Instant::now();
    loop {
        let status = amqp.queue_status(&queue_name("orders")).await.expect("asked").expect("there");
        if (status.messages, status.consumers) == (count, 0) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_names_the_setting_and_both_values() {
    let vhost = Node::shared().vhost("mismatch");
    let amqp = connected(options(&vhost.url())).await;
    let mut there = work_queue("orders");
    there.message_ttl = Some(Duration::from_millis(1000));
    there.dead_letter = Some(DeadLetter {
        exchange: exchange_name("dead"),
        routing_key: None,
        strategy: DeadLetterStrategy::AtLeastOnce,
    });
    there.overflow = Some(Overflow::RejectPublish);
    amqp.declare_queue(&there).await.expect("new");
    amqp.declare_queue(&there).await.expect("the same again");
    let exchange = Exchange::durable(exchange_name("orders"), ExchangeKind::Topic);
    amqp.declare_exchange(&exchange).await.expect("new");
    let with = |change: &dyn Fn(&mut Queue)| {
        let mut queue = there.clone();
        change(&mut queue);
        queue
    };

    for (queue, field, wanted, found) in [
        (
            with(&|queue| queue.message_ttl = Some(Duration::from_millis(2000))),
            "x-message-ttl",
            Some("2000"),
            Some("1000"),
        ),
        (with(&|queue| queue.message_ttl = None), "x-message-ttl", None, Some("1000")),
        (with(&|queue| queue.max_length = Some(5)), "x-max-length", Some("5"), None),
        (
            with(&|queue| queue.overflow = Some(Overflow::DropHead)),
            "x-overflow",
            Some("drop-head"),
            Some("reject-publish"),
        ),
        (with(&|queue| queue.delivery_limit = Some(3)), "x-delivery-limit", Some("3"), Some("1000000")),
        (with(&|queue| queue.dead_letter = None), "x-dead-letter-exchange", None, Some("dead")),
    ] {
        let error = amqp.declare_queue(&queue).await.expect_err("another one is there");
        let DeclareError::Mismatch { field: f, wanted: w, found: c, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((f.as_deref(), w.as_deref(), c.as_deref()), (Some(field), wanted, found), "{error}");
    }
    let other = Exchange { kind: ExchangeKind::Direct, ..exchange.clone() };
    let error = amqp.declare_exchange(&other).await.expect_err("another one is there");
    let DeclareError::Mismatch { field, wanted, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        (field.as_deref(), wanted.as_deref(), found.as_deref()),
        (Some("type"), Some("direct"), Some("topic"))
    );
    let error = amqp
        .bind(&Binding::by_key(exchange_name("orders"), queue_name("nowhere"), "#"))
        .await
        .expect_err("no such queue");
    assert!(matches!(error, DeclareError::Refused { what: "binding", .. }), "{error:?}");
    assert_eq!(amqp.link().borrow().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_header_type_survives_the_broker() {
    let vhost = Node::shared().vhost("types");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let inner: Headers = [("queue", Value::from("orders")), ("count", Value::I64(3))].into_iter().collect();
    let mut sent = publication("orders", "order.placed", "{}");
    sent.message.properties = Properties {
        content_type: Some("application/json".into()),
        content_encoding: Some("utf-8".into()),
        persistent: true,
        priority: Some(0),
        correlation_id: Some("c".into()),
        reply_to: Some("r".into()),
        expiration: Some("600000".into()),
        message_id: Some("m".into()),
        timestamp: Some(1_767_323_045),
        kind: Some("OrderPlaced".into()),
        user_id: Some("guest".into()),
        app_id: Some("shop".into()),
    };
    sent.message.headers = [
        ("bool", Value::Bool(true)),
        ("i8", Value::I8(-128)),
        ("u8", Value::U8(255)),
        ("i16", Value::I16(-32_768)),
        ("u16", Value::U16(65_535)),
        ("i32", Value::I32(i32::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-2.25)),
        ("decimal", Value::Decimal(2, 12_345)),
        ("text", Value::from("boom: ünïcode\nline2")),
        ("no text", Value::Str(b"\xff\xfe".as_slice().into())),
        ("timestamp", Value::Timestamp(1_767_323_045)),
        ("array", Value::Array(vec![Value::Table(inner.clone()), Value::Void])),
        ("table", Value::Table(inner)),
        ("bytes", Value::Bytes(b"\x00\x01".as_slice().into())),
        ("void", Value::Void),
    ]
    .into_iter()
    .collect();

    amqp.publish(&sent).await.expect("stored");
    let mut found = delivery(&mut consume(&amqp, "orders", 1).await).await.received;

    // A quorum queue counts deliveries there.
    found.message.headers.remove("x-delivery-count");
    assert_eq!(found.message, sent.message);
    assert_eq!((found.exchange.as_str(), found.routing_key.as_str()), ("orders", "order.placed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_headers_that_are_published_arrive() {
    let vhost = Node::shared().vhost("frames");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let large = |bytes: usize| {
        let mut publication = publication("orders", "order.placed", "{}");
        publication.message.properties.message_id = None;
        publication.message.headers.insert("x-large", "h".repeat(bytes));
        publication
    };
    // Frame, properties and header are counted to the last byte, and 4 KiB left to the broker.
    let fits = 128 * 1024 - 4096 - 22 - 1 - 4 - (1 + 7) - (1 + 4);

    amqp.publish(&large(fits)).await.expect("stored");
    let error = amqp.publish(&large(fits + 1)).await.expect_err("does not fit");
    assert!(
        matches!(&error, PublishError::TooLarge { what, .. } if what == "the frame of properties and headers"),
        "{error:?}"
    );

    let mut consumer = consume(&amqp, "orders", 1).await;
    let delivery = delivery(&mut consumer).await;
    assert_eq!(delivery.received.message.headers.get_str("x-large").map(str::len), Some(fits));
    assert!(delivery.settle(Settlement::Ack));
    assert_eq!(amqp.link().borrow().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_a_foreign_user_is_rejected() {
    let vhost = Node::shared().vhost("refused");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let mut small = work_queue("small");
    small.max_length = Some(1);
    small.overflow = Some(Overflow::RejectPublish);
    amqp.declare_queue(&small).await.expect("new");
    amqp.bind(&Binding::by_key(exchange_name("orders"), queue_name("small"), "small")).await.expect("bound");

    let since = Instant::now();
    let refused = loop {
        if let Err(error) = amqp.publish(&publication("orders", "small", "")).await {
            break error;
        }
        assert!(since.elapsed() < PATIENCE);
    };
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused:?}");
    let mut foreign = publication("orders", "order.placed", "");
    foreign.message.properties.user_id = Some("somebody".into());
    let rejected = amqp.publish(&foreign).await;
    assert!(matches!(rejected, Err(PublishError::Rejected { .. })), "{rejected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_publish_leaves_its_channel_sound() {
    let vhost = Node::shared().vhost("dropped");
    let amqp = connected(AmqpOptions { window: 2, ..options(&vhost.url()) }).await;
    orders(&amqp).await;

    for number in 0..300_u64 {
        let key = if number % 2 == 0 { "nobody.listens" } else { "order.placed" };
        let left = Publication { lane: Some(number), ..publication("orders", key, "left") };
        let _ = timeout(Duration::from_micros(number * 7), amqp.publish(&left)).await;
        let kept = Publication { lane: Some(number), ..publication("orders", "order.placed", "kept") };
        amqp.publish(&kept).await.expect("stored, whatever became of the one before");
    }
}

/// Without an answer from one queue, what goes to others is confirmed, also when there is more of it than a
/// window has room for.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_never_answers_delays_no_others() {
    const STUCK: u64 = 600;
    let node = Node::shared();
    let vhost = node.vhost("unanswered");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    amqp.declare_queue(&work_queue("stuck")).await.expect("new");
    amqp.bind(&Binding::by_key(exchange_name("orders"), queue_name("stuck"), "stuck")).await.expect("bound");
    let queue = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"stuck\">>)), ",
        vhost.name()
    );
    node.rabbitmqctl(&["eval", &format!("{queue}sys:suspend(amqqueue:get_pid(Q)).")]);

    let publications: Vec<_> = (0..STUCK)
        .map(|number| Publication {
            lane: Some(number % 10),
            ..publication("orders", "stuck", &number.to_string())
        })
        .collect();
    let mut stuck = tokio::task::JoinSet::new();
    for publication in publications {
        let amqp = amqp.clone();
        stuck.spawn(async move {
            // The first call is dropped.
            let _ = timeout(Duration::from_millis(500), amqp.publish(&publication)).await;
            amqp.publish(&publication).await
        });
    }
    let others = async {
        for number in 0..100_u64 {
            let publication = Publication {
                lane: (number % 2 == 0).then_some(100 + number),
                ..publication("orders", "order.placed", "")
            };
            amqp.publish(&publication).await.expect("stored");
            // Spread over the time in which the windows fill.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, others).await.expect("the others are confirmed");
    let claimed = stuck.try_join_next();
    assert!(claimed.is_none(), "{claimed:?}");

    node.rabbitmqctl(&["eval", &format!("{queue}sys:resume(amqqueue:get_pid(Q)).")]);
    while let Some(verdict) = timeout(PATIENCE, stuck.join_next()).await.expect("they are confirmed at last")
    {
        verdict.expect("no panic").expect("stored");
    }
    let mut consumer = consume(&amqp, "stuck", 100).await;
    let mut seen = BTreeSet::new();
    while (seen.len() as u64) < STUCK {
        let delivery = delivery(&mut consumer).await;
        seen.insert(body(&delivery));
        assert!(delivery.settle(Settlement::Ack));
    }
    assert_eq!(amqp.link().borrow().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_carry_their_name() {
    let node = Node::shared();
    let vhost = node.vhost("names");
    let options = AmqpOptions { connection_name: "shop-names".to_owned(), ..options(&vhost.url()) };
    let amqp = connected(options).await;

    let names = eventually("both connections", || {
        let all = node.rabbitmqctl(&["list_connections", "client_properties"]);
        (all.matches("shop-names").count() == 2).then_some(all)
    });

    assert!(names.contains("shop-names (publishing)") && names.contains("shop-names (consuming)"), "{names}");
    amqp.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_held_too_long_costs_the_channel_and_nothing_else() {
    let node = Node::start_with("consumer_timeout = 1000\n");
    let amqp = connected(options(&node.url())).await;
    orders(&amqp).await;
    amqp.publish(&publication("orders", "order.placed", "slow")).await.expect("stored");
    let mut consumer = consume(&amqp, "orders", 10).await;
    let held = delivery(&mut consumer).await;

    let error = failure(&mut consumer).await;

    assert!(
        matches!(&error, ConsumeError::ChannelClosed { queue, reason } if queue == "orders" && reason.contains("timed out")),
        "{error:?}"
    );
    assert!(next(&mut consumer).await.is_none());
    assert!(!held.settle(Settlement::Ack));
    let again = delivery(&mut consume(&amqp, "orders", 10).await).await;
    assert_eq!((body(&again).as_str(), again.received.redelivered), ("slow", true));
    assert_eq!(amqp.link().borrow().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_thousands_in_any_order() {
    let vhost = Node::shared().vhost("thousands");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let publications: Vec<_> =
        (0..5000).map(|number| publication("orders", "order.placed", &number.to_string())).collect();
    let publishes = publications.iter().map(|publication| amqp.publish(publication));
    for verdict in all(publishes.collect()).await {
        verdict.expect("stored");
    }
    let mut consumer = consume(&amqp, "orders", 100).await;

    let mut held = Vec::new();
    let mut acked = BTreeSet::new();
    while acked.len() < 5000 {
        let delivery = delivery(&mut consumer).await;
        held.push(delivery);
        // The newest first; every eleventh goes back once.
        if held.len() == 40 || acked.len() + held.len() >= 5000 {
            for (index, delivery) in held.drain(..).rev().enumerate() {
                let done = delivery.received.redelivered || index % 11 != 0;
                if done {
                    acked.insert(body(&delivery));
                }
                assert!(delivery.settle(if done { Settlement::Ack } else { Settlement::Requeue }));
            }
        }
    }
    consumer.close().await;

    until_ready(&amqp, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consumers_and_declarations_that_are_dropped_do_not_cost_the_connection() {
    let vhost = Node::shared().vhost("churn");
    let amqp = connected(options(&vhost.url())).await;
    orders(&amqp).await;
    let before = amqp.link().borrow().generation;

    let churn = (0..8).map(|n: usize| {
        let amqp = amqp.clone();
        tokio::spawn(async move {
            for round in 0..40 {
                let request = ConsumeRequest {
                    queue: queue_name("orders"),
                    tag: format!("churn {n} {round}"),
                    prefetch: 10,
                    exclusive: false,
                    may_hold: 0,
                    offset: None,
                };
                // Dropped half-way, dropped when it is there, closed.
                match (n + round) % 3 {
                    0 => drop(timeout(Duration::from_micros(500), amqp.consume(request)).await),
                    1 => drop(amqp.consume(request).await.expect("the queue is there")),
                    _ => amqp.consume(request).await.expect("the queue is there").close().await,
                }
                let queue = work_queue("orders");
                drop(timeout(Duration::from_micros(300), amqp.declare_queue(&queue)).await);
                let other = Queue { kind: QueueKind::Classic, ..queue };
                amqp.declare_queue(&other).await.expect_err("it is a quorum queue");
            }
        })
    });
    for task in churn.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }

    let link = amqp.link().borrow().clone();
    assert!(matches!(link.state, LinkState::Up), "{link:?}");
    assert_eq!(link.generation, before, "a connection was lost");
    amqp.close().await;
}
