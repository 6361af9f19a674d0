//! What generated code may call, and nothing else. No promise is made about any of it.

/// Submits a definition to the registry, by whichever collector the crate was built with.
#[cfg(not(feature = "linkme"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit {
    ($submission:expr) => {
        $crate::__private::inventory::submit! { $submission }
    };
}

/// Submits a definition to the registry, by whichever collector the crate was built with.
#[cfg(feature = "linkme")]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit {
    ($submission:expr) => {
        #[$crate::__private::linkme::distributed_slice($crate::__private::SUBMISSIONS)]
        #[linkme(crate = $crate::__private::linkme)]
        static __SUBMISSION: $crate::__private::Submission = $submission;
    };
}

pub use crate::{__schema_of as schema_of, __submit as submit};
#[cfg(not(feature = "linkme"))]
pub use inventory;
#[cfg(feature = "linkme")]
pub use linkme;

pub use std::{
    borrow::Cow,
    error::Error,
    file, line, module_path,
    option::Option::{self, None, Some},
    result::Result::{self, Err, Ok},
    time::Duration,
};

pub use serde::{Deserializer, Serializer};

pub use crate::{
    blocking::call_blocking,
    const_check::{
        check_aggregate, check_bind, check_covers, check_distinct, check_event_argument, check_from,
        check_from_everything, check_headers, check_key_fields, check_one_event, check_own_headers,
        check_raw_has_bind, check_wrapped, own_key_count, own_keys, wrapped_kind,
    },
    event::{Event, EventKind, PayloadStyle, Unroutable},
    event_set::{AggregateId, Payload, kind_index, unknown_event},
    exchange::{Bind, ExchangeDef, ExchangeKind, ExchangeRef, HeadersMatch, Match, SourceDef},
    extract::{FromDelivery, Input, Need},
    handler::{BoxFuture, Call, HandlerService, Invocation},
    message::StaticValue,
    outcome::{AsDynError, Failure, HandlerError, IntoOutcome, Outcome, Verdict, verdict_of_source},
    registry::{
        DeclaredEvent, Emitted, EventDef, Exchange, FailureDef, Group, GroupDef, GroupRef, Handler,
        HandlerDef, Location, Submission,
    },
};

#[cfg(not(feature = "schema"))]
pub use crate::schema::no_schema;
#[cfg(feature = "schema")]
pub use crate::schema::{SchemaProbe, WithSchema, WithoutSchema};

#[cfg(feature = "linkme")]
pub use crate::registry::SUBMISSIONS;

use std::fmt::{Display, Write as _};

use tower::{Layer, Service};

use crate::{
    outcome::BoxError,
    registry::{self, Facts, Registry, Report},
};

/// What `es_bus::check!()` runs: everything that is wrong with the linked program as a whole, and with the topology
/// that its attributes make, but for the state that only the program's own builder provides.
///
/// # Panics
///
/// With the report, when something is found, and when nothing at all is linked: a test that looks at
/// nothing passes for the wrong reason.
#[track_caller]
pub fn check_registry() {
    let registry = Registry::collected();
    let facts = if registry.is_empty() { Facts::new().consuming() } else { Facts::new() };
    let findings = registry::check(&registry, &facts);
    assert!(findings.is_empty(), "{}", Report(&findings));
    let conflicts = crate::bus::conflicts(&registry);
    assert!(conflicts.is_empty(), "{:?}", crate::error::Error::Conflict(conflicts));
}

/// `str`, whatever the user's crate calls so.
pub type Str = str;

/// The kinds of an event type.
pub type Kinds = &'static [EventKind];

/// What a handler asks for.
pub type Binds = &'static [Bind];

/// What the arguments of a handler are.
pub type Inputs = &'static [Input];

/// What has to be provided.
pub type Needs = Vec<Need>;

/// What a result may publish.
pub type Emits = Vec<&'static EventKind>;

