//! What the ledger comes to, group by group: sets are compared, nothing is estimated.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::{
    fate::{Fate, fate},
    faults::Past,
    ledger::Entry,
};

/// What was found in the dead-letter queue of a group.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    /// The id of an event that was published, or `group:id` of what followed from one.
    pub(crate) what: String,
    /// Why it is there.
    pub(crate) reason: String,
}

/// What became of the events in one group.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Account {
    /// Events that the broker confirmed.
    pub(crate) confirmed: usize,
    /// Of these, those that a handler of the group has done.
    pub(crate) handled: usize,
    /// Of these, those that are dead-lettered.
    pub(crate) dead_lettered: usize,
    /// Confirmed, and neither handled nor dead-lettered: lost.
    pub(crate) lost: Vec<String>,
    /// What should have followed from handled events.
    pub(crate) owed: usize,
    /// Of these, what did not come to the group.
    pub(crate) lost_answers: Vec<String>,
    /// Handled, although nobody was told that the broker has it.
    pub(crate) unconfirmed: usize,
    /// Runs that did what another had done already.
    pub(crate) duplicates: usize,
    /// The most of these that the faults explain.
    pub(crate) explained: u64,
    /// Dead letters by reason.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// Dead letters of events whose handlers would have done them, by reason.
    pub(crate) innocents: BTreeMap<String, usize>,
    /// Dead letters beyond the first of each event.
    pub(crate) dead_twice: usize,
    /// From the end of a fault until an event was confirmed and handled that was not yet sent when it
    /// ended: the longest, by kind of fault, in milliseconds. One during which the broker or the network
    /// was away again counts from the end of that.
    pub(crate) recoveries: BTreeMap<&'static str, u64>,
    /// The longest time in which nothing was handled, whatever the reason, in milliseconds.
    pub(crate) silence: u64,
}

impl Account {
    pub(crate) fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.lost_answers.is_empty()
    }

    /// The longest recovery, in milliseconds.
    pub(crate) fn slowest(&self) -> Option<(&'static str, u64)> {
        self.recoveries.iter().map(|(kind, took)| (*kind, *took)).max_by_key(|(_, took)| *took)
    }
}

/// Draws up the account of every group.
pub(crate) fn accounts(
    entries: &[(u64, Entry)],
    dead: &BTreeMap<String, Vec<Dead>>,
    past: &[Past],
) -> BTreeMap<String, Account> {
    let mut sent = HashMap::new();
    let mut confirmed = HashMap::new();
    for (at, entry) in entries {
        match entry {
            Entry::Sent { id } => drop(sent.insert(id.as_str(), *at)),
            Entry::Confirmed { id } => {
                let published =
                    Published { sent: sent.get(id.as_str()).copied().unwrap_or(*at), confirmed: *at };
                confirmed.insert(id.as_str(), published);
            }
            _ => {}
        }
    }
    let groups: Vec<&str> = dead.keys().map(String::as_str).collect();
    let done_by = |of: &str| -> HashMap<&str, (u64, usize)> {
        let mut done = HashMap::new();
        for (at, entry) in entries {
            if let Entry::Done { group, id } = entry
                && group == of
            {
                done.entry(id.as_str()).or_insert((*at, 0)).1 += 1;
            }
        }
        done
    };
    let done: BTreeMap<&str, _> = groups.iter().map(|group| (*group, done_by(group))).collect();
    // What followed from an event is on the broker before the event is acknowledged. One that is
    // dead-lettered after all, as what kills its process is, may have been done without that.
    let dead_ids: HashSet<(&str, &str)> = dead
        .iter()
        .flat_map(|(group, dead)| dead.iter().map(move |it| (group.as_str(), it.what.as_str())))
        .collect();
    let owed: BTreeSet<String> = done
        .iter()
        .flat_map(|(group, done)| done.keys().map(move |id| (*group, *id)))
        .filter(|(group, id)| fate(id) == Fate::Answered && !dead_ids.contains(&(*group, *id)))
        .map(|(group, id)| format!("{group}:{id}"))
        .collect();
    groups
        .iter()
        .map(|group| {
            let answered = answered(entries, group);
            ((*group).to_owned(), account(&confirmed, &done[group], &dead[*group], &owed, &answered, past))
        })
        .collect()
}

