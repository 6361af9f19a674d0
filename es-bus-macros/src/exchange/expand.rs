//! Writes the definition beside the struct.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::{ExchangeName, model::Model};
use crate::{
    handler::{
        bind::Bind,
        expand::{check, headers_const},
    },
    private::here,
};

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
    let (sources, source_checks) = sources(model);
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
                sources: &[#(#sources),*],
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
            #source_checks
            #definition
            #submission
        };
    }
}

/// What the exchange gets from others, and the questions whether those can give it.
fn sources(model: &Model) -> (Vec<TokenStream>, TokenStream) {
    let (p, mut all, mut checks) = (&model.private, Vec::new(), TokenStream::new());
    if !model.sound {
        // What is wrong would be a cycle.
        return (all, checks);
    }
    for (at, source) in model.sources.iter().enumerate() {
        let exchange = match &source.exchange {
            ExchangeName::Text(text) => quote!(#p::ExchangeRef { name: #text, def: #p::None }),
            by_type @ ExchangeName::Type(_) => by_type.ask(p, "source_of").unwrap_or_default(),
        };
        let mut binds = Vec::new();
        for (index, bind) in source.binds.iter().enumerate() {
            let name = format_ident!("__FROM_{}_{}", at, index);
            let bound = match bind {
                Bind::Key(key) => {
                    checks.extend(quote!(const #name: &#p::Str = #key;));
                    quote!(#p::Bind::Key(#name))
                }
                Bind::Headers(headers) => {
                    checks.extend(headers_const(p, &name, headers));
                    quote!(#p::Bind::Headers(#name))
                }
            };
            let range = bind.range();
            let question = range.call(p, "check_from", &quote!(&#bound, &#exchange));
            checks.extend(check(range, "FROM", &question));
            binds.push(bound);
        }
        if binds.is_empty() {
            let range = source.exchange.range();
            let question = range.call(p, "check_from_everything", &quote!(&#exchange));
            checks.extend(check(range, "FROM", &question));
        }
        all.push(quote!(#p::SourceDef { exchange: #exchange, binds: &[#(#binds),*] }));
    }
    (all, checks)
}
