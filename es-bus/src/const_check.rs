//! What the expansions ask at compile time: does a binding deliver what its handler takes?
//!
//! Each function is called in a `const` of its own, every token of which stands where the user's
//! token stands, and panics with what is wrong; `track_caller` keeps the library out of the
//! message. A message is built in a buffer, since nothing can be formatted at compile time.

use crate::{event::EventKind, extract::Input, topic};

/// The keys that a message lists at most.
const LISTED: usize = 8;

/// A text under construction.
struct Text {
    bytes: [u8; 4096],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 4096], len: 0 }
    }

    /// Appends a text, or as much of it as there is room for.
    const fn put(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < self.bytes.len() {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    /// Appends `` `text` ``.
    const fn quote(self, text: &str) -> Self {
        self.put("`").put(text).put("`")
    }

    /// Appends the keys of events, at most eight.
    const fn keys(mut self, kinds: &[EventKind]) -> Self {
        let mut i = 0;
        while i < kinds.len() {
            if i > 0 {
                self = self.put(", ");
            }
            if i == LISTED {
                return self.put("...");
            }
            self = self.quote(kinds[i].key);
            i += 1;
        }
        self
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // Cut in the middle of a character.
            Err(_) => "the message is too long to be shown",
        }
    }

    #[track_caller]
    const fn panic(self) -> ! {
        panic!("{}", self.as_str())
    }
}

/// The event among the arguments, when it is one of known kinds.
const fn event(inputs: &[Input]) -> Option<(&'static str, &'static [EventKind])> {
    let mut i = 0;
    while i < inputs.len() {
        if let Input::Event { name, kinds } = inputs[i] {
            return Some((name, kinds));
        }
        i += 1;
    }
    None
}

const fn takes_raw(inputs: &[Input]) -> bool {
    let mut i = 0;
    while i < inputs.len() {
        if let Input::Raw = inputs[i] {
            return true;
        }
        i += 1;
    }
    false
}

/// A handler has an argument that is the event.
#[track_caller]
pub const fn check_event_argument(inputs: &[Input]) {
    if event(inputs).is_none() && !takes_raw(inputs) {
        panic!(
            "this handler takes no event: add an argument that is an `#[event]` type, `Envelope<T>` or `RawEvent`"
        );
    }
}

/// The argument at `index` is not a second event.
#[track_caller]
pub const fn check_one_event(inputs: &[Input], index: usize) {
    let second = match inputs[index] {
        Input::Event { name, .. } => name,
        Input::Raw => "RawEvent",
        Input::Side => return,
    };
    let before = inputs.split_at(index).0;
    let first = match event(before) {
        Some((name, _)) => name,
        None if takes_raw(before) => "RawEvent",
        None => return,
    };
    Text::new()
        .put("a handler takes one event, this one already takes ")
        .quote(first)
        .put(": put ")
        .quote(second)
        .put(" in a handler of its own, or make both variants of one `#[event] enum`")
        .panic()
}

/// A handler of raw events says what it wants.
#[track_caller]
pub const fn check_raw_has_bind(inputs: &[Input]) {
    if takes_raw(inputs) && event(inputs).is_none() {
        panic!(
            "this handler takes raw events, so it needs `bind`: for example `bind = \"Order.*\"`, or `bind = \"#\"` for everything"
        );
    }
}

/// A binding key is legal, and delivers at least one of the events that the handler takes.
#[track_caller]
pub const fn check_bind(binding: &str, inputs: &[Input]) {
    if let Some(fault) = topic::binding_key_fault(binding) {
        Text::new().put("binding ").quote(binding).put(" ").put(fault.describe()).panic()
    }
    let Some((name, kinds)) = event(inputs) else { return };
    // An event without kinds is one whose attribute is wrong, which has an error of its own.
    if takes_raw(inputs) || kinds.is_empty() {
        return;
    }
    if !delivers(binding, kinds) {
        Text::new()
            .put("binding ")
            .quote(binding)
            .put(" never receives ")
            .quote(name)
            .put(", which is published as ")
            .keys(kinds)
            .panic()
    }
}

/// The bindings together deliver every event that the handler takes.
#[track_caller]
pub const fn check_covers(bindings: &[&str], inputs: &[Input]) {
    let Some((name, kinds)) = event(inputs) else { return };
    let mut i = 0;
    while i < bindings.len() {
        // That one has an error of its own.
        if topic::binding_key_fault(bindings[i]).is_some() || !delivers(bindings[i], kinds) {
            return;
        }
        i += 1;
    }
    let mut missing: [Option<EventKind>; LISTED] = [None; LISTED];
    let mut found = 0;
    let mut k = 0;
    while k < kinds.len() {
        let mut delivered = false;
        let mut i = 0;
        while i < bindings.len() {
            delivered = delivered || topic::matches(bindings[i], kinds[k].key);
            i += 1;
        }
        if !delivered {
            if found < LISTED {
                missing[found] = Some(kinds[k]);
            }
            found += 1;
        }
        k += 1;
    }
    if found == 0 {
        return;
    }
    let mut text = Text::new().put("no binding delivers ");
    let mut i = 0;
    while i < found && i < LISTED {
        if let Some(kind) = missing[i] {
            text = if i > 0 { text.put(", ") } else { text }.quote(kind.key);
        }
        i += 1;
    }
    if found > LISTED {
        text = text.put(", ...");
    }
    text.put(" of ").quote(name).put("; widen `bind`, or write `partial` to say that this is meant").panic()
}

