//! Ids on the wire: always a UUID, whatever text the publisher gave.
//!
//! eventsource-py reads event, aggregate, correlation, causation and tenant ids as UUIDs and loses,
//! without a word, a message that has anything else there. So `order-1` travels as a UUID derived
//! from it, with `order-1` in a header beside it. The header is believed only when the UUID follows
//! from it: a stale or invented one changes nothing.

use std::borrow::Cow;

use uuid::{Uuid, uuid};

use crate::message::Headers;

/// The namespace of the UUIDs (version 5) that stand for ids which are none; never to be changed.
///
/// It is itself the version 5 UUID of `es-bus` in the DNS namespace.
pub const NAMESPACE: Uuid = uuid!("6aa87c4a-100a-5ad0-b526-2f8fd7ea0fb4");

/// A fresh id, in order of time: from a generator of the thread, which asks the system but seldom.
#[must_use]
pub fn new_id() -> String {
    Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The UUID that an id travels as: its own when it is one, in any of the usual notations, else the
/// one that is derived from its text.
///
/// The same text is the same UUID in every field, so that a correlation id still equals the event
/// id that it was made from.
#[must_use]
pub fn wire_id(id: &str) -> Uuid {
    Uuid::try_parse(id).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, id.as_bytes()))
}

/// The aggregate id of an event that has none: made of the event's own, so that it is the same
/// whenever the event is sent again.
pub(super) fn missing_aggregate_id(event_id: Uuid) -> Uuid {
    Uuid::new_v5(&event_id, b"no aggregate")
}

/// What a reader sees of the id `wire`: the original that `header` holds, when it belongs to it.
pub(super) fn original<'a>(wire: Cow<'a, str>, headers: &'a Headers, header: &str) -> Cow<'a, str> {
    match headers.get_str(header) {
        Some(original) if Uuid::try_parse(&wire).is_ok_and(|wire| wire == wire_id(original)) => {
            Cow::Borrowed(original)
        }
        _ => wire,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_what_its_documentation_says() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"es-bus"));
    }

    #[test]
    fn a_uuid_is_itself_in_every_notation_and_other_texts_are_derived() {
        let canonical = "0f1e2d3c-4b5a-4968-8776-655443322110";
        for id in [
            canonical,
            "0F1E2D3C-4B5A-4968-8776-655443322110",
            "0f1e2d3c4b5a49688776655443322110",
            "urn:uuid:0f1e2d3c-4b5a-4968-8776-655443322110",
        ] {
            assert_eq!(wire_id(id).to_string(), canonical);
        }

        assert_eq!(wire_id("order-1"), Uuid::new_v5(&NAMESPACE, b"order-1"));
        assert_ne!(wire_id("order-1"), wire_id("order-2"));
        assert_eq!(wire_id("").get_version_num(), 5);
    }

    #[test]
    fn an_original_is_believed_only_when_the_uuid_follows_from_it() {
        let headers: Headers = [("x-es-event-id", "order-1")].into_iter().collect();
        let read = |wire: &str| original(wire.to_owned().into(), &headers, "x-es-event-id").into_owned();

        assert_eq!(read(&wire_id("order-1").to_string()), "order-1");
        assert_eq!(read(&wire_id("order-2").to_string()), wire_id("order-2").to_string());
        assert_eq!(read("no uuid"), "no uuid");
    }
}
