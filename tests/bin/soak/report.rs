//! What a run says: the schedule before it, the ledger after it.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{accounts::Account, arguments::Arguments, faults::Past, schedule::Planned};

/// The most memory that a worker or a publisher may need, in bytes. A fresh one has 20 to 30 MiB; the rest
/// is what its prefetch, its channels and the log of a bad hour may take.
const MEMORY: u64 = 160 * 1024 * 1024;

/// How many of the missing are named.
const NAMED: usize = 50;

/// How a run ended.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) publishers: usize,
    pub(crate) duration: Duration,
    pub(crate) every: Duration,
    /// How many there were of each kind.
    pub(crate) faults: BTreeMap<String, usize>,
    /// Publishes that ended with an error, and went on under their ids.
    pub(crate) refusals: BTreeMap<String, usize>,
    pub(crate) accounts: BTreeMap<String, Account>,
    /// What was left in queues that should be empty.
    pub(crate) left: Vec<(String, u64)>,
    /// How long it took until nothing was missing.
    pub(crate) drained_after: Duration,
    /// How often the broker had ended its dead-lettering for good, and was helped.
    pub(crate) mends: u32,
    /// How many processes there were.
    pub(crate) starts: u32,
    /// The most memory of a worker, in bytes.
    pub(crate) worker_peak: u64,
    /// The most memory of a publisher, in bytes.
    pub(crate) publisher_peak: u64,
    /// What happened to processes that nobody had done to them.
    pub(crate) mishaps: Vec<String>,
    /// Where the ledger and the logs are; gone when all was well.
    pub(crate) dir: PathBuf,
}

impl Outcome {
    /// What is wrong, a line each.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (group, account) in &self.accounts {
            let lost = account.lost.iter().chain(&account.lost_answers);
            complaints.extend(lost.take(NAMED).map(|id| format!("LOST in {group}: {id}")));
            if account.duplicates as u64 > account.explained {
                let (found, bound) = (account.duplicates, account.explained);
                complaints.push(format!("{found} duplicates in {group}, at most {bound} are explained"));
            }
            if account.handled == 0 {
                complaints.push(format!("nothing was handled in {group}"));
            }
        }
        complaints.extend(self.left.iter().map(|(queue, count)| format!("LEFT in {queue}: {count}")));
        for (who, peak) in [("worker", self.worker_peak), ("publisher", self.publisher_peak)] {
            if peak > MEMORY {
                complaints.push(format!("a {who} took {}, at most {} are explained", mib(peak), mib(MEMORY)));
            }
        }
        complaints.extend(self.mishaps.iter().cloned());
        complaints
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.complaints().is_empty()
    }

    /// The report for programs.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts are JSON")
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let total: usize = self.faults.values().sum();
        let _ = writeln!(
            text,
            "\nafter {:?}: {} workers, {} publishers, seed {}, {total} faults, {} processes in all",
            self.duration, self.processes, self.publishers, self.seed, self.starts,
        );
        let faults: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let _ = writeln!(text, "faults: {}", faults.join(", "));
        let _ = writeln!(text, "\n{:36}{}", "", self.row(|_| String::new(), true));
        for (what, value) in ROWS {
            let _ = writeln!(text, "{what:36}{}", self.row(value, false));
        }
        let _ = writeln!(text, "\nlongest recovery by fault, in ms");
        for kind in self.faults.keys() {
            let took = |account: &Account| {
                account.recoveries.get(kind.as_str()).map_or_else(|| "-".to_owned(), u64::to_string)
            };
            let _ = writeln!(text, "  {kind:34}{}", self.row(took, false));
        }
        let _ = writeln!(text, "\ndead letters by reason");
        for (group, account) in &self.accounts {
            let _ = writeln!(text, "  {group}: {:?}, of innocents {:?}", account.reasons, account.innocents);
        }
        let _ = writeln!(text, "publishes that ended with an error, and went on under their ids");
        for (error, count) in &self.refusals {
            let _ = writeln!(text, "  {count} {error}");
        }
        let _ = writeln!(
            text,
            "drained after {:.1?}; the broker's dead-lettering was brought back {} times\nmost memory: worker {}, \
             publisher {}, at most {} are explained",
            self.drained_after,
            self.mends,
            mib(self.worker_peak),
            mib(self.publisher_peak),
            mib(MEMORY),
        );
        let complaints = self.complaints();
        if complaints.is_empty() {
            text.push_str("\nNOTHING LOST\n");
        } else {
            let dir = self.dir.display();
            let _ = writeln!(text, "\nNOT GOOD; ledger and logs are in {dir}\n{}", complaints.join("\n"));
        }
        text
    }

    fn row(&self, value: impl Fn(&Account) -> String, is_head: bool) -> String {
        self.accounts
            .iter()
            .map(|(group, account)| {
                let value = if is_head { group.clone() } else { value(account) };
                format!("{value:>12}")
            })
            .collect()
    }
}

type Row = (&'static str, fn(&Account) -> String);

const ROWS: [Row; 11] = [
    ("confirmed", |it| it.confirmed.to_string()),
    ("handled", |it| it.handled.to_string()),
    ("dead-lettered", |it| it.dead_lettered.to_string()),
    ("LOST", |it| it.lost.len().to_string()),
    ("emitted by handlers", |it| it.owed.to_string()),
    ("LOST of these", |it| it.lost_answers.len().to_string()),
    ("duplicates", |it| it.duplicates.to_string()),
    ("the most that faults explain", |it| it.explained.to_string()),
    ("handled, and never confirmed", |it| it.unconfirmed.to_string()),
    ("longest recovery, in ms", |it| it.slowest().map_or_else(String::new, |(_, took)| took.to_string())),
    ("longest silence, in ms", |it| it.silence.to_string()),
];

/// Prints what is going to happen.
pub(crate) fn schedule(arguments: &Arguments, planned: &[Planned]) {
    let mut text = format!("seed {}, {} faults:\n", arguments.seed, planned.len());
    for Planned { at, fault } in planned {
        let _ = writeln!(text, "{:>8.1} s  {fault}", at.as_secs_f64());
    }
    say(&text);
}

/// Says that a fault is over, to whoever watches.
pub(crate) fn past(begun: Duration, past: &Past) {
    let Past { fault, took, .. } = past;
    complain(&format!("{:>8.1} s  {fault}: over after {took:.1?}", begun.as_secs_f64()));
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a program says here why it fails")]
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / 1024 / 1024)
}