/// When an event was first sent, and when it was confirmed.
struct Published {
    sent: u64,
    confirmed: u64,
}

fn answered<'a>(entries: &'a [(u64, Entry)], of: &str) -> HashSet<&'a str> {
    let answers = entries.iter().filter_map(|(_, entry)| match entry {
        Entry::Answered { group, answers } if group == of => Some(answers.as_str()),
        _ => None,
    });
    answers.collect()
}

fn account(
    confirmed: &HashMap<&str, Published>,
    done: &HashMap<&str, (u64, usize)>,
    dead: &[Dead],
    owed: &BTreeSet<String>,
    answered: &HashSet<&str>,
    past: &[Past],
) -> Account {
    let dead_ids: HashSet<&str> = dead.iter().map(|it| it.what.as_str()).collect();
    let mut lost: Vec<String> = confirmed
        .keys()
        .filter(|id| !done.contains_key(*id) && !dead_ids.contains(*id))
        .map(|id| (*id).to_owned())
        .collect();
    lost.sort_unstable();
    let mut account = Account {
        confirmed: confirmed.len(),
        handled: confirmed.keys().filter(|id| done.contains_key(*id)).count(),
        dead_lettered: confirmed.keys().filter(|id| dead_ids.contains(*id)).count(),
        lost,
        owed: owed.len(),
        lost_answers: owed
            .iter()
            .filter(|key| !answered.contains(key.as_str()) && !dead_ids.contains(key.as_str()))
            .cloned()
            .collect(),
        unconfirmed: done.keys().filter(|id| !confirmed.contains_key(*id)).count(),
        duplicates: done.values().map(|(_, runs)| runs - 1).sum(),
        dead_twice: dead.len() - dead_ids.len(),
        recoveries: recoveries(confirmed, done, past),
        silence: silence(done),
        ..Account::default()
    };
    for it in dead {
        *account.reasons.entry(it.reason.clone()).or_default() += 1;
        // What followed from an event has a handler that never fails.
        if !matches!(fate(&it.what), Fate::Doomed | Fate::Rejected) || it.what.contains(':') {
            *account.innocents.entry(it.reason.clone()).or_default() += 1;
        }
    }
    account
}

/// How long it took after each fault until something went the whole way again.
fn recoveries(
    confirmed: &HashMap<&str, Published>,
    done: &HashMap<&str, (u64, usize)>,
    past: &[Past],
) -> BTreeMap<&'static str, u64> {
    // When it was sent, and when it had gone the whole way.
    let mut ways: Vec<(u64, u64)> = confirmed
        .iter()
        .filter_map(|(id, published)| Some((published.sent, published.confirmed.max(done.get(id)?.0))))
        .collect();
    ways.sort_unstable();
    // The earliest that anything sent from here on had gone it.
    let mut earliest = u64::MAX;
    for (_, through) in ways.iter_mut().rev() {
        earliest = earliest.min(*through);
        *through = earliest;
    }
    let mut slowest = BTreeMap::new();
    for Past { fault, until_ms, .. } in past {
        // After the last ones nothing was published any more.
        let Some((_, through)) = ways.get(ways.partition_point(|(sent, _)| sent <= until_ms)) else {
            continue;
        };
        // A broker or a network that is away meanwhile counts from its own end.
        if past.iter().any(|other| other.holds_up(*until_ms, *through)) {
            continue;
        }
        let took = through.saturating_sub(*until_ms);
        let slowest: &mut u64 = slowest.entry(fault.kind()).or_default();
        *slowest = took.max(*slowest);
    }
    slowest
}

