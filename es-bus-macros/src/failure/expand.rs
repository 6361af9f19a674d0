//! Writes the verdicts.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Ident;

use super::model::{Case, Model, Verdict};
use crate::private::here;

/// The implementation, and what lets the bus find it in a chain of errors.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { private: p, ident, cases } = model;
    let at = here(ident.span());
    let p_at = p.at(at);
    let body = match cases {
        None => quote!(#p::Verdict::Retry),
        // A type without values has no verdict to give.
        Some(cases) if cases.is_empty() => quote!(match *self {}),
        Some(cases) => {
            let arms = cases.iter().map(|case| arm(&quote!(#p), case));
            quote!(match self { #(#arms,)* })
        }
    };
    let submission = cases.as_ref().map(|_| {
        quote! {
            static __DEF: #p::FailureDef = #p::FailureDef { verdict: #p::verdict_of::<#ident> };
            #p::submit! { #p::Submission::Failure(&__DEF) }
        }
    });
    let implementation = quote_spanned! {at=>
        impl #p_at::Failure for #ident {
            fn verdict(&self) -> #p_at::Verdict {
                #body
            }
        }
    };
    quote! {
        #[allow(deprecated)]
        const _: () = {
            #implementation
            #submission
        };
    }
}

fn arm(p: &TokenStream, Case { variant, verdict }: &Case) -> TokenStream {
    let path = path_of(variant.as_ref());
    match verdict {
        Verdict::Retry => quote!(#path { .. } => #p::Verdict::Retry),
        Verdict::RetryAfter(ms) => {
            quote!(#path { .. } => #p::Verdict::RetryAfter(#p::Duration::from_millis(#ms)))
        }
        Verdict::Reject => quote!(#path { .. } => #p::Verdict::Reject),
        Verdict::Drop => quote!(#path { .. } => #p::Verdict::Drop),
        Verdict::Of(field, place) => {
            // Found through `Deref`, so that a box or an `anyhow::Error` serves as well.
            let inner = quote_spanned!(here(*place)=> __source.as_dyn_error());
            quote! {
                #path { #field: __source, .. } => {
                    use #p::AsDynError as _;
                    #p::verdict_of_source(#inner)
                }
            }
        }
    }
}

fn path_of(variant: Option<&Ident>) -> TokenStream {
    match variant {
        Some(variant) => quote!(Self::#variant),
        None => quote!(Self),
    }
}
