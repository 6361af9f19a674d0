use std::{any::TypeId, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    exchange::{Bind, ExchangeDef, ExchangeRef, HeadersMatch, Match, SourceDef},
    extract::{Input, Need},
    handler::Call,
    message::StaticValue,
    outcome::Outcome,
    registry::{Emitted, FindingKind, GroupDef, GroupRef, Location, Report, Submission},
};

const PLACED: EventKind = EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced");
const SHIPPED: EventKind = EventKind::new("OrderShipped", "Order", "Order.OrderShipped");
const SENT: EventKind = EventKind::new("InvoiceSent", "Invoice", "Invoice.InvoiceSent");

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn at(line: u32) -> Location {
    Location { module: "app", file: "src/main.rs", line }
}

fn event(type_name: &'static str, line: u32, kinds: &[EventKind]) -> EventDef {
    EventDef {
        bus: "default",
        type_name,
        kinds: Box::leak(kinds.to_vec().into_boxed_slice()),
        view: false,
        is_set: false,
        schema: || None,
        decode: None,
        location: at(line),
    }
}

fn group(name: &'static str, line: u32, settings: &'static [(&'static str, &'static str)]) -> GroupDef {
    GroupDef {
        bus: "default",
        name,
        formerly: &[],
        settings,
        exchange: None,
        layer: None,
        location: at(line),
    }
}

/// A handler of raw events.
fn raw(group: &'static str, name: &'static str, line: u32, binds: &'static [&'static str]) -> HandlerDef {
    HandlerDef {
        bus: "default",
        group: GroupRef { name: group, def: None },
        name,
        formerly: &[],
        binds: Vec::leak(binds.iter().copied().map(Bind::Key).collect()),
        has_bind: true,
        foreign: false,
        inputs: &[Input::Raw],
        needs: |_| {},
        emits: Emitted::By(|_| {}),
        settings: &[],
        layer: None,
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: at(line),
    }
}

/// A handler of the given events, bound to their keys.
fn typed(group: &'static str, name: &'static str, line: u32, kinds: &[EventKind]) -> HandlerDef {
    let kinds: &'static [EventKind] = Box::leak(kinds.to_vec().into_boxed_slice());
    let binds: Vec<&'static str> = kinds.iter().map(|kind| kind.key).collect();
    HandlerDef {
        inputs: Box::leak(Box::new([Input::Event { name: "Event", kinds }])),
        has_bind: false,
        ..raw(group, name, line, Box::leak(binds.into_boxed_slice()))
    }
}

/// A durable topic exchange.
fn exchange(name: &'static str, line: u32) -> ExchangeDef {
    ExchangeDef {
        bus: "default",
        name,
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: false,
        internal: false,
        alternate: None,
        sources: &[],
        arguments: &[],
        location: at(line),
    }
}

enum Item {
    X(ExchangeDef),
    E(EventDef),
    G(GroupDef),
    H(HandlerDef),
}
use Item::{E, G, H, X};

fn submissions(items: Vec<Item>) -> Vec<Submission> {
    items
        .into_iter()
        .map(|item| match item {
            X(def) => Submission::Exchange(leak(def)),
            E(def) => Submission::Event(leak(def)),
            G(def) => Submission::Group(leak(def)),
            H(def) => Submission::Handler(leak(def)),
        })
        .collect()
}

fn registry(submissions: &[Submission]) -> Registry {
    let mut registry = Registry::new();
    submissions.iter().for_each(|submission| registry.insert(submission));
    registry
}

fn found_with(items: Vec<Item>, facts: &Facts<'_>) -> Vec<String> {
    check(&registry(&submissions(items)), facts).iter().map(ToString::to_string).collect()
}

/// The findings of a program of which nothing but its declarations is known, a line each.
fn found(items: Vec<Item>) -> Vec<String> {
    found_with(items, &Facts::new())
}

#[test]
fn a_sound_program_has_no_findings() {
    let items = vec![
        E(event("OrderPlaced", 1, &[PLACED])),
        E(event("OrderShipped", 2, &[SHIPPED])),
        G(group("projections", 3, &[("prefetch", "10")])),
        H(typed("projections", "project", 4, &[PLACED, SHIPPED])),
        // The same name in another group, a group that is only named, a wide binding.
        H(raw("audit", "project", 5, &["#", "Order.*"])),
    ];

    assert_eq!(found_with(items, &Facts::new().consuming().groups(&["audit", "projections"])), [""; 0]);
}