/// The longest time in which nothing was handled, in milliseconds.
fn silence(done: &HashMap<&str, (u64, usize)>) -> u64 {
    let mut times: Vec<u64> = done.values().map(|(at, _)| *at).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::Fault;

    fn id_with(wanted: Fate) -> String {
        (0..).map(|number| format!("e-{number}")).find(|id| fate(id) == wanted).expect("there are many")
    }

    fn confirmed(at: u64, id: &str) -> (u64, Entry) {
        (at, Entry::Confirmed { id: id.to_owned() })
    }

    fn done(at: u64, id: &str) -> (u64, Entry) {
        (at, Entry::Done { group: "quorum".to_owned(), id: id.to_owned() })
    }

    fn of(entries: &[(u64, Entry)], dead: &[(&str, &str)], past: &[Past]) -> Account {
        let dead = dead
            .iter()
            .map(|(what, reason)| Dead { what: (*what).to_owned(), reason: (*reason).to_owned() })
            .collect();
        let dead = BTreeMap::from([("quorum".to_owned(), dead)]);
        accounts(entries, &dead, past).remove("quorum").expect("the one group")
    }

    #[test]
    fn what_is_neither_handled_nor_dead_lettered_is_lost() {
        let (plain, doomed) = (id_with(Fate::Plain), id_with(Fate::Doomed));
        let entries = [confirmed(1, &plain), confirmed(2, &doomed), confirmed(3, "gone"), done(4, &plain)];

        let account = of(&entries, &[(&doomed, "handler_error")], &[]);

        assert_eq!((account.confirmed, account.handled, account.dead_lettered), (3, 1, 1));
        assert_eq!(account.lost, ["gone"]);
        assert!(!account.is_complete());
        assert_eq!(account.innocents, BTreeMap::new());
    }

    #[test]
    fn what_was_handled_twice_is_counted_and_so_is_what_nobody_confirmed() {
        let (plain, fails) = (id_with(Fate::Plain), id_with(Fate::Fails(1)));
        let entries = [confirmed(1, &plain), done(2, &plain), done(3, &plain), done(4, &fails)];

        let account = of(&entries, &[], &[]);

        assert_eq!((account.duplicates, account.unconfirmed), (1, 1));
        assert!(account.is_complete());
    }

    #[test]
    fn what_should_have_followed_and_did_not_is_lost() {
        let id = id_with(Fate::Answered);
        let entries = [confirmed(1, &id), done(2, &id)];

        assert_eq!(of(&entries, &[], &[]).lost_answers, [format!("quorum:{id}")]);
        assert!(of(&entries, &[(&id, "crashed")], &[]).is_complete());

        let answered = Entry::Answered { group: "quorum".to_owned(), answers: format!("quorum:{id}") };
        assert!(of(&[&entries[..], &[(3, answered)]].concat(), &[], &[]).is_complete());
    }

    #[test]
    fn a_dead_letter_of_an_event_that_would_have_been_done_is_told_apart() {
        let plain = id_with(Fate::Plain);

        let account = of(&[confirmed(1, &plain)], &[(&plain, "crashed"), (&plain, "crashed")], &[]);

        assert_eq!(account.innocents, BTreeMap::from([("crashed".to_owned(), 2)]));
        assert_eq!((account.dead_lettered, account.dead_twice), (1, 1));
    }

    #[test]
    fn a_recovery_lasts_until_something_went_the_whole_way() {
        let past = |fault, until_ms| Past { fault, took: Duration::ZERO, until_ms };
        let past =
            [past(Fault::NetworkCut, 100), past(Fault::NetworkCut, 300), past(Fault::BrokerKilled, 900)];
        let sent = |at, id: &str| (at, Entry::Sent { id: id.to_owned() });
        let entries = [
            // The broker had it before the fault, and only the confirm came after it.
            sent(90, "a"),
            done(95, "a"),
            confirmed(110, "a"),
            sent(150, "b"),
            sent(160, "c"),
            done(165, "c"),
            confirmed(170, "c"),
            confirmed(180, "b"),
            done(200, "b"),
            sent(310, "d"),
            confirmed(315, "d"),
            done(320, "d"),
        ];

        let account = of(&entries, &[], &past);

        assert_eq!(account.recoveries, BTreeMap::from([("network cut", 70)]));
        assert_eq!(account.slowest(), Some(("network cut", 70)));
        assert_eq!(account.silence, 120);

        // While the broker was away nothing could recover.
        let away = Past {
            fault: Fault::BrokerFrozen(Duration::ZERO),
            took: Duration::from_millis(100),
            until_ms: 140,
        };
        let account = of(&entries, &[], &[past[0], away]);
        assert_eq!(account.recoveries, BTreeMap::from([("broker frozen", 30)]));
    }
}
