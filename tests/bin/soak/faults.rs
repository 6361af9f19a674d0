//! Does what the schedule says, each target on a thread of its own.

use std::{
    thread,
    time::{Duration, Instant},
};

use es_bus_tests::{Door, Mode, Node, Proxy, Vhost, Way};

use crate::{
    cast::{Member, Setting},
    ledger::now_ms,
    report,
    schedule::{Fault, Planned, Target},
};

/// A fault that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub(crate) fault: Fault,
    /// How long it took to begin and to end it.
    pub(crate) took: Duration,
    /// When it was over, as the ledger has the time.
    pub(crate) until_ms: u64,
}

impl Past {
    /// Whether nothing can go the whole way while it lasts, which is longer than until this time and has
    /// begun before that one.
    pub(crate) fn holds_up(&self, from_ms: u64, until_ms: u64) -> bool {
        let took = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        matches!(self.fault.target(), Target::Broker | Target::Network)
            && self.until_ms > from_ms
            && self.until_ms.saturating_sub(took) < until_ms
    }
}

/// Performs faults of one target, one after another, each at its time or when the one before is over.
pub(crate) fn conduct(
    start: Instant,
    planned: impl Iterator<Item = Planned>,
    mut perform: impl FnMut(Fault),
) -> Vec<Past> {
    planned
        .map(|Planned { at, fault }| {
            thread::sleep((start + at).saturating_duration_since(Instant::now()));
            let begun = Instant::now();
            perform(fault);
            let past = Past { fault, took: begun.elapsed(), until_ms: now_ms() };
            report::past(begun - start, &past);
            past
        })
        .collect()
}

/// A fault of the broker.
pub(crate) fn hurt_broker(node: &mut Node, vhost: &Vhost, kinds: &[String], fault: Fault) {
    match fault {
        Fault::BrokerKilled => {
            node.kill9();
            node.restart();
        }
        Fault::BrokerRestarted => node.restart(),
        Fault::BrokerFrozen(lasts) => {
            node.sigstop();
            thread::sleep(lasts);
            node.sigcont();
        }
        Fault::MemoryAlarm(lasts) => {
            node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.00001"]);
            thread::sleep(lasts);
            node.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
        }
        Fault::ConnectionsClosed => node.close_all_connections("the soak"),
        Fault::QueueCrashed(which) => {
            node.rabbitmqctl(&["eval", &crash(vhost.name(), &kinds[which])]);
        }
        _ => {}
    }
}

/// Kills the process of a group's queue; what supervises it starts it again, with what is on disk.
fn crash(vhost: &str, kind: &str) -> String {
    format!(
        r#"case rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"soak.{kind}">>)) of
            {{ok, Queue}} ->
                case amqqueue:get_pid(Queue) of
                    {{Name, _}} -> catch exit(whereis(Name), kill);
                    Pid -> exit(Pid, kill)
                end;
            _ -> none
        end."#
    )
}

/// A fault of the network.
pub(crate) fn hurt_network(proxy: &Proxy, fault: Fault) {
    match fault {
        Fault::NetworkCut => proxy.cut(""),
        Fault::NetworkRefuses(lasts) => {
            proxy.door(Door::Shut);
            proxy.cut("");
            thread::sleep(lasts);
            proxy.door(Door::Open);
        }
        Fault::NetworkSwallows(lasts) => {
            both_ways(proxy, Mode::Swallow);
            thread::sleep(lasts);
            cut_all(proxy);
        }
        Fault::NetworkMute(lasts) => {
            proxy.set("", Way::ToClient, Mode::Swallow);
            thread::sleep(lasts);
            cut_all(proxy);
        }
        Fault::NetworkHolds(lasts) => {
            both_ways(proxy, Mode::Hold);
            thread::sleep(lasts);
            proxy.pass();
        }
        Fault::NetworkDelayed { by, lasts } => {
            both_ways(proxy, Mode::Delay(by));
            thread::sleep(lasts);
            proxy.pass();
        }
        _ => {}
    }
}

fn both_ways(proxy: &Proxy, mode: Mode) {
    proxy.set("", Way::ToBroker, mode);
    proxy.set("", Way::ToClient, mode);
}

/// Ends every connection that has lost something of its stream, and lets new ones pass.
fn cut_all(proxy: &Proxy) {
    proxy.door(Door::Shut);
    both_ways(proxy, Mode::Cut);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !proxy.names().is_empty() {
        assert!(Instant::now() < deadline, "connections go on that were cut: {:?}", proxy.names());
        thread::sleep(Duration::from_millis(10));
    }
    proxy.pass();
    proxy.door(Door::Open);
}

/// A fault of a worker or of all of them.
pub(crate) fn hurt_workers(workers: &[Member], setting: &Setting, fault: Fault) {
    match fault {
        Fault::WorkerKilled(which) => workers[which].kill(setting),
        Fault::WorkerFrozen(which, lasts) => workers[which].freeze(lasts),
        Fault::WorkersRolled => {
            for worker in workers {
                worker.end(setting);
                worker.start(setting);
            }
        }
        _ => {}
    }
}

/// A fault of a publisher.
pub(crate) fn hurt_publishers(publishers: &[Member], setting: &Setting, fault: Fault) {
    match fault {
        Fault::PublisherKilled(which) => publishers[which].kill(setting),
        Fault::PublisherFrozen(which, lasts) => publishers[which].freeze(lasts),
        _ => {}
    }
}
