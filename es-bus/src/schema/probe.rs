//! Whether a type has a schema, asked of the compiler.
//!
//! A trait bound would refuse the events that have none. So both answers are methods of one name, and the one that
//! wants `JsonSchema` takes its receiver with one reference less: rustc takes it wherever it fits.

use serde_json::Value as Json;

/// The schema of a type, if it has one. What generated code puts into an
/// [`EventDef`](crate::registry::EventDef); nothing runs until somebody asks.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __schema_of {
    ($ty:ty) => {
        || {
            #[allow(unused_imports)]
            use $crate::__private::{WithSchema as _, WithoutSchema as _};
            (&$crate::__private::SchemaProbe::<$ty>::NEW).schema()
        }
    };
}

/// The schema of a type, if it has one: never without the feature `schema`.
#[cfg(not(feature = "schema"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __schema_of {
    ($ty:ty) => {
        $crate::__private::no_schema
    };
}

/// Stands for a type.
#[cfg(feature = "schema")]
#[derive(Debug)]
pub struct SchemaProbe<T>(std::marker::PhantomData<T>);

#[cfg(feature = "schema")]
impl<T> SchemaProbe<T> {
    /// The only one.
    pub const NEW: Self = Self(std::marker::PhantomData);
}

/// A type that derives `JsonSchema`.
#[cfg(feature = "schema")]
pub trait WithSchema {
    /// Its schema.
    fn schema(&self) -> Option<Json>;
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> WithSchema for SchemaProbe<T> {
    fn schema(&self) -> Option<Json> {
        Some(schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value())
    }
}

/// Any other type.
#[cfg(feature = "schema")]
pub trait WithoutSchema {
    /// None.
    fn schema(&self) -> Option<Json>;
}

#[cfg(feature = "schema")]
impl<T> WithoutSchema for &SchemaProbe<T> {
    fn schema(&self) -> Option<Json> {
        None
    }
}

/// What all types have without the feature `schema`.
#[cfg(not(feature = "schema"))]
#[must_use]
pub fn no_schema() -> Option<Json> {
    None
}
