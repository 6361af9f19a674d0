//! Writes the definition beside the struct.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::model::Model;
use crate::{layer, private::here};

/// The struct, and what makes it a group.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { private: p, item, cfgs, ident, bus, name, formerly, exchange, settings, layer, sound } =
        model;
    let by_type = exchange.as_ref().and_then(|exchange| exchange.ask(p, "exchange_of"));
    let home = by_type.iter().map(|def| quote!(("exchange", #def.name)));
    let keys = settings.iter().map(|(key, _)| key);
    let values = settings.iter().map(|(_, value)| value);
    let submission = sound.then(|| quote!(#p::submit! { #p::Submission::Group(<#ident as #p::Group>::DEF) }));
    let (layer_fn, layer) = layer::expand(p, layer.as_ref());
    let at = here(ident.span());
    let p_at = p.at(at);
    let exchange = match &by_type {
        Some(def) => quote!(#p::Some(#def)),
        None => quote!(#p::None),
    };
    let definition = quote_spanned! {at=>
        impl #p_at::Group for #ident {
            const DEF: &'static #p_at::GroupDef = &#p_at::GroupDef {
                bus: #bus,
                name: #name,
                formerly: &[#(#formerly),*],
                settings: &[#(#home,)* #((#keys, #values)),*],
                exchange: #exchange,
                layer: #layer,
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
            #layer_fn
            #definition
            #submission
        };
    }
}
