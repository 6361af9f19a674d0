//! Exchanges of every kind on a real broker: what is declared, and who gets what.

use es_bus::{
    Attempt, Delivered, HandlerError, RawEvent, Registry, State, event, exchange, explain::Question, group,
    handler, plan::PlanOptions,
};
use es_bus_tests::{Node, Vhost};
use insta::assert_snapshot;
use serde::{Deserialize, Serialize};

use crate::support::{Journal, builder, left_over, run, start, stop, take};

/// Events without anything to say, each under a key of its own.
macro_rules! events {
    ($($name:ident($($keys:tt)*);)+) => {$(
        #[event($($keys)*)]
        #[derive(Debug, Serialize, Deserialize)]
        struct $name {}
    )+};
}

#[exchange(name = "erp.events", alternate_exchange = Unrouted)]
struct Erp;
#[exchange(name = "tasks", kind = "direct")]
struct Tasks;
#[exchange(name = "notifications", kind = "fanout")]
struct Notifications;
#[exchange(name = "documents", kind = "headers")]
struct Documents;
#[exchange(name = "unrouted", kind = "fanout", internal)]
struct Unrouted;

events! {
    UserCreated(key = "auth.user.created", exchange = Erp);
    OrderCreatedUs(key = "order.created.us", exchange = Erp);
    OrderPaidUs(key = "order.paid.us", exchange = Erp);
    BookCreated(aggregate = "book", name = "created", exchange = Erp);
    Forgotten(key = "nobody.asked", exchange = Erp, mandatory);
    Resize(aggregate = "task", name = "resize", exchange = Tasks);
    Mail(key = "task.mail.send", exchange = Tasks);
    Cleanup(aggregate = "task", name = "cleanup", exchange = Tasks);
    Told(key = "news.told", exchange = Notifications);
    Rendered(aggregate = "Report", exchange = Documents, headers(format = "pdf", pages = 3));
    Exported(aggregate = "Report", exchange = Documents);
}

/// One with a key of its own for each region.
#[event(aggregate = "order", key = "order.{region}.settled", exchange = Erp)]
#[derive(Debug, Serialize, Deserialize)]
struct Settled {
    region: String,
}

macro_rules! raw {
    ($($name:ident($($keys:tt)*);)+) => {$(
        #[handler($($keys)*)]
        async fn $name(delivered: Delivered, _event: RawEvent, State(journal): State<Journal>) {
            journal.note(format!("{} {}", stringify!($name), delivered.routing_key));
        }
    )+};
}

#[group(name = "created", exchange = Erp)]
struct Created;
#[group(name = "us", exchange = Erp)]
struct Us;
#[group(name = "orders", exchange = Erp)]
struct Orders;
#[group(name = "archive", exchange = Notifications)]
struct Archive;
#[group(name = "desk", exchange = Documents)]
struct Desk;
#[group(name = "lost", exchange = Unrouted)]
struct Lost;

raw! {
    created(group = Created, bind = "*.*.created");
    us(group = Us, bind = "order.*.us");
    orders(group = Orders, bind = "order.#");
    archive(group = Archive);
    desk(group = Desk, bind(headers(match = "any", pages = 3, urgent = true)));
    lost(group = Lost);
}

#[handler(group = "books", bind = "book.*")]
async fn books(_event: BookCreated, State(journal): State<Journal>) {
    journal.note("books book.created");
}

#[event]
#[derive(Debug, Serialize, Deserialize)]
enum Work {
    Resize(Resize),
    Mail(Mail),
}

#[handler(group = "workers")]
async fn worker(work: Work, State(journal): State<Journal>) {
    journal.note(format!("worker {work:?}"));
}

#[handler(group = "cleaners", bind = ["task.cleanup"])]
async fn cleaner(_event: Cleanup, State(journal): State<Journal>) {
    journal.note("cleaner");
}

#[handler(group = "mails")]
async fn mails(_event: Told, State(journal): State<Journal>) {
    journal.note("mails");
}

#[handler(group = "own")]
async fn own(_event: Rendered, State(journal): State<Journal>) {
    journal.note("own");
}