#[test]
fn two_events_cannot_have_one_routing_key() {
    let seen = EventKind::new("OrderSeen", "Order", "Order.OrderPlaced");
    assert_eq!(
        found(vec![E(event("OrderSeen", 9, &[seen])), E(event("OrderPlaced", 2, &[PLACED]))]),
        [
            "routing key `Order.OrderPlaced` on exchange \"events\" belongs to 2 events: event `app::OrderPlaced` \
          (src/main.rs:2), event `app::OrderSeen` (src/main.rs:9); give one of them another `key`, or mark the \
          one that only reads what the other publishes with `#[event(view)]`"
        ]
    );
    // Said to be a view; or on another exchange; or spelled as the default exchange.
    let view = || EventDef { view: true, ..event("OrderView", 9, &[PLACED]) };
    assert_eq!(found(vec![E(event("OrderPlaced", 2, &[PLACED])), E(view())]), [""; 0]);
    assert_eq!(found(vec![E(view()), E(EventDef { type_name: "Other", ..view() })]), [""; 0]);
    let erp = [PLACED.exchange("erp")];
    assert_eq!(found(vec![E(event("A", 1, &[PLACED])), E(event("B", 2, &erp))]), [""; 0]);
    let same = [PLACED.exchange("events")];
    assert_eq!(found(vec![E(event("A", 1, &[PLACED])), E(event("B", 2, &same))]).len(), 1);
    // A bus of its own.
    let other = EventDef { bus: "other", ..event("B", 2, &[PLACED]) };
    assert_eq!(found(vec![E(event("A", 1, &[PLACED])), E(other)]), [""; 0]);
}

#[test]
fn one_event_cannot_have_two_routing_keys() {
    let renamed = EventKind::new("OrderPlaced", "Order", "orders.placed");
    let both = |second: EventDef| found(vec![E(event("OrderPlaced", 2, &[PLACED])), E(second)]);
    assert_eq!(
        both(event("Placed", 9, &[renamed])),
        [
            "event `OrderPlaced` of aggregate `Order` has 2 routing keys, `Order.OrderPlaced` and `orders.placed`: \
             event `app::OrderPlaced` (src/main.rs:2), event `app::Placed` (src/main.rs:9); a message is told by \
             the name of its event: rename one of them, give both the same `key`, or mark the one that only \
             reads with `#[event(view)]`"
        ]
    );
    assert_eq!(both(EventDef { view: true, ..event("Placed", 9, &[renamed]) }), [""; 0]);
    assert_eq!(both(event("Placed", 9, &[renamed.exchange("erp")])), [""; 0]);
    let of_another = EventKind::new("OrderPlaced", "Basket", "Basket.OrderPlaced");
    assert_eq!(both(event("Placed", 9, &[of_another])), [""; 0]);
}

#[test]
fn a_handler_cannot_tell_namesakes_apart() {
    let order = EventKind::new("Created", "Order", "Order.Created");
    let invoice = EventKind::new("Created", "Invoice", "Invoice.Created");
    let events = || [E(event("OrderCreated", 1, &[order])), E(event("InvoiceCreated", 2, &[invoice]))];
    let with = |handler: HandlerDef| found(events().into_iter().chain([H(handler)]).collect());

    assert_eq!(with(typed("g", "orders", 3, &[order])), [""; 0]);
    assert_eq!(
        with(typed("g", "both", 3, &[order, invoice])),
        ["handler `app::both` (src/main.rs:3) takes 2 events named `Created`: `Invoice.Created` and \
             `Order.Created`; a message is told by the name of its event: rename one with `#[event(name = \
             \"...\")]`, or give each a handler of its own"]
    );
    assert_eq!(
        with(HandlerDef {
            binds: &[Bind::Key("*.Created")],
            has_bind: true,
            ..typed("g", "orders", 3, &[order])
        }),
        [
            "binding `*.Created` also brings `Invoice.Created`, which would be taken for `Order.Created`: both are \
             named `Created`: event `app::InvoiceCreated` (src/main.rs:2), handler `app::orders` \
             (src/main.rs:3); narrow `bind` (left out, it is exactly the keys of the events that the handler \
             takes), or rename one event with `#[event(name = \"...\")]`"
        ]
    );
    assert_eq!(with(raw("g", "audit", 3, &["*.Created"])), [""; 0]);
}

