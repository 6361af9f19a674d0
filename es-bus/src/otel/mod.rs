//! Traces of events: one span where an event is published, one where a handler runs, and the W3C
//! trace context in the headers that ties them together.
//!
//! The spans and their attributes are those of OpenTelemetry's conventions for messaging. They go to
//! the tracer provider that the program has set; where it has set none, or the feature `otel` is off,
//! or the setting `tracing` is `false`, nothing is made and no header is written. Copies that retry,
//! dead-letter or replay keep the headers of their event, so all that becomes of it is one trace.

#[cfg(feature = "otel")]
mod headers;
#[cfg(feature = "otel")]
mod spans;
#[cfg(feature = "otel")]
pub(crate) use self::spans::{Parent, Processing, Sending};

#[cfg(not(feature = "otel"))]
mod none;
#[cfg(not(feature = "otel"))]
pub(crate) use self::none::{Parent, Processing, Sending};

#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "read where spans are made"))]
/// What a span of a handler tells beside the message.
pub(crate) struct Run<'a> {
    pub(crate) group: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) handler: &'a str,
    pub(crate) attempt: u32,
}
