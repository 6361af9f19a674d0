//! The answers in words, and beside what the in-process broker and the worker do.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    Bus, BusBuilder,
    event::{EventKind, Unroutable},
    exchange::{Bind, ExchangeDef, ExchangeKind, ExchangeRef, HeadersMatch, Match},
    message::{Headers, StaticValue},
    registry::{Emitted, HandlerDef, Registry},
    testing::{Fate, TestBus},
    topology::declarations::{declared, exchange, group, handler, keys},
    transport::PublishError,
};

const PLACED: EventKind = EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced");
const SHIPPED: EventKind = EventKind::new("OrderShipped", "Order", "Order.OrderShipped");
const CANCELLED: EventKind = EventKind::new("Cancelled", "Order", "Order.Cancelled");
/// Another event of the same name, in another place.
const VOIDED: EventKind = EventKind::new("Cancelled", "Invoice", "Invoice.Cancelled").on(SHOP);
const RESIZE: EventKind = EventKind::new("Resize", "Task", "Task.Resize").on(TASKS);
const TOLD: EventKind = EventKind::new("Told", "News", "News.Told").on(LOST);
/// One whose key has a field.
const REGIONAL: EventKind = EventKind::new("Regional", "Order", "a.*.c");
const RENDERED: EventKind = EventKind::new("Rendered", "Report", "Report.Rendered")
    .on(PAPERS)
    .headers(&[("format", StaticValue::Str("pdf"))]);

const TASKS: &ExchangeDef = &exchange("tasks", ExchangeKind::Direct);
const PAPERS: &ExchangeDef = &exchange("papers", ExchangeKind::Headers);
const LOST: &ExchangeDef = &exchange("lost", ExchangeKind::Fanout);
const SHOP: &ExchangeDef = &ExchangeDef {
    alternate: Some(ExchangeRef { name: "lost", def: Some(LOST) }),
    ..exchange("shop", ExchangeKind::Topic)
};
const INNER: &ExchangeDef = &ExchangeDef { internal: true, ..exchange("inner", ExchangeKind::Topic) };

fn registry(handlers: Vec<HandlerDef>, events: &'static [EventKind]) -> Registry {
    declared(handlers, events, &[INNER, SHOP])
}

fn builder(registry: Registry) -> BusBuilder {
    Bus::builder().without_environment().url("memory://").registry(registry)
}

fn bus(handlers: Vec<HandlerDef>, events: &'static [EventKind]) -> Bus {
    builder(registry(handlers, events)).build().unwrap()
}

/// Three groups that take orders in different ways.
fn orders() -> Vec<HandlerDef> {
    let projections = group("projections", &[("dlq_ttl", "14d"), ("dlq_max_length", "1000")]);
    let audit = group("audit", &[("on_exhausted", "drop"), ("message_ttl", "1h")]);
    vec![
        handler(projections, "project", 10, keys(&["Order.*"]), Some(&[PLACED])),
        HandlerDef {
            settings: &[("retries", "9"), ("backoff_max", "4s")],
            emits: Emitted::By(|emits| emits.push(&SHIPPED)),
            ..handler(projections, "ship", 11, None, Some(&[PLACED]))
        },
        handler(projections, "count", 12, None, Some(&[SHIPPED])),
        HandlerDef { settings: &[("retries", "0")], ..handler(audit, "keep", 20, keys(&["#"]), None) },
        handler(group("billing", &[]), "invoice", 30, keys(&["order.#", "Invoice.*"]), None),
    ]
}

const EVENTS: &[EventKind] = &[
    PLACED,
    SHIPPED,
    CANCELLED,
    VOIDED.unroutable(Unroutable::Mandatory),
    RESIZE.unroutable(Unroutable::Optional),
    TOLD,
    RENDERED,
];

