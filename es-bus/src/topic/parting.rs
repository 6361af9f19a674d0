//! Where a binding key and a routing key part: for the person who asks why a binding does not match.

use std::fmt;

use super::matches;

/// The first place at which a binding key does not match a routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parting<'a> {
    /// A word of the routing key, counted from 1, is not the one that is asked for.
    Word { at: usize, found: &'a str, wanted: &'a str },
    /// The routing key ends before a word that is asked for.
    Short { words: usize, wanted: &'a str },
    /// The routing key goes on where the binding key ends.
    Long { words: usize, found: &'a str },
    /// Words that are asked for between two `#` stand nowhere in the rest of the routing key.
    Nowhere { wanted: String },
}

/// Where the two part on a topic exchange; `None` where they match.
///
/// Words before the first `#` are compared from the left, those behind the last `#` from the right, and what
/// is left has to hold the words between.
pub(crate) fn parting<'a>(binding_key: &'a str, routing_key: &'a str) -> Option<Parting<'a>> {
    if matches(binding_key, routing_key) {
        return None;
    }
    let (pattern, key) = (words(binding_key), words(routing_key));
    let Some(first) = pattern.iter().position(|word| *word == "#") else {
        return from_left(&pattern, &key).or_else(|| {
            let found = key.get(pattern.len())?;
            Some(Parting::Long { words: pattern.len(), found })
        });
    };
    let last = pattern.iter().rposition(|word| *word == "#").unwrap_or(first);
    let (head, tail) = (&pattern[..first], &pattern[last + 1..]);
    from_left(head, &key)
        .or_else(|| from_right(tail, &key, head.len()))
        .or_else(|| between(&pattern[first..=last], &key[head.len()..key.len() - tail.len()]))
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

fn fits(wanted: &str, found: &str) -> bool {
    wanted == "*" || wanted == found
}

fn from_left<'a>(wanted: &[&'a str], key: &[&'a str]) -> Option<Parting<'a>> {
    wanted.iter().enumerate().find_map(|(at, wanted)| match key.get(at) {
        Some(found) if fits(wanted, found) => None,
        Some(found) => Some(Parting::Word { at: at + 1, found, wanted }),
        None => Some(Parting::Short { words: key.len(), wanted }),
    })
}

/// The first `taken` words of the key are not to be had.
fn from_right<'a>(wanted: &[&'a str], key: &[&'a str], taken: usize) -> Option<Parting<'a>> {
    wanted.iter().rev().enumerate().find_map(|(from_end, wanted)| {
        match key.len().checked_sub(from_end + 1).filter(|at| *at >= taken) {
            Some(at) if fits(wanted, key[at]) => None,
            Some(at) => Some(Parting::Word { at: at + 1, found: key[at], wanted }),
            None => Some(Parting::Short { words: key.len(), wanted }),
        }
    })
}

/// The words between each two `#`, one group after the other.
fn between<'a>(pattern: &[&'a str], mut key: &[&'a str]) -> Option<Parting<'a>> {
    for group in pattern.split(|word| *word == "#").filter(|group| !group.is_empty()) {
        let is_there = |window: &[&str]| group.iter().zip(window).all(|(wanted, found)| fits(wanted, found));
        match key.windows(group.len()).position(is_there) {
            // The first place is the best: it leaves most to the groups that follow.
            Some(at) => key = &key[at + group.len()..],
            None => return Some(Parting::Nowhere { wanted: group.join(".") }),
        }
    }
    None
}

/// As the end of a sentence about the routing key: `word 1 is "Invoice", the binding asks for "Order"`.
impl fmt::Display for Parting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { at, found, wanted } => {
                write!(f, "word {at} is {found:?}, the binding asks for {wanted:?}")
            }
            Self::Short { words, wanted } => {
                let wanted = match *wanted {
                    "*" => "one more".to_owned(),
                    word => format!("{word:?} as well"),
                };
                write!(f, "the key has {}, the binding asks for {wanted}", counted(*words))
            }
            Self::Long { words, found } => {
                write!(f, "the key goes on with {found:?}, the binding ends after {}", counted(*words))
            }
            Self::Nowhere { wanted } => write!(f, "{wanted:?} stands nowhere in the middle of the key"),
        }
    }
}

fn counted(words: usize) -> String {
    match words {
        0 => "no word".to_owned(),
        1 => "1 word".to_owned(),
        count => format!("{count} words"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_word_that_differs() {
        for (pattern, key, expected) in [
            ("Order.*", "Invoice.Sent", "word 1 is \"Invoice\", the binding asks for \"Order\""),
            ("Order.Placed", "Order.Shipped", "word 2 is \"Shipped\", the binding asks for \"Placed\""),
            ("Order.*", "Order", "the key has 1 word, the binding asks for one more"),
            ("Order.*.v2", "Order.Placed", "the key has 2 words, the binding asks for \"v2\" as well"),
            ("Order.*", "Order.Placed.v2", "the key goes on with \"v2\", the binding ends after 2 words"),
            ("Order.#", "Invoice", "word 1 is \"Invoice\", the binding asks for \"Order\""),
            ("#.created", "order.paid", "word 2 is \"paid\", the binding asks for \"created\""),
            ("a.#.b", "a", "the key has 1 word, the binding asks for \"b\" as well"),
            ("a.#.x.y.#", "a.x.z.y", "\"x.y\" stands nowhere in the middle of the key"),
            ("Order.*", "", "the key has no word, the binding asks for \"Order\" as well"),
        ] {
            let parting = parting(pattern, key).map(|parting| parting.to_string());
            assert_eq!(parting.as_deref(), Some(expected), "{pattern:?} {key:?}");
        }
    }

    #[test]
    fn parts_wherever_the_rule_says_no_and_nowhere_else() {
        for pattern in texts(&["a", "b", "*", "#"], 5) {
            for key in texts(&["a", "b"], 5) {
                let parts = parting(&pattern, &key);
                assert_eq!(parts.is_none(), matches(&pattern, &key), "{pattern:?} {key:?}: {parts:?}");
            }
        }
    }

    /// Every text of up to so many of these words.
    fn texts(alphabet: &[&str], longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut begins = 0;
        for _ in 0..longest {
            let ends = all.len();
            for at in begins..ends {
                let stem = all[at].clone();
                let dot = if stem.is_empty() { "" } else { "." };
                all.extend(alphabet.iter().map(|word| format!("{stem}{dot}{word}")));
            }
            begins = ends;
        }
        all
    }
}
