//! A run from the first process to the last account.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use es_bus::{Bus, Handle};
use es_bus_tests::{Node, Proxy, QueueInfo, Vhost};

use crate::{
    accounts::{Account, Dead, accounts},
    arguments::Arguments,
    cast::{Member, Role, Setting},
    explained::explained,
    faults::{Past, conduct, hurt_broker, hurt_network, hurt_publishers, hurt_workers},
    ledger::{self, Entry},
    report::Outcome,
    schedule::{Planned, Target},
};

/// How often processes are measured, and looked after.
const LOOK: Duration = Duration::from_millis(200);
/// How long the queues may take to come about.
const START: Duration = Duration::from_secs(60);

/// Runs it all.
///
/// # Panics
///
/// When the broker, the disk or the system fails in what the run itself needs.
pub(crate) fn run(arguments: &Arguments, planned: &[Planned]) -> Outcome {
    let mut node = Node::start();
    let vhost = node.vhost("soak");
    let proxy = Proxy::before(node.port());
    let setting = Setting {
        dir: directory(),
        url: proxy.url(&vhost.url()),
        seed: arguments.seed,
        kinds: arguments.kinds.clone(),
        rate: arguments.rate,
    };
    let workers: Vec<Member> = (0..arguments.processes).map(|it| Member::new(Role::Worker, it)).collect();
    let publishers: Vec<Member> =
        (0..arguments.publishers).map(|it| Member::new(Role::Publisher, it)).collect();
    workers.iter().for_each(|worker| worker.start(&setting));
    // Before its queue is there, an event is unroutable: there would be nobody to lose it.
    wait_for_queues(&vhost, &arguments.kinds);
    publishers.iter().for_each(|publisher| publisher.start(&setting));

    let started = Instant::now();
    let is_over = AtomicBool::new(false);
    let cast: Vec<&Member> = workers.iter().chain(&publishers).collect();
    let (past, drained) = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                cast.iter().for_each(|member| member.look_after(&setting));
                thread::sleep(LOOK);
            }
        });
        let past = faults(started, planned, &mut node, &vhost, &proxy, &workers, &publishers, &setting);
        thread::sleep((started + arguments.duration).saturating_duration_since(Instant::now()));
        publishers.iter().for_each(|publisher| publisher.end(&setting));
        let drained = drain(&vhost, arguments, &setting, &past);
        is_over.store(true, Ordering::Relaxed);
        (past, drained)
    });
    workers.iter().for_each(|worker| worker.end(&setting));

    let (entries, mut accounts, left, took) = drained;
    for (group, account) in &mut accounts {
        account.explained = explained(group, &arguments.kinds, arguments.cast(), &past, &entries);
    }
    let peak = |members: &[Member]| members.iter().map(Member::peak).max().unwrap_or(0);
    let outcome = Outcome {
        seed: arguments.seed,
        processes: arguments.processes,
        publishers: arguments.publishers,
        duration: arguments.duration,
        every: arguments.every,
        faults: count(past.iter().map(|past| past.fault.kind().to_owned())),
        refusals: count(entries.iter().filter_map(|(_, entry)| match entry {
            // How long it waited differs from one to the next.
            Entry::Refused { error, .. } => Some(error.split([':', ';']).next()?.to_owned()),
            _ => None,
        })),
        accounts,
        left,
        drained_after: took,
        mends: node.mends(),
        starts: cast.iter().map(|member| member.starts()).sum(),
        worker_peak: peak(&workers),
        publisher_peak: peak(&publishers),
        mishaps: cast.iter().flat_map(|member| member.mishaps()).collect(),
        dir: setting.dir.clone(),
    };
    if outcome.is_good() && env::var_os("SOAK_KEEP").is_none() {
        let _ = fs::remove_dir_all(&setting.dir);
    }
    outcome
}

/// Has every target suffer what is planned for it, until all are through.
#[expect(clippy::too_many_arguments, reason = "a run has that many parts")]
fn faults(
    started: Instant,
    planned: &[Planned],
    node: &mut Node,
    vhost: &Vhost,
    proxy: &Proxy,
    workers: &[Member],
    publishers: &[Member],
    setting: &Setting,
) -> Vec<Past> {
    let of = |target: Target| planned.iter().copied().filter(move |it| it.fault.target() == target);
    let mut past: Vec<Past> = thread::scope(|scope| {
        let broker = scope.spawn(move || {
            conduct(started, of(Target::Broker), |fault| hurt_broker(node, vhost, &setting.kinds, fault))
        });
        let network =
            scope.spawn(move || conduct(started, of(Target::Network), |fault| hurt_network(proxy, fault)));
        let working = scope.spawn(move || {
            conduct(started, of(Target::Workers), |fault| hurt_workers(workers, setting, fault))
        });
        let publishing = scope.spawn(move || {
            conduct(started, of(Target::Publishers), |fault| hurt_publishers(publishers, setting, fault))
        });
        [broker, network, working, publishing]
            .into_iter()
            .flat_map(|thread| thread.join().expect("what a fault needs is there"))
            .collect()
    });
    past.sort_by_key(|past| past.until_ms);
    past
}

