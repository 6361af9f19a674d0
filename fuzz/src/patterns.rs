//! Binding keys: matched as the definition says, and judged as RabbitMQ would take them.

use es_bus::topic::{MAX_KEY_LEN, binding_key_fault, matches, routing_key_fault};

/// A binding key in the first line, a routing key in the second.
pub fn patterns(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, key) = text.split_once('\n').unwrap_or((&text, ""));
    // The definition takes exponential time.
    if pattern.split('.').filter(|word| *word == "#").count() <= 3 && text.len() <= 2 * MAX_KEY_LEN {
        assert_eq!(matches(pattern, key), defined(&words(pattern), &words(key)), "{pattern:?} {key:?}");
    }
    assert!(matches("#", key));
    if routing_key_fault(key).is_none() {
        assert!(key.len() <= MAX_KEY_LEN && !key.is_empty());
        assert!(matches(key, key));
        assert_eq!(binding_key_fault(key), None, "every routing key binds");
        assert_eq!(matches("*", key), !key.contains('.'));
    }
    if let Some(fault) = binding_key_fault(pattern) {
        assert!(!fault.describe().is_empty());
        assert!(routing_key_fault(pattern).is_some());
    } else if !pattern.contains(['*', '#']) {
        assert_eq!(matches(pattern, key), pattern == key);
    }
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

/// The rule as a definition: every way to spend each `#`.
fn defined(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"#", rest)), _) => (0..=key.len()).any(|spent| defined(rest, &key[spent..])),
        (Some(_), None) => false,
        (Some((word, rest)), Some((first, others))) => {
            (*word == "*" || word == first) && defined(rest, others)
        }
    }
}