const fn delivers(binding: &str, kinds: &[EventKind]) -> bool {
    let mut i = 0;
    while i < kinds.len() {
        if topic::matches(binding, kinds[i].key) {
            return true;
        }
        i += 1;
    }
    false
}

/// How many binding keys a handler without `bind` has: one for each event that it takes.
#[must_use]
pub const fn own_key_count(inputs: &[Input]) -> usize {
    match event(inputs) {
        Some((_, kinds)) => kinds.len(),
        None => 0,
    }
}

/// The keys of the events that a handler takes.
#[must_use]
pub const fn own_keys<const N: usize>(inputs: &[Input]) -> [&'static str; N] {
    let mut keys = [""; N];
    if let Some((_, kinds)) = event(inputs) {
        let mut i = 0;
        while i < N && i < kinds.len() {
            keys[i] = kinds[i].key;
            i += 1;
        }
    }
    keys
}

/// A variant of an event set wraps one event, and not a set.
#[track_caller]
pub const fn check_wrapped(name: &str, kinds: &[EventKind]) {
    if kinds.len() > 1 {
        Text::new()
            .put("a variant wraps one event, and ")
            .quote(name)
            .put(" is a set of them: ")
            .keys(kinds)
            .put("; wrap the events themselves")
            .panic()
    }
}

/// The event that a variant of a set wraps.
#[must_use]
pub const fn wrapped_kind(kinds: &[EventKind]) -> EventKind {
    if kinds.is_empty() { EventKind::new("", "", "") } else { kinds[0] }
}

/// A wrapped event happens to the aggregate that its set names.
#[track_caller]
pub const fn check_aggregate(set: &str, aggregate: &str, kinds: &[EventKind]) {
    let kind = wrapped_kind(kinds);
    if !kinds.is_empty() && !same(kind.aggregate, aggregate) {
        Text::new()
            .quote(kind.name)
            .put(" happens to ")
            .quote(kind.aggregate)
            .put(", and `")
            .put(set)
            .put("` says ")
            .quote(aggregate)
            .put(": leave `aggregate` out, each wrapped event says its own")
            .panic()
    }
}

/// The event at `index` of a set has neither the name nor the key of one before it.
#[track_caller]
pub const fn check_distinct(set: &str, kinds: &[EventKind], index: usize) {
    let mut i = 0;
    while i < index {
        if same(kinds[i].key, kinds[index].key) {
            Text::new()
                .put("routing key ")
                .quote(kinds[index].key)
                .put(" is already used by another variant of ")
                .quote(set)
                .panic()
        }
        if same(kinds[i].name, kinds[index].name) {
            Text::new()
                .put("event name ")
                .quote(kinds[index].name)
                .put(" is already used by another variant of ")
                .quote(set)
                .panic()
        }
        i += 1;
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const SET: &[EventKind] = &[
        EventKind::new("OrderPlaced", "Order", "Order.Placed"),
        EventKind::new("OrderShipped", "Order", "Order.Shipped"),
    ];
    const TAKES_SET: &[Input] = &[Input::Side, Input::Event { name: "OrderEvent", kinds: SET }];

    fn message(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let payload = catch_unwind(check).expect_err("the check has to fail");
        payload.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn names_binding_event_and_keys() {
        assert_eq!(
            message(|| check_bind("Ordr.*", TAKES_SET)),
            "binding `Ordr.*` never receives `OrderEvent`, which is published as `Order.Placed`, `Order.Shipped`"
        );
        check_bind("Order.Placed", TAKES_SET);
        check_bind("Anything.*", &[Input::Raw]);
    }

    #[test]
    fn lists_at_most_eight_keys() {
        const MANY: &[EventKind] = &[EventKind::new("E", "A", "A.E"); 9];

        let text = message(|| check_bind("B.*", &[Input::Event { name: "Many", kinds: MANY }]));

        assert_eq!(text.matches("`A.E`").count(), 8);
        assert!(text.ends_with(", ..."), "{text}");
    }

    #[test]
    fn leaves_a_dead_binding_to_its_own_check() {
        check_covers(&["Ordr.*"], TAKES_SET);
        check_covers(&["Order.*"], TAKES_SET);
        assert!(message(|| check_covers(&["Order.Placed"], TAKES_SET)).contains("delivers `Order.Shipped`"));
    }

    #[test]
    fn takes_the_keys_of_the_events_when_nothing_is_bound() {
        assert_eq!(own_key_count(TAKES_SET), 2);
        assert_eq!(own_keys::<2>(TAKES_SET), ["Order.Placed", "Order.Shipped"]);
        assert_eq!(own_key_count(&[Input::Raw]), 0);
    }
}