#[test]
fn handlers_of_a_group_have_names_of_their_own() {
    let named = |name, line, formerly| HandlerDef { formerly, ..typed("g", name, line, &[PLACED]) };
    assert_eq!(
        found(vec![H(named("project", 7, &[])), H(named("project", 3, &[]))]),
        [
            "2 handlers of group \"g\" go by the name `project`: handler `app::project` (src/main.rs:3), handler \
          `app::project` (src/main.rs:7); name one of them with `#[handler(name = \"...\")]`, or take the \
          name out of its `formerly`: retries and dead letters find a handler by group and name"
        ]
    );
    let renamed = found(vec![H(named("totals", 3, &["project"])), H(named("project", 7, &[]))]);
    assert_eq!(renamed.len(), 1);
    assert!(renamed[0].contains("handler `app::totals`, formerly `project` (src/main.rs:3)"), "{renamed:?}");
    assert_eq!(found(vec![H(named("a", 1, &["old"])), H(named("b", 2, &["old"]))]).len(), 1);
    // Its own name, and one name twice, are nobody else's.
    assert_eq!(found(vec![H(named("a", 1, &["a", "old", "old"]))]), [""; 0]);
    // The same definition twice is one.
    assert_eq!(found(vec![H(named("a", 1, &[])), H(named("a", 1, &[]))]), [""; 0]);
}

#[test]
fn a_group_is_defined_once() {
    let first = || group("g", 1, &[("prefetch", "10"), ("ordering", "none"), ("kind", "classic")]);
    let second = group("g", 5, &[("kind", "classic"), ("prefetch", "20")]);
    assert_eq!(
        found(vec![G(first()), G(second)]),
        [
            "group \"g\" is defined 2 times, with different `ordering` and `prefetch`: ordering = none, prefetch = 10 \
          (src/main.rs:1), ordering not set, prefetch = 20 (src/main.rs:5); keep one `#[group]` and name it in \
          every handler (`group = ThatType`), or give the other a name of its own"
        ]
    );
    let same = group("g", 5, &[("kind", "classic"), ("ordering", "none"), ("prefetch", "10")]);
    assert_eq!(found(vec![G(first()), G(same)]), [""; 0]);
    // Named by a string here and by its type there: the settings hold for both.
    let by_type = HandlerDef {
        group: GroupRef { name: "g", def: Some(leak(first())) },
        ..typed("g", "a", 8, &[PLACED])
    };
    assert_eq!(found(vec![H(by_type), H(typed("g", "b", 9, &[PLACED]))]), [""; 0]);
}

#[test]
fn a_handler_brings_its_group_and_its_events_along() {
    let def = leak(group("g", 1, &[("exchange", "erp")]));
    let handler =
        HandlerDef { group: GroupRef { name: "g", def: Some(def) }, ..typed("g", "a", 8, &[PLACED]) };

    let registry = registry(&submissions(vec![H(handler)]));

    assert_eq!(registry.group_def("g").map(|def| def.location.line), Some(1));
    assert_eq!(registry.kinds(), [&PLACED]);
    assert_eq!(registry.group_names(), ["g"]);
}

#[test]
fn a_raw_binding_matches_a_known_event() {
    let events = || [E(event("OrderPlaced", 1, &[PLACED])), E(event("InvoiceSent", 2, &[SENT]))];
    let with = |handler: HandlerDef| found(events().into_iter().chain([H(handler)]).collect());

    assert_eq!(
        with(raw("g", "raw", 13, &["Ordr.*"])),
        [
            "binding `Ordr.*` of handler `app::raw` (src/main.rs:13) matches no known event; did you mean `Order.*`? \
          correct `bind`; write `foreign` beside `bind` when other services own the events"
        ]
    );
    for (bind, expected) in [
        ("Order.*", None),
        ("#", None),
        ("*.InvoiceSent", None),
        ("Order.OrderPlacd", Some("did you mean `Order.OrderPlaced`?")),
        ("Payment.*", Some("matches no known event; correct")),
        ("Order", Some("did you mean `Order.*`?")),
    ] {
        let found = with(raw("g", "raw", 13, leak([bind])));
        match expected {
            None => assert_eq!(found, [""; 0], "{bind}"),
            Some(text) => assert!(found.len() == 1 && found[0].contains(text), "{bind}: {found:?}"),
        }
    }
    assert_eq!(with(HandlerDef { foreign: true, ..raw("g", "raw", 13, &["Payment.*"]) }), [""; 0]);
    // Each binding by itself.
    assert_eq!(with(raw("g", "raw", 13, &["Order.*", "Payment.*", "Stock.#"])).len(), 2);
}

#[test]
fn a_raw_binding_needs_events_to_be_known_at_all() {
    let alone = found(vec![H(raw("g", "raw", 13, &["#"]))]);
    assert!(alone.len() == 1 && alone[0].contains("declares none; write `foreign`"), "{alone:?}");
    // What another handler takes is known.
    assert_eq!(found(vec![H(raw("g", "raw", 13, &["#"])), H(typed("h", "a", 14, &[PLACED]))]), [""; 0]);
}

