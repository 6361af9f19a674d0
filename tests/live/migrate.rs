//! Queues of a running service get other settings on a real broker, and no event is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Attempt, Bus, BusBuilder, Delivered, Error, Handle, Registry, State, handler,
    message::Message,
    migrate::{MigrateError, MigrateOptions, MigrationReport, MigrationStep, MigrationStep as Do},
    model::Queue,
    name::ExchangeName,
    plan::Outcome,
    transport::{Admin as _, Publication, Publish as _, Transport as _},
};
use es_bus_tests::{Node, Vhost};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::{
    Journal, Launch, Look, OrderPlaced, PATIENCE, TempDir, builder, connect, placed, publisher, run, stop,
    take,
};

/// Lets handlers begin once it is opened.
#[derive(Clone)]
struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    fn new(is_open: bool) -> Self {
        Self(Arc::new(watch::Sender::new(is_open)))
    }
}

/// Fails at first, where the order says so.
#[handler(group = "projections", retries = 1, backoff(base = "200ms", max = "200ms"))]
async fn project(
    order: OrderPlaced,
    delivered: Delivered,
    attempt: Attempt,
    State(journal): State<Journal>,
    State(gate): State<Gate>,
) -> Result<(), String> {
    let _ = gate.0.subscribe().wait_for(|is_open| *is_open).await;
    if order.total == 7 && attempt.number == 0 {
        return Err("not yet".to_owned());
    }
    // Not as fast as it is published, at first: something is there to be moved.
    sleep(Duration::from_millis(20)).await;
    journal.note(format!("{} {} {}", order.order_id, delivered.exchange, delivered.routing_key));
    Ok(())
}

fn registry() -> Registry {
    Registry::new().handler::<project>()
}

/// This version of the program.
fn program(url: &str, management: &str) -> BusBuilder {
    builder(url, registry())
        .set("management_url", management.to_owned())
        .set("crash_limit", "none")
        .state(Journal::default())
        .state(Gate::new(true))
}

