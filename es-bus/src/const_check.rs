//! What the expansions ask at compile time: does a binding deliver what its handler takes?
//!
//! Each function is called in a `const` of its own, every token of which stands where the user's
//! token stands, and panics with what is wrong; `track_caller` keeps the library out of the
//! message. A message is built in a buffer, since nothing can be formatted at compile time.

use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeKind, ExchangeRef, HeadersMatch, Misfit},
    extract::Input,
    message::StaticValue,
    registry::{GroupDef, GroupRef},
    topic,
};

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

    /// Appends a binding as it is written.
    const fn bind(self, bind: &Bind) -> Self {
        match bind {
            Bind::Key(key) => self.quote(key),
            Bind::Headers(headers) => {
                let mut text = self.put("`headers(match = \"").put(headers.mode.as_str()).put("\"");
                let mut i = 0;
                while i < headers.values.len() {
                    let (name, value) = headers.values[i];
                    text = text.put(", ").put(name).put(" = ").value(value);
                    i += 1;
                }
                text.put(")`")
            }
        }
    }

    /// Appends the value of a header as it is written.
    const fn value(self, value: StaticValue) -> Self {
        match value {
            StaticValue::Str(text) => self.put("\"").put(text).put("\""),
            StaticValue::Bool(true) => self.put("true"),
            StaticValue::Bool(false) => self.put("false"),
            StaticValue::Int(number) => self.int(number),
        }
    }

    const fn int(self, number: i64) -> Self {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            // A digit, so that nothing is cut off.
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let text = if number < 0 { self.put("-") } else { self };
        match std::str::from_utf8(digits.split_at(at).1) {
            Ok(digits) => text.put(digits),
            Err(_) => text,
        }
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

/// A handler of raw events says what it wants, where its exchange does not bring everything anyway.
#[track_caller]
pub const fn check_raw_has_bind(inputs: &[Input], group: &GroupRef) {
    let brings_all = matches!(home(group), Some((_, ExchangeKind::Fanout | ExchangeKind::ConsistentHash)));
    if takes_raw(inputs) && event(inputs).is_none() && !brings_all {
        panic!(
            "this handler takes raw events, so it needs `bind`: for example `bind = \"Order.*\"`, or `bind = \"#\"` for everything"
        );
    }
}

/// An event on a headers exchange has headers of its own, or its handler says which it wants.
#[track_caller]
pub const fn check_own_headers(inputs: &[Input], group: &GroupRef) {
    // There each event comes to the one or the other, whatever it says.
    if matches!(home(group), Some((_, ExchangeKind::ConsistentHash))) {
        return;
    }
    let Some((_, kinds)) = event(inputs) else { return };
    let mut i = 0;
    while i < kinds.len() {
        let kind = &kinds[i];
        i += 1;
        let Some(def) = kind.exchange_def else { continue };
        if matches!(def.kind, ExchangeKind::Headers) && !kind.selects_itself() {
            Text::new()
                .quote(kind.key)
                .put(" is published to the headers exchange ")
                .quote(def.name)
                .put(" with no headers of its own to be told by: give the event some, `headers(format = \"pdf\")`, or write `bind(headers(event_type = \"")
                .put(kind.name)
                .put("\"))` here")
                .panic()
        }
    }
}

/// The home exchange of a group and its kind, when the group names it by a type.
const fn home(group: &GroupRef) -> Option<(&'static str, ExchangeKind)> {
    match group.def {
        Some(GroupDef { exchange: Some(def), .. }) => Some((def.name, def.kind)),
        _ => None,
    }
}

/// How the exchange of an event picks queues: as its type says, else by topics, until the whole
/// program is known.
const fn how(kind: &EventKind) -> ExchangeKind {
    match kind.exchange_def {
        Some(def) => def.kind,
        None => ExchangeKind::Topic,
    }
}

/// A binding key is legal, and delivers at least one of the events that the handler takes.
#[track_caller]
pub const fn check_bind(binding: &'static str, inputs: &[Input], group: &GroupRef) {
    if let Some(fault) = topic::binding_key_fault(binding) {
        Text::new().put("binding ").quote(binding).put(" ").put(fault.describe()).panic()
    }
    check_takes(&Bind::Key(binding), inputs, group);
}

/// A binding of headers delivers at least one of the events that the handler takes.
#[track_caller]
pub const fn check_headers(headers: &HeadersMatch, inputs: &[Input], group: &GroupRef) {
    check_takes(&Bind::Headers(*headers), inputs, group);
}

#[track_caller]
const fn check_takes(bind: &Bind, inputs: &[Input], group: &GroupRef) {
    if let Some((exchange, kind @ ExchangeKind::ConsistentHash)) = home(group) {
        told(Misfit::Shares, bind, exchange, kind, &[]).panic()
    }
    let Some((name, kinds)) = event(inputs) else {
        if takes_raw(inputs)
            && let Some((exchange, kind)) = home(group)
            && let Some(misfit) = bind.misfit(kind)
        {
            told(misfit, bind, exchange, kind, &[]).panic()
        }
        return;
    };
    // An event without kinds is one whose attribute is wrong, which has an error of its own.
    if takes_raw(inputs) || kinds.is_empty() {
        return;
    }
    let mut misfit = None;
    let mut i = 0;
    while i < kinds.len() {
        let (kind, exchange) = (&kinds[i], how(&kinds[i]));
        i += 1;
        // What is not known to be a headers exchange may still be one.
        if matches!(bind, Bind::Headers(_)) && kind.exchange_def.is_none() {
            return;
        }
        match bind.misfit(exchange) {
            None if bind.may_take(exchange, kind) => return,
            None => {}
            Some(found) => {
                let exchange = match kind.exchange_def {
                    Some(def) => def.name,
                    None => "",
                };
                misfit = Some((found, exchange, how(kind)));
            }
        }
    }
    if let Some((misfit, exchange, kind)) = misfit {
        told(misfit, bind, exchange, kind, kinds).panic()
    }
    let text = Text::new().put("binding ").bind(bind).put(" never receives ").quote(name);
    match bind {
        Bind::Key(_) => text.put(", which is published as ").keys(kinds).panic(),
        Bind::Headers(headers) => match headers.contradicted(&kinds[0]) {
            Some((header, value)) => {
                text.put(", whose messages always say `").put(header).put(" = ").value(value).put("`").panic()
            }
            None => text.panic(),
        },
    }
}

/// What an exchange asks another one for is legal, and something that the other one, where its kind is known, looks
/// at.
#[track_caller]
pub const fn check_from(bind: &Bind, source: &ExchangeRef) {
    if let Some(key) = bind.key()
        && let Some(fault) = topic::binding_key_fault(key)
    {
        Text::new().put("binding ").quote(key).put(" ").put(fault.describe()).panic()
    }
    let Some(def) = source.def else { return };
    let Some(misfit) = bind.misfit(def.kind) else { return };
    let text = Text::new().put("binding ").bind(bind);
    match misfit {
        Misfit::Pattern => text
            .put(" gets nothing: ")
            .quote(def.name)
            .put(" is a direct exchange, which takes `*` and `#` literally; list the keys, or make it a topic exchange")
            .panic(),
        Misfit::NoKeys => text
            .put(" asks for a key, and the fanout exchange ")
            .quote(def.name)
            .put(" looks at none, everything comes: name the exchange alone")
            .panic(),
        Misfit::OnlyHeaders => text
            .put(" asks for a key, and the headers exchange ")
            .quote(def.name)
            .put(" looks at headers only: write `headers(format = \"pdf\")`, with the headers that are meant")
            .panic(),
        Misfit::NoHeaders => text
            .put(" asks for headers, and ")
            .quote(def.name)
            .put(" is a ")
            .put(def.kind.as_str())
            .put(" exchange, which looks at none: write `\"Order.#\"`, with the keys that are meant")
            .panic(),
        Misfit::Shares => text
            .put(" asks for some of it, and the consistent-hash exchange ")
            .quote(def.name)
            .put(" gives to each that is bound to it a share of everything: name the exchange alone")
            .panic(),
    }
}

/// An exchange that is asked for everything can give everything.
#[track_caller]
pub const fn check_from_everything(source: &ExchangeRef) {
    if let Some(def) = source.def
        && matches!(def.kind, ExchangeKind::Direct)
    {
        Text::new()
            .put("everything is asked of ")
            .quote(def.name)
            .put(", a direct exchange, which compares whole keys: list them, `from(Tasks, \"Task.Created\")`")
            .panic()
    }
}

/// Why an exchange cannot do what is asked of it, and what would do.
const fn told(
    misfit: Misfit,
    bind: &Bind,
    exchange: &'static str,
    kind: ExchangeKind,
    kinds: &[EventKind],
) -> Text {
    let text = Text::new().put("binding ").bind(bind);
    match misfit {
        Misfit::Pattern => {
            let text = text
                .put(" delivers nothing: ")
                .quote(exchange)
                .put(" is a direct exchange, which takes `*` and `#` literally; ");
            let text = if kinds.is_empty() {
                text.put("list the keys")
            } else {
                text.put("leave `bind` out, or list the keys (").keys(kinds).put(")")
            };
            text.put(", or make it a topic exchange")
        }
        Misfit::NoKeys => text
            .put(" asks for a key, and the fanout exchange ")
            .quote(exchange)
            .put(" looks at none, everything comes: leave `bind` out"),
        Misfit::OnlyHeaders => text
            .put(" asks for a key, and the headers exchange ")
            .quote(exchange)
            .put(" looks at headers only: write `bind(headers(format = \"pdf\"))`, with the headers that are meant"),
        Misfit::Shares => text
            .put(" asks for some of it, and the consistent-hash exchange ")
            .quote(exchange)
            .put(" gives to each group a share of everything: leave `bind` out; how large the share is says `weight` of the group"),
        Misfit::NoHeaders => {
            let text = text.put(" asks for headers, and ").quote(exchange).put(" is a ").put(kind.as_str());
            let text = text.put(" exchange, which looks at none: ");
            match kind {
                ExchangeKind::Fanout | ExchangeKind::ConsistentHash => text.put("leave `bind` out"),
                ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Headers => {
                    text.put("write `bind = \"Order.Placed\"`, with the key that is meant")
                }
            }
        }
    }
}

/// The bindings together deliver every event that the handler takes.
#[track_caller]
pub const fn check_covers(bindings: &[Bind], inputs: &[Input]) {
    let Some((name, kinds)) = event(inputs) else { return };
    let mut i = 0;
    while i < bindings.len() {
        // That one has an error of its own.
        if is_illegal(&bindings[i]) || !delivers(&bindings[i], kinds) {
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
            delivered = delivered || asks_for(&bindings[i], &kinds[k]);
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

const fn is_illegal(bind: &Bind) -> bool {
    match bind {
        Bind::Key(key) => topic::binding_key_fault(key).is_some(),
        Bind::Headers(_) => false,
    }
}

const fn delivers(bind: &Bind, kinds: &[EventKind]) -> bool {
    let mut i = 0;
    while i < kinds.len() {
        if asks_for(bind, &kinds[i]) {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether a binding delivers an event, as far as that is known before the whole program is.
const fn asks_for(bind: &Bind, kind: &EventKind) -> bool {
    match (bind, kind.exchange_def) {
        (Bind::Headers(headers), None) => headers.may_take(kind),
        (Bind::Headers(_) | Bind::Key(_), _) => bind.may_take(how(kind), kind),
    }
}

/// An event with fields in its key is not published to an exchange that compares whole keys.
#[track_caller]
pub const fn check_key_fields(kind: &EventKind) {
    if kind.has_fields()
        && let Some(def) = kind.exchange_def
        && matches!(def.kind, ExchangeKind::Direct)
    {
        Text::new()
            .put("the key of this event has fields, and ")
            .quote(def.name)
            .put(" is a direct exchange, which compares whole keys: nobody could be bound to all of its messages; make it a topic exchange, or leave the fields out")
            .panic()
    }
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
pub const fn own_keys<const N: usize>(inputs: &[Input]) -> [Bind; N] {
    let mut keys = [Bind::Key(""); N];
    if let Some((_, kinds)) = event(inputs) {
        let mut i = 0;
        while i < N && i < kinds.len() {
            keys[i] = Bind::Key(kinds[i].key);
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
    if !kinds.is_empty() && !topic::is_same(kind.aggregate, aggregate) {
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
        if topic::is_same(kinds[i].key, kinds[index].key) {
            Text::new()
                .put("routing key ")
                .quote(kinds[index].key)
                .put(" is already used by another variant of ")
                .quote(set)
                .panic()
        }
        if topic::is_same(kinds[i].name, kinds[index].name) {
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

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const SET: &[EventKind] = &[
        EventKind::new("OrderPlaced", "Order", "Order.Placed"),
        EventKind::new("OrderShipped", "Order", "Order.Shipped"),
    ];
    const TAKES_SET: &[Input] = &[Input::Side, Input::Event { name: "OrderEvent", kinds: SET }];

    const GROUP: &GroupRef = &GroupRef { name: "projections", def: None };

    fn message(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let payload = catch_unwind(check).expect_err("the check has to fail");
        payload.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn names_binding_event_and_keys() {
        assert_eq!(
            message(|| check_bind("Ordr.*", TAKES_SET, GROUP)),
            "binding `Ordr.*` never receives `OrderEvent`, which is published as `Order.Placed`, `Order.Shipped`"
        );
        check_bind("Order.Placed", TAKES_SET, GROUP);
        check_bind("Anything.*", &[Input::Raw], GROUP);
    }

    #[test]
    fn lists_at_most_eight_keys() {
        const MANY: &[EventKind] = &[EventKind::new("E", "A", "A.E"); 9];

        let text = message(|| check_bind("B.*", &[Input::Event { name: "Many", kinds: MANY }], GROUP));

        assert_eq!(text.matches("`A.E`").count(), 8);
        assert!(text.ends_with(", ..."), "{text}");
    }

    #[test]
    fn leaves_a_dead_binding_to_its_own_check() {
        check_covers(&[Bind::Key("Ordr.*")], TAKES_SET);
        check_covers(&[Bind::Key("Order.*")], TAKES_SET);
        assert!(
            message(|| check_covers(&[Bind::Key("Order.Placed")], TAKES_SET))
                .contains("delivers `Order.Shipped`")
        );
    }

    #[test]
    fn takes_the_keys_of_the_events_when_nothing_is_bound() {
        assert_eq!(own_key_count(TAKES_SET), 2);
        assert_eq!(own_keys::<2>(TAKES_SET), [Bind::Key("Order.Placed"), Bind::Key("Order.Shipped")]);
        assert_eq!(own_key_count(&[Input::Raw]), 0);
    }
}
