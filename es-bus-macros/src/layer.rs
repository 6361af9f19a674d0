//! `layer = ..` of groups and handlers: what makes a layer, put around a service.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Expr;

use crate::{
    args::Args,
    errors::Errors,
    private::{Private, Range},
};

const TAKES: &str = "a function that makes a layer, or a call that does: `layer = at_most_ten`, \
                     `layer = RateLimitLayer::new(10, SECOND)`";

/// Takes the layer, when one is given.
pub(crate) fn take(args: &mut Args, attribute: &str, errors: &mut Errors) -> Option<Expr> {
    let layer = args.expr("layer", TAKES, errors)?;
    match &layer {
        Expr::Lit(_) | Expr::Array(_) | Expr::Tuple(_) => {
            errors.over(&layer, format!("`layer` of `{attribute}` takes {TAKES}"));
            None
        }
        _ => Some(layer),
    }
}

/// The function that puts the layer around a service, and the value that names it.
pub(crate) fn expand(p: &Private, layer: Option<&Expr>) -> (TokenStream, TokenStream) {
    let Some(layer) = layer else { return (TokenStream::new(), quote!(#p::None)) };
    let made = match layer {
        Expr::Path(_) => {
            let mut call = proc_macro2::Group::new(proc_macro2::Delimiter::Parenthesis, TokenStream::new());
            call.set_span(Range::own(layer).last);
            quote!(#layer #call)
        }
        _ => quote!(#layer),
    };
    let around = Range::of(layer).call(p, "around", &quote!(__inner, #made));
    let function = quote! {
        fn __layer(__inner: #p::HandlerService) -> #p::HandlerService { #around }
    };
    (function, quote!(#p::Some(__layer)))
}
