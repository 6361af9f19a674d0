//! What `#[handler]` means, after everything that the macro can check has been checked.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Ident, LitStr, Path, Type, Visibility};

use super::bind::Bind;
use crate::{
    private::{Private, Range},
    settings::Settings,
};

/// One annotated function.
pub(crate) struct Model {
    /// The path to es-bus.
    pub(crate) private: Private,
    /// The function, as it was written.
    pub(crate) item: TokenStream,
    /// Its `#[cfg]`s.
    pub(crate) cfgs: Vec<Attribute>,
    /// Its visibility, for the marker type.
    pub(crate) vis: Visibility,
    /// Its name.
    pub(crate) ident: Ident,
    /// What the attribute says; `None` when it is wrong.
    pub(crate) handler: Option<Handler>,
}

/// What there is to say of a handler.
pub(crate) struct Handler {
    /// Whether it is an `async fn`.
    pub(crate) is_async: bool,
    /// The types of its arguments.
    pub(crate) args: Vec<Type>,
    /// What it returns, when it says.
    pub(crate) output: Option<Type>,
    /// The bus.
    pub(crate) bus: String,
    /// Its group.
    pub(crate) group: GroupName,
    /// Its name.
    pub(crate) name: String,
    /// Names that it had before.
    pub(crate) formerly: Vec<String>,
    /// What it asks for, and where the whole of them stands.
    pub(crate) bind: Option<(Vec<Bind>, Range)>,
    /// Whether it may leave out events of its set.
    pub(crate) partial: bool,
    /// Whether others own the events that it binds to.
    pub(crate) foreign: bool,
    /// Policy of its own.
    pub(crate) settings: Settings,
    /// The layer around it.
    pub(crate) layer: Option<Expr>,
}

/// How a handler names its group.
pub(crate) enum GroupName {
    /// By a text.
    Text(LitStr),
    /// By a type marked `#[group]`.
    Type(Path),
}