#[handler(group = "drafts", bind(headers(match = "all", format = "csv", draft = true)))]
async fn drafts(_event: Exported, State(journal): State<Journal>) {
    journal.note("drafts");
}

fn registry() -> Registry {
    Registry::new()
        .event::<UserCreated>()
        .event::<OrderCreatedUs>()
        .event::<OrderPaidUs>()
        .event::<Forgotten>()
        .event::<Settled>()
        .handler::<created>()
        .handler::<us>()
        .handler::<orders>()
        .handler::<archive>()
        .handler::<desk>()
        .handler::<lost>()
        .handler::<books>()
        .handler::<worker>()
        .handler::<cleaner>()
        .handler::<mails>()
        .handler::<own>()
        .handler::<drafts>()
}

/// The exchanges that carry events, and their bindings.
fn render(vhost: &Vhost) -> String {
    let ours = ["erp.events", "tasks", "notifications", "documents", "unrouted"];
    let mut lines: Vec<String> = Vec::new();
    let table = |table: &serde_json::Map<String, serde_json::Value>| {
        let mut values: Vec<_> = table.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        values.sort();
        values.concat()
    };
    for it in vhost.exchanges().into_iter().filter(|it| ours.contains(&it.name.as_str())) {
        let internal = if it.internal { " internal" } else { "" };
        lines.push(format!("exchange {} {}{internal}{}", it.name, it.kind, table(&it.arguments)));
    }
    for it in vhost.bindings().into_iter().filter(|it| ours.contains(&it.source.as_str())) {
        lines.push(format!(
            "{} -> {} {:?}{}",
            it.source,
            it.destination,
            it.routing_key,
            table(&it.arguments)
        ));
    }
    lines.join("\n")
}

