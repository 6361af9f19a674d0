//! Limits that policies carry (`limits_in`): changed while the service runs, and no event comes into a queue without
//! them.

use std::{sync::Arc, time::Duration};

use es_bus::{
    Bus, BusBuilder, Error, PublishError, Registry, handler,
    lock::Lock,
    message::Message,
    migrate::MigrateOptions,
    model::ObservedPolicy,
    name::ExchangeName,
    plan::{Action, Outcome, PlanOptions},
    transport::{Admin, DeclareError, Publication, Publish, memory::Memory},
};
use tokio::time::sleep;

use crate::support::{OrderPlaced, placed};

#[handler(group = "projections", retries = 0)]
async fn project(_order: OrderPlaced) {}

fn builder(broker: &Memory, most: &'static str) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .transport(Arc::new(broker.reconnect()))
        .registry(Registry::new().handler::<project>())
        .set("limits_in", "policies")
        .set_for_group("projections", "max_length", most)
}

/// Has the queue and its limit, and takes nothing out of it.
fn bus(broker: &Memory, most: &'static str) -> Bus {
    builder(broker, most).build().unwrap()
}

async fn policies(broker: &Memory) -> Vec<ObservedPolicy> {
    bus(broker, "1").observe().await.unwrap().policies.unwrap()
}

async fn limit(broker: &Memory) -> Option<i64> {
    policies(broker).await.first()?.definition.get_int("max-length")
}

