//! The spans themselves, through OpenTelemetry's API.

use std::{
    borrow::Cow,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue, global,
    trace::{
        FutureExt, Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags,
        TraceState, Tracer,
    },
};

use super::{Run, headers};
use crate::{
    message::{Message, Received},
    outcome::{Decision, Outcome},
    transport::{Publication, PublishError},
};

/// What is under way where something is published.
#[derive(Clone)]
pub(crate) struct Parent(Context);

impl Parent {
    pub(crate) fn current() -> Self {
        Self(Context::current())
    }
}

/// The span of one publish, from the first attempt to the broker's verdict.
pub(crate) struct Sending(Option<Context>);

impl Sending {
    /// Starts the span, and writes its context into the headers.
    pub(crate) fn start(enabled: bool, parent: &Parent, publication: &mut Publication) -> Self {
        // Without a provider there may still be a trace of others to be carried on.
        if !enabled || !(parent.0.span().span_context().is_valid() || is_listened_to()) {
            return Self(None);
        }
        let destination = destination(publication.exchange.as_str(), &publication.routing_key, None);
        let message = &publication.message;
        let mut attributes = about(message, "send", "send", &destination, &publication.routing_key);
        attributes.push(KeyValue::new("messaging.message.body.size", size(message)));
        let span = SpanBuilder::from_name(["send ", &*destination].concat())
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes);
        let context = parent.0.with_span(tracer().build_with_context(span, &parent.0));
        if !context.span().span_context().is_valid() {
            // The provider was shut down.
            return Self(None);
        }
        headers::write(context.span().span_context(), &mut publication.message.headers);
        Self(Some(context))
    }

    pub(crate) fn end(self, result: Result<(), &PublishError>) {
        let Some(context) = self.0 else { return };
        if let Err(error) = result {
            fail(&context, kind(error), error.to_string());
        }
        context.span().end();
    }
}

/// The span of one run of a handler.
pub(crate) struct Processing(Option<Context>);

impl Processing {
    /// Starts the span, in the trace of the message where it has one.
    pub(crate) fn start(enabled: bool, received: &Received, run: &Run<'_>) -> Self {
        if !enabled {
            return Self(None);
        }
        let creation = headers::read(&received.message.headers);
        if creation.is_none() && !is_listened_to() {
            return Self(None);
        }
        // Not what happens to be under way in the worker.
        let origin = Context::new();
        let origin = creation
            .clone()
            .map_or_else(|| origin.clone(), |creation| origin.with_remote_span_context(creation));
        let destination = destination(&received.exchange, &received.routing_key, Some(run.queue));
        let mut attributes =
            about(&received.message, "process", "process", &destination, &received.routing_key);
        attributes.extend([
            KeyValue::new("messaging.consumer.group.name", run.group.to_owned()),
            KeyValue::new("messaging.message.body.size", size(&received.message)),
            KeyValue::new("es_bus.handler", run.handler.to_owned()),
            KeyValue::new("es_bus.attempt", i64::from(run.attempt)),
        ]);
        let mut span = SpanBuilder::from_name(["process ", &*destination].concat())
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes);
        if let Some(creation) = creation {
            // The conventions ask for the link, and allow the parent where a span is about one message.
            span = span.with_links(vec![Link::with_context(creation)]);
        }
        let context = origin.with_span(tracer().build_with_context(span, &origin));
        Self(Some(context))
    }

    /// Runs the handler, so that what it publishes belongs to its span.
    pub(crate) async fn around<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(context) => future.with_context(context.clone()).await,
            None => future.await,
        }
    }

    /// Ends the span: what follows, and what went wrong.
    pub(crate) fn end(self, decision: Decision, outcome: &Outcome) {
        let Some(context) = self.0 else { return };
        let error = match outcome {
            Outcome::Done => None,
            Outcome::Failed(error) => Some(error),
        };
        let follows = match (decision, error) {
            (Decision::Done { .. }, None) => "handled",
            (Decision::Done { .. }, Some(_)) => "dropped",
            (Decision::Retry(_), _) => "retry",
            (Decision::DeadLetter, _) => "dead_letter",
        };
        context.span().set_attribute(KeyValue::new("es_bus.outcome", follows));
        if let Some(error) = error {
            fail(&context, error.kind().as_str(), error.text());
        }
        context.span().end();
    }
}

fn tracer() -> global::BoxedTracer {
    static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
        InstrumentationScope::builder("es-bus").with_version(env!("CARGO_PKG_VERSION")).build()
    });
    global::tracer_with_scope(SCOPE.clone())
}