/// The handlers that run, as the program tells without a broker, sorted; and how many messages nobody takes.
fn explained(questions: &[Question]) -> (Vec<String>, usize) {
    let bus = builder("memory://", registry()).state(Journal::default()).build();
    let bus = bus.expect("nothing is wrong with the program");
    let answers = questions.iter().map(|question| bus.explain(question).expect("it is known"));
    let (mut handlers, mut unroutable) = (Vec::new(), 0);
    for answer in answers {
        unroutable += usize::from(answer.nobody.is_some());
        let ran = answer.groups.iter().flat_map(|group| &group.handlers);
        handlers.extend(ran.map(|handler| handler.handler.clone()));
    }
    handlers.sort();
    (handlers, unroutable)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_exchange_is_declared_and_routes_by_its_own_rule() {
    let vhost = Node::shared().vhost("routing");
    let journal = Journal::default();
    let bus = start(&vhost, registry(), &journal).await;
    let publisher = bus.publisher();

    publisher.publish(&UserCreated {}).await.expect("created takes it");
    publisher.publish(&OrderCreatedUs {}).await.expect("us and orders take it");
    publisher.publish(&OrderPaidUs {}).await.expect("us and orders take it");
    publisher.publish(&BookCreated {}).await.expect("books takes it");
    publisher.publish(&Forgotten {}).await.expect("the alternate exchange takes it");
    publisher.publish(&Resize {}).await.expect("workers takes it");
    publisher.publish(&Mail {}).await.expect("workers takes it");
    publisher.publish(&Cleanup {}).await.expect("cleaners takes it");
    publisher.publish(&Told {}).await.expect("two groups take it");
    publisher.publish(&Told {}).key("a.key.that.says.nothing").await.expect("two groups take it");
    publisher.publish(&Rendered {}).await.expect("own and desk take it");
    publisher.publish(&Exported {}).header("format", "csv").header("draft", true).await.expect("drafts");
    publisher.publish(&Exported {}).header("urgent", true).await.expect("desk");
    publisher.publish(&Exported {}).header("format", "csv").await.expect("nobody, which is counted");
    publisher.publish(&Settled { region: "eu".to_owned() }).await.expect("orders takes it");
    let mut lines = journal.until_len(19).await;

    assert_eq!(left_over(&vhost).await, []);
    lines.sort();
    assert_snapshot!(lines.join("\n"), @r"
    archive a.key.that.says.nothing
    archive news.told
    books book.created
    cleaner
    created auth.user.created
    desk Report.Exported
    desk Report.Rendered
    drafts
    lost nobody.asked
    mails
    mails
    orders order.created.us
    orders order.eu.settled
    orders order.paid.us
    own
    us order.created.us
    us order.paid.us
    worker Mail(Mail)
    worker Resize(Resize)
    ");
    assert_eq!(journal.lines().len(), 19);
    assert_eq!(bus.counts().unroutable, 1);
    let (explained, unroutable) = explained(&[
        Question::event("UserCreated"),
        Question::event("OrderCreatedUs"),
        Question::event("OrderPaidUs"),
        Question::event("book.created"),
        Question::event("Forgotten"),
        Question::event("task.resize"),
        Question::event("Mail"),
        Question::event("task.cleanup"),
        Question::event("Told"),
        Question::key("a.key.that.says.nothing").exchange("notifications").header("event_type", "Told"),
        Question::event("Rendered"),
        Question::event("Exported").header("format", "csv").header("draft", true),
        Question::event("Exported").header("urgent", true),
        Question::event("Exported").header("format", "csv"),
        Question::key("order.eu.settled").exchange("erp.events"),
    ]);
    let ran: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!((explained, unroutable), (ran.into_iter().map(str::to_owned).collect(), 1));
    assert_snapshot!(render(&vhost));
    stop(bus).await;
}

#[exchange(name = "audit", internal, from(Erp, "order.#"), from(Documents, headers(format = "pdf")))]
struct Audit;
#[exchange(name = "archive", kind = "fanout", from(Audit), from("legacy", "#"))]
struct Vault;
#[group(name = "auditors", exchange = Audit)]
struct Auditors;
#[group(name = "keepers", exchange = Vault)]
struct Keepers;

raw! {
    auditor(group = Auditors, bind = "order.*.us");
    keeper(group = Keepers);
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_get_from_exchanges_and_what_is_no_longer_declared_is_pruned() {
    let vhost = Node::shared().vhost("between-exchanges");
    let journal = Journal::default();
    let registry = || {
        let events = Registry::new().event::<OrderCreatedUs>().event::<UserCreated>().event::<Rendered>();
        events.handler::<auditor>().handler::<keeper>()
    };
    let service = || builder(vhost.url(), registry()).state(journal.clone()).set("program", "audited");
    // What is applied is remembered.
    let bus = service().build().expect("nothing is wrong with the program");
    let plan = bus.plan().await.expect("the broker is there");
    bus.apply(&plan).await.expect("nothing is in the way");
    let bus = run(service()).await;
    let publisher = bus.publisher();

    publisher.publish(&OrderCreatedUs {}).await.expect("auditor and keeper get it");
    publisher.publish(&UserCreated {}).await.expect("nobody, which is counted");
    publisher.publish(&Rendered {}).await.expect("keeper gets it");
    let mut lines = journal.until_len(3).await;

    lines.sort();
    assert_eq!(
        lines,
        ["auditor order.created.us", "keeper Report.Rendered", "keeper order.created.us"],
        "over audit, which takes no publishes itself"
    );
    assert_eq!(bus.counts().unroutable, 1);
    let between = |vhost: &Vhost| -> Vec<String> {
        let ours = ["audit", "archive"];
        let all = vhost.bindings().into_iter().filter(|it| ours.contains(&it.destination.as_str()));
        let mut lines: Vec<_> =
            all.map(|it| format!("{} -> {} {:?}", it.source, it.destination, it.routing_key)).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        between(&vhost),
        [
            r##"audit -> archive "#""##,
            r#"documents -> audit """#,
            r##"erp.events -> audit "order.#""##,
            r##"legacy -> archive "#""##,
        ]
    );
    stop(bus).await;

    // Without the vault, what leads to it is left over.
    let fewer = || {
        let events = Registry::new().event::<OrderCreatedUs>().event::<UserCreated>().event::<Rendered>();
        builder(vhost.url(), events.handler::<auditor>())
            .state(journal.clone())
            .set("program", "audited")
            .build()
    };
    let bus = fewer().expect("nothing is wrong with the program");
    let plan = bus.plan_with(&PlanOptions::new().prune()).await.expect("the record is there");
    bus.apply(&plan).await.expect("nothing is in the way");
    assert_eq!(between(&vhost), [r#"documents -> audit """#, r##"erp.events -> audit "order.#""##]);
}

#[handler(
    group = "flaky",
    retries = 1,
    backoff(base = "100ms", max = "100ms"),
    bind(headers(match = "any", urgent = true, format = "xml"))
)]
async fn flaky(
    _event: Exported,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    journal.note(format!("flaky {}", attempt.number));
    Err("not yet".into())
}

#[handler(group = "flaky", bind(headers(format = "xml")))]
async fn sibling(_event: Exported, State(journal): State<Journal>) {
    journal.note("sibling");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_over_a_headers_exchange_comes_back_with_its_headers() {
    let vhost = Node::shared().vhost("headers-retry");
    let journal = Journal::default();
    let registry = Registry::new().handler::<flaky>().handler::<sibling>();
    let bus = start(&vhost, registry, &journal).await;

    bus.publisher().publish(&Exported {}).header("urgent", true).await.expect("flaky takes it");

    let dead = take(&vhost, "events.flaky.dlq", 1).await.remove(0);
    assert_eq!(journal.lines(), ["flaky 0", "flaky 1"]);
    let headers = &dead.message.headers;
    assert_eq!(headers.get("urgent"), Some(&true.into()));
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Report.Exported"));
    assert_eq!(headers.get("es-delay"), None);
    stop(bus).await;
}

/// As a shovel between queues and the page of a queue in the management UI do: through the default exchange.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_into_a_queue_itself_is_handled_by_its_type_and_retried() {
    let vhost = Node::shared().vhost("shovelled");
    let journal = Journal::default();
    let registry = Registry::new().handler::<books>().handler::<flaky>().handler::<sibling>();
    let bus = start(&vhost, registry, &journal).await;
    let put = async |queue: &str, aggregate_type: &str, event_type: &str| {
        let message = bus.publisher().raw("", queue).json(&serde_json::json!({}));
        message.header("aggregate_type", aggregate_type).header("event_type", event_type).await
    };

    put("events.books", "book", "created").await.expect("the queue is there");
    put("events.flaky", "Report", "Exported").await.expect("the queue is there");

    let dead = take(&vhost, "events.flaky.dlq", 1).await.remove(0);
    journal.until_len(4).await;
    let mut lines = journal.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["books book.created", "flaky 0", "flaky 1", "sibling"]);
    assert_eq!(dead.message.headers.get_str("x-original-routing-key"), Some("events.flaky"));
    stop(bus).await;
}

#[handler(group = "plain")]
async fn plain(_event: Plain, State(journal): State<Journal>) {
    journal.note("plain");
}

events! {
    Plain(aggregate = "Order");
    Other(aggregate = "Order");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_of_the_default_exchange_is_a_setting_and_never_changed_on_the_broker() {
    let vhost = Node::shared().vhost("default-kind");
    let journal = Journal::default();
    let registry = || Registry::new().event::<Other>().handler::<plain>();
    let of_kind = |kind: &'static str| {
        builder(vhost.url(), registry()).state(journal.clone()).set("exchange_type", kind)
    };
    let bus = run(of_kind("direct")).await;

    bus.publisher().publish(&Plain {}).await.expect("plain takes it");
    bus.publisher().publish(&Other {}).await.expect("nobody, which is counted");
    journal.until_len(1).await;
    assert_eq!(bus.counts().unroutable, 1);
    stop(bus).await;

    let other = of_kind("topic").build().expect("nothing is wrong with the program");
    let error = format!("{:?}", other.start().await.expect_err("the broker has a direct exchange"));
    assert!(error.contains("\"events\"") && error.contains("direct") && error.contains("topic"), "{error}");
}
