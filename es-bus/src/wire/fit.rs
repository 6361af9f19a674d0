//! Sizes: what AMQP and the broker take, and how a copy is made to fit.
//!
//! Properties and headers go in one frame; a longer one closes the connection with all its consumers
//! (measured: 501 FRAME_ERROR at 131 072 bytes, RabbitMQ's default). A copy gains headers on its way,
//! so one that came in just below the limit has to be made to fit before it can be published.

use std::borrow::Cow;

use super::{
    copies::MAX_ERROR_LEN,
    error::{TooLarge, cut},
    names,
};
use crate::message::{Headers, Message, Value};

/// What a short string can hold: names, routing keys, text properties, names of headers.
const SHORT_STRING: usize = 255;

/// What is left free of a frame. A broker that dead-letters adds `x-death` and more, and sends the
/// frame that results even when it is too large for its consumer.
const HEADROOM: usize = 4096;

/// How much of a frame the properties and headers of a message may take.
#[must_use]
pub fn header_limit(frame_max: usize) -> usize {
    frame_max - HEADROOM.min(frame_max / 4)
}

/// How many bytes of frame the properties and headers of a message take.
#[must_use]
pub fn header_frame_len(message: &Message) -> usize {
    // Frame header and end; class, weight, body size and flags; delivery mode.
    const FIXED: usize = 8 + 14 + 1;
    let properties = &message.properties;
    let texts: usize = texts(message).iter().filter_map(|(_, text)| Some(1 + text.as_ref()?.len())).sum();
    FIXED
        + texts
        + usize::from(properties.priority.is_some())
        + properties.timestamp.map_or(0, |_| 8)
        + message.headers.wire_len()
}

/// Makes the properties and headers fit a frame, at the expense of our own headers: error texts are
/// shortened, then what is merely good to know goes. Headers of others stay.
///
/// # Errors
///
/// [`TooLarge`] when that is not enough: a copy for a retry is then better dead-lettered, and one
/// for the dead-letter queue goes through [`drop_foreign`].
pub fn fit(message: &mut Message, frame_max: usize) -> Result<(), TooLarge> {
    for limit in [MAX_ERROR_LEN, 1024, 256] {
        if fits(message, frame_max) {
            return Ok(());
        }
        for name in [names::ES_ERROR, names::DLQ_REASON] {
            let text = message.headers.get_str(name).map(|text| cut(text, limit).into_owned());
            if let Some(text) = text {
                message.headers.insert(name, text);
            }
        }
    }
    let optional = [
        names::ES_ERROR,
        names::ES_ERROR_TYPE,
        names::ES_FIRST_FAILURE_AT,
        names::ES_LAST_FAILURE_AT,
        names::LAST_RETRY_AT,
    ];
    while !fits(message, frame_max) {
        let headers = &mut message.headers;
        let kept = largest(headers, |name| name.starts_with(names::ES_ORIG_PREFIX));
        let Some(name) = kept.or_else(|| {
            optional.iter().find(|name| headers.get(name).is_some()).map(|&name| name.to_owned())
        }) else {
            return check_frame(message, frame_max);
        };
        headers.remove(&name);
    }
    Ok(())
}

/// Makes the properties and headers fit a frame whatever it takes: after what [`fit`] does, headers
/// of others go, the largest first, and at last the envelope's, which stand in the body as well. The
/// names of what went stand in `x-es-dropped-headers`.
///
/// # Errors
///
/// [`TooLarge`] when not even our own headers fit, which takes a frame of a few kilobytes or
/// hundreds of handlers with very long names.
pub fn drop_foreign(message: &mut Message, frame_max: usize) -> Result<(), TooLarge> {
    if fit(message, frame_max).is_ok() {
        return Ok(());
    }
    let mut dropped = message.headers.get_str(names::ES_DROPPED_HEADERS).unwrap_or_default().to_owned();
    while !fits(message, frame_max) {
        let headers = &mut message.headers;
        let Some(name) = largest(headers, |name| !names::is_own(name))
            .or_else(|| largest(headers, |name| !is_essential(name)))
        else {
            return check_frame(message, frame_max);
        };
        headers.remove(&name);
        if dropped.len() < 1024 {
            dropped.push_str(if dropped.is_empty() { "" } else { "," });
            dropped.push_str(&cut(&name, 64));
        }
        headers.insert(names::ES_DROPPED_HEADERS, &*dropped);
    }
    Ok(())
}

