//! What takes long can be given a task of its own.

use es_bus::{
    Bus,
    migrate::MigrateOptions,
    plan::{Plan, PlanOptions},
};

fn is_send<T: Send>(_: T) {}

/// Only compiled.
#[test]
fn calls_about_the_topology_can_be_spawned() {
    let _ = |bus: Bus, plan: Plan| {
        let options = (MigrateOptions::new(), PlanOptions::new());
        is_send(bus.observe());
        is_send(bus.plan());
        is_send(bus.plan_with(&options.1));
        is_send(bus.apply(&plan));
        is_send(bus.migrate(&options.0));
    };
}
