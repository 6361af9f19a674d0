//! Groups made by hand, for the tests of the pure rooms.

use std::time::Duration;

use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeKind},
    extract::Input,
    handler::Call,
    model::{
        Arguments, Overflow, QueueKind,
        policy::{DlxKind, LimitsIn, OnExhausted, OnUnknown, Ordering},
    },
    name::{ExchangeName, GroupName},
    outcome::Outcome,
    registry::{Emitted, GroupRef, HandlerDef, Location},
    retry::RetryPolicy,
    topology::{Exchanges, GroupSettings, GroupSpec, HandlerSpec, Patience, UnknownWait},
};

pub(crate) const PLACED: EventKind = EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced");
pub(crate) const SHIPPED: EventKind = EventKind::new("OrderShipped", "Order", "Order.OrderShipped");

/// The default exchange `events`, a topic exchange.
pub(crate) fn exchanges() -> Exchanges {
    Exchanges::new(ExchangeName::new("events").unwrap(), ExchangeKind::Topic, &[])
}

pub(crate) fn handler(
    name: &'static str,
    binds: &'static [&'static str],
    kinds: Option<&'static [EventKind]>,
) -> HandlerSpec {
    let input = kinds.map_or(Input::Raw, |kinds| Input::Event { name: "an event", kinds });
    let def = HandlerDef {
        bus: "default",
        group: GroupRef { name: "projections", def: None },
        name,
        formerly: &[],
        binds: Vec::leak(binds.iter().copied().map(Bind::Key).collect()),
        has_bind: true,
        foreign: false,
        inputs: Vec::leak(vec![input]),
        needs: |_| {},
        emits: Emitted::By(|_| {}),
        settings: &[],
        layer: None,
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: Location { module: "tests", file: "tests.rs", line: 1 },
    };
    let home = ExchangeName::new("events").unwrap();
    let def = Box::leak(Box::new(def));
    HandlerSpec::of(def, RetryPolicy::default(), Duration::from_secs(300), &home, &exchanges()).unwrap()
}

pub(crate) fn group(handlers: Vec<HandlerSpec>) -> GroupSpec {
    group_with(handlers, |_| {})
}

pub(crate) fn group_with(handlers: Vec<HandlerSpec>, change: impl FnOnce(&mut GroupSettings)) -> GroupSpec {
    named_with("projections", handlers, change)
}

pub(crate) fn named_with(
    name: &str,
    handlers: Vec<HandlerSpec>,
    change: impl FnOnce(&mut GroupSettings),
) -> GroupSpec {
    let mut settings = GroupSettings {
        home: ExchangeName::new("events").unwrap(),
        queue: "{exchange}.{group}".parse().unwrap(),
        dlx_suffix: "_dlq".to_owned(),
        kind: QueueKind::Quorum,
        limits_in: LimitsIn::Arguments,
        stream: None,
        compat: None,
        exclusive: None,
        single_active_consumer: false,
        prefetch: 100,
        concurrency: 16,
        patience: Patience::of(Some(Duration::from_secs(30 * 60))),
        ordering: Ordering::Aggregate,
        on_unknown: None::<OnUnknown>,
        unknown_wait: UnknownWait { delay: Duration::from_secs(30), times: 40 },
        crash_limit: Some(3),
        weight: 1,
        retired: Vec::new(),
        ladder: vec![Duration::from_secs(30), Duration::from_secs(300)],
        max_length: None,
        max_length_bytes: None,
        overflow: Overflow::RejectPublish,
        message_ttl: None,
        expires: None,
        max_priority: None,
        durable: true,
        auto_delete: false,
        arguments: Arguments::default(),
        on_exhausted: OnExhausted::DeadLetter,
        dlx: "{exchange}{dlq_exchange_suffix}".parse().unwrap(),
        dlx_kind: DlxKind::Direct,
        dlq: "{queue}.dlq".parse().unwrap(),
        dlq_key: None,
        dlq_bind: None,
        dlq_kind: QueueKind::Quorum,
        dlq_ttl: None,
        dlq_max_length: None,
    };
    change(&mut settings);
    GroupSpec::new(GroupName::new(name).unwrap(), settings, handlers).unwrap()
}
