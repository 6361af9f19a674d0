//! The path to `es_bus::__private`, and the span that generated tokens carry.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};

use crate::errors::Errors;

/// How the user's crate calls es-bus: `::es_bus`, or what `crate = path` says.
#[derive(Clone, Debug)]
pub(crate) struct Private(TokenStream);

impl Private {
    /// The path to the private module, from the value of `crate`.
    pub(crate) fn new(krate: Option<&syn::Path>) -> Self {
        Self(match krate {
            Some(path) => quote!(#path::__private),
            None => quote!(::es_bus::__private),
        })
    }

    /// The path, each token of it standing where the user's token stands.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        respan(self.0.clone(), span)
    }
}

impl ToTokens for Private {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        respan(self.0.clone(), Span::call_site()).to_tokens(tokens);
    }
}

/// A place in the user's source, with the names resolved where the attribute stands.
///
/// `located_at` keeps rustc and clippy aware that a macro wrote the token.
pub(crate) fn here(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// Where something of the user's begins and ends; a stable macro cannot join the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// Its first token.
    pub(crate) first: Span,
    /// Its last token.
    pub(crate) last: Span,
}

impl Range {
    /// Of some tokens.
    pub(crate) fn of(tokens: &impl ToTokens) -> Self {
        let Self { first, last } = Self::own(tokens);
        Self { first: here(first), last: here(last) }
    }

    /// Of some tokens, looking as if the user had written what stands there.
    pub(crate) fn own(tokens: &impl ToTokens) -> Self {
        let mut trees = tokens.to_token_stream().into_iter();
        let first = trees.next().map_or_else(Span::call_site, |tree| tree.span());
        let last = trees.last().map_or(first, |tree| tree.span());
        Self { first, last }
    }

    /// Of one token.
    pub(crate) fn one(span: Span) -> Self {
        Self { first: here(span), last: here(span) }
    }
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut tree| {
            tree.set_span(tree.span().located_at(span));
            tree
        })
        .collect()
}

impl Range {
    /// A call of one of es-bus's functions that underlines the whole range when it fails.
    ///
    /// rustc underlines a call from its first token to its last, if they come from the same place.
    pub(crate) fn call(self, private: &Private, function: &str, args: &TokenStream) -> TokenStream {
        let path = private.at(self.first);
        let function = proc_macro2::Ident::new(function, self.first);
        let mut args = proc_macro2::Group::new(proc_macro2::Delimiter::Parenthesis, args.clone());
        args.set_span(self.last);
        quote::quote_spanned!(self.first=> #path::#function #args)
    }
}

/// Whether some tokens are a type, readable or not.
pub(crate) fn is_type(item: &TokenStream) -> bool {
    item.clone().into_iter().any(|tree| {
        matches!(&tree, proc_macro2::TokenTree::Ident(word) if word == "struct" || word == "enum" || word == "union")
    })
}

/// Reads the unit struct that an attribute stands on; on another type that is told, and the rest of the
/// attribute is still read. `None` when there is nothing to write beside the item.
pub(crate) fn unit_struct(
    item: &TokenStream,
    belongs: &str,
    errors: &mut Errors,
) -> Option<syn::DeriveInput> {
    let Ok(input) = syn::parse2::<syn::DeriveInput>(item.clone()) else {
        // A type that cannot be read has its syntax error from rustc already.
        if !is_type(item) {
            errors.at(Span::call_site(), belongs);
        }
        return None;
    };
    if !matches!(&input.data, syn::Data::Struct(data) if matches!(data.fields, syn::Fields::Unit)) {
        errors.at(input.ident.span(), belongs);
    }
    Some(input)
}

/// `<ty as trait>::item`, in the place of the type to the last character.
///
/// rustc has several questions about one type (is it an event? can it be read?); asked in the same
/// place, the same answer is shown once. So these tokens look as if the user had written them.
pub(crate) fn of_type(ty: &syn::Type, private: &Private, trait_name: &str, item: &str) -> TokenStream {
    let Range { first, last } = Range::own(ty);
    let path = private.at(first);
    let trait_name = proc_macro2::Ident::new(trait_name, first);
    let item = proc_macro2::Ident::new(item, last);
    quote::quote_spanned!(first=> <#ty as #path::#trait_name>::#item)
}