#[test]
fn a_raw_binding_is_held_to_the_home_exchange() {
    let items = || {
        vec![
            E(event("OrderPlaced", 1, &[PLACED.exchange("erp")])),
            H(raw("g", "raw", 13, &["Order.*"])),
            E(event("InvoiceSent", 2, &[SENT])),
        ]
    };
    let away = found(items());
    assert!(away.len() == 1 && away[0].contains("`Order.OrderPlaced` is published to \"erp\""), "{away:?}");

    assert_eq!(found_with(items(), &Facts::new().homes(&[("g", "erp")])), [""; 0]);
    let declared = items().into_iter().chain([G(group("g", 20, &[("exchange", "erp")]))]).collect();
    assert_eq!(found(declared), [""; 0]);
    assert_eq!(found_with(items(), &Facts::new().exchange("erp")), [""; 0]);
}

struct Db;
struct Mailer;

fn needs_db(needs: &mut Vec<Need>) {
    needs.push(Need { id: TypeId::of::<Arc<Db>>(), type_name: "Arc<Db>" });
}

fn needs_both(needs: &mut Vec<Need>) {
    needs_db(needs);
    needs.push(Need { id: TypeId::of::<Mailer>(), type_name: "Mailer" });
}

#[test]
fn state_that_a_consumed_group_needs_is_provided() {
    let items = || {
        vec![
            H(HandlerDef { needs: needs_db, ..typed("g", "a", 1, &[PLACED]) }),
            H(HandlerDef { needs: needs_both, ..typed("h", "b", 2, &[PLACED]) }),
        ]
    };
    let nothing = TypeMap::default();
    let facts = Facts::new().consuming().state(&nothing);
    assert_eq!(
        found_with(items(), &facts),
        [
            "2 handlers need `State<Arc<Db>>`, and no value of that type was provided: handler `app::a` \
          (src/main.rs:1), handler `app::b` (src/main.rs:2); add `.state(value)` to the builder of the bus, \
          with a value of type `Arc<Db>`",
            "handler `app::b` (src/main.rs:2) needs `State<Mailer>`, and no value of that type was provided; add \
          `.state(value)` to the builder of the bus, with a value of type `Mailer`"
        ]
    );
    assert_eq!(found_with(items(), &facts.groups(&["g"])).len(), 1);
    assert_eq!(found_with(items(), &Facts::new().state(&nothing)), [""; 0]);
    assert_eq!(found_with(items(), &Facts::new().consuming()), [""; 0]);
    let mut state = TypeMap::default();
    state.insert(Arc::new(Db));
    state.insert(Mailer);
    assert_eq!(found_with(items(), &Facts::new().consuming().state(&state)), [""; 0]);
}

#[test]
fn a_bus_that_is_to_consume_has_handlers() {
    let facts = Facts::new().consuming().groups(&["g"]);
    let by_hand = found_with(vec![E(event("OrderPlaced", 1, &[PLACED]))], &facts);
    assert!(by_hand.len() == 1 && by_hand[0].starts_with("no handlers are registered"), "{by_hand:?}");

    let mut nothing_linked = Registry::new();
    nothing_linked.collected = true;
    let collected = check(&nothing_linked, &facts);
    assert!(collected[0].help.contains("add `use that_crate as _;` to main.rs"), "{collected:?}");
}

#[test]
fn a_selected_group_exists_and_has_handlers() {
    let selecting = |groups: &[&str]| {
        let items = vec![
            H(typed("order-projections", "a", 1, &[PLACED])),
            G(group("empty", 4, &[])),
            G(group("x", 5, &[])),
        ];
        found_with(items, &Facts::new().consuming().groups(groups))
    };
    assert_eq!(selecting(&["order-projections"]), [""; 0]);
    assert_eq!(
        selecting(&["order_projections", "order_projections"]),
        ["group \"order_projections\" is selected to be consumed, and no handler names it; did you mean \
          `order-projections`? correct `.groups([..])` or `ES_BUS_GROUPS`; this program has `empty`, \
          `order-projections` and `x`"]
    );
    assert_eq!(
        selecting(&["empty"]),
        [
            "group \"empty\" (src/main.rs:4) is selected to be consumed, and has no handlers; select another group, \
          or add a handler; if it stands in a crate that is never named, add `use that_crate as _;` to main.rs"
        ]
    );
    assert!(!selecting(&["colour"])[0].contains("did you mean"));
}