fn now(vhost: &Vhost) -> Bus {
    let bus = program(&vhost.url(), &Node::shared().management_url()).build();
    bus.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Another version of it, which differs in one setting of its group.
async fn worker(vhost: &Vhost, journal: &Journal, differs: (&str, &'static str)) -> Handle {
    run(worker_of(vhost, journal, differs)).await
}

fn worker_of(vhost: &Vhost, journal: &Journal, (setting, value): (&str, &'static str)) -> BusBuilder {
    let mut builder = program(&vhost.url(), &Node::shared().management_url()).state(journal.clone());
    for (setting, value) in
        [("concurrency", "2"), ("prefetch", "20"), ("dlq_kind", "quorum"), (setting, value)]
    {
        builder = builder.set_for_group("projections", setting, value);
    }
    builder
}

/// Publishes without a pause until it is told to stop; gives what was confirmed.
struct Traffic {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Traffic {
    async fn start(vhost: &Vhost) -> Self {
        let publisher = publisher(vhost.url(), registry()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut confirmed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let number = confirmed.len();
                let event = placed(format!("o-{number}"), u32::try_from(number % 50).expect("it is small"));
                publisher.publisher().publish(&event).await.expect("a queue takes it");
                confirmed.push(event.order_id);
                // For half a second as fast as it goes, then as the workers can.
                let pause = if number < 300 { 0 } else { 15 };
                sleep(Duration::from_millis(pause)).await;
            }
            crate::support::stop(publisher).await;
            confirmed
        });
        Self { stop, task }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it published")
    }
}

/// Every confirmed event was handled, as what it was published as.
async fn is_handled(journal: &Journal, confirmed: &[String]) {
    let order = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let mut missing: BTreeSet<String> = confirmed.iter().cloned().collect();
    let mut seen = 0;
    let lines = journal.until("every event", |lines| {
        for line in &lines[seen..] {
            missing.remove(&order(line));
        }
        seen = lines.len();
        missing.is_empty()
    });
    for line in lines.await {
        assert!(line.ends_with(" events Order.OrderPlaced"), "handlers see what they always saw: {line}");
    }
}

/// Has nothing in it that a migration leaves, and is what this version declares.
async fn is_through(vhost: &Vhost) {
    let plan = now(vhost).plan().await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((plan.outcome(), plan.left().count()), (Outcome::Nothing, 0), "{plan}");
    let queues = vhost.queues().into_iter().map(|queue| queue.name);
    let names = queues.chain(vhost.exchanges().into_iter().map(|exchange| exchange.name));
    assert_eq!(names.filter(|name| name.contains("migrat")).collect::<Vec<_>>(), Vec::<String>::new());
}

async fn migrate(vhost: &Vhost, options: &MigrateOptions) -> MigrationReport {
    let migrated = timeout(PATIENCE, now(vhost).migrate(options)).await.expect("in time");
    migrated.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Begins to migrate, and is dropped when the second step begins: one step is done, and nothing said farewell.
/// `true` when it was through before that. What waits is moved to its end and bound in one: traffic would make it
/// begin anew each time.
async fn one_step(vhost: &Vhost, steps: &Arc<Mutex<Vec<MigrationStep>>>) -> bool {
    let (second, last) = (Arc::new(Notify::new()), Mutex::new(None));
    let (reached, steps) = (Arc::clone(&second), Arc::clone(steps));
    let options = MigrateOptions::new().on_progress(move |it| {
        match last.lock().expect("nobody panics with it").replace(it.step) {
            Some(last) if last == it.step => {}
            None | Some(MigrationStep::Return) => steps.lock().expect("as before").push(it.step),
            Some(_) => reached.notify_one(),
        }
    });
    let bus = now(vhost);
    tokio::select! {
        biased;
        () = second.notified() => false,
        migrated = timeout(PATIENCE, bus.migrate(&options)) => {
            migrated.expect("in time").unwrap_or_else(|error| panic!("{error:?}"));
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_running_service_change_their_kind_and_every_event_is_handled() {
    let vhost = Node::shared().vhost("migrate-kind");
    let journal = Journal::default();
    let workers = [
        worker(&vhost, &journal, ("kind", "classic")).await,
        worker(&vhost, &journal, ("kind", "classic")).await,
    ];
    let traffic = Traffic::start(&vhost).await;
    journal.until_len(20).await;

    let report = migrate(&vhost, &MigrateOptions::new()).await;

    let confirmed = traffic.end().await;
    is_handled(&journal, &confirmed).await;
    is_through(&vhost).await;
    let queues: Vec<&str> = report.queues.iter().map(|it| &*it.queue).collect();
    assert_eq!(queues, ["events.projections"], "{report}");
    assert!(report.queues[0].moved > 0, "{report}");
    assert_eq!(vhost.queue("events.projections").expect("it is there").kind, "quorum");
    let again = worker(&vhost, &journal, ("kind", "quorum")).await;
    for handle in workers.into_iter().chain([again]) {
        stop(handle).await;
    }
    // A dead letter of it is a loss, too.
    assert_eq!(Look::at(&vhost).await.queue("events.projections.dlq").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_migration_ends_after_each_step_come_to_the_same() {
    let vhost = Node::shared().vhost("migrate-steps");
    let journal = Journal::default();
    // Of a quorum queue the broker knows no if-empty, and does not always tell that it is another one now.
    let gate = Gate::new(false);
    let builder = worker_of(&vhost, &journal, ("max_length", "100000")).state(gate.clone());
    let worker = run(builder).await;
    let traffic = Traffic::start(&vhost).await;
    let look = Look::at(&vhost).await;
    while look.queue("events.projections").await.0 < 100 {
        sleep(Duration::from_millis(10)).await;
    }

    let steps = Arc::default();
    while !one_step(&vhost, &steps).await {
        let steps = steps.lock().expect("as before").clone();
        // From then on what is held is handled.
        if steps.contains(&Do::Empty) {
            gate.0.send_replace(true);
        }
        assert!(steps.len() < 40, "it does not go on: {steps:?}");
    }

    let confirmed = traffic.end().await;
    is_handled(&journal, &confirmed).await;
    is_through(&vhost).await;
    let steps = steps.lock().expect("as before").clone();
    let before: Vec<MigrationStep> = [Do::Prepare, Do::Divert, Do::Unbind, Do::Empty, Do::Replace].to_vec();
    assert_eq!(steps[..5], before);
    for step in [Do::ReturnOld, Do::DropOld, Do::Return, Do::Open, Do::Close, Do::DropAside, Do::Tidy] {
        assert!(steps.contains(&step), "{step:?} is none of {steps:?}");
    }
    assert_eq!(vhost.queue("events.projections").expect("it is there").arguments.get("x-max-length"), None);
    stop(worker).await;
    assert_eq!(look.queue("events.projections.dlq").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_dead_letters_and_retries_keep_what_is_in_them_and_only_one_process_is_at_it() {
    let vhost = Node::shared().vhost("migrate-kept");
    let journal = Journal::default();
    stop(worker(&vhost, &journal, ("dlq_kind", "classic")).await).await;
    let amqp = connect(&vhost).await;
    let topology = now(&vhost).topology().clone();
    let retry = topology.queue("events.projections.retry.200ms").expect("it is declared").clone();
    amqp.delete_queue(&retry.name).await.expect("deleted");
    amqp.declare_queue(&Queue { max_length: Some(100), ..retry.clone() }).await.expect("declared");
    for binding in topology.bindings().filter(|binding| binding.queue == retry.name) {
        amqp.bind(binding).await.expect("bound");
    }
    let publish = async |exchange: &str, key: &'static str, waits: Option<&str>| {
        let mut message = Message::default();
        message.properties.persistent = true;
        message.properties.message_id = Some("m-1".into());
        message.properties.expiration = waits.map(|waits| waits.to_owned().into());
        message.headers.insert("es-delay", "200ms");
        message.headers.insert("x-es-dlq-id", "d-1");
        let exchange = ExchangeName::new(exchange).expect("a name");
        let publication =
            Publication { exchange, routing_key: key.into(), message, mandatory: true, lane: None };
        amqp.publish(&publication).await.expect("a queue takes it");
    };
    publish("events_dlq", "events.projections", None).await;
    publish("events.projections.retry", "Order.OrderPlaced", Some("2000")).await;

    let (one, two) = (now(&vhost), now(&vhost));
    let options = MigrateOptions::new();
    let (one, two) = tokio::join!(one.migrate(&options), two.migrate(&options));

    let (report, refused) = match (one, two) {
        (Ok(report), Err(refused)) | (Err(refused), Ok(report)) => (report, refused),
        both => panic!("one of them has the lock: {both:?}"),
    };
    assert!(matches!(refused, Error::Migrate(MigrateError::Busy { .. })), "{refused:?}");
    let queues: Vec<&str> = report.queues.iter().map(|it| &*it.queue).collect();
    assert_eq!(queues, ["events.projections.dlq", "events.projections.retry.200ms"]);
    is_through(&vhost).await;
    let dead = take(&vhost, "events.projections.dlq", 1).await;
    assert_eq!(dead[0].message.headers.get_str("x-es-dlq-id"), Some("d-1"));
    assert_eq!(dead[0].message.properties.message_id.as_deref(), Some("m-1"));
    assert_eq!(dead[0].routing_key, "events.projections");
    let back = take(&vhost, "events.projections", 1).await;
    assert_eq!((&*back[0].routing_key, &*back[0].exchange), ("Order.OrderPlaced", "events.projections.in"));
    amqp.close().await;
}

#[test]
fn whose_migration_is_killed_over_its_messages_are_whole() {
    let node = Node::shared();
    let (vhost, dir) = (node.vhost("migrate-killed"), Arc::new(TempDir::new()));
    let shop = |task: &str| {
        Launch::new(env!("CARGO_BIN_EXE_shop"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("ES_BUS_MANAGEMENT_URL", node.management_url())
            .env("ES_BUS_GROUPS", "ledger")
            .env("ES_BUS_CRASH_LIMIT", "none")
            .env("ES_BUS_GROUP__LEDGER__DLQ_KIND", "quorum")
            .env("SHOP_DIR", dir.path(""))
            .arg(task)
    };
    let before =
        shop("publish").env("ES_BUS_GROUP__LEDGER__KIND", "classic").env("ES_BUS_PREFETCH", "1").start();
    dir.until("confirmed", "300 events", |lines| lines.len() > 300);
    before.kill9();

    // Once over the old ones on their way out, once on their way back.
    for step in ["Empty", "ReturnOld"] {
        let migration = shop("migrate").env("SHOP_RATE", "200").start();
        let moves = |line: &String| line.starts_with(step) && !line.ends_with(" 0");
        dir.until("migrated", step, |lines| lines.iter().any(moves));
        migration.kill9();
    }
    shop("migrate").run().assert_code(0);

    let after = shop("start").start();
    let confirmed: BTreeSet<String> = dir.lines("confirmed").into_iter().collect();
    let handled = |lines: &[String]| {
        let done =
            lines.iter().filter(|line| !line.starts_with("0 ")).filter_map(|line| line.split_once(' '));
        done.map(|(_, id)| id.to_owned()).collect::<BTreeSet<_>>()
    };
    dir.until("handled", "every event", |lines| confirmed.is_subset(&handled(lines)));
    after.kill9();
    let stale: Vec<String> =
        vhost.queues().into_iter().map(|it| it.name).filter(|it| it.contains("migrat")).collect();
    assert_eq!(stale, Vec::<String>::new());
    assert_eq!(vhost.queue("events.ledger").expect("it is there").kind, "quorum");
}
