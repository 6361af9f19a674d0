//! What the attributes write, looked at through the public traits.
#![cfg(feature = "macros")]

use std::{borrow::Cow, sync::Arc, time::Duration};

use es_bus::{
    Attempt, DeliveryInfo, Envelope, Event, Failure, HandlerError, Input, Invocation, Outcome, RawEvent,
    State, Verdict,
    event::{EventKind, PayloadStyle, Unroutable},
    message::{Message, Received, StaticValue},
    registry::{DeclaredEvent, Group, Handler, HandlerDef},
    wire,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The binding keys of a handler.
fn keys(def: &HandlerDef) -> Vec<String> {
    def.binds.iter().map(ToString::to_string).collect()
}

#[es_bus::event(aggregate = "Order", aggregate_id = id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    id: String,
    total: u64,
}

#[es_bus::event(
    key = "orders.order.shipped",
    name = "Shipped",
    version = 2,
    exchange = "logistics",
    aggregate_id = order,
    headers(region = "eu", "x-team" = "orders"),
    priority = 5,
    ttl = "1m30s",
    transient,
    mandatory,
    payload = "nested"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OrderShipped {
    order: u64,
}

#[es_bus::event(aggregate = "Order", version = 3)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum OrderEvent {
    Placed(OrderPlaced),
    #[event(aggregate_id = order_id, optional)]
    Paid {
        order_id: u64,
    },
    #[event(name = "OrderGone", key = "Order.gone", version = 1)]
    Gone,
}

/// A set that only refers needs no serde.
#[es_bus::event]
#[derive(Debug, PartialEq)]
enum Both {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
}

#[es_bus::group(
    prefetch = 50,
    concurrency = 8,
    ordering = "none",
    retry_ladder = ["30s", "5m"],
    backoff(base = "1s", max = "60s", jitter = 0.1),
    max_length_bytes = "64 MiB"
)]
struct OrderProjections;

#[es_bus::handler(group = OrderProjections, retries = 5, timeout = "30s", formerly = ["projection"])]
async fn project(event: OrderEvent, State(total): State<u64>) -> Result<(), HandlerError> {
    let _ = (event, total);
    Ok(())
}

#[es_bus::handler(group = "audit", bind = ["Order.#", OrderShipped::ROUTING_KEY], foreign)]
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
fn audit(event: RawEvent) {
    let _ = event;
}

#[es_bus::handler(group = "audit", bind = "Order.OrderPlaced", partial)]
async fn narrow(event: Envelope<Both>) -> anyhow::Result<()> {
    let _ = event;
    Ok(())
}