/// Checks everything about a message that can be too long, before it is sent: the broker answers
/// such a message by closing the channel or the connection, and the client library with a panic.
///
/// # Errors
///
/// [`TooLarge`] names the first thing that is.
pub fn check_sizes(
    exchange: &str,
    routing_key: &str,
    message: &Message,
    frame_max: usize,
    body_max: usize,
) -> Result<(), TooLarge> {
    check("the exchange's name", exchange.len(), SHORT_STRING)?;
    check("the routing key", routing_key.len(), SHORT_STRING)?;
    for (what, text) in texts(message) {
        let size = text.as_ref().map_or(0, |text| text.len());
        if size > SHORT_STRING {
            return check(format!("the property {what}"), size, SHORT_STRING);
        }
    }
    check_names(&message.headers)?;
    check_frame(message, frame_max)?;
    check("the body", message.body.len(), body_max)
}

fn check(what: impl Into<Cow<'static, str>>, size: usize, limit: usize) -> Result<(), TooLarge> {
    if size <= limit { Ok(()) } else { Err(TooLarge { what: what.into(), size, limit }) }
}

fn check_frame(message: &Message, frame_max: usize) -> Result<(), TooLarge> {
    check("the frame of properties and headers", header_frame_len(message), frame_max)
}

fn check_names(headers: &Headers) -> Result<(), TooLarge> {
    for (name, value) in headers.iter() {
        if name.len() > SHORT_STRING {
            return check(format!("the header name {:?}", cut(name, 64)), name.len(), SHORT_STRING);
        }
        check_names_in(value)?;
    }
    Ok(())
}

fn check_names_in(value: &Value) -> Result<(), TooLarge> {
    match value {
        Value::Table(table) => check_names(table),
        Value::Array(values) => values.iter().try_for_each(check_names_in),
        _ => Ok(()),
    }
}

fn fits(message: &Message, frame_max: usize) -> bool {
    header_frame_len(message) <= frame_max
}

/// The name of the header that takes the most room, of those that may go.
fn largest(headers: &Headers, may_go: impl Fn(&str) -> bool) -> Option<String> {
    headers
        .iter()
        .filter(|(name, _)| may_go(name))
        .max_by_key(|(name, value)| name.len() + value.wire_len())
        .map(|(name, _)| name.to_owned())
}

/// Whether a copy cannot do its work without the header.
fn is_essential(name: &str) -> bool {
    matches!(
        name,
        names::ES_DELAY
            | names::ES_QUEUE
            | names::ES_ATTEMPTS
            | names::ES_WAITS
            | names::ES_PUBLISH_ID
            | names::ES_REPLAYED
            | names::ES_ORIGINAL_EXCHANGE
            | names::ES_REASON
            | names::ES_HANDLER
            | names::ES_DLQ_ID
            | names::ES_DROPPED_HEADERS
            | names::ORIGINAL_ROUTING_KEY
            | names::DLQ_REASON
            | names::DLQ_ERROR_TYPE
            | names::DLQ_RETRY_COUNT
            | names::DLQ_TIMESTAMP
    )
}

fn texts(message: &Message) -> [(&'static str, &Option<Cow<'static, str>>); 9] {
    let properties = &message.properties;
    [
        ("content_type", &properties.content_type),
        ("content_encoding", &properties.content_encoding),
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
    ]
}
