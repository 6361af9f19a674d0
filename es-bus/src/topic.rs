//! The topic rule: which routing keys a binding key matches, and which texts are legal as either.
//!
//! In comes the text of a binding key (a *pattern*) or of a routing key; out goes a yes, a no, or a
//! [`Fault`]. Everything is `const`, so that a macro's expansion can ask the same questions at
//! compile time that the in-process broker asks at run time.
//!
//! The rule is RabbitMQ's: words are parted by dots, `*` stands for one word and `#` for any number
//! of them, none included. An empty routing key has no words at all; `a.` has two, the second empty.

mod parting;
mod trie;

pub(crate) use self::{parting::parting, trie::Trie};

/// The longest routing or binding key that AMQP can carry, in bytes (a *short string*).
pub const MAX_KEY_LEN: usize = 255;

const DONE: usize = usize::MAX;

/// Whether a binding key matches a routing key on a topic exchange.
///
/// # Examples
///
/// ```
/// use es_bus::topic::matches;
///
/// assert!(matches("Order.*", "Order.OrderPlaced"));
/// assert!(matches("Order.#", "Order.OrderPlaced.v1"));
/// assert!(!matches("Order.*", "Order.OrderPlaced.v1"));
/// ```
#[must_use]
pub const fn matches(binding_key: &str, routing_key: &str) -> bool {
    walk::<false>(binding_key, routing_key)
}

/// Whether a binding key matches one of the routing keys of an event, in whose key `*` stands for a word that each
/// of its messages has for itself.
///
/// Whatever words a key takes for its `*`, each of them meets one word of the binding key, or is among what a `#`
/// takes: so a `*` on either side is a word that fits.
#[must_use]
pub(crate) const fn may_match(binding_key: &str, key_of_event: &str) -> bool {
    walk::<true>(binding_key, key_of_event)
}

const fn walk<const WITH_FIELDS: bool>(binding_key: &str, routing_key: &str) -> bool {
    let (pattern, key) = (binding_key.as_bytes(), routing_key.as_bytes());
    let (mut at_pattern, mut at_key) = (first_word(pattern), first_word(key));
    // One backtrack point is enough: what an earlier `#` could swallow, the last one can as well.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at_pattern == DONE {
            if at_key == DONE {
                return true;
            }
        } else {
            let pattern_end = word_end(pattern, at_pattern);
            if is_word(pattern, at_pattern, pattern_end, b'#') {
                at_pattern = next_word(pattern, pattern_end);
                if at_pattern == DONE {
                    return true;
                }
                retry = Some((at_pattern, at_key));
                continue;
            }
            if at_key != DONE {
                let key_end = word_end(key, at_key);
                if is_word(pattern, at_pattern, pattern_end, b'*')
                    || same_word(pattern, at_pattern, pattern_end, key, at_key, key_end)
                    || (WITH_FIELDS && is_word(key, at_key, key_end, b'*'))
                {
                    at_pattern = next_word(pattern, pattern_end);
                    at_key = next_word(key, key_end);
                    continue;
                }
            }
        }
        match retry {
            Some((pattern_word, key_word)) if key_word != DONE => {
                at_pattern = pattern_word;
                at_key = next_word(key, word_end(key, key_word));
                retry = Some((pattern_word, at_key));
            }
            _ => return false,
        }
    }
}

/// Whether two texts are the same, where `==` cannot be asked yet: at compile time.
#[must_use]
pub(crate) const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    same_word(a, 0, a.len(), b, 0, b.len())
}

/// Whether a binding key has a wildcard in it.
#[must_use]
pub(crate) const fn is_pattern(binding_key: &str) -> bool {
    let text = binding_key.as_bytes();
    let mut word = first_word(text);
    while word != DONE {
        let end = word_end(text, word);
        if is_word(text, word, end, b'*') || is_word(text, word, end, b'#') {
            return true;
        }
        word = next_word(text, end);
    }
    false
}

/// What is wrong with a text that was meant as a routing key or as a binding key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The text is empty.
    Empty,
    /// The text has more than [`MAX_KEY_LEN`] bytes.
    TooLong,
    /// A word between two dots is empty.
    EmptyWord,
    /// The first word is empty.
    LeadingDot,
    /// The last word is empty.
    TrailingDot,
    /// A character that is not printable ASCII, or a space.
    Unprintable,
    /// `*` or `#` inside a longer word, where RabbitMQ would take it literally.
    WildcardInWord,
    /// `*` or `#` in a routing key.
    WildcardInKey,
}

impl Fault {
    /// What is wrong, to follow the text: `binding key "a..b" has an empty word …`.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::TooLong => "is longer than the 255 bytes that AMQP can carry",
            Self::EmptyWord => "has an empty word (two dots in a row)",
            Self::LeadingDot => "has an empty word (it starts with a dot)",
            Self::TrailingDot => "has an empty word (it ends with a dot)",
            Self::Unprintable => {
                "contains a character that is not printable ASCII; use letters, digits, `-`, `_` and dots"
            }
            Self::WildcardInWord => {
                "has a wildcard inside a word, where it would be matched literally; a wildcard has to be a whole word"
            }
            Self::WildcardInKey => "contains a wildcard; wildcards belong in `bind`",
        }
    }
}

/// The first fault of a binding key, or `None` when it is legal.
#[must_use]
pub const fn binding_key_fault(text: &str) -> Option<Fault> {
    fault(text, true)
}

/// The first fault of a routing key, or `None` when it is legal.
#[must_use]
pub const fn routing_key_fault(text: &str) -> Option<Fault> {
    fault(text, false)
}

