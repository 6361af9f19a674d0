use crate::{
    Bus, BusBuilder,
    event::{EventKind, Unroutable},
    exchange::{Bind, ExchangeDef, ExchangeKind, ExchangeRef, HeadersMatch, Match},
    message::StaticValue,
    registry::{Emitted, HandlerDef},
    topology::declarations::{declared, exchange, group, handler, keys, leak},
};

const PLACED: EventKind = EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced");
const SHIPPED: EventKind = EventKind::new("OrderShipped", "Order", "Order.OrderShipped");
const LOST: &ExchangeDef = &exchange("lost", ExchangeKind::Fanout);
const INNER: &ExchangeDef = &ExchangeDef { internal: true, ..exchange("inner", ExchangeKind::Topic) };

fn builder(
    handlers: Vec<HandlerDef>,
    events: &'static [EventKind],
    exchanges: &[&'static ExchangeDef],
) -> BusBuilder {
    let registry = declared(handlers, events, exchanges);
    Bus::builder().without_environment().url("memory://").registry(registry)
}

fn told(builder: BusBuilder) -> Vec<String> {
    let bus = builder.build().unwrap_or_else(|error| panic!("{error:?}"));
    bus.cautions().iter().map(ToString::to_string).collect()
}

/// A handler of `OrderPlaced` in a group with these settings.
fn reserve(settings: &'static [(&'static str, &'static str)]) -> HandlerDef {
    handler(group("stock", settings), "reserve", 10, None, Some(&[PLACED]))
}

fn of_group(settings: &'static [(&'static str, &'static str)]) -> Vec<String> {
    told(builder(vec![reserve(settings)], &[], &[]))
}

#[test]
fn a_program_with_retries_and_dead_letters_has_nothing_to_be_told() {
    let handlers = vec![
        reserve(&[("max_length", "1000"), ("single_active_consumer", "true"), ("retries", "20")]),
        handler(group("audit", &[("ordering", "none")]), "keep", 20, keys(&["#"]), None),
    ];

    assert_eq!(told(builder(handlers, &[PLACED, SHIPPED], &[])), [""; 0]);
}

#[test]
fn settings_of_a_group_that_undo_each_other_are_told() {
    let cases: [&[(&str, &str)]; 6] = [
        &[("single_active_consumer", "true"), ("ordering", "none")],
        &[("overflow", "drop-head")],
        &[("overflow", "drop-head"), ("kind", "classic")],
        &[("dlq_ttl", "6s")],
        &[("ordering", "strict"), ("message_ttl", "5s")],
        &[("ordering", "strict"), ("message_ttl", "8s"), ("dlq_ttl", "7s")],
    ];
    let text: Vec<String> = cases
        .into_iter()
        .map(|settings| format!("-- {settings:?}\n{}", of_group(settings.to_vec().leak()).join("\n")))
        .collect();

    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_key_that_the_configuration_gives_up_under_a_handler_is_told() {
    let builder = builder(vec![reserve(&[])], &[], &[]);

    assert_eq!(
        told(builder.set_for_group("stock", "retired", "Order.OrderPlaced, Order.OrderLost")),
        [
            "group \"stock\" gives \"Order.OrderPlaced\" up (`retired`), and its handler \"reserve\" is still bound to it: \
             it stays bound (src/shop.rs:10); take the key out of `retired`, or out of the handlers"
        ]
    );
}

#[test]
fn events_that_nobody_takes_are_told_together() {
    const SILENT: EventKind = EventKind::new("Seen", "Order", "Order.Seen").unroutable(Unroutable::Optional);
    const OTHER: EventKind = EventKind::new("A", "B", "B.A");
    const ODD: EventKind = EventKind::new("Odd", "Order", "Order.Odd").on(LOST);
    let emitting = || HandlerDef { emits: Emitted::By(|emits| emits.push(&SHIPPED)), ..reserve(&[]) };

    assert_eq!(
        told(builder(vec![emitting()], &[PLACED, SILENT], &[])),
        [
            "no group of this program takes Order.OrderShipped from exchange \"events\" (src/shop.rs:10); unless another \
             service takes it, it is gone, and counted as unroutable: `#[event(mandatory)]` makes that an error, \
             `#[event(optional)]` makes it silent"
        ]
    );
    let two = told(builder(vec![emitting()], &[PLACED, SHIPPED, ODD, OTHER], &[]));
    assert_eq!(two.len(), 2, "{two:?}");
    assert!(
        two[0].contains(
            "2 events from exchange \"events\": B.A, Order.OrderShipped (src/shop.rs:7, src/shop.rs:10)"
        ),
        "{two:?}"
    );
    assert!(two[1].contains("takes Order.Odd from exchange \"lost\""), "{two:?}");
    // Who takes them is the business of others.
    assert_eq!(told(builder(Vec::new(), &[PLACED], &[]).publish_only()), [""; 0]);
}

#[test]
fn many_events_that_nobody_takes_are_one_line() {
    let many: Vec<EventKind> = (0..40)
        .map(|number| {
            let name: &'static str = format!("N{number}").leak();
            EventKind::new(name, "Order", format!("Order.{name}").leak())
        })
        .collect();

    let told = told(builder(vec![reserve(&[])], many.leak(), &[]));

    assert!(
        told.len() == 1 && told[0].contains("takes 40 events") && told[0].contains(", 30 more ("),
        "{told:?}"
    );
}

#[test]
fn an_event_on_a_headers_exchange_may_be_taken_by_what_a_publish_adds() {
    const PAPERS: &ExchangeDef = &exchange("papers", ExchangeKind::Headers);
    const RENDERED: EventKind = EventKind::new("Rendered", "Report", "Report.Rendered").on(PAPERS);
    let german = HeadersMatch { mode: Match::All, values: &[("language", StaticValue::Str("de"))] };
    let desk = group("desk", &[("exchange", "papers")]);
    let file = handler(desk, "file", 20, Some(vec![Bind::Headers(german)]), None);

    assert_eq!(told(builder(vec![file], &[RENDERED], &[])), [""; 0]);
}

#[test]
fn exchanges_that_lead_nowhere_are_told() {
    const fn to(name: &'static str, alternate: &'static str) -> ExchangeDef {
        ExchangeDef {
            alternate: Some(ExchangeRef { name: alternate, def: None }),
            ..exchange(name, ExchangeKind::Topic)
        }
    }
    const SHOP: &ExchangeDef = &to("shop", "lost");
    const ROUND: &[&ExchangeDef] = &[SHOP, &to("lost", "more"), &to("more", "shop")];
    const LED_TO: &[&ExchangeDef] = &[INNER, &to("shop", "inner")];
    const SOLD: EventKind = EventKind::new("Sold", "Item", "Item.Sold").on(SHOP);
    let found = || group("finders", &[("exchange", "lost")]);
    let find = |foreign| HandlerDef { foreign, ..handler(found(), "find", 43, None, None) };
    let sell = |key| handler(group("sellers", &[("exchange", "shop")]), "sell", 40, keys(&[key]), None);
    let peek = || handler(group("inside", &[("exchange", "inner")]), "peek", 45, keys(&["#"]), None);
    let cases = [
        ("an alternate with a queue", told(builder(vec![find(false)], &[SOLD], &[SHOP, LOST]))),
        ("an alternate without", told(builder(vec![sell("Item.*")], &[SOLD], &[SHOP, LOST]))),
        ("an alternate of somebody else", told(builder(vec![sell("Item.*")], &[SOLD], &[SHOP]))),
        ("a circle", told(builder(vec![sell("Item.*")], &[SOLD], ROUND))),
        ("what the first keeps", told(builder(vec![sell("#"), find(false)], &[SOLD], &[SHOP, LOST]))),
        ("what others publish", told(builder(vec![sell("#"), find(true)], &[SOLD], &[SHOP, LOST]))),
        ("internal", told(builder(vec![peek()], &[], &[INNER]))),
        ("internal, and led to", told(builder(vec![peek()], &[], LED_TO))),
    ];
    let text: Vec<String> =
        cases.into_iter().map(|(name, told)| format!("-- {name}\n{}", told.join("\n"))).collect();

    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn handlers_that_call_for_each_other_are_told_once() {
    let stock = || group("stock", &[]);
    let ship = || HandlerDef {
        emits: Emitted::By(|emits| emits.push(&SHIPPED)),
        ..handler(stock(), "ship", 11, None, Some(&[PLACED]))
    };
    let again = || HandlerDef {
        emits: Emitted::By(|emits| emits.push(&PLACED)),
        ..handler(group("sales", &[]), "again", 12, None, Some(&[SHIPPED]))
    };
    let one = told(builder(vec![ship(), again()], &[PLACED, SHIPPED], &[]));

    assert_eq!(
        one,
        [
            "OrderPlaced may go round for ever: stock/ship makes OrderShipped of it, sales/again makes OrderPlaced of it \
             (src/shop.rs:11, src/shop.rs:12); let one of the handlers emit nothing at some time (`Option<Emit<T>>`)"
        ]
    );
    let count = handler(stock(), "count", 13, None, Some(&[SHIPPED]));
    assert_eq!(told(builder(vec![ship(), count], &[PLACED, SHIPPED], &[])), [""; 0]);
}

#[test]
fn dead_letters_that_come_back_are_an_error() {
    let conflicts = |settings: &'static [(&'static str, &'static str)]| {
        let audit = handler(group("audit", &[]), "keep", 20, keys(&["#"]), None);
        let error = builder(vec![reserve(settings), audit], &[PLACED], &[]).build().err();
        error.map(|error| format!("{error:?}"))
    };

    assert_eq!(
        conflicts(&[("dlx", "events.stock.in"), ("dlx_kind", "fanout")]).as_deref(),
        Some(
            "1. dead letters of group \"stock\" (key \"events.stock\" on \"events.stock.in\") would come to queue \
             \"events.stock\", the queue of group \"stock\": they would be handled again, and never be kept; name another `dlx`"
        )
    );
    let of_another = conflicts(&[("dlx", "events.audit.in"), ("dlx_kind", "fanout")]).unwrap_or_default();
    assert!(of_another.contains("\"events.audit\", the queue of group \"audit\""), "{of_another}");
    assert_eq!(conflicts(&[("dlx", "graves"), ("dlx_kind", "fanout")]), None);
}

#[test]
fn a_check_of_the_declarations_finds_what_would_stop_the_start() {
    let report = |settings: &'static [(&'static str, &'static str)], timeout| {
        let handler = HandlerDef { settings: leak([("timeout", timeout)]), ..reserve(settings) };
        crate::bus::conflicts(&declared(vec![handler], &[PLACED], &[])).len()
    };

    assert_eq!(report(&[], "5m"), 0);
    assert_eq!(report(&[("dlx", "events.stock.in"), ("dlx_kind", "fanout")], "5m"), 1);
    assert_eq!(report(&[], "2h"), 0, "the configuration may say that the broker waits so long");
}

#[test]
fn what_is_consumed_elsewhere_is_told_as_well() {
    let keep = handler(group("audit", &[("dlq_ttl", "1d")]), "keep", 20, keys(&["#"]), None);
    let builder = builder(vec![reserve(&[]), keep], &[PLACED], &[]);

    let bus = builder.groups(["stock"]).build().unwrap();

    let cautions = bus.cautions();
    assert_eq!(cautions.len(), 1, "{cautions:?}");
    assert_eq!(cautions[0].group.as_deref(), Some("audit"));
    assert_eq!(
        serde_json::to_value(&cautions[0]).unwrap()["places"][0],
        serde_json::json!({
            "location": { "module": "shop", "file": "src/shop.rs", "line": 2 },
            "what": "group \"audit\"",
        })
    );
}