/// How many of so many events the queue takes.
async fn taken(broker: &Memory, events: usize) -> usize {
    let publication = Publication {
        exchange: ExchangeName::new("events").unwrap(),
        routing_key: "Order.OrderPlaced".into(),
        message: Message::default(),
        mandatory: true,
        lane: None,
    };
    let mut taken = 0;
    for _ in 0..events {
        match broker.publish(&publication).await {
            Ok(()) => taken += 1,
            Err(PublishError::Refused { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

async fn apply(bus: &Bus) {
    let plan = bus.plan().await.unwrap();
    bus.apply(&plan).await.unwrap();
}

async fn start_and_stop(builder: BusBuilder) -> Result<(), Error> {
    builder.build()?.start().await?.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_changed_by_plan_and_apply_and_what_is_in_the_queue_stays() {
    let broker = Memory::new();
    apply(&bus(&broker, "10")).await;
    let before = taken(&broker, 12).await;

    let plan = bus(&broker, "15").plan().await.unwrap();
    bus(&broker, "15").apply(&plan).await.unwrap();

    let is_change = |action: &Action| matches!(action, Action::SetPolicy { was: Some(_), .. });
    assert!(plan.changes().all(|step| is_change(&step.action)) && plan.changes().count() == 1, "{plan}");
    assert_eq!((before, taken(&broker, 12).await), (10, 5));
    assert!(bus(&broker, "15").plan().await.unwrap().is_exact());
}

#[tokio::test(start_paused = true)]
async fn a_start_sets_and_changes_and_deletes_what_it_declares() {
    let broker = Memory::new();

    start_and_stop(builder(&broker, "10")).await.unwrap();
    let first = limit(&broker).await;
    start_and_stop(builder(&broker, "20")).await.unwrap();
    let second = limit(&broker).await;
    start_and_stop(builder(&broker, "none")).await.unwrap();

    assert_eq!((first, second, limit(&broker).await), (Some(10), Some(20), None));
}

#[tokio::test(start_paused = true)]
async fn who_connects_anew_takes_nothing_back_that_a_newer_version_set() {
    let broker = Memory::new();
    let old = builder(&broker, "10");
    let link = Arc::new(broker.reconnect());
    let old = old.transport(link.clone()).build().unwrap().start().await.unwrap();
    apply(&bus(&broker, "20")).await;

    let set = limit(&broker).await;
    link.faults().cut_link();
    old.publisher().publish(&placed("o-1")).await.unwrap();
    let kept = limit(&broker).await;
    old.stop().await.unwrap();

    assert_eq!((set, kept), (Some(20), Some(20)));
}

#[tokio::test(start_paused = true)]
async fn who_declares_nothing_sets_no_policies() {
    let broker = Memory::new();
    apply(&bus(&broker, "10")).await;

    for declare in ["passive", "none"] {
        start_and_stop(builder(&broker, "20").set("declare", declare)).await.unwrap();
        assert_eq!(limit(&broker).await, Some(10), "{declare}");
    }
}

#[tokio::test(start_paused = true)]
async fn from_arguments_to_policies_and_back_it_is_a_migration() {
    let broker = Memory::new();
    let by_arguments = |most| builder(&broker, most).set("limits_in", "arguments").build().unwrap();
    apply(&by_arguments("10")).await;
    let before = taken(&broker, 4).await;

    let plan = bus(&broker, "10").plan().await.unwrap();
    let refused = start_and_stop(builder(&broker, "10")).await;
    let untouched = policies(&broker).await;
    bus(&broker, "10").migrate(&MigrateOptions::new()).await.unwrap();
    let forth = bus(&broker, "10").plan().await.unwrap();
    let more = taken(&broker, 12).await;
    by_arguments("30").migrate(&MigrateOptions::new()).await.unwrap();
    let back = by_arguments("30").plan().await.unwrap();

    assert_eq!(plan.outcome(), Outcome::Conflict);
    assert!(plan.to_string().contains("its arguments carry its limits, and here a policy does"), "{plan}");
    let Err(Error::Topology(errors)) = refused else { panic!("{refused:?}") };
    assert!(errors.iter().all(|it| matches!(it, DeclareError::Mismatch { .. })), "{errors:?}");
    assert_eq!(untouched, [], "nothing is set while a queue is refused");
    assert!(forth.is_exact(), "{forth}");
    assert_eq!((before, more), (4, 6));
    assert!(back.is_exact(), "{back}");
    assert_eq!(policies(&broker).await, []);
    assert_eq!(taken(&broker, 30).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_pruned_with_the_queue_that_is_gone() {
    let broker = Memory::new();
    apply(&builder(&broker, "10").set("program", "shop").build().unwrap()).await;
    let later = Bus::builder()
        .without_environment()
        .transport(Arc::new(broker.reconnect()))
        .registry(Registry::new().handler::<elsewhere>())
        .set("limits_in", "policies")
        .set("program", "shop");
    let later = later.build().unwrap();

    let plan = later.plan_with(&PlanOptions::new().prune()).await.unwrap();
    let applied = later.apply(&plan).await.unwrap();

    assert!(applied.is_complete(), "{:?}", applied.refused);
    assert_eq!(policies(&broker).await, []);
    assert_eq!(later.plan_with(&PlanOptions::new().prune()).await.unwrap().left().count(), 0);
}

#[handler(group = "elsewhere", retries = 0)]
async fn elsewhere(_order: OrderPlaced) {}

#[tokio::test(start_paused = true)]
async fn a_policy_that_somebody_deletes_or_changes_is_drift() {
    let broker = Memory::new();
    let bus = builder(&broker, "10").set("drift_interval", "1m").build().unwrap();
    let monitor = bus.monitor();
    let ten = bus.topology().policies().next().unwrap();
    let running = bus.start().await.unwrap();
    let twenty = self::bus(&broker, "20").topology().policies().next().unwrap();

    let mut told = Vec::new();
    broker.put_policy(&twenty).await.unwrap();
    sleep(Duration::from_secs(130)).await;
    told.push(monitor.drift().unwrap());
    broker.delete_policy(ten.name()).await.unwrap();
    sleep(Duration::from_secs(130)).await;
    told.push(monitor.drift().unwrap());
    running.stop().await.unwrap();

    assert_eq!((told[0].changed, told[1].missing), (1, 1), "{told:?}");
    assert_eq!(
        told[0].findings,
        ["policy \"es-bus.events.projections\" says something else (there -> here): max-length = 20 -> 10"]
    );
    assert_eq!(told[1].findings, ["policy \"es-bus.events.projections\" is missing"]);
}

#[test]
fn policies_without_the_management_api_are_a_mistake_of_whoever_sets_them() {
    let built = |declare: &'static str, registry: Registry| {
        let bus =
            Bus::builder().without_environment().url("amqp://guest:guest@localhost/").registry(registry);
        let bus = bus.set("limits_in", "policies").set("management_url", "none").set("declare", declare);
        bus.set("max_length", "10").build()
    };
    let project = || Registry::new().handler::<project>();

    let error = built("create", project()).unwrap_err();

    let text = format!("{error:?}");
    assert!(matches!(error, Error::Config(_)), "{text}");
    assert!(text.contains("limits_in \"policies\" needs the management API"), "{text}");
    assert!(text.contains("set `management_url` (ES_BUS_MANAGEMENT_URL) to its address"), "{text}");
    assert!(built("passive", project()).is_ok(), "others set them");
}

#[test]
fn a_limit_that_changes_is_harmless_and_one_that_becomes_a_policy_is_not() {
    let broker = Memory::new();
    let lock = |most, limits_in| {
        Lock::of(&builder(&broker, most).set("limits_in", limits_in).build().unwrap()).to_string()
    };
    let parsed = |text: &str| text.parse::<Lock>().unwrap();
    let ten = lock("10", "policies");

    let changed = parsed(&ten).check(&parsed(&lock("20", "policies")));
    let moved = parsed(&lock("10", "arguments")).check(&parsed(&ten));

    assert!(ten.contains("policy.max-length = 10\n"), "{ten}");
    let told: Vec<String> = changed.iter().map(ToString::to_string).collect();
    assert!(changed.iter().all(|it| !it.breaks()), "{told:?}");
    assert!(told[0].contains("max-length in its policy was 10, is 20"), "{told:?}");
    assert!(moved.iter().any(es_bus::lock::LockFinding::breaks), "{moved:?}");
}

#[test]
fn who_provisions_has_to_be_a_policymaker_where_policies_carry_limits() {
    let broker = Memory::new();
    let lines = |limits_in| {
        let bus = builder(&broker, "10").set("limits_in", limits_in).build().unwrap();
        bus.permissions().rabbitmqctl("/", "admin", "service")
    };

    assert!(lines("policies").contains("\nrabbitmqctl set_user_tags 'admin' policymaker\n"));
    assert!(!lines("arguments").contains("set_user_tags"));
}
