//! W3C trace context, version 00, in the headers of a message: `traceparent` and `tracestate`.
//!
//! Written and read here, as OpenTelemetry keeps its own propagator in the SDK, which is the
//! program's to choose.

use std::str::FromStr;

use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceState},
};

use crate::message::Headers;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Writes the context of a span. A context that the program itself gave as a header is the event's, and
/// stays.
pub(super) fn write(span: &SpanContext, headers: &mut Headers) {
    if !span.is_valid() || headers.get(TRACEPARENT).is_some() {
        return;
    }
    let mut text = String::with_capacity("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len());
    text.push_str("00-");
    push_hex(&mut text, &span.trace_id().to_bytes());
    text.push('-');
    push_hex(&mut text, &span.span_id().to_bytes());
    text.push_str(if span.is_sampled() { "-01" } else { "-00" });
    headers.insert(TRACEPARENT, text);
    let state = span.trace_state().header();
    if !state.is_empty() {
        headers.insert(TRACESTATE, state);
    }
}

/// By hand: each publish writes two, and std's formatting takes ten times as long.
fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
}

/// The context that the headers name; `None` for none, and for one that is malformed, as the
/// specification asks.
pub(super) fn read(headers: &Headers) -> Option<SpanContext> {
    let (trace, span, flags) = parse(headers.get_str(TRACEPARENT)?)?;
    let state = headers.get_str(TRACESTATE).and_then(|state| TraceState::from_str(state).ok());
    let context = SpanContext::new(trace, span, flags, true, state.unwrap_or_default());
    context.is_valid().then_some(context)
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // A later version may have more parts.
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & TraceFlags::SAMPLED.to_u8();
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, TraceFlags::new(sampled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_is_written_reads_back() {
        let state = TraceState::from_str("vendor=1,other=2").unwrap();
        let span = SpanContext::new(
            TraceId::from_hex(TRACE).unwrap(),
            SpanId::from_hex(SPAN).unwrap(),
            TraceFlags::SAMPLED,
            false,
            state,
        );
        let mut headers = Headers::new();

        write(&span, &mut headers);

        assert_eq!(headers.get_str(TRACEPARENT), Some(format!("00-{TRACE}-{SPAN}-01").as_str()));
        assert_eq!(headers.get_str(TRACESTATE), Some("vendor=1,other=2"));
        let read = read(&headers).unwrap();
        assert_eq!((read.trace_id(), read.span_id()), (span.trace_id(), span.span_id()));
        assert!(read.is_remote() && read.is_sampled());
    }

    #[test]
    fn a_header_that_the_program_gave_stays() {
        let given = format!("00-{TRACE}-{SPAN}-01");
        let mut headers = Headers::new();
        headers.insert(TRACEPARENT, given.clone());
        let other =
            SpanContext::new(1_u128.into(), 2_u64.into(), TraceFlags::SAMPLED, false, TraceState::default());

        write(&other, &mut headers);

        assert_eq!(headers.get_str(TRACEPARENT), Some(given.as_str()));
    }

    #[test]
    fn only_a_well_formed_header_is_a_context() {
        for (text, is_read) in [
            (format!("00-{TRACE}-{SPAN}-00"), true),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("01-{TRACE}-{SPAN}-01-more"), true),
            (format!("00-{TRACE}-{SPAN}-01-more"), false),
            (format!("ff-{TRACE}-{SPAN}-01"), false),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{TRACE}-{SPAN}"), false),
            (format!("00-{TRACE}-+{}-01", &SPAN[1..]), false),
            (String::new(), false),
        ] {
            let mut headers = Headers::new();
            headers.insert(TRACEPARENT, text.clone());

            assert_eq!(read(&headers).is_some(), is_read, "{text}");
        }
    }
}