/// Whether the program has set a tracer provider: what no one looks at need not be made.
///
/// The API cannot be asked. But what stands in for a provider hands on whatever span it is given for a
/// parent, and a provider does not; it makes no span either where telemetry is suppressed.
fn is_listened_to() -> bool {
    static KNOWN: AtomicBool = AtomicBool::new(false);
    static SUPPRESSED: LazyLock<Context> = LazyLock::new(|| {
        let (trace, span) = (1_u128.into(), 1_u64.into());
        let parent = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::default());
        Context::new().with_remote_span_context(parent).with_telemetry_suppressed()
    });
    if KNOWN.load(Ordering::Relaxed) {
        return true;
    }
    let span = tracer().build_with_context(SpanBuilder::from_name("is anybody there?"), &SUPPRESSED);
    let is_known = span.span_context() != SUPPRESSED.span().span_context();
    if is_known {
        KNOWN.store(true, Ordering::Relaxed);
    }
    is_known
}

fn about(
    message: &Message,
    operation: &'static str,
    operation_type: &'static str,
    destination: &str,
    routing_key: &str,
) -> Vec<KeyValue> {
    let properties = &message.properties;
    // All that is said of a span at its start.
    let mut attributes = Vec::with_capacity(12);
    attributes.extend([
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation_type),
        KeyValue::new("messaging.destination.name", destination.to_owned()),
        KeyValue::new("messaging.rabbitmq.destination.routing_key", routing_key.to_owned()),
    ]);
    let texts = [
        ("messaging.message.id", properties.message_id.as_deref()),
        (
            "messaging.message.conversation_id",
            properties.correlation_id.as_deref().or(message.headers.get_str("correlation_id")),
        ),
    ];
    for (name, text) in texts {
        attributes.extend(text.map(|text| KeyValue::new(name, text.to_owned())));
    }
    attributes
}

fn size(message: &Message) -> i64 {
    i64::try_from(message.body.len()).unwrap_or(i64::MAX)
}

fn fail(context: &Context, kind: &'static str, text: impl Into<Cow<'static, str>>) {
    context.span().set_attribute(KeyValue::new("error.type", kind));
    context.span().set_status(Status::error(text));
}

/// `exchange:routing key`, and the queue where one is read, unless it has the name of the key.
fn destination(exchange: &str, routing_key: &str, queue: Option<&str>) -> String {
    let queue = queue.filter(|queue| *queue != routing_key).unwrap_or_default();
    let mut destination = String::with_capacity(exchange.len() + routing_key.len() + queue.len() + 2);
    for part in [exchange, routing_key, queue].into_iter().filter(|part| !part.is_empty()) {
        if !destination.is_empty() {
            destination.push(':');
        }
        destination.push_str(part);
    }
    if destination.is_empty() { "amq.default".to_owned() } else { destination }
}

fn kind(error: &PublishError) -> &'static str {
    match error {
        PublishError::Unroutable { .. } => "unroutable",
        PublishError::NoExchange { .. } => "no_exchange",
        PublishError::Refused { .. } => "refused",
        PublishError::Rejected { .. } => "rejected",
        PublishError::TooLarge { .. } => "too_large",
        PublishError::Interrupted { .. } => "interrupted",
        PublishError::TimedOut { .. } => "timed_out",
        PublishError::Unavailable { .. } => "unavailable",
        PublishError::Closed => "closed",
        PublishError::Key { .. } => "routing_key",
        PublishError::Encode(_) => "encode",
        PublishError::Backlog { .. } => "backlog",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::Headers, name::ExchangeName};

    fn publication() -> Publication {
        Publication {
            exchange: ExchangeName::new("events").unwrap(),
            routing_key: "Order.OrderPlaced".into(),
            message: Message::default(),
            mandatory: true,
            lane: None,
        }
    }

    #[test]
    fn a_destination_has_the_parts_that_are_there() {
        for (exchange, routing_key, queue, expected) in [
            ("events", "Order.OrderPlaced", None, "events:Order.OrderPlaced"),
            ("events", "Order.OrderPlaced", Some("events.orders"), "events:Order.OrderPlaced:events.orders"),
            ("", "events.orders", Some("events.orders"), "events.orders"),
            ("events", "", None, "events"),
            ("", "", None, "amq.default"),
        ] {
            assert_eq!(destination(exchange, routing_key, queue), expected);
        }
    }

    #[test]
    fn without_a_provider_nothing_is_made_and_the_trace_of_others_goes_on() {
        let mut alone = publication();
        let other =
            SpanContext::new(1_u128.into(), 2_u64.into(), TraceFlags::SAMPLED, true, TraceState::default());
        let mut traced = publication();

        let nothing = Sending::start(true, &Parent(Context::new()), &mut alone);
        let carried =
            Sending::start(true, &Parent(Context::new().with_remote_span_context(other)), &mut traced);

        assert!(nothing.0.is_none());
        assert_eq!(alone.message.headers, Headers::new());
        assert!(carried.0.is_some());
        assert!(traced.message.headers.get("traceparent").is_some());
    }
}