/// The routing key that words make: texts, and the values of fields.
#[must_use]
pub fn key_of(words: &[&dyn Display]) -> Cow<'static, str> {
    let mut key = String::new();
    for (index, word) in words.iter().enumerate() {
        key.push_str(if index == 0 { "" } else { "." });
        // What a value refuses to print is missing, and the publish is refused.
        let _ = write!(key, "{word}");
    }
    Cow::Owned(key)
}

/// Runs a handler: an error of an extractor is the handler's own.
pub fn run(
    handler: impl Future<Output = Result<Outcome, HandlerError>> + Send + 'static,
) -> BoxFuture<'static, Outcome> {
    Box::pin(async move { handler.await.unwrap_or_else(Outcome::Failed) })
}

/// Reads an event from JSON, where the program has a command line that publishes by name; else there is no code
/// for it.
#[must_use]
pub const fn decoder_of<E: Event>() -> Option<registry::DecodeFn> {
    #[cfg(feature = "cli")]
    return Some(|name, json| {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let event = E::deserialize_payload(name, &mut deserializer)?;
        deserializer.end()?;
        Ok(Box::new(event))
    });
    #[cfg(not(feature = "cli"))]
    return None;
}

/// The exchange that a group or an event names by its type.
#[must_use]
pub const fn exchange_of<X: Exchange>() -> &'static ExchangeDef {
    X::DEF
}

/// The exchange that another one gets messages from.
#[must_use]
pub const fn source_of<X: Exchange>() -> ExchangeRef {
    alternate_of::<X>()
}

/// The exchange that another one hands its unroutable messages to.
#[must_use]
pub const fn alternate_of<X: Exchange>() -> ExchangeRef {
    ExchangeRef { name: X::DEF.name, def: Some(X::DEF) }
}

/// The group that a handler names by its type.
#[must_use]
pub const fn group_of<G: Group>() -> GroupRef {
    GroupRef { name: G::DEF.name, def: Some(G::DEF) }
}

/// The group that a handler names by a text.
#[must_use]
pub const fn group_named(name: &'static str) -> GroupRef {
    GroupRef { name, def: None }
}

/// Puts the layer of an attribute around a service.
pub fn around<L>(inner: HandlerService, layer: L) -> HandlerService
where
    L: Layer<HandlerService> + Send + 'static,
    L::Service: Service<Invocation, Response = Outcome> + Send + 'static,
    <L::Service as Service<Invocation>>::Error: Into<BoxError>,
    <L::Service as Service<Invocation>>::Future: Send + 'static,
{
    inner.layered(layer)
}

/// The verdict of an error, when it is an `E`.
#[must_use]
pub fn verdict_of<E: Failure + 'static>(error: &(dyn Error + 'static)) -> Option<Verdict> {
    error.downcast_ref::<E>().map(Failure::verdict)
}

/// Where an annotated item stands.
#[doc(hidden)]
#[macro_export]
macro_rules! __location {
    () => {
        $crate::__private::Location {
            module: $crate::__private::module_path!(),
            file: $crate::__private::file!(),
            line: $crate::__private::line!(),
        }
    };
}
pub use crate::__location as location;

/// Stands for a handler whose attribute is wrong, beside the error that says so.
pub const BROKEN_HANDLER: &HandlerDef = &HandlerDef {
    bus: "",
    group: group_named(""),
    name: "",
    formerly: &[],
    binds: &[],
    has_bind: false,
    foreign: false,
    inputs: &[],
    needs: |_| (),
    emits: Emitted::By(|_| ()),
    settings: &[],
    layer: None,
    call: Call::One(|_| run(async { Ok(Outcome::Done) })),
    location: crate::__location!(),
};

/// What `es_bus::check!(builder())` runs: builds the program's own bus, with its state, for the
/// in-process broker.
///
/// # Panics
///
/// With the report, when something is found.
#[track_caller]
pub fn check_builder(builder: crate::bus::BusBuilder) {
    if let Err(error) = builder.force_url("memory://").build() {
        panic!("{error:?}");
    }
}
