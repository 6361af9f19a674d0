//! Many binding keys at once: which of them match a routing key, without asking each.
//!
//! A tree of words: a lookup follows the words of the routing key, beside them `*`, and holds on to each
//! `#` that it meets. What it costs depends on the key and on the wildcards along its way, not on how many
//! binding keys there are. It is [`matches`](super::matches) for all of them, and nothing else.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Values by binding keys, found by routing keys.
///
/// One binding key may have several values, also equal ones.
#[derive(Clone, Debug)]
pub(crate) struct Trie<T> {
    /// The first is the root; those in `free` are in no use.
    nodes: Vec<Node<T>>,
    free: Vec<NodeId>,
}

type NodeId = usize;

const ROOT: NodeId = 0;

/// Where a binding key is after some of its words.
#[derive(Clone, Debug)]
struct Node<T> {
    words: HashMap<Box<str>, NodeId, BuildHasherDefault<Fnv>>,
    /// After `*`.
    star: Option<NodeId>,
    /// After `#`.
    hash: Option<NodeId>,
    /// Of the binding key that ends here.
    values: Vec<T>,
}

impl<T> Trie<T> {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::new()], free: Vec::new() }
    }

    /// Adds a value.
    pub(crate) fn insert(&mut self, binding_key: &str, value: T) {
        let mut at = ROOT;
        for word in words(binding_key) {
            at = match self.nodes[at].child(word) {
                Some(child) => child,
                None => self.add_child(at, word),
            };
        }
        self.nodes[at].values.push(value);
    }

    /// Removes one such value; `false` when there is none.
    pub(crate) fn remove(&mut self, binding_key: &str, value: &T) -> bool
    where
        T: PartialEq,
    {
        let mut path = Vec::new();
        let mut at = ROOT;
        for word in words(binding_key) {
            path.push((at, word));
            let Some(child) = self.nodes[at].child(word) else { return false };
            at = child;
        }
        let values = &mut self.nodes[at].values;
        let Some(place) = values.iter().position(|there| there == value) else { return false };
        values.remove(place);
        for (parent, word) in path.into_iter().rev() {
            if !self.nodes[at].is_empty() {
                break;
            }
            self.nodes[at] = Node::new();
            self.free.push(at);
            self.nodes[parent].remove_child(word);
            at = parent;
        }
        true
    }

    /// Visits the values of every binding key that matches a routing key, each once and in no order.
    pub(crate) fn each_match(&self, routing_key: &str, mut visit: impl FnMut(&T)) {
        let mut lookup = LOOKUP.take();
        lookup.clear();
        lookup.here.push(ROOT);
        self.hold_on(ROOT, &mut lookup.held);
        for word in words(routing_key) {
            let Lookup { held, here, next } = &mut lookup;
            // A `#` takes every word, and what follows it may begin with any.
            for place in 0..held.len() {
                self.step(held[place], word, next, held);
            }
            for &at in &*here {
                self.step(at, word, next, held);
            }
            std::mem::swap(here, next);
            next.clear();
            if here.is_empty() && held.is_empty() {
                break;
            }
        }
        for &at in lookup.here.iter().chain(&lookup.held) {
            self.nodes[at].values.iter().for_each(&mut visit);
        }
        LOOKUP.set(lookup);
    }

    /// Where a word leads.
    fn step(&self, at: NodeId, word: &str, next: &mut Vec<NodeId>, held: &mut Vec<NodeId>) {
        let node = &self.nodes[at];
        for child in [node.words.get(word).copied(), node.star].into_iter().flatten() {
            next.push(child);
            self.hold_on(child, held);
        }
    }

    /// Holds on to the `#` that may follow, once.
    fn hold_on(&self, mut at: NodeId, held: &mut Vec<NodeId>) {
        while let Some(hash) = self.nodes[at].hash.filter(|hash| !held.contains(hash)) {
            held.push(hash);
            at = hash;
        }
    }

    fn add_child(&mut self, parent: NodeId, word: &str) -> NodeId {
        let child = self.free.pop().unwrap_or(self.nodes.len());
        if child == self.nodes.len() {
            self.nodes.push(Node::new());
        }
        let node = &mut self.nodes[parent];
        match word {
            "*" => node.star = Some(child),
            "#" => node.hash = Some(child),
            word => {
                node.words.insert(word.into(), child);
            }
        }
        child
    }
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { words: HashMap::default(), star: None, hash: None, values: Vec::new() }
    }

    /// After a word of a binding key.
    fn child(&self, word: &str) -> Option<NodeId> {
        match word {
            "*" => self.star,
            "#" => self.hash,
            word => self.words.get(word).copied(),
        }
    }

    fn remove_child(&mut self, word: &str) {
        match word {
            "*" => self.star = None,
            "#" => self.hash = None,
            word => {
                self.words.remove(word);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.hash.is_none() && self.values.is_empty()
    }
}

/// Where a lookup is. Every node is in one of the lists at most once, so a lookup takes no more steps than
/// the key has words, times the nodes.
#[derive(Default)]
struct Lookup {
    /// The `#` that were met, in the order in which they were.
    held: Vec<NodeId>,
    /// After as many words of the binding keys, `#` aside, as were looked at.
    here: Vec<NodeId>,
    next: Vec<NodeId>,
}

impl Lookup {
    fn clear(&mut self) {
        self.held.clear();
        self.here.clear();
        self.next.clear();
    }
}

thread_local! {
    /// Room to look up in, so that only the first lookups of a thread allocate. It is taken out meanwhile: one
    /// who looks up while visiting gets new room.
    static LOOKUP: Cell<Lookup> = Cell::default();
}

/// The hash FNV-1a: of words as short as these it is made several times as fast as the standard one. What is
/// stored are binding keys, which nobody chooses to do harm.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    // An empty key has no words, where `split` would find an empty one.
    key.split('.').skip(usize::from(key.is_empty()))
}

#[cfg(test)]
#[path = "trie_tests.rs"]
mod tests;
