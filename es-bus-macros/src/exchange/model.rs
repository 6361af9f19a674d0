//! What `#[exchange]` means.

use proc_macro2::TokenStream;
use syn::{Attribute, Ident};

use super::{ExchangeName, from::Source};
use crate::{args::Constant, private::Private};

/// One annotated type.
pub(crate) struct Model {
    /// The path to es-bus.
    pub(crate) private: Private,
    /// The item, as it was written.
    pub(crate) item: TokenStream,
    /// Its `#[cfg]`s.
    pub(crate) cfgs: Vec<Attribute>,
    /// The name of the type.
    pub(crate) ident: Ident,
    /// The bus.
    pub(crate) bus: String,
    /// The name of the exchange.
    pub(crate) name: String,
    /// The variant of `ExchangeKind`.
    pub(crate) kind: &'static str,
    /// Whether it ends with the broker.
    pub(crate) transient: bool,
    /// Whether it ends with its last binding.
    pub(crate) auto_delete: bool,
    /// Whether publishers are refused.
    pub(crate) internal: bool,
    /// Where unroutable messages go.
    pub(crate) alternate: Option<ExchangeName>,
    /// Where it gets messages from.
    pub(crate) sources: Vec<Source>,
    /// Further arguments.
    pub(crate) arguments: Vec<(String, Constant)>,
    /// Whether everything is right, so that the exchange may be registered.
    pub(crate) sound: bool,
}
