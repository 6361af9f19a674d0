//! What a broker, or who administers it, does to a program that runs.

use std::{sync::Arc, time::Duration};

use es_bus::{
    HealthStatus, Metadata, Part, Registry, State, handler,
    name::ExchangeName,
    transport::{Admin, Transport},
};
use es_bus_tests::{Mode, Node, Proxy, Way};
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use super::{
    ledger::Ledger,
    load::{Load, PREFETCH, PUBLISHERS},
};
use crate::support::{
    InvoiceSent, Launch, Look, OrderPlaced, Program, TempDir, Victim, builder, connect, placed, publisher,
    run, soon, stop,
};

/// After a fault is over, within which events flow again.
const RECOVERY: Duration = Duration::from_secs(10);
/// Within which a quorum queue of 3.10 has a leader again after its node was killed, and events flow.
const LEADER: Duration = Duration::from_secs(90);
/// Within which a bus is stopped whose network takes nothing.
const STOP: Duration = Duration::from_secs(20);
/// Within which a refusal for good ends the bus.
const END: Duration = Duration::from_secs(10);

/// Lets the user of a virtual host, who has its name, configure, write and read what these patterns
/// match; makes the user first.
fn permit(node: &Node, vhost: &str, permissions: Option<[&str; 3]>) {
    let users = node.rabbitmqctl(&["list_users"]);
    if !users.lines().any(|line| line.split('\t').next() == Some(vhost)) {
        node.rabbitmqctl(&["add_user", vhost, "secret"]);
    }
    match permissions {
        Some([configure, write, read]) => {
            node.rabbitmqctl(&["set_permissions", "-p", vhost, vhost, configure, write, read]);
        }
        None => {
            node.rabbitmqctl(&["clear_permissions", "-p", vhost, vhost]);
        }
    }
}

#[track_caller]
fn assert_few(duplicates: [usize; 2], losses: usize) {
    let most = losses * (usize::from(PREFETCH) + PUBLISHERS);
    assert!(duplicates.iter().all(|count| *count <= most), "{duplicates:?}, at most {most}");
}

/// Neither events nor copies may be published for a time; what is in hand stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_revoked_is_told_and_waited_for() {
    let node = Node::shared();
    let vhost = node.vhost("permission");
    let user = vhost.name().to_owned();
    block_in_place(|| permit(node, &user, Some([".*", ".*", ".*"])));
    let url = vhost.url().replace("guest:guest", &format!("{user}:secret"));
    let load = Load::start_on(node, vhost, &url).await;

    // Channels remember what they were allowed, so new ones are needed.
    let but_events = r"^(?!events$|events\.kept\.retry$).*";
    block_in_place(|| permit(node, &user, Some([".*", but_events, ".*"])));
    load.proxy.cut("");
    load.told_within(RECOVERY, "ACCESS_REFUSED").await;
    block_in_place(|| permit(node, &user, Some([".*", ".*", ".*"])));
    load.flows_within(RECOVERY).await;

    assert_few(load.end().await, 2);
    block_in_place(|| node.rabbitmqctl(&["delete_user", &user]));
}

#[handler(group = "patient")]
async fn never_ends(_order: OrderPlaced) {
    std::future::pending().await
}