type Drained = (Vec<(u64, Entry)>, BTreeMap<String, Account>, Vec<(String, u64)>, Duration);

/// Waits until nothing is missing and nothing is left in a queue, or until the time for it is up.
fn drain(vhost: &Vhost, arguments: &Arguments, setting: &Setting, past: &[Past]) -> Drained {
    let begun = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("the system gives threads");
    let reader = runtime.block_on(reader(&vhost.url()));
    loop {
        let left = left(vhost);
        if left.is_empty() || begun.elapsed() > arguments.drain {
            let dead = arguments
                .kinds
                .iter()
                .map(|kind| (kind.clone(), runtime.block_on(dead_letters(&reader, kind))))
                .collect();
            let entries = ledger::read(&setting.dir.join("ledger")).expect("the ledger is there");
            let accounts = accounts(&entries, &dead, past);
            if accounts.values().all(Account::is_complete) || begun.elapsed() > arguments.drain {
                runtime.block_on(async { reader.stop().await }).expect("the reader stops");
                return (entries, accounts, left, begun.elapsed());
            }
        }
        thread::sleep(LOOK);
    }
}

/// A bus that looks at dead letters, past the proxy.
async fn reader(url: &str) -> Handle {
    let bus = Bus::builder().without_environment().url(url.to_owned()).exchange("soak").publish_only();
    let started = match bus.build() {
        Ok(bus) => bus.start().await,
        Err(error) => Err(error),
    };
    started.unwrap_or_else(|error| panic!("{error:?}"))
}

async fn dead_letters(reader: &Handle, kind: &str) -> Vec<Dead> {
    let queue = format!("soak.{kind}.dlq");
    let dead = match reader.dead_letter_queue(&queue) {
        Ok(dead) => dead.list(usize::MAX).await,
        Err(error) => Err(error),
    };
    let letters = dead.unwrap_or_else(|error| panic!("{queue}: {error}"));
    letters
        .into_iter()
        .map(|letter| {
            let is_answer = letter.event_type.as_deref() == Some("Answered");
            let what = if is_answer { letter.aggregate_id } else { letter.event_id };
            Dead { what: what.unwrap_or_else(|| format!("of nobody: {}", letter.id)), reason: letter.reason }
        })
        .collect()
}

/// What is in queues that should be empty, counted late enough to be true.
fn left(vhost: &Vhost) -> Vec<(String, u64)> {
    let now = || -> Vec<(String, u64)> {
        let queues = vhost.queues();
        let held = vhost.held_by_channels();
        queues
            .iter()
            .map(|queue| (queue.name.clone(), in_queue(queue, held)))
            .filter(|(name, count)| !name.ends_with(".dlq") && *count > 0)
            .collect()
    };
    let first = now();
    if !first.is_empty() {
        return first;
    }
    // Counts lag, and a retry may be on its way from one queue to the other.
    thread::sleep(2 * Duration::from_secs(1));
    now()
}

/// What is in a queue, of which consumers of all queues hold so much.
///
/// When the process of a classic queue was killed, RabbitMQ 3.10 may count one message for ever that nobody holds: an
/// unacknowledged one, of no bytes. So what no channel has is in no queue.
fn in_queue(queue: &QueueInfo, held_by_channels: u64) -> u64 {
    let held = match &*queue.kind {
        "classic" => queue.messages_unacked.min(held_by_channels),
        _ => queue.messages_unacked,
    };
    queue.messages_ready + held + queue.messages_dlx
}

/// Waits until every group has its queue.
fn wait_for_queues(vhost: &Vhost, kinds: &[String]) {
    let deadline = Instant::now() + START;
    let is_there = |kind: &String| vhost.queue(&format!("soak.{kind}")).is_some_and(|it| it.consumers > 0);
    while !kinds.iter().all(is_there) {
        assert!(Instant::now() < deadline, "no worker consumes after {START:?}: {:?}", vhost.queues());
        thread::sleep(LOOK);
    }
}

fn count(of: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    of.for_each(|it| *counts.entry(it).or_default() += 1);
    counts
}

fn directory() -> PathBuf {
    let dir = env::temp_dir().join(format!("es-bus-soak-{}", process::id()));
    fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", Path::new(&dir).display()));
    dir
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_channel_holds_is_in_no_classic_queue() {
        for (kind, ready, unacknowledged, held, expected) in [
            ("classic", 0, 1, 0, 0),
            ("classic", 2, 1, 0, 2),
            ("classic", 0, 3, 2, 2),
            ("classic", 0, 3, 9, 3),
            ("quorum", 0, 1, 0, 1),
        ] {
            let queue: QueueInfo = serde_json::from_value(json!({
                "name": "soak.orders", "type": kind, "durable": true, "auto_delete": false, "arguments": {},
                "messages": ready + unacknowledged, "messages_ready": ready,
                "messages_unacknowledged": unacknowledged,
            }))
            .expect("as the management API has it");

            assert_eq!(in_queue(&queue, held), expected, "{kind} {ready} {unacknowledged} {held}");
        }
    }
}
