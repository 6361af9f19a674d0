//! The trie beside the plain rule, one binding key at a time.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::topic::matches;

fn found(trie: &Trie<u32>, routing_key: &str) -> Vec<u32> {
    let mut found = Vec::new();
    trie.each_match(routing_key, |value| found.push(*value));
    found.sort_unstable();
    found
}

fn key(words: &'static [&'static str], longest: usize) -> impl Strategy<Value = String> {
    vec(select(words), 0..=longest).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn finds_what_the_plain_rule_finds_each_once(
        binding_keys in vec(key(&["a", "b", "", "*", "#"], 6), 0..40),
        removed in vec(any::<prop::sample::Index>(), 0..20),
        routing_keys in vec(key(&["a", "b", "ab", "", "*", "#"], 8), 1..20),
    ) {
        let mut trie = Trie::new();
        let mut plain: Vec<(String, u32)> = binding_keys.into_iter().zip(0..).collect();
        for (binding_key, value) in &plain {
            trie.insert(binding_key, *value);
        }
        for place in removed {
            if !plain.is_empty() {
                let (binding_key, value) = plain.remove(place.index(plain.len()));
                prop_assert!(trie.remove(&binding_key, &value));
                prop_assert!(!trie.remove(&binding_key, &value));
            }
        }

        for routing_key in &routing_keys {
            let mut expected: Vec<u32> = plain
                .iter()
                .filter(|(binding_key, _)| matches(binding_key, routing_key))
                .map(|(_, value)| *value)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found(&trie, routing_key), expected, "{:?}", routing_key);
        }

        for (binding_key, value) in &plain {
            prop_assert!(trie.remove(binding_key, value));
        }
        prop_assert!(trie.nodes[ROOT].is_empty());
        prop_assert_eq!(trie.free.len(), trie.nodes.len() - 1, "every node but the root is free again");
    }
}

#[test]
fn a_key_has_as_many_values_as_were_added() {
    let mut trie = Trie::new();
    for value in [1, 1, 2] {
        trie.insert("Order.*", value);
    }

    assert_eq!(found(&trie, "Order.Placed"), [1, 1, 2]);
    assert!(trie.remove("Order.*", &1));
    assert_eq!(found(&trie, "Order.Placed"), [1, 2]);
    assert!(!trie.remove("Order.#", &2));
}

#[test]
fn what_is_removed_leaves_its_room_to_the_next() {
    let mut trie = Trie::new();
    for number in 0..100 {
        let binding_key = format!("Order.n{number}.#");
        trie.insert(&binding_key, number);
        assert!(trie.remove(&binding_key, &number));
    }

    assert_eq!(trie.nodes.len(), 4);
}

#[test]
fn a_value_that_is_visited_may_look_up_itself() {
    let mut trie = Trie::new();
    trie.insert("#", 1);
    trie.insert("Order.*", 2);

    let mut inner = Vec::new();
    trie.each_match("Order.Placed", |_| inner.extend(found(&trie, "Invoice")));

    assert_eq!(inner, [1, 1]);
}

/// Trying every way to spend each `#` would take longer than anybody waits: 50 of them have
/// 10^29 ways to share the words.
#[test]
fn many_hashes_in_the_middle_cost_no_more_than_words_times_nodes() {
    let mut trie = Trie::new();
    let run = "#.a.".repeat(50);
    trie.insert(&format!("{run}b"), 1);
    trie.insert(&format!("{run}#"), 2);
    let routing_key = vec!["a"; 120].join(".");

    assert_eq!(found(&trie, &routing_key), [2]);
    assert_eq!(found(&trie, &format!("{routing_key}.b")), [1, 2]);
}