/// As a wrong password at the start: it would never come right by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_no_longer_welcome_ends_the_bus_and_keeps_its_events() {
    let node = Node::shared();
    let vhost = node.vhost("unwelcome");
    let user = vhost.name().to_owned();
    block_in_place(|| permit(node, &user, Some([".*", ".*", ".*"])));
    let proxy = Proxy::before(node.port());
    let url = proxy.url(&vhost.url().replace("guest:guest", &format!("{user}:secret")));
    let look = Look::at(&vhost).await;
    let registry = Registry::new().handler::<never_ends>();
    let bus = run(builder(&url, registry).set("shutdown_timeout", "200ms")).await;
    let monitor = bus.monitor();
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    soon("it is in hand", || (bus.counts().delivered == 1).then_some(()));

    block_in_place(|| permit(node, &user, None));
    proxy.cut("");
    let ended = timeout(END, bus.wait()).await.expect("it ends");

    let error = format!("{:?}", ended.expect_err("not in order"));
    assert!(error.contains(&user) && !error.contains("secret"), "{error}");
    assert!(!monitor.is_live() && !monitor.is_ready(), "{:#?}", monitor.glance());
    look.until("events.patient", 1, 0).await;
    block_in_place(|| node.rabbitmqctl(&["delete_user", &user]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchanges_of_copies_are_declared_again_when_somebody_deletes_them() {
    let load = Load::start("exchanges").await;
    let admin = connect(&load.vhost).await;
    let delete = async |name: &str| {
        admin.delete_exchange(&ExchangeName::new(name).expect("a name")).await.expect("it was there");
    };

    for name in ["events.kept.retry", "events_dlq"] {
        delete(name).await;
        load.flows_within(RECOVERY).await;
    }
    // Only the broker goes by this one: what waits for its retry is kept until it is there again, which
    // is at the next connect.
    delete("events.kept.in").await;
    load.flows_within(RECOVERY).await;
    load.proxy.cut("");
    load.flows_within(RECOVERY).await;

    admin.close().await;
    assert_few(load.end().await, 1);
}

/// With its data, and amid what both sides had written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_frozen_or_killed_comes_back_to_its_load() {
    let mut node = Victim::get().await;
    let vhost = block_in_place(|| node.vhost("victim"));
    let url = vhost.url();
    let load = Load::start_on(&node, vhost, &url).await;

    block_in_place(|| node.sigstop());
    load.unwell_within(RECOVERY).await;
    block_in_place(|| node.sigcont());
    load.flows_within(RECOVERY).await;
    block_in_place(|| {
        node.kill9();
        node.restart();
    });
    load.flows_within(LEADER).await;

    assert_few(load.end().await, 4);
}

/// The copy of what failed can go nowhere, and its event stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_service_that_the_broker_blocks() {
    let node = Victim::get().await;
    let vhost = block_in_place(|| node.vhost("blocked"));
    let (look, dir) = (Look::at(&vhost).await, Arc::new(TempDir::new()));
    let start = async || {
        let service = Launch::new(env!("CARGO_BIN_EXE_mortal"), &dir)
            .env("ES_BUS_URL", vhost.url())
            .env("ES_BUS_GROUPS", "failing")
            .env("ES_BUS_SHUTDOWN_TIMEOUT", "1s")
            .env("MORTAL_DIR", dir.path(""))
            .start();
        look.until("events.failing", 0, 1).await;
        service
    };
    let ends = |service: Program| {
        service.signal("TERM");
        block_in_place(|| service.wait(STOP)).assert_code(0);
    };
    let begins = |lines: &[String], word: &str| lines.iter().any(|line| line.starts_with(word));
    ends(start().await);
    let publishing = publisher(vhost.url(), Registry::new().event::<OrderPlaced>()).await;
    publishing.publisher().publish(&placed("o-1", 1)).await.expect("the queue is there");
    stop(publishing).await;

    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]));
    let service = start().await;
    block_in_place(|| dir.until("log", "the failure", |lines| begins(lines, "fail")));
    ends(service);
    block_in_place(|| node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]));

    let service = start().await;
    block_in_place(|| dir.until("log", "the end", |lines| begins(lines, "end")));
    assert_eq!(look.left_over(&vhost).await, []);
    ends(service);
    assert_eq!(look.queue("events.failing").await, (0, 0));
    // The broker may have had the copy, and not have said so.
    let ended = dir.lines("log").iter().filter(|line| line.starts_with("end")).count();
    assert!(ended <= 2, "{:#?}", dir.lines("log"));
}

/// As an operator limits queues, by a policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_retry_and_dead_letter_queues_hold_their_group_and_lose_nothing() {
    let load = Load::start("full").await;
    let node = Node::shared();
    let vhost = load.vhost.name().to_owned();
    let policy = |pattern: &str| {
        let limit = r#"{"max-length": 1, "overflow": "reject-publish"}"#;
        block_in_place(|| node.rabbitmqctl(&["set_policy", "-p", &vhost, "full", pattern, limit]));
    };

    policy(r"^events\.kept\.(retry.*|dlq)$");
    // In the end each place of the group is held by an event that can go nowhere, and the rest waits.
    while load.look.queue("events.kept").await.0 < 20 {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(load.look.queue("events.brisk").await.0, 0, "the other group goes on");
    for part in [Part::Retry, Part::Dlq] {
        soon("health tells of events that wait for room", || {
            let health = load.working.monitor().glance();
            let is_told = health.problems.iter().any(|problem| {
                problem.part == part
                    && problem.group.as_deref() == Some("kept")
                    && problem.reason.contains("it is full")
            });
            (health.ready && health.status == HealthStatus::Degraded && is_told).then_some(())
        });
    }
    block_in_place(|| node.rabbitmqctl(&["clear_policy", "-p", &vhost, "full"]));
    load.flows_within(2 * RECOVERY).await;

    assert_eq!(load.end().await, [0, 0], "nothing came twice");
}

