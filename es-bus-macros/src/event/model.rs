//! What `#[event]` means, after everything that the macro can check has been checked.

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Ident, LitStr, Member, Type};

use crate::{args::Constant, exchange::ExchangeName, private::Private};

/// One annotated type.
pub(crate) struct Model {
    /// The path to es-bus.
    pub(crate) private: Private,
    /// The item, as it is written out again.
    pub(crate) item: TokenStream,
    /// The `#[cfg]`s of the item.
    pub(crate) cfgs: Vec<Attribute>,
    /// The name of the type.
    pub(crate) ident: Ident,
    /// The bus.
    pub(crate) bus: String,
    /// Whether it is a second view of an event that another type declares.
    pub(crate) view: bool,
    /// Struct or set; `None` when the attribute is wrong.
    pub(crate) shape: Option<Shape>,
}

/// What the type is.
pub(crate) enum Shape {
    /// A struct: one event.
    Struct(Kind),
    /// An enum: one event per variant.
    Set {
        /// What the set says for the events that its variants wrap.
        aggregate: Option<LitStr>,
        /// Its variants, in order.
        variants: Vec<Variant>,
    },
}

/// One variant of a set.
pub(crate) struct Variant {
    /// Its name.
    pub(crate) ident: Ident,
    /// Where its routing key is said, for messages.
    pub(crate) at: Span,
    /// What it holds.
    pub(crate) content: Content,
}

/// What a variant holds.
pub(crate) enum Content {
    /// A value of a type that is an event itself.
    Wraps(Box<Type>),
    /// Fields of its own.
    Inline {
        /// The event that it declares.
        kind: Box<Kind>,
        /// Where serde's derive counts it.
        index: u32,
    },
}

/// One event.
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) aggregate: String,
    /// The routing key; `*` for a word that is a field.
    pub(crate) key: String,
    /// The words of the key, when fields are among them.
    pub(crate) words: Vec<Word>,
    /// Where the key is said.
    pub(crate) key_at: Option<Span>,
    pub(crate) version: u32,
    pub(crate) exchange: Option<ExchangeName>,
    pub(crate) headers: Vec<(String, Constant)>,
    pub(crate) priority: Option<u8>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) transient: bool,
    pub(crate) unroutable: Option<Unroutable>,
    pub(crate) nested: bool,
    pub(crate) aggregate_id: Option<Member>,
}

/// One word of a routing key.
pub(crate) enum Word {
    Text(String),
    Field(Member),
}

/// What an event says about reaching no queue.
#[derive(Clone, Copy)]
pub(crate) enum Unroutable {
    Mandatory,
    Optional,
}