#[test]
fn a_retired_event_has_no_handler_left() {
    let items = |handler: HandlerDef| {
        vec![
            E(event("OrderPlaced", 1, &[PLACED])),
            G(group("g", 2, &[("retired", "Order.OrderGone, Order.OrderPlaced")])),
            H(handler),
        ]
    };
    assert_eq!(
        found(items(typed("g", "a", 3, &[PLACED]))),
        [
            "group \"g\" retires `Order.OrderPlaced`, which its handlers still take: group \"g\" (src/main.rs:2), \
          handler `app::a` (src/main.rs:3); take the key out of `retired`, or the event out of the handlers"
        ]
    );
    assert_eq!(found(items(typed("other", "a", 3, &[PLACED]))), [""; 0]);
    assert_eq!(found(items(raw("g", "a", 3, &["Order.OrderPlaced"]))).len(), 1);
    assert_eq!(found(items(raw("g", "a", 3, &["Order.*"]))), [""; 0]);
}

#[test]
fn a_wide_binding_is_retired_where_no_handler_asks_for_it_any_more() {
    let items = |handler: HandlerDef| {
        vec![E(event("OrderPlaced", 1, &[PLACED])), G(group("g", 2, &[("retired", "Order.*")])), H(handler)]
    };
    assert_eq!(found(items(typed("g", "a", 3, &[PLACED]))), [""; 0], "narrowed");
    assert_eq!(found(items(raw("g", "a", 3, &["Order.OrderPlaced"]))), [""; 0], "narrowed");
    assert_eq!(found(items(raw("g", "a", 3, &["Order.*"]))).len(), 1);
}

