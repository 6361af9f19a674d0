//! What the bodies of events look like, as JSON Schemas.
//!
//! An event type that derives `schemars::JsonSchema` has one, found by `probe` without the type saying so to
//! `#[event]`; [`EventSchema`] makes of it what stands on the wire. Without the feature `schema` no event has any.

mod event_schema;
mod fields;
mod probe;

pub use self::event_schema::EventSchema;
#[cfg(feature = "cli")]
pub(crate) use self::fields::part;
#[cfg(not(feature = "schema"))]
pub use self::probe::no_schema;
#[cfg(feature = "schema")]
pub use self::probe::{SchemaProbe, WithSchema, WithoutSchema};
pub(crate) use self::{
    event_schema::{body_of, schema_of},
    fields::{CLOSED, Field, ROOT, fields},
};
