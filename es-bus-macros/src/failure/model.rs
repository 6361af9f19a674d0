//! What `#[failure(..)]` means.

use proc_macro2::Span;
use syn::{Ident, Member};

use crate::private::Private;

/// One error type.
pub(crate) struct Model {
    /// The path to es-bus.
    pub(crate) private: Private,
    /// The name of the type.
    pub(crate) ident: Ident,
    /// Its cases: the variants of an enum, or a struct as the one case without a name. `None`
    /// when an attribute is wrong.
    pub(crate) cases: Option<Vec<Case>>,
}

/// One variant, or the struct.
pub(crate) struct Case {
    /// The name of the variant.
    pub(crate) variant: Option<Ident>,
    /// What it asks for.
    pub(crate) verdict: Verdict,
}

/// What a failure asks for.
pub(crate) enum Verdict {
    Retry,
    RetryAfter(u64),
    Reject,
    Drop,
    /// What the error in this field asks for; the place is that of its type.
    Of(Member, Span),
}
