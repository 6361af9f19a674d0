//! The handlers that are found, beside those that a look at every one of them finds.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    event::EventKind,
    message::Value,
    name::ExchangeName,
    topic,
    topology::{
        Bound, LateBound,
        fixtures::{PLACED, SHIPPED, group_with, handler},
    },
};

const CANCELLED: EventKind = EventKind::new("Cancelled", "Order", "Order.Cancelled");
/// Another event of the same name.
const VOIDED: EventKind = EventKind::new("Cancelled", "Invoice", "Invoice.Cancelled");
/// One whose key has a field.
const REGIONAL: EventKind = EventKind::new("Regional", "Order", "a.*.c");
const SETS: &[Option<&[EventKind]>] = &[
    None,
    Some(&[PLACED]),
    Some(&[SHIPPED]),
    Some(&[CANCELLED]),
    Some(&[VOIDED]),
    Some(&[CANCELLED, VOIDED, PLACED]),
    Some(&[REGIONAL]),
    Some(&[REGIONAL, PLACED]),
];
const EXCHANGES: &[&str] = &["events", "other", ""];
const KEYS: &[&str] = &[
    "Order.OrderPlaced",
    "Order.OrderShipped",
    "Order.Cancelled",
    "Invoice.Cancelled",
    "Order",
    "a.b.c",
    "",
    "events.projections",
];
const BINDING_KEYS: &[&str] =
    &["#", "*", "Order.*", "#.Cancelled", "Order.#", "Order.OrderPlaced", "Order.Cancelled", "a.b.c", ""];
const FORMERLY: &[&[&str]] = &[&[], &["gone"], &["four", "one"]];
const NAMES: &[&str] = &["one", "two", "three", "four", "gone"];

/// Finds the handlers by asking each.
fn plan_by_scan(
    group: &GroupSpec,
    origin: &Origin,
    headers: &Headers,
    aggregate_type: Option<&str>,
    pending: Vec<HandlerAttempt>,
    now_ms: u64,
) -> Plan {
    let (key, all) = (&*origin.routing_key, &group.handlers);
    let is_for_all = group.bound.iter().any(|late| late.bound.delivers(key, headers))
        || (origin.exchange.is_empty() && origin.routing_key == group.queue.as_str());
    if pending.is_empty() {
        let came_by_own = all
            .iter()
            .flat_map(|handler| &handler.bound)
            .any(|bound| bound.exchange.as_str() == origin.exchange && bound.delivers(key, headers));
        let is_brought = |handler: &HandlerSpec| {
            handler.bound.iter().any(|bound| {
                let from_here = bound.exchange.as_str() == origin.exchange;
                (from_here || handler.kinds.is_some() || !came_by_own) && bound.delivers(key, headers)
            })
        };
        let run: Vec<_> = (0..all.len())
            .filter(|&index| {
                (is_for_all || is_brought(&all[index])) && takes(&all[index], origin, aggregate_type)
            })
            .map(|index| (index, 0))
            .collect();
        if !run.is_empty() {
            return Plan::Handlers(Concerned { run, ..Concerned::default() });
        }
        if group.settings.retired.iter().any(|retired| topic::matches(retired, key)) {
            return Plan::Skip;
        }
        return match group.on_unknown() {
            OnUnknown::Skip => Plan::Skip,
            other => Plan::Unknown(other),
        };
    }
    let mut concerned = Concerned::default();
    for entry in pending {
        let by_name = all.iter().position(|handler| *handler.name == *entry.handler);
        let former = || all.iter().position(|handler| handler.formerly.contains(&entry.handler.as_str()));
        let handler = by_name.or_else(former).filter(|&index| {
            (is_for_all || is_still_asked_for(&all[index], origin))
                && takes(&all[index], origin, aggregate_type)
        });
        match handler {
            None => concerned.gone.push(entry),
            Some(_) if entry.due_ms.is_some_and(|due| due > now_ms) => concerned.later.push(entry),
            Some(index) => concerned.run.push((index, entry.attempt)),
        }
    }
    Plan::Handlers(concerned)
}

