//! What somebody who mistyped a name may have meant.
//!
//! In comes a word, or a binding key, and what is known; out goes the nearest known one, when it is
//! near enough to be worth a "did you mean".

use crate::topic;

/// The known word nearest to `word`; `None` when none is near.
///
/// One slip per three letters is forgiven, at least one; letters may be added, left out, changed or
/// swapped with their neighbour. Of words equally near, the first in the alphabet.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().filter_map(|known| Some((slips(word, known)?, known))).min().map(|(_, known)| known)
}

/// The binding key nearest to `pattern` that matches one of `keys`: wildcards stay where they are,
/// the other words become those of the nearest routing key.
pub(crate) fn nearest_pattern<'a>(pattern: &str, keys: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let words: Vec<&str> = pattern.split('.').collect();
    let mut keys: Vec<&str> = keys.into_iter().collect();
    keys.sort_unstable();
    let corrected = keys
        .iter()
        .filter_map(|key| align(&words, &key.split('.').collect::<Vec<_>>()))
        .min()
        .map(|(_, words)| words.join("."));
    // No word is wrong: then perhaps their number is.
    let reaches = |pattern: &String| keys.iter().any(|key| topic::matches(pattern, key));
    let longer = match pattern.strip_suffix('*') {
        Some(stem) => vec![format!("{stem}#")],
        None => vec![format!("{pattern}.*"), format!("{pattern}.#")],
    };
    corrected.or_else(|| longer.into_iter().find(reaches))
}

/// A pattern that matches, word by word, after so many slips.
type Aligned<'a> = (usize, Vec<&'a str>);

/// The cheapest way to make the pattern match the key by changing words, and what it costs.
fn align<'a>(pattern: &[&'a str], key: &[&'a str]) -> Option<Aligned<'a>> {
    // `row[j]` aligns what is left of the pattern with `key[j..]`; a row per word, from the last.
    let mut row: Vec<Option<Aligned<'a>>> = vec![None; key.len() + 1];
    row[key.len()] = Some((0, Vec::new()));
    for word in pattern.iter().rev() {
        let mut next = vec![None; key.len() + 1];
        for j in (0..=key.len()).rev() {
            next[j] = if *word == "#" {
                // Takes nothing, or one word more than it takes of the rest.
                let more = next.get(j + 1).cloned().flatten();
                row[j].as_ref().map(|rest| before(word, 0, rest)).into_iter().chain(more).min()
            } else {
                let head = key.get(j).copied();
                head.and_then(|head| match *word {
                    "*" => Some((*word, 0)),
                    word => Some((head, slips(word, head).or_else(|| part_of(word, head))?)),
                })
                .and_then(|(word, cost)| row[j + 1].as_ref().map(|rest| before(word, cost, rest)))
            };
        }
        row = next;
    }
    row.swap_remove(0)
}

fn before<'a>(word: &'a str, cost: usize, (sum, rest): &Aligned<'a>) -> Aligned<'a> {
    (cost + sum, [&[word], rest.as_slice()].concat())
}

/// How many slips lie between two words; `None` when there are too many for a mistyped one.
fn slips(word: &str, known: &str) -> Option<usize> {
    if word.eq_ignore_ascii_case(known) {
        return Some(0);
    }
    let distance = strsim::osa_distance(word, known);
    (distance <= (word.chars().count() / 3).max(1)).then_some(distance)
}

/// The cost of a word that is a part of the known one, or the other way round: `Placed` for
/// `OrderPlaced`.
fn part_of(word: &str, known: &str) -> Option<usize> {
    let (short, long) = if word.len() < known.len() { (word, known) } else { (known, word) };
    (short.len() >= 3 && long.contains(short)).then(|| long.len() - short.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers_alone() {
        let known = ["prefetch", "retries", "timeout"];
        for (word, expected) in [
            ("prefech", Some("prefetch")),
            ("prefecth", Some("prefetch")),
            ("PREFETCH", Some("prefetch")),
            ("time_out", Some("timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word:?}");
        }
    }

    #[test]
    fn of_words_equally_near_the_first_in_the_alphabet_wins() {
        assert_eq!(nearest("ordem", ["orders", "orden", "order"]), Some("orden"));
        assert_eq!(nearest("ordem", ["order", "orden"]), Some("orden"));
    }

    #[test]
    fn corrects_words_and_keeps_wildcards() {
        let keys = ["Order.OrderPlaced", "Order.gone", "Invoice.InvoiceSent", "auth.user.created"];
        for (pattern, expected) in [
            ("Ordr.*", Some("Order.*")),
            ("Order.OrderPlacd", Some("Order.OrderPlaced")),
            ("order.#", Some("Order.#")),
            ("Order.Placed", Some("Order.OrderPlaced")),
            ("#.craeted", Some("#.created")),
            ("*.usr.*", Some("*.user.*")),
            ("auht.#.created", Some("auth.#.created")),
            ("Order", Some("Order.*")),
            ("auth", Some("auth.#")),
            ("auth.*", Some("auth.#")),
            ("Payment.*", None),
            ("*", Some("#")),
        ] {
            assert_eq!(nearest_pattern(pattern, keys).as_deref(), expected, "{pattern:?}");
        }
    }

    #[test]
    fn many_wildcards_take_no_longer_than_many_words() {
        let pattern = ["#.a"; 64].join(".");
        let key = ["b"; 128].join(".");
        assert_eq!(nearest_pattern(&pattern, [key.as_str()]).map(|found| found.len()), Some(pattern.len()));
    }

    #[test]
    fn a_corrected_pattern_matches_something_known() {
        let keys = ["Order.OrderPlaced", "a.b.c", "Stock.Moved.v2"];
        for pattern in ["Ordr.#", "#.OrderPlacd", "a.*.d", "Stock.*", "stock.moved.#", "a.b", "a.b.c.d"] {
            if let Some(corrected) = nearest_pattern(pattern, keys) {
                assert!(keys.iter().any(|key| topic::matches(&corrected, key)), "{pattern} -> {corrected}");
            }
        }
    }
}