const fn fault(text: &str, wildcards: bool) -> Option<Fault> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Some(Fault::Empty);
    }
    if bytes.len() > MAX_KEY_LEN {
        return Some(Fault::TooLong);
    }
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii_graphic() {
            return Some(Fault::Unprintable);
        }
        i += 1;
    }
    if bytes[0] == b'.' {
        return Some(Fault::LeadingDot);
    }
    if bytes[bytes.len() - 1] == b'.' {
        return Some(Fault::TrailingDot);
    }
    let mut word = first_word(bytes);
    while word != DONE {
        let end = word_end(bytes, word);
        if end == word {
            return Some(Fault::EmptyWord);
        }
        let mut i = word;
        while i < end {
            if bytes[i] == b'*' || bytes[i] == b'#' {
                if !wildcards {
                    return Some(Fault::WildcardInKey);
                }
                if end - word > 1 {
                    return Some(Fault::WildcardInWord);
                }
            }
            i += 1;
        }
        word = next_word(bytes, end);
    }
    None
}

const fn first_word(text: &[u8]) -> usize {
    if text.is_empty() { DONE } else { 0 }
}

const fn word_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'.' {
        at += 1;
    }
    at
}

const fn next_word(text: &[u8], end: usize) -> usize {
    if end < text.len() { end + 1 } else { DONE }
}

const fn is_word(text: &[u8], start: usize, end: usize, only: u8) -> bool {
    end - start == 1 && text[start] == only
}

const fn same_word(a: &[u8], a_start: usize, a_end: usize, b: &[u8], b_start: usize, b_end: usize) -> bool {
    if a_end - a_start != b_end - b_start {
        return false;
    }
    let mut i = 0;
    while i < a_end - a_start {
        if a[a_start + i] != b[b_start + i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as a definition rather than as an algorithm: every way to spend each `#`.
    fn oracle(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => (0..=key.len()).any(|n| oracle(rest, &key[n..])),
            Some((&word, rest)) => key
                .split_first()
                .is_some_and(|(head, tail)| (word == "*" || word == *head) && oracle(rest, tail)),
        }
    }

    fn words(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }

    fn all_texts(alphabet: &[&str], longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last: Vec<Vec<&str>> = vec![Vec::new()];
        for _ in 0..longest {
            last = last
                .iter()
                .flat_map(|words| alphabet.iter().map(move |word| [words.as_slice(), &[word]].concat()))
                .collect();
            all.extend(last.iter().map(|words| words.join(".")));
        }
        all
    }

    #[test]
    fn agrees_with_the_definition_on_every_short_pattern_and_key() {
        let patterns = all_texts(&["a", "b", "*", "#", ""], 4);
        let keys = all_texts(&["a", "b", "ab", ""], 4);
        let mut matched = 0_u32;
        for pattern in &patterns {
            for key in &keys {
                let expected = oracle(&words(pattern), &words(key));
                assert_eq!(matches(pattern, key), expected, "pattern {pattern:?}, key {key:?}");
                matched += u32::from(expected);
            }
        }
        assert!(matched > 10_000, "the tables have to contain matches, found {matched}");
    }

    #[test]
    fn agrees_with_the_definition_on_long_runs_of_wildcards() {
        let patterns = all_texts(&["a", "*", "#"], 6);
        let keys = all_texts(&["a", "b"], 6);
        for pattern in &patterns {
            for key in &keys {
                assert_eq!(
                    matches(pattern, key),
                    oracle(&words(pattern), &words(key)),
                    "{pattern:?} {key:?}"
                );
            }
        }
    }

    #[test]
    fn a_binding_may_match_what_some_words_in_place_of_the_fields_make_of_a_key() {
        let keys = all_texts(&["a", "b", "*"], 4);
        let filled = |key: &str| {
            let mut all = vec![key.to_owned()];
            while let Some(at) = all.iter().position(|key| key.contains('*')) {
                let key = all.swap_remove(at);
                all.extend(["a", "b", "c"].map(|word| key.replacen('*', word, 1)));
            }
            all
        };
        let keys: Vec<_> = keys.iter().map(|key| (key, filled(key))).collect();
        for pattern in all_texts(&["a", "b", "*", "#"], 4) {
            for (key, filled) in &keys {
                let expected = filled.iter().any(|key| matches(&pattern, key));
                assert_eq!(may_match(&pattern, key), expected, "{pattern:?} {key:?}");
            }
        }
    }

    #[test]
    fn names_the_fault_of_an_illegal_binding_key() {
        for (text, fault) in [
            ("", Fault::Empty),
            ("Order..x", Fault::EmptyWord),
            (".a", Fault::LeadingDot),
            ("a.", Fault::TrailingDot),
            ("Ord er.*", Fault::Unprintable),
            ("Ördër.*", Fault::Unprintable),
            ("Order#", Fault::WildcardInWord),
            ("a.*b", Fault::WildcardInWord),
        ] {
            assert_eq!(binding_key_fault(text), Some(fault), "{text:?}");
        }
        assert_eq!(binding_key_fault(&"x".repeat(256)), Some(Fault::TooLong));
        assert_eq!(binding_key_fault(&"x".repeat(255)), None);
        assert_eq!(binding_key_fault("#"), None);
        assert_eq!(binding_key_fault("*.created.#"), None);
    }

    #[test]
    fn a_routing_key_has_no_wildcards() {
        assert_eq!(routing_key_fault("a.*.b"), Some(Fault::WildcardInKey));
        assert_eq!(routing_key_fault("a#"), Some(Fault::WildcardInKey));
        assert_eq!(routing_key_fault("auth.user.created"), None);
    }
}
