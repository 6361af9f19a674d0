//! The books: what the broker confirmed, and what became of it in each group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

/// Ids that were confirmed, and how often each was handled or dead-lettered in each group.
///
/// It compares sets: a number alone would let a duplicate stand in for what is lost.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    confirmed: BTreeSet<String>,
    settled: BTreeMap<&'static str, BTreeMap<String, usize>>,
    dead: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

impl Ledger {
    /// The broker confirmed the publishing of this one; gives how many there are now.
    pub(crate) fn confirmed(&self, id: String) -> usize {
        let mut books = self.books();
        books.confirmed.insert(id);
        books.confirmed.len()
    }

    /// A handler of the group succeeded with it.
    pub(crate) fn handled(&self, group: &'static str, id: String) {
        *self.books().settled.entry(group).or_default().entry(id).or_default() += 1;
    }

    /// It is in the dead-letter queue of the group.
    pub(crate) fn dead_lettered(&self, group: &'static str, id: String) {
        *self.books().dead.entry(group).or_default().entry(id).or_default() += 1;
    }

    /// How many are confirmed.
    pub(crate) fn count(&self) -> usize {
        self.books().confirmed.len()
    }

    /// Whether an event was handled in the group.
    pub(crate) fn has_handled(&self, group: &'static str, id: &str) -> bool {
        self.books().settled.get(group).is_some_and(|settled| settled.contains_key(id))
    }

    /// What was confirmed, and is neither handled nor dead-lettered in some group.
    pub(crate) fn missing(&self, groups: &[&'static str]) -> BTreeMap<&'static str, BTreeSet<String>> {
        let books = self.books();
        let mut missing = BTreeMap::new();
        for group in groups {
            let has = |of: &BTreeMap<&'static str, BTreeMap<String, usize>>, id: &String| {
                of.get(group).is_some_and(|ids| ids.contains_key(id))
            };
            let lost: BTreeSet<String> = books
                .confirmed
                .iter()
                .filter(|id| !has(&books.settled, id) && !has(&books.dead, id))
                .cloned()
                .collect();
            if !lost.is_empty() {
                missing.insert(*group, lost);
            }
        }
        missing
    }

    /// Every confirmed event is handled or dead-lettered in each of these groups.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self, groups: &[&'static str]) {
        let missing = self.missing(groups);
        assert!(missing.is_empty(), "of {} confirmed, these are lost: {missing:#?}", self.count());
    }

    /// How often an event was handled or dead-lettered in a group when it had been already.
    pub(crate) fn duplicates(&self, group: &'static str) -> usize {
        let books = self.books();
        let again = |of: &BTreeMap<&'static str, BTreeMap<String, usize>>| {
            of.get(group).map_or(0, |ids| ids.values().map(|count| count - 1).sum())
        };
        again(&books.settled) + again(&books.dead)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("nobody panics over the books")
    }
}