fn bound() -> impl Strategy<Value = Bound> {
    let kinds = &[ExchangeKind::Topic, ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Headers][..];
    (select(EXCHANGES), select(kinds), select(BINDING_KEYS), headers()).prop_map(
        |(exchange, kind, key, mut arguments)| {
            arguments.insert("x-match", "any");
            Bound { exchange: exchange_named(exchange), kind, key: key.into(), arguments }
        },
    )
}

fn exchange_named(name: &str) -> ExchangeName {
    if name.is_empty() { ExchangeName::default_exchange() } else { ExchangeName::new(name).unwrap() }
}

fn headers() -> impl Strategy<Value = Headers> {
    let header = (select(&["format", "size"][..]), select(&["a", "b"][..]));
    vec(header, 0..2)
        .prop_map(|headers| headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect())
}

fn handler_spec(name: &'static str) -> impl Strategy<Value = HandlerSpec> {
    let formerly = select(FORMERLY);
    (select(SETS), vec(bound(), 0..4), formerly).prop_map(move |(kinds, bound, formerly)| {
        let plain = handler(name, &["#"], kinds);
        HandlerSpec { bound, formerly, ..plain }
    })
}

fn group() -> impl Strategy<Value = GroupSpec> {
    let handlers = (
        option::of(handler_spec("one")),
        option::of(handler_spec("two")),
        option::of(handler_spec("three")),
        option::of(handler_spec("four")),
    );
    let late = option::weighted(0.2, (bound(), any::<bool>()));
    let retired = vec(select(BINDING_KEYS), 0..2);
    (handlers, late, retired).prop_map(|((one, two, three, four), late, retired)| {
        let handlers = [one, two, three, four].into_iter().flatten().collect();
        let mut group = group_with(handlers, |settings| {
            settings.retired = retired.iter().map(ToString::to_string).collect();
        });
        group.bound.extend(late.map(|(bound, holds)| LateBound { bound, holds }));
        group
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    let event_type = option::of(select(&["OrderPlaced", "OrderShipped", "Cancelled", "Lost"][..]));
    (select(EXCHANGES), select(KEYS), event_type).prop_map(|(exchange, key, event_type)| Origin {
        exchange: exchange.to_owned(),
        routing_key: key.to_owned(),
        event_type: event_type.map(str::to_owned),
        replayed: false,
    })
}

fn pending() -> impl Strategy<Value = Vec<HandlerAttempt>> {
    let entry = (select(NAMES), 0..3_u32, option::of(0..2_000_u64));
    let entry = entry.prop_map(|(handler, attempt, due_ms)| HandlerAttempt {
        handler: handler.to_owned(),
        attempt,
        due_ms,
    });
    vec(entry, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn finds_what_a_look_at_every_handler_finds(
        group in group(),
        origin in origin(),
        headers in headers(),
        aggregate in option::of(select(&["Order", "Invoice"][..])),
        pending in prop_oneof![3 => Just(Vec::new()), 1 => pending()],
    ) {
        let expected = plan_by_scan(&group, &origin, &headers, aggregate, pending.clone(), 1_000);

        prop_assert_eq!(plan(&group, &origin, &headers, aggregate, pending, 1_000), expected);
    }
}

#[test]
fn who_takes_what_is_asked_anew_of_a_group_that_changed() {
    let plan_of = |group: &GroupSpec| {
        let origin = Origin {
            exchange: "events".to_owned(),
            routing_key: "Order.OrderPlaced".to_owned(),
            event_type: Some("OrderPlaced".to_owned()),
            replayed: false,
        };
        plan(group, &origin, &Headers::new(), None, Vec::new(), 0)
    };
    let before = group_with(vec![handler("shipped", &["Order.*"], Some(&[SHIPPED]))], |_| {});
    assert_eq!(plan_of(&before), Plan::Skip, "the takers are found");

    let mut after = before.clone();
    after.handlers.push(handler("placed", &["Order.*"], Some(&[PLACED])));

    let run = vec![(1, 0)];
    assert_eq!(plan_of(&after), Plan::Handlers(Concerned { run, ..Concerned::default() }));
    assert_eq!(plan_of(&before), Plan::Skip);
}