#[handler(group = "broken")]
async fn take_from_the_broken(_invoice: InvoiceSent) {}

#[handler(group = "sound")]
async fn take_from_the_sound(_order: OrderPlaced, State(ledger): State<Ledger>, metadata: Metadata) {
    ledger.handled("sound", metadata.event_id);
}

/// A quorum queue that has crashed, and is not started again: whoever consumes it is answered with an internal
/// error (541), which ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_costs_the_connection_leaves_the_other_groups_at_work() {
    let node = Victim::get().await;
    let vhost = node.vhost("broken");
    let ledger = Ledger::default();
    let registry = Registry::new().handler::<take_from_the_broken>().handler::<take_from_the_sound>();
    let bus = builder(vhost.url(), registry.clone()).state(ledger.clone()).set("watchdog_interval", "1s");
    let bus = run(bus).await;
    let publishing = publisher(vhost.url(), registry).await;
    let mut link = bus.monitor().link();
    let queue = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"events.broken\">>)), ",
        vhost.name()
    );
    let eval = |what: &str| block_in_place(|| node.rabbitmqctl(&["eval", &format!("{queue}{what}")]));

    eval("ra:stop_server(quorum_queues, amqqueue:get_pid(Q)).");
    // Found by the watchdog, and consumed anew in vain.
    let costs = link.wait_for(|link| link.generation > 3);
    timeout(LEADER, costs).await.expect("it costs connections").expect("kept");
    // Its group stays away for longer and longer. Otherwise it costs a connection each half a second.
    let costs = link.wait_for(|link| link.generation > 8);
    assert!(timeout(Duration::from_secs(4), costs).await.is_err(), "it costs one after the other");
    let flows = async {
        for number in 0..20 {
            let order = placed(format!("o-{number}"), number);
            let id = publishing.publisher().publish(&order).await.expect("the sound queue takes it");
            while !ledger.has_handled("sound", &id) {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(2 * RECOVERY, flows).await.expect("the sound group goes on");
    soon("it is told", || (!bus.monitor().is_ready()).then_some(()));

    eval("ra:restart_server(quorum_queues, amqqueue:get_pid(Q)).");
    soon("all is well again", || bus.monitor().is_ready().then_some(()));
    stop(publishing).await;
    stop(bus).await;
}

#[handler(group = "stopped")]
async fn take_time(_order: OrderPlaced) {
    sleep(Duration::from_millis(1)).await;
}

/// The broker takes nothing, so not even a farewell arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_although_the_network_takes_nothing() {
    let node = Node::shared();
    let vhost = node.vhost("stop-held");
    let proxy = Proxy::before(node.port());
    let look = Look::at(&vhost).await;
    let registry = Registry::new().handler::<take_time>();
    let direct = publisher(vhost.url(), registry.clone()).await;
    let bus = run(builder(proxy.url(&vhost.url()), registry).set("shutdown_timeout", "1s")).await;
    look.until("events.stopped", 0, 1).await;
    proxy.set("", Way::ToBroker, Mode::Hold);
    let sent: usize = 20;
    for number in 0..sent {
        let number = u32::try_from(number).expect("few");
        direct.publisher().publish(&placed(format!("o-{number}"), number)).await.expect("routed");
    }
    soon("all are handled", || (bus.stats().events_processed_success >= sent as u64).then_some(()));

    timeout(STOP, bus.stop()).await.expect("it ends").expect("in order");

    // Their acknowledgements never arrived.
    proxy.cut("");
    look.until("events.stopped", sent as u64, 0).await;
    stop(direct).await;
}
