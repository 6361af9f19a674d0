//! Plans of several versions of a program, and of several programs on one broker.

use std::sync::Arc;

use es_bus::{
    Bus, BusBuilder, Error, Registry, handler,
    plan::{Outcome, PlanError, PlanOptions},
    transport::memory::Memory,
};

use crate::support::{InvoiceSent, OrderPlaced, OrderShipped};

#[handler(group = "projections")]
async fn projects(_order: OrderPlaced) {}

#[handler(group = "projections")]
async fn projects_shipments(_shipment: OrderShipped) {}

#[handler(group = "accounting")]
async fn books(_invoice: InvoiceSent) {}

fn now() -> Registry {
    Registry::new().handler::<projects>()
}

fn earlier() -> Registry {
    now().handler::<projects_shipments>().handler::<books>()
}

fn builder(broker: &Memory, registry: Registry) -> BusBuilder {
    let transport = Arc::new(broker.reconnect());
    Bus::builder().without_environment().transport(transport).registry(registry)
}

fn program(broker: &Memory, name: &str, registry: Registry) -> Bus {
    builder(broker, registry).set("program", name).build().unwrap()
}

async fn apply(bus: &Bus, options: &PlanOptions) -> usize {
    let plan = bus.plan_with(options).await.unwrap();
    let applied = bus.apply(&plan).await.unwrap();
    assert!(applied.is_complete(), "{:?}", applied.refused);
    applied.done.len()
}

#[tokio::test(start_paused = true)]
async fn what_a_version_no_longer_declares_is_told_and_pruned_when_asked() {
    let broker = Memory::new();
    let (plain, prune) = (PlanOptions::new(), PlanOptions::new().prune());
    apply(&program(&broker, "shop", earlier()), &plain).await;
    let shop = program(&broker, "shop", now());

    let told = shop.plan().await.unwrap();
    apply(&shop, &plain).await;
    let again = shop.plan().await.unwrap();
    let pruned = apply(&shop, &prune).await;
    let after = shop.plan_with(&prune).await.unwrap();

    assert_eq!((told.outcome(), again.outcome()), (Outcome::Nothing, Outcome::Nothing));
    assert!(told.left().count() > 5, "{told}");
    assert_eq!(again.left().count(), told.left().count(), "an apply does not forget what is left over");
    assert!(pruned > 5);
    assert_eq!((after.outcome(), after.left().count()), (Outcome::Nothing, 0), "{after}");
    let observed = shop.observe().await.unwrap();
    let accounting: Vec<_> = observed.queues.keys().filter(|queue| queue.contains("accounting")).collect();
    assert_eq!(accounting, Vec::<&String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_program_prunes_nothing_of_another_one() {
    let broker = Memory::new();
    let (plain, prune) = (PlanOptions::new(), PlanOptions::new().prune());
    apply(&program(&broker, "shop", earlier()), &plain).await;
    // Never declared by it, and moved to it.
    let stranger = program(&broker, "mail", now()).plan_with(&prune).await.unwrap();
    apply(&program(&broker, "accounts", Registry::new().handler::<books>()), &plain).await;

    apply(&program(&broker, "shop", now()), &prune).await;

    assert_eq!((stranger.outcome(), stranger.unseen.len()), (Outcome::Nothing, 1), "{stranger}");
    let accounts = program(&broker, "accounts", Registry::new().handler::<books>()).plan().await.unwrap();
    assert_eq!((accounts.outcome(), accounts.left().count()), (Outcome::Nothing, 0), "{accounts}");
}

#[tokio::test(start_paused = true)]
async fn a_start_remembers_nothing_and_needs_no_record() {
    let broker = Memory::new();

    let handle = program(&broker, "shop", now()).start().await.unwrap();
    handle.stop().await.unwrap();

    let observed = program(&broker, "shop", now()).observe().await.unwrap();
    assert!(!observed.queues.contains_key("es-bus.owned.shop"), "{:?}", observed.queues.keys());
}

#[tokio::test(start_paused = true)]
async fn who_knows_a_part_only_prunes_nothing() {
    let broker = Memory::new();
    let prune = PlanOptions::new().prune();
    let mut report = String::new();
    for bus in [
        builder(&broker, now()),
        builder(&broker, now()).set("program", "shop").groups(["projections"]),
        builder(&broker, now()).set("program", "shop").publish_only(),
    ] {
        let error = bus.build().unwrap().plan_with(&prune).await.unwrap_err();
        assert!(
            matches!(error, Error::Plan(PlanError::NoProgram | PlanError::PartOfProgram { .. })),
            "{error:?}"
        );
        report += &format!("{error}\n");
    }
    insta::assert_snapshot!(report, @r"
    nothing can be pruned without knowing what this program once declared: set `program` (ES_BUS_PROGRAM) to a name that no other program has, and apply a plan; what it declares from then on is remembered
    nothing can be pruned by a process that knows a part of the program: it consumes some groups only (`groups`, ES_BUS_GROUPS); what the other groups need would be taken for left over
    nothing can be pruned by a process that knows a part of the program: it only publishes (`publish_only`); what the other groups need would be taken for left over
    ");
}