#[test]
fn names_and_keys_fit_into_amqp() {
    let long: &'static str = leak("g".repeat(240));
    for (items, expected) in [
        (vec![H(typed(long, "a", 1, &[PLACED]))], "has 266 bytes; AMQP carries at most 255 (src/main.rs:1)"),
        (vec![H(typed("", "a", 1, &[PLACED]))], "group name is empty (src/main.rs:1)"),
        (vec![H(typed("a\nb", "a", 1, &[PLACED]))], "control character"),
        (vec![G(group("g", 1, &[("exchange", "amq.topic")]))], "starts with \"amq.\""),
        (
            vec![E(event("E", 1, &[EventKind::new("E", "A", "A..E")]))],
            "routing key \"A..E\" of event `app::E`",
        ),
        (vec![E(event("E", 1, &[EventKind::new("", "A", "A.E")]))], "has a name of 0 bytes"),
        (vec![E(event("E", 1, &[PLACED.exchange("amq.x")]))], "the exchange of event `app::E`"),
        (vec![H(typed("g", "", 1, &[PLACED]))], "the name \"\" of the handler at src/main.rs:1"),
        (
            vec![H(raw("g", "r", 1, &["a.#b"]))],
            "binding \"a.#b\" of handler `app::r` (src/main.rs:1) has a wildcard",
        ),
    ] {
        let found = found(items);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_registry_is_narrowed_by_bus_and_by_group_and_merged_again() {
    let one = registry(&submissions(vec![
        E(event("OrderPlaced", 1, &[PLACED])),
        H(typed("g", "a", 2, &[PLACED])),
        H(typed("h", "b", 3, &[PLACED])),
        G(group("h", 4, &[])),
    ]));
    let other = registry(&submissions(vec![H(HandlerDef { bus: "erp", ..typed("g", "c", 5, &[SENT]) })]));

    let both = other.merge(&one);

    assert_eq!(both.buses(), ["default", "erp"]);
    assert_eq!(both.on_bus("erp").handlers().len(), 1);
    assert_eq!(format!("{:?}", both.on_bus("default")), format!("{one:?}"));
    assert_eq!(format!("{:?}", one.clone().merge(&one)), format!("{one:?}"));
    let selected = both.select(&["h"]);
    assert_eq!(selected.handlers().iter().map(|def| def.name).collect::<Vec<_>>(), ["b"]);
    assert_eq!((selected.groups().len(), selected.events().len()), (1, 1));
}

/// A program with a mistake of every kind.
fn broken() -> Vec<Submission> {
    let created = EventKind::new("Created", "Order", "Order.Created");
    submissions(vec![
        E(event("OrderPlaced", 12, &[PLACED])),
        E(EventDef {
            location: Location { module: "app::audit", file: "src/audit/events.rs", line: 104 },
            ..event("OrderSeen", 12, &[EventKind::new("OrderSeen", "Order", "Order.OrderPlaced")])
        }),
        E(event("InvoiceSent", 20, &[SENT])),
        E(event("InvoiceMailed", 24, &[EventKind::new("InvoiceSent", "Invoice", "invoice.mailed")])),
        E(event("OrderCreated", 28, &[created])),
        E(event("UserCreated", 32, &[EventKind::new("Created", "User", "User.Created")])),
        E(event("Bad", 36, &[EventKind::new("Bad", "A", "a key")])),
        G(group("projections", 40, &[("prefetch", "10"), ("retired", "Order.OrderPlaced")])),
        G(group("projections", 44, &[("prefetch", "20"), ("retired", "Order.OrderPlaced")])),
        G(group("empty", 48, &[])),
        H(HandlerDef { needs: needs_both, ..typed("projections", "project", 52, &[PLACED]) }),
        H(HandlerDef { needs: needs_db, ..typed("projections", "project", 60, &[SENT]) }),
        H(HandlerDef {
            binds: &[Bind::Key("*.Created")],
            has_bind: true,
            ..typed("users", "welcome", 70, &[created])
        }),
        H(raw("audit", "raw", 80, &["Ordr.*", "#"])),
    ])
}

fn broken_report(submissions: &[Submission]) -> String {
    let nothing = TypeMap::default();
    let groups = ["projectons", "projections", "users", "empty"];
    let facts = Facts::new().consuming().groups(&groups).state(&nothing);
    Report(&check(&registry(submissions), &facts)).to_string()
}

#[test]
fn a_report_has_every_finding_with_its_places() {
    insta::assert_snapshot!(broken_report(&broken()));
}

#[test]
fn every_kind_of_finding_but_that_of_no_handlers_is_in_the_report() {
    let nothing = TypeMap::default();
    let groups = ["projectons", "empty", "projections"];
    let facts = Facts::new().consuming().groups(&groups).state(&nothing);
    let mut kinds: Vec<_> = check(&registry(&broken()), &facts).iter().map(|finding| finding.kind).collect();
    assert!(kinds.is_sorted());
    kinds.dedup();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    assert!(!kinds.contains(&FindingKind::NoHandlers));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_registration_does_not_show(order in Just((0..14).collect::<Vec<usize>>()).prop_shuffle()) {
        // Definitions live as long as the program: made once, submitted in every order.
        static BROKEN: std::sync::OnceLock<(Vec<Submission>, String, String)> = std::sync::OnceLock::new();
        let (broken, report, debug) = BROKEN.get_or_init(|| {
            let broken = broken();
            let (report, debug) = (broken_report(&broken), format!("{:?}", registry(&broken)));
            (broken, report, debug)
        });
        prop_assert_eq!(broken.len(), order.len());

        let mut shuffled = Registry::new();
        order.iter().for_each(|i| shuffled.insert(&broken[*i]));

        prop_assert_eq!(&format!("{shuffled:?}"), debug);
        let nothing = TypeMap::default();
        let groups = ["projectons", "projections", "users", "empty"];
        let facts = Facts::new().consuming().groups(&groups).state(&nothing);
        prop_assert_eq!(&Report(&check(&shuffled, &facts)).to_string(), report);
    }
}

#[test]
fn two_declarations_of_an_exchange_that_differ_are_told_with_both_places() {
    let direct = ExchangeDef { kind: ExchangeKind::Direct, durable: false, ..exchange("erp", 9) };

    assert_eq!(
        found(vec![X(direct), X(exchange("erp", 3)), X(exchange("erp", 5))]),
        [
            "exchange \"erp\" is declared 3 times, with different `kind` and `transient`: kind = topic, transient = \
          false (src/main.rs:3), kind = topic, transient = false (src/main.rs:5), kind = direct, transient = true \
          (src/main.rs:9); keep one `#[exchange]` and name its type everywhere (`exchange = ThatType`), or give the \
          other a name of its own"
        ]
    );
    assert_eq!(found(vec![X(exchange("erp", 3)), X(exchange("erp", 5))]), [""; 0]);
}

#[test]
fn an_exchange_that_cannot_do_what_it_is_for_is_told() {
    let alternate = |name| Some(ExchangeRef { name, def: None });
    let itself = ExchangeDef { alternate: alternate("shop"), ..exchange("shop", 3) };
    let reserved = ExchangeDef { alternate: alternate("amq.fanout"), ..exchange("erp", 4) };
    let internal = ExchangeDef { internal: true, ..exchange("inner", 5) };
    let inside = event("A", 6, &[PLACED.exchange("inner")]);

    assert_eq!(
        found(vec![X(itself), X(reserved), X(internal), E(inside)]),
        [
            "exchange name \"amq.fanout\" starts with \"amq.\", which RabbitMQ keeps for itself; choose another name \
             (src/main.rs:4); correct `alternate_exchange`",
            "exchange \"shop\" (src/main.rs:3) is its own alternate exchange; name another exchange: what this one has \
             no queue for, it would have none for again",
            "`Order.OrderPlaced` is published to the internal exchange \"inner\", which refuses it: exchange \"inner\" \
             (src/main.rs:5), event `app::A` (src/main.rs:6); drop `internal` from the exchange, or name another \
             `exchange` on the event",
        ]
    );
}

#[test]
fn the_configuration_may_not_contradict_the_declaration_of_the_default_exchange() {
    let told = |kind| {
        found_with(vec![X(exchange("events", 3))], &Facts::new().exchange("events").exchange_type(kind))
    };

    assert_eq!(told(ExchangeKind::Topic), [""; 0]);
    assert_eq!(
        told(ExchangeKind::Direct),
        [
            "exchange \"events\" is a topic exchange (src/main.rs:3), and the setting `exchange_type` says \"direct\"; \
          leave `exchange_type` (`ES_BUS_EXCHANGE_TYPE`) unset, or set `exchange` to another exchange"
        ]
    );
}

#[test]
fn an_exchange_that_is_named_by_a_text_shows_its_kind_at_start() {
    const FORMAT: HeadersMatch =
        HeadersMatch { mode: Match::All, values: &[("format", StaticValue::Str("pdf"))] };
    let of = |kind| ExchangeDef { kind, ..exchange("erp", 1) };
    let placed = PLACED.exchange("erp");
    let handler = |bind: Bind| HandlerDef {
        binds: Vec::leak(vec![bind]),
        has_bind: true,
        ..typed("g", "h", 2, &[placed])
    };
    for (kind, bind, part) in [
        (ExchangeKind::Topic, Bind::Key("Order.*"), None),
        (
            ExchangeKind::Topic,
            Bind::Headers(FORMAT),
            Some("\"erp\" is a topic exchange, which looks at none"),
        ),
        (ExchangeKind::Direct, Bind::Key("Order.OrderPlaced"), None),
        (ExchangeKind::Direct, Bind::Key("Order.*"), Some("takes `*` and `#` literally")),
        (ExchangeKind::Fanout, Bind::Key("#"), None),
        (ExchangeKind::Fanout, Bind::Key("Order.*"), Some("looks at none: everything comes")),
        (ExchangeKind::Headers, Bind::Headers(FORMAT), None),
        (ExchangeKind::Headers, Bind::Key("Order.*"), Some("looks at headers only")),
    ] {
        let found = found(vec![X(of(kind)), H(handler(bind))]);
        match part {
            None => assert_eq!(found, [""; 0], "{kind:?} {bind}"),
            Some(part) => {
                assert!(found.len() == 1 && found[0].contains(part), "{kind:?} {bind}: {found:?}");
                assert!(found[0].contains("src/main.rs:1"), "the exchange is named: {found:?}");
            }
        }
    }
}

#[test]
fn one_event_of_several_that_its_exchange_leaves_out_is_told() {
    let direct = ExchangeDef { kind: ExchangeKind::Direct, ..exchange("erp", 1) };
    let wide = HandlerDef {
        binds: &[Bind::Key("Order.*")],
        has_bind: true,
        ..typed("g", "h", 2, &[PLACED, SHIPPED.exchange("erp")])
    };

    assert_eq!(
        found(vec![X(direct), H(wide)]),
        [
            "no binding of handler `app::h` (src/main.rs:2) delivers `Order.OrderShipped`: \"erp\" is a direct exchange; \
          add the exact key to `bind`, or leave `bind` out"
        ]
    );
}

#[test]
fn a_handler_of_raw_events_may_do_without_bind_where_everything_comes() {
    let raw_without = || HandlerDef { has_bind: false, ..raw("g", "h", 4, &[]) };
    let home = || G(group("g", 3, &[("exchange", "news")]));
    let news = |kind| X(ExchangeDef { kind, ..exchange("news", 1) });
    let told = E(event("Told", 2, &[PLACED.exchange("news")]));

    assert_eq!(found(vec![news(ExchangeKind::Fanout), told, home(), H(raw_without())]), [""; 0]);
    let on_topic = found(vec![news(ExchangeKind::Topic), home(), H(raw_without())]);
    assert!(
        on_topic.len() == 1 && on_topic[0].contains("takes raw events and has no `bind`"),
        "{on_topic:?}"
    );
}

#[test]
fn what_no_exchange_can_give_another_one_is_told() {
    const fn from(name: &'static str, binds: &'static [Bind]) -> SourceDef {
        SourceDef { exchange: ExchangeRef { name, def: None }, binds }
    }
    const KEY: &[Bind] = &[Bind::Key("Order.*")];
    let tasks = ExchangeDef { kind: ExchangeKind::Direct, ..exchange("tasks", 1) };
    let news = ExchangeDef { kind: ExchangeKind::Fanout, ..exchange("news", 2) };
    let audit = ExchangeDef {
        sources: const {
            &[
                from("tasks", KEY),
                from("tasks", &[]),
                from("news", KEY),
                from("shop", &[Bind::Key("Order**")]),
                from("audit", KEY),
                from("amq.topic", KEY),
                from("shop", KEY),
            ]
        },
        ..exchange("audit", 3)
    };

    let texts = found(vec![X(tasks), X(news), X(audit)]);

    insta::assert_snapshot!(texts.join("\n"), @r#"
    exchange name "amq.topic" starts with "amq.", which RabbitMQ keeps for itself; choose another name (src/main.rs:3); correct `from`
    `from("tasks")` of exchange "audit" asks a direct exchange for everything: exchange "tasks" (src/main.rs:1), exchange "audit" (src/main.rs:3); list the keys: it compares whole keys
    binding `Order.*` of exchange "audit" is nothing that "tasks" can do, a direct exchange: exchange "tasks" (src/main.rs:1), exchange "audit" (src/main.rs:3); it takes `*` and `#` literally: list the keys, or make it a topic exchange
    binding `Order.*` of exchange "audit" is nothing that "news" can do, a fanout exchange: exchange "news" (src/main.rs:2), exchange "audit" (src/main.rs:3); it looks at no key, everything comes: name the exchange alone
    binding `Order**` of exchange "audit" to "shop" has a wildcard inside a word, where it would be matched literally; a wildcard has to be a whole word; correct `from`
    exchange "audit" (src/main.rs:3) gets messages from itself: `from("audit", "Order.*")`; name another exchange, or drop `from`
    "#);
}

#[test]
fn what_an_exchange_gets_from_others_is_known_there() {
    const KEY: &[Bind] = &[Bind::Key("Order.#")];
    const SHOP: &[SourceDef] = &[SourceDef { exchange: ExchangeRef { name: "shop", def: None }, binds: KEY }];
    const AUDIT: &[SourceDef] =
        &[SourceDef { exchange: ExchangeRef { name: "audit", def: None }, binds: &[] }];
    let told = |binding: &'static [&'static str]| {
        let exchanges = [
            X(exchange("shop", 1)),
            X(ExchangeDef { sources: SHOP, ..exchange("audit", 2) }),
            X(ExchangeDef { sources: AUDIT, ..exchange("vault", 3) }),
        ];
        let sold = E(event("Sold", 4, &[PLACED.exchange("shop"), SENT.exchange("shop")]));
        let home = G(group("g", 5, &[("exchange", "vault")]));
        found(exchanges.into_iter().chain([sold, home, H(raw("g", "h", 6, binding))]).collect())
    };

    assert_eq!(told(&["Order.OrderPlaced"]), [""; 0]);
    assert_eq!(told(&["Invoice.*"]).len(), 1, "audit asks for orders alone");
}

#[test]
fn what_an_alternate_exchange_catches_is_known_there() {
    let alternate = Some(ExchangeRef { name: "lost", def: None });
    let shop = X(ExchangeDef { alternate, ..exchange("shop", 1) });
    let home = G(group("g", 3, &[("exchange", "lost")]));
    let sold = E(event("Sold", 2, &[PLACED.exchange("shop")]));

    assert_eq!(
        found(vec![shop, X(exchange("lost", 4)), sold, home, H(raw("g", "h", 5, &["Order.*"]))]),
        [""; 0]
    );
}

#[test]
fn a_name_that_a_group_had_is_no_other_groups() {
    let renamed = |name, line, formerly| GroupDef { formerly, ..group(name, line, &[]) };
    let texts = |groups: Vec<GroupDef>| -> Vec<String> {
        let all = groups.into_iter().map(G).collect();
        check(&registry(&submissions(all)), &Facts::new())
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    };

    assert_eq!(texts(vec![renamed("views", 1, &["projections"]), renamed("bills", 2, &["ledger"])]), [""; 0]);
    assert_eq!(
        texts(vec![renamed("views", 1, &["projections"]), renamed("bills", 2, &["projections"])]),
        ["2 groups go by the name \"projections\""]
    );
    assert_eq!(
        texts(vec![renamed("views", 1, &["bills"]), renamed("bills", 2, &[])]),
        ["2 groups go by the name \"bills\""]
    );
    assert_eq!(
        texts(vec![renamed("views", 1, &["views"])]),
        ["group \"views\" has that name now: `formerly` lists names that it had before (src/main.rs:1)"]
    );
    let unusable = texts(vec![renamed("views", 1, &["a\nb"])]);
    assert!(
        unusable[0].starts_with("group name \"a\\nb\"") && unusable[0].ends_with("(src/main.rs:1)"),
        "{unusable:?}"
    );
    assert_eq!(
        texts(vec![renamed("views", 1, &["old"]), renamed("views", 2, &[])]),
        ["group \"views\" is defined 2 times, with different `formerly`"]
    );
}
