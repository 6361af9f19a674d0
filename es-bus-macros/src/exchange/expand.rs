//! Writes the definition beside the struct.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::{ExchangeName, model::Model};
use crate::private::here;

/// The struct, and what makes it an exchange.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { private: p, item, cfgs, ident, bus, name, transient, auto_delete, internal, .. } = model;
    let at = here(ident.span());
    let p_at = p.at(at);
    let kind = format_ident!("{}", model.kind);
    let durable = !transient;
    let alternate = match &model.alternate {
        // What is wrong would be a cycle.
        _ if !model.sound => quote!(#p::None),
        None => quote!(#p::None),
        Some(ExchangeName::Text(text)) => quote!(#p::Some(#p::ExchangeRef { name: #text, def: #p::None })),
        Some(by_type) => {
            let alternate = by_type.ask(p, "alternate_of");
            quote!(#p::Some(#alternate))
        }
    };
    let arguments = model.arguments.iter().map(|(name, value)| {
        let value = value.tokens(&p_at);
        quote!((#name, #value))
    });
    let submission =
        model.sound.then(|| quote!(#p::submit! { #p::Submission::Exchange(<#ident as #p::Exchange>::DEF) }));
    let definition = quote_spanned! {at=>
        impl #p_at::Exchange for #ident {
            const DEF: &'static #p_at::ExchangeDef = &#p_at::ExchangeDef {
                bus: #bus,
                name: #name,
                kind: #p_at::ExchangeKind::#kind,
                durable: #durable,
                auto_delete: #auto_delete,
                internal: #internal,
                alternate: #alternate,
                arguments: &[#(#arguments),*],
                location: #p_at::location!(),
            };
        }
    };
    quote! {
        #[allow(dead_code)]
        #item
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            #definition
            #submission
        };
    }
}