#[test]
fn a_struct_is_one_event() {
    let event = OrderPlaced { id: "o-1".to_owned(), total: 3 };

    assert_eq!(*event.kind(), EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced"));
    assert_eq!(event.aggregate_id(), Some(Cow::Borrowed("o-1")));
    assert_eq!(OrderPlaced::ROUTING_KEY, "Order.OrderPlaced");
    assert_eq!(event.routing_key(), "Order.OrderPlaced");
}

#[test]
fn every_key_of_an_event_is_kept() {
    let kind = OrderShipped { order: 7 }.kind();

    assert_eq!(kind.name, "Shipped");
    assert_eq!(kind.aggregate, "orders");
    assert_eq!(kind.key, "orders.order.shipped");
    assert_eq!(kind.version, 2);
    assert_eq!(kind.exchange, Some("logistics"));
    assert_eq!(kind.headers, [("region", StaticValue::Str("eu")), ("x-team", StaticValue::Str("orders"))]);
    assert_eq!(kind.priority, Some(5));
    assert_eq!(kind.ttl(), Some(Duration::from_secs(90)));
    assert!(!kind.persistent);
    assert_eq!(kind.unroutable, Unroutable::Mandatory);
    assert_eq!(kind.payload, PayloadStyle::Nested);
    assert_eq!(OrderShipped { order: 7 }.aggregate_id().as_deref(), Some("7"));
}

fn body<E: Event>(event: &E) -> serde_json::Value {
    event.serialize_payload(serde_json::value::Serializer).expect("an event")
}

#[test]
fn a_set_is_one_event_per_variant() {
    let placed = OrderPlaced { id: "o-1".to_owned(), total: 3 };
    let cases = [
        (OrderEvent::Placed(placed.clone()), "OrderPlaced", json!({"id": "o-1", "total": 3}), Some("o-1")),
        (OrderEvent::Paid { order_id: 7 }, "Paid", json!({"orderId": 7}), Some("7")),
        (OrderEvent::Gone, "OrderGone", json!({}), None),
    ];
    for (event, name, content, id) in cases {
        assert_eq!(event.kind().name, name);
        assert_eq!(event.routing_key(), event.kind().key);
        assert_eq!(event.aggregate_id().as_deref(), id);
        assert_eq!(body(&event), content);
        assert_eq!(OrderEvent::deserialize_payload(name, content).expect("its own content"), event);
    }
    assert_eq!(body(&OrderEvent::Placed(placed.clone())), body(&placed));
    assert_eq!(OrderEvent::KINDS.iter().map(|kind| kind.version).collect::<Vec<_>>(), [1, 3, 1]);
    assert_eq!(OrderEvent::KINDS[1].unroutable, Unroutable::Optional);

    let error = OrderEvent::deserialize_payload("Nonsense", json!({})).expect_err("no such event");
    assert_eq!(error.to_string(), "\"Nonsense\" is not one of the events OrderPlaced, Paid, OrderGone");
}

#[test]
fn a_set_declares_only_what_stands_in_it() {
    let declared: Vec<_> = <OrderEvent as DeclaredEvent>::DEF.kinds.iter().map(|kind| kind.name).collect();

    assert_eq!(declared, ["Paid", "OrderGone"]);
    assert!(<Both as DeclaredEvent>::DEF.kinds.is_empty());
}

#[test]
fn a_group_keeps_its_settings_as_the_configuration_names_them() {
    let def = <OrderProjections as Group>::DEF;

    assert_eq!(def.name, "order-projections");
    assert_eq!(
        def.settings,
        [
            ("prefetch", "50"),
            ("concurrency", "8"),
            ("ordering", "none"),
            ("retry_ladder", "30s,5m"),
            ("max_length_bytes", "64 MiB"),
            ("backoff_base", "1s"),
            ("backoff_max", "60s"),
            ("backoff_jitter", "0.1"),
        ]
    );
}

#[test]
fn a_handler_is_named_by_the_type_beside_it() {
    let def = <project as Handler>::DEF;

    assert_eq!((def.group.name, def.name), ("order-projections", "project"));
    assert!(def.group.def.is_some());
    assert_eq!(keys(def), ["Order.OrderPlaced", "Order.Paid", "Order.gone"]);
    assert!(!def.has_bind);
    assert_eq!(def.formerly, ["projection"]);
    assert_eq!(def.settings, [("retries", "5"), ("timeout", "30s")]);
    assert!(matches!(def.inputs, [Input::Event { name: "OrderEvent", .. }, Input::Side]));
    let mut needs = Vec::new();
    (def.needs)(&mut needs);
    assert_eq!(needs[0].type_name, "u64");
    assert_eq!(def.location.file, file!());

    let audit = <audit as Handler>::DEF;
    assert_eq!(keys(audit), ["Order.#", "orders.order.shipped"]);
    assert!(audit.has_bind && audit.foreign && audit.group.def.is_none());
    assert_eq!(keys(<narrow as Handler>::DEF), ["Order.OrderPlaced"]);
}

#[tokio::test]
async fn the_annotated_function_stays_what_it_was() {
    project(OrderEvent::Gone, State(1)).await.expect("handled");
    let _: fn(RawEvent) = audit;
}

mod failures {
    use super::*;

    #[derive(Debug, Failure)]
    #[expect(dead_code, reason = "the fields are printed")]
    enum LedgerError {
        #[failure(retry)]
        Busy,
        #[failure(retry_after = "30s")]
        Closed,
        #[failure(reject)]
        Unknown { order: u64 },
        #[failure(drop)]
        Old(u64),
        #[failure(transparent)]
        Torn(TornPage),
        #[failure(transparent)]
        Any(anyhow::Error),
        #[failure(transparent)]
        Boxed { source: Box<dyn std::error::Error + Send + Sync> },
    }

    #[derive(Debug, Failure)]
    #[failure(reject)]
    struct TornPage;

    macro_rules! error {
        ($($name:ident),*) => {$(
            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "{self:?}")
                }
            }
            impl std::error::Error for $name {}
        )*};
    }
    error!(LedgerError, TornPage);

    type Aliased = Result<(), LedgerError>;

    fn verdict(outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::Failed(error) => error.verdict(),
            Outcome::Done => panic!("the handler failed"),
        }
    }

    fn of<R: es_bus::IntoOutcome>(result: R) -> Verdict {
        let (state, handler) = (Arc::default(), "ledger".into());
        let delivery = Received {
            message: Message::default(),
            exchange: String::new(),
            routing_key: String::new(),
            redelivered: false,
        };
        let origin = wire::origin(&delivery, "events.ledger");
        let info = DeliveryInfo::new(delivery, "events.ledger".to_owned(), "ledger".to_owned(), origin);
        let attempt = Attempt { number: 0, retries: 3 };
        verdict(result.into_outcome(&Invocation::new(Arc::new(info), handler, attempt, state)))
    }

    #[test]
    fn each_variant_says_what_it_asks_for() {
        let after = Verdict::RetryAfter(Duration::from_secs(30));
        let boxed = || Box::new(TornPage) as Box<dyn std::error::Error + Send + Sync>;
        let plain = || Box::new(std::fmt::Error) as Box<dyn std::error::Error + Send + Sync>;
        for (error, expected) in [
            (LedgerError::Busy, Verdict::Retry),
            (LedgerError::Closed, after),
            (LedgerError::Unknown { order: 1 }, Verdict::Reject),
            (LedgerError::Old(1), Verdict::Drop),
            (LedgerError::Torn(TornPage), Verdict::Reject),
            (LedgerError::Any(TornPage.into()), Verdict::Reject),
            (LedgerError::Any(anyhow::Error::from(TornPage).context("page 3")), Verdict::Reject),
            (LedgerError::Any(anyhow::anyhow!("nobody knows")), Verdict::Retry),
            (LedgerError::Boxed { source: boxed() }, Verdict::Reject),
            (LedgerError::Boxed { source: plain() }, Verdict::Retry),
        ] {
            assert_eq!(error.verdict(), expected, "{error:?}");
            assert_eq!(of(Err::<(), _>(error)), expected);
        }
    }

    #[test]
    fn the_verdict_holds_however_the_error_travels() {
        let unknown = || LedgerError::Unknown { order: 1 };
        let aliased: Aliased = Err(unknown());
        let boxed: Result<(), Box<dyn std::error::Error + Send + Sync>> = Err(unknown().into());
        let handler: Result<(), HandlerError> = Err(unknown().into());

        assert_eq!(of(aliased), Verdict::Reject);
        assert_eq!(of(boxed), Verdict::Reject);
        assert_eq!(of(handler), Verdict::Reject);
        assert_eq!(of(Err::<(), _>(anyhow::Error::from(unknown()))), Verdict::Reject);
        assert_eq!(of(Err::<(), _>(anyhow::Error::from(unknown()).context("booking"))), Verdict::Reject);
        let twice = anyhow::Error::from(unknown()).context("booking").context("handling");
        assert_eq!(of(Err::<(), _>(twice)), Verdict::Reject);
    }
}
