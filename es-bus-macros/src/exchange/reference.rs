//! How `#[event]`, `#[group]` and `#[exchange]` itself name an exchange.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::{Expr, ExprLit, Lit, LitStr, Path};

use crate::{
    args::Args,
    errors::Errors,
    pattern,
    private::{Private, Range, here},
};

/// The name of an exchange.
#[derive(Clone)]
pub(crate) enum ExchangeName {
    /// By a text.
    Text(LitStr),
    /// By a type marked `#[exchange]`.
    Type(Path),
}

impl ExchangeName {
    /// Where it stands.
    pub(crate) fn range(&self) -> Range {
        match self {
            Self::Text(text) => Range::one(text.span()),
            Self::Type(path) => Range::of(path),
        }
    }

    /// `function::<Type>()`, in the place of the type; `None` for a text.
    pub(crate) fn ask(&self, private: &Private, function: &str) -> Option<TokenStream> {
        match self {
            Self::Text(_) => None,
            Self::Type(path) => {
                let at = here(Range::of(path).first);
                let p = private.at(at);
                let function = proc_macro2::Ident::new(function, at);
                Some(quote_spanned!(at=> #p::#function::<#path>()))
            }
        }
    }
}

/// Takes a key that names an exchange.
pub(crate) fn take_exchange(
    args: &mut Args,
    key: &str,
    attribute: &str,
    errors: &mut Errors,
) -> Option<ExchangeName> {
    let takes = format!("a text or a type marked `#[exchange]`: `{key} = \"orders\"`, `{key} = Orders`");
    let mut expr = args.expr(key, &takes, errors)?;
    while let Expr::Group(group) = expr {
        expr = *group.expr;
    }
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => {
            pattern::check_name("exchange", &name, errors);
            Some(ExchangeName::Text(name))
        }
        Expr::Path(path) if path.qself.is_none() => Some(ExchangeName::Type(path.path)),
        other => {
            errors.over(other, format!("`{key}` of `{attribute}` takes {takes}"));
            None
        }
    }
}