#[test]
fn tells_who_gets_an_event_and_where_it_ends() {
    let explanation = bus(orders(), EVENTS).explain(&Question::event("OrderPlaced").why("billing")).unwrap();

    insta::assert_snapshot!(explanation);
}

#[test]
fn tells_the_same_as_a_value() {
    let bus = builder(registry(orders(), EVENTS)).groups(["audit"]).build().unwrap();

    let explanation = bus.explain(&Question::event("Order.OrderShipped")).unwrap();

    insta::assert_snapshot!(serde_json::to_string_pretty(&explanation).unwrap());
}

#[test]
fn tells_what_each_kind_of_group_does_with_failures_and_strangers() {
    let told = |settings, question: &Question| {
        let handlers = vec![handler(group("stock", settings), "reserve", 10, None, Some(&[PLACED]))];
        bus(handlers, EVENTS).explain(question).unwrap().groups[0].to_string()
    };
    let placed = || Question::event("OrderPlaced");
    let stranger = || Question::key("Order.OrderPlaced").header("event_type", "OrderWritten");
    let of_strict = told(&[("ordering", "strict")], &placed());
    let cases = [
        ("a stranger", told(&[], &stranger())),
        ("a stranger that is skipped", told(&[("on_unknown", "skip")], &stranger())),
        ("a stranger that is refused", told(&[("on_unknown", "dead_letter")], &stranger())),
        ("strict order", of_strict),
        ("a queue per process", told(&[("exclusive", "true")], &placed())),
        ("a full queue", told(&[("max_length", "10"), ("overflow", "drop-head")], &placed())),
        ("a full queue that refuses", told(&[("max_length", "10")], &placed())),
    ];
    let text: Vec<_> = cases.into_iter().map(|(name, text)| format!("-- {name}\n{text}")).collect();

    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn says_why_a_handler_does_not_get_it() {
    let shop = group("shop-desk", &[("exchange", "shop")]);
    let lost = group("lost-desk", &[("exchange", "lost")]);
    let papers = group("paper-desk", &[("exchange", "papers")]);
    let csv = HeadersMatch { mode: Match::All, values: &[("language", StaticValue::Str("de"))] };
    let inner = group("inner-desk", &[("exchange", "inner")]);
    let mut handlers = orders();
    handlers.extend([
        handler(shop, "sell", 40, keys(&["Invoice.Cancelled"]), None),
        handler(shop, "void", 41, None, Some(&[VOIDED])),
        handler(shop, "watch", 42, None, Some(&[CANCELLED])),
        handler(lost, "find", 43, None, None),
        handler(papers, "file", 44, Some(vec![Bind::Headers(csv)]), None),
        handler(inner, "peek", 45, keys(&["#"]), None),
    ]);
    let bus = bus(handlers, EVENTS);
    let why = |question: Question, handler: &str| {
        let explanation = bus.explain(&question.why(handler)).unwrap();
        explanation.why.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let cases = [
        ("it does", why(Question::event("OrderPlaced"), "keep")),
        ("another type", why(Question::event("OrderPlaced"), "count")),
        ("a key that is nearly right", why(Question::event("OrderPlaced"), "invoice")),
        ("another exchange", why(Question::event("OrderPlaced"), "find")),
        ("another aggregate", why(Question::event("Order.Cancelled"), "void")),
        ("one of one queue", why(Question::key("Invoice.Cancelled").exchange("shop"), "shop-desk")),
        (
            "what an alternate exchange does not get",
            why(Question::event("Invoice.Cancelled"), "lost-desk/find"),
        ),
        ("a header", why(Question::event("Rendered"), "file")),
        ("another header", why(Question::event("Rendered").header("language", "fr"), "file")),
        ("an exchange that refuses", why(Question::key("a.b").exchange("inner"), "peek")),
    ];
    let text: Vec<_> = cases.into_iter().map(|(name, text)| format!("-- {name}\n{text}")).collect();

    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn says_what_it_means_that_nobody_gets_it() {
    let bus = bus(orders().split_off(4), EVENTS);
    let nobody = |question: Question| bus.explain(&question).unwrap().nobody;
    for (question, expected) in [
        (Question::event("OrderPlaced"), Nobody::Counted),
        (Question::event("Invoice.Cancelled"), Nobody::Mandatory),
        (Question::event("Resize"), Nobody::Silent),
        (Question::key("a.b"), Nobody::Raw),
        (Question::key("a.b").exchange("inner"), Nobody::Refused),
        (Question::key("events.nobody").exchange(""), Nobody::Raw),
    ] {
        assert_eq!(nobody(question.clone()), Some(expected), "{question:?}");
    }
    assert_eq!(nobody(Question::key("Invoice.Sent")), None);
    assert_eq!(nobody(Question::key("events.billing").exchange("")), None);
}

#[test]
fn guesses_what_was_meant() {
    let bus = bus(orders(), EVENTS);
    let asked = |question: Question| match bus.explain(&question) {
        Ok(explanation) => explanation.hints.join("\n"),
        Err(error) => error.to_string(),
    };
    let cases = [
        asked(Question::event("OrderPlacd")),
        asked(Question::event("Order.Placed")),
        asked(Question::event("Cancelled")),
        asked(Question::event("Cancelled").exchange("shop")),
        asked(Question::key("order.OrderPlaced")),
        asked(Question::key("Task.Resize")),
        asked(Question::key("a").exchange("evnts")),
        asked(Question::key("x".repeat(256))),
        asked(Question::event("OrderPlaced").why("projct")),
        asked(Question::event("OrderPlaced").why("nobody")),
    ];

    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn a_queue_of_es_bus_itself_is_told_as_what_it_is() {
    let bus = bus(orders(), EVENTS);
    let whose = |exchange: &str, key: &str| {
        let explanation = bus.explain(&Question::key(key).exchange(exchange)).unwrap();
        let delivering = explanation.exchanges[0].bindings.iter().find(|binding| binding.delivers);
        delivering.map(|binding| binding.whose.clone())
    };

    assert_eq!(
        whose("events_dlq", "events.projections").as_deref(),
        Some("the dead-letter queue of group \"projections\"")
    );
    assert_eq!(whose("events.projections.in", "").as_deref(), Some("group \"projections\""));
    assert_eq!(whose("events_dlq", "events.audit"), None, "it keeps none");
}

/// A group of the program that is made up.
#[derive(Clone, Debug)]
struct AnyGroup {
    home: &'static str,
    on_unknown: &'static str,
    handlers: Vec<AnyHandler>,
}

#[derive(Clone, Debug)]
enum AnyHandler {
    Typed(&'static [EventKind], Option<Vec<&'static str>>),
    Raw(Vec<&'static str>, HeadersMatch),
}

const HOMES: &[&str] = &["events", "events", "events", "shop", "lost", "tasks", "papers"];
const SETS: &[&[EventKind]] = &[
    &[PLACED],
    &[SHIPPED],
    &[CANCELLED],
    &[VOIDED],
    &[RESIZE],
    &[TOLD],
    &[RENDERED],
    &[PLACED, SHIPPED],
    &[PLACED, RESIZE, TOLD],
    &[CANCELLED, RENDERED],
    &[REGIONAL],
    &[PLACED, REGIONAL],
];
const PATTERNS: &[&str] = &[
    "#",
    "*",
    "Order.*",
    "Order.#",
    "#.Cancelled",
    "*.Cancelled",
    "Order.OrderPlaced",
    "a.*.c",
    "a.#.c",
    "*.*.c",
];
const KEYS: &[&str] = &[
    "Order.OrderPlaced",
    "Order.OrderShipped",
    "Order.Cancelled",
    "Invoice.Cancelled",
    "Task.Resize",
    "News.Told",
    "Report.Rendered",
    "Order",
    "a.b.c",
    "a.c",
    "a.b.b.c",
    "events.g0",
    "shop.g1",
];
const MATCHES: &[HeadersMatch] = &[
    HeadersMatch { mode: Match::All, values: &[("format", StaticValue::Str("pdf"))] },
    HeadersMatch {
        mode: Match::All,
        values: &[("format", StaticValue::Str("pdf")), ("language", StaticValue::Str("de"))],
    },
    HeadersMatch {
        mode: Match::Any,
        values: &[("event_type", StaticValue::Str("Cancelled")), ("language", StaticValue::Str("de"))],
    },
];

fn any_handler() -> impl Strategy<Value = AnyHandler> {
    prop_oneof![
        (select(SETS), option::of(vec(select(PATTERNS), 1..3)))
            .prop_map(|(kinds, binds)| AnyHandler::Typed(kinds, binds)),
        (vec(select(PATTERNS), 1..4), select(MATCHES))
            .prop_map(|(keys, headers)| AnyHandler::Raw(keys, headers)),
    ]
}

fn any_group() -> impl Strategy<Value = AnyGroup> {
    (select(HOMES), select(&["auto", "skip", "dead_letter"][..]), vec(any_handler(), 1..4))
        .prop_map(|(home, on_unknown, handlers)| AnyGroup { home, on_unknown, handlers })
}

/// Exchange, key, type, aggregate and language of a message.
type AnyMessage =
    (&'static str, &'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

fn any_message() -> impl Strategy<Value = AnyMessage> {
    (
        select(&["events", "events", "shop", "lost", "tasks", "papers", ""][..]),
        select(KEYS),
        option::of(select(&["OrderPlaced", "OrderShipped", "Cancelled", "Rendered", "Stranger"][..])),
        option::of(select(&["Order", "Invoice", "Report"][..])),
        option::of(select(&["de", "fr"][..])),
    )
}

const NAMES: [&str; 4] = ["h0", "h1", "h2", "h3"];
const GROUPS: [&str; 4] = ["g0", "g1", "g2", "g3"];

/// The program's handlers; a binding that its macro or the start would refuse is left out.
fn program(groups: &[AnyGroup]) -> Registry {
    let kind_of =
        |name: &str| [TASKS, PAPERS, LOST, SHOP].iter().find(|def| def.name == name).map(|def| def.kind);
    let mut handlers = Vec::new();
    for (any, name) in groups.iter().zip(GROUPS) {
        let settings = vec![("exchange", any.home), ("on_unknown", any.on_unknown), ("unknown_retries", "0")];
        let of = group(name, settings.leak());
        for (handler_of, name) in any.handlers.iter().zip(NAMES) {
            let def = match handler_of {
                AnyHandler::Typed(kinds, binds) => {
                    let topics = kinds
                        .iter()
                        .all(|kind| kind.exchange_def.is_none_or(|def| def.kind == ExchangeKind::Topic));
                    let binds = binds.as_ref().filter(|binds| {
                        topics
                            && binds.iter().all(|bind| kinds.iter().any(|kind| crate::topic::may_match(bind, kind.key)))
                            // A namesake that a wide binding brings is told at start.
                            && !kinds.iter().any(|kind| kind.name == "Cancelled")
                    });
                    handler(of, name, 3, binds.and_then(|binds| keys(binds)), Some(kinds))
                }
                AnyHandler::Raw(patterns, headers) => {
                    let binds = match kind_of(any.home).unwrap_or(ExchangeKind::Topic) {
                        ExchangeKind::Topic => keys(patterns),
                        ExchangeKind::Direct => keys(&["Task.Resize", "a.c"]),
                        ExchangeKind::Fanout | ExchangeKind::ConsistentHash => None,
                        ExchangeKind::Headers => Some(vec![Bind::Headers(*headers)]),
                    };
                    handler(of, name, 3, binds, None)
                }
            };
            handlers.push(def);
        }
    }
    registry(handlers, &[PLACED, SHIPPED, CANCELLED, VOIDED, RESIZE, TOLD, RENDERED, REGIONAL])
}

/// The headers that the message has when a program of these events publishes it.
fn headers_of(message: AnyMessage) -> Headers {
    let (exchange, key, event_type, aggregate, language) = message;
    let mut headers = Headers::new();
    let kinds = [PLACED, SHIPPED, CANCELLED, VOIDED, RESIZE, TOLD, RENDERED, REGIONAL];
    let is_it = |kind: &&EventKind| {
        crate::topic::matches(kind.key, key)
            && kind.exchange.unwrap_or("events") == exchange
            && event_type.is_none_or(|name| name == kind.name)
    };
    if let Some(kind) = kinds.iter().find(is_it) {
        headers.insert("event_type", kind.name);
        headers.insert("aggregate_type", kind.aggregate);
        for (name, value) in kind.headers {
            headers.insert(*name, *value);
        }
    }
    for (name, value) in [("event_type", event_type), ("aggregate_type", aggregate), ("language", language)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers
}

async fn agrees(groups: Vec<AnyGroup>, messages: Vec<AnyMessage>) -> Result<(), TestCaseError> {
    let registry = program(&groups);
    let bus = builder(registry.clone()).build().unwrap();
    let running = TestBus::start(|builder| builder.registry(registry)).await.unwrap();
    for message in messages {
        let (exchange, key, event_type, aggregate, language) = message;
        let mut question = Question::key(key).exchange(exchange);
        let said = [("event_type", event_type), ("aggregate_type", aggregate), ("language", language)];
        for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            question = question.header(name, value);
        }
        let explanation = bus.explain(&question).unwrap();
        let before = running.outcomes().len();

        let mut publish = running.publisher().raw(exchange, key).body("application/json", "{}");
        for (name, value) in headers_of(message) {
            publish = publish.header(name.into_owned(), value);
        }
        let published = publish.await;
        running.run_until_idle().await;

        let seen = running.outcomes().split_off(before);
        let ran: BTreeSet<(&str, Option<&str>)> =
            seen.iter().map(|seen| (seen.group.as_str(), seen.handler.as_deref())).collect();
        let mut told = BTreeSet::new();
        for group in &explanation.groups {
            told.extend(
                group.handlers.iter().map(|handler| (group.group.as_str(), Some(handler.handler.as_str()))),
            );
            if let Some(unknown) = &group.unknown {
                told.insert((group.group.as_str(), None));
                let fate = seen.iter().find(|seen| seen.group == group.group).map(|seen| &seen.fate);
                let agrees = matches!(
                    (unknown, fate),
                    (Unknown::Skipped, Some(Fate::Skipped))
                        | (Unknown::Ends(End::DeadLettered(_)), Some(Fate::DeadLettered { kind: None, .. }))
                );
                prop_assert!(agrees, "{message:?}: {unknown:?}, and {fate:?}");
            }
            prop_assert!(group.others.iter().all(|other| !other.because.is_empty()), "{explanation}");
        }
        prop_assert_eq!(&told, &ran, "{:?}\n{}", message, explanation);
        let is_unroutable = matches!(published, Err(PublishError::Unroutable { .. }));
        prop_assert_eq!(explanation.nobody.is_some(), is_unroutable, "{:?}: {:?}", message, published);
        for name in GROUPS.iter().take(groups.len()) {
            for why in bus.explain(&question.clone().why(*name)).unwrap().why {
                let runs = ran.contains(&(why.group.as_str(), Some(why.handler.as_str())));
                prop_assert_eq!((why.runs, why.because.is_empty()), (runs, runs), "{}", why);
            }
        }
    }
    running.stop().await.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_what_the_broker_and_the_worker_do(
        groups in vec(any_group(), 1..4),
        messages in vec(any_message(), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(agrees(groups, messages))?;
    }
}
