//! What `#[group]` means.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Ident};

use crate::{exchange::ExchangeName, private::Private, settings::Settings};

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
    /// The name of the group.
    pub(crate) name: String,
    /// The names that it had before.
    pub(crate) formerly: Vec<String>,
    /// Its home exchange.
    pub(crate) exchange: Option<ExchangeName>,
    /// Its settings.
    pub(crate) settings: Settings,
    /// The layer around everything that it handles.
    pub(crate) layer: Option<Expr>,
    /// Whether everything is right, so that the group may be registered.
    pub(crate) sound: bool,
}
