//! A program whose `main` returns what is wrong with its declarations. `report` reads what it prints.
//!
//! The definitions are written out as the macros write them, so that this file shows what a
//! definition is.

use es_bus::{
    __private::{
        Call, EventDef, EventKind, GroupDef, GroupRef, HandlerDef, Input, Location, Outcome, Submission,
        submit,
    },
    Registry,
    registry::{Facts, check},
};

const PLACED: &[EventKind] = &[EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced")];

const fn at(file: &'static str, line: u32) -> Location {
    Location { module: "orders", file, line }
}

const fn event(type_name: &'static str, file: &'static str, line: u32) -> EventDef {
    EventDef { bus: "default", type_name, kinds: PLACED, view: false, location: at(file, line) }
}

const fn handler(
    group: GroupRef,
    name: &'static str,
    binds: &'static [&'static str],
    inputs: &'static [Input],
    line: u32,
) -> HandlerDef {
    HandlerDef {
        bus: "default",
        group,
        name,
        formerly: &[],
        binds,
        has_bind: true,
        foreign: false,
        inputs,
        needs: |_| {},
        settings: &[],
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: at("src/handlers.rs", line),
    }
}

const fn by_name(name: &'static str) -> GroupRef {
    GroupRef { name, def: None }
}

const TAKES_PLACED: &[Input] = &[Input::Event { name: "OrderPlaced", kinds: PLACED }];

static ORDER_PLACED: EventDef = event("OrderPlaced", "src/events.rs", 12);
static ORDER_SEEN: EventDef = event("OrderSeen", "src/audit/events.rs", 7);
static PROJECTIONS: GroupDef = GroupDef {
    bus: "default",
    name: "projections",
    settings: &[("prefetch", "50")],
    location: at("src/handlers.rs", 5),
};
static PROJECT: HandlerDef = handler(
    GroupRef { name: "projections", def: Some(&PROJECTIONS) },
    "project",
    &["Order.OrderPlaced"],
    TAKES_PLACED,
    10,
);
static TOTALS: HandlerDef = handler(by_name("projections"), "project", &["Order.#"], TAKES_PLACED, 31);
static AUDIT: HandlerDef = handler(by_name("audit"), "audit", &["Ordr.*"], &[Input::Raw], 58);

const _: () = {
    submit! { Submission::Event(&ORDER_PLACED) }
};
const _: () = {
    submit! { Submission::Event(&ORDER_SEEN) }
};
const _: () = {
    submit! { Submission::Group(&PROJECTIONS) }
};
const _: () = {
    submit! { Submission::Handler(&PROJECT) }
};
const _: () = {
    submit! { Submission::Handler(&TOTALS) }
};
const _: () = {
    submit! { Submission::Handler(&AUDIT) }
};

fn main() -> es_bus::Result<()> {
    let findings =
        check(&Registry::collected(), &Facts::new().consuming().groups(&["audits", "projections"]));
    if findings.is_empty() { Ok(()) } else { Err(es_bus::Error::Registry(findings)) }
}
