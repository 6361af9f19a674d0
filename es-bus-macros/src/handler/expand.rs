//! Writes the marker type and the definition beside the function.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;

use super::{
    bind::{Bind, HeadersMatch},
    model::{GroupName, Handler, Model},
};
use crate::{
    layer,
    private::{Private, Range, here, of_type},
};

/// The function, its marker type, and what registers it.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { private: p, item, cfgs, vis, ident, handler } = model;
    let mut marker = ident.clone();
    marker.set_span(here(ident.span()));
    let marker_type = quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(
            non_camel_case_types,
            dead_code,
            unreachable_pub,
            missing_debug_implementations,
            missing_copy_implementations
        )]
        #vis struct #marker {}
    };
    let body = match handler {
        Some(handler) => definition(p, &marker, ident, handler),
        None => quote! {
            impl #p::Handler for #marker {
                const DEF: &'static #p::HandlerDef = #p::BROKEN_HANDLER;
            }
        },
    };
    let allow = match handler {
        // A handler owns its arguments, and may be async without waiting for anything.
        Some(_) => quote!(#[allow(clippy::needless_pass_by_value, clippy::unused_async)]),
        // A function whose attribute is wrong is not called by anybody.
        None => quote!(#[allow(dead_code)]),
    };
    quote! {
        #allow
        #item
        #marker_type
        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::pedantic)]
        const _: () = { #body };
    }
}

fn definition(p: &Private, marker: &Ident, ident: &Ident, handler: &Handler) -> TokenStream {
    let Handler { bus, name, formerly, foreign, settings, args, .. } = handler;
    let has_bind = handler.bind.is_some();
    let binds = match &handler.bind {
        Some((binds, _)) => {
            let binds = binds.iter().enumerate().map(|(i, bind)| {
                let name = bind_const(i);
                match bind {
                    Bind::Key(_) => quote!(#p::Bind::Key(#name)),
                    Bind::Headers(_) => quote!(#p::Bind::Headers(#name)),
                }
            });
            quote!(&[#(#binds),*])
        }
        None => quote!(&#p::own_keys::<{ #p::own_key_count(__INPUTS) }>(__INPUTS)),
    };
    let group = match &handler.group {
        GroupName::Text(name) => quote!(#p::group_named(#name)),
        GroupName::Type(path) => {
            let at = here(Range::of(path).first);
            let p = p.at(at);
            quote_spanned!(at=> #p::group_of::<#path>())
        }
    };
    let checks = checks(p, ident, handler);
    let call = call(p, ident, handler);
    let needs = args.iter().map(|ty| of_type(ty, p, "FromDelivery", "needs"));
    let inputs = args.iter().map(|ty| of_type(ty, p, "FromDelivery", "INPUT"));
    let emits = handler.output.iter().map(|ty| of_type(ty, p, "IntoOutcome", "emits"));
    let (layer_fn, layer) = layer::expand(p, handler.layer.as_ref());
    let keys = settings.iter().map(|(key, _)| key);
    let values = settings.iter().map(|(_, value)| value);
    quote! {
        const __INPUTS: #p::Inputs = &[#(#inputs),*];
        const __GROUP: &#p::GroupRef = &#group;
        #checks
        const __BINDS: #p::Binds = #binds;
        fn __needs(__needs: &mut #p::Needs) { #(#needs(__needs);)* }
        fn __emits(__emits: &mut #p::Emits) { #(#emits(__emits);)* }
        #call
        #layer_fn
        impl #p::Handler for #marker {
            const DEF: &'static #p::HandlerDef = &#p::HandlerDef {
                bus: #bus,
                group: *__GROUP,
                name: #name,
                formerly: &[#(#formerly),*],
                binds: __BINDS,
                has_bind: #has_bind,
                foreign: #foreign,
                inputs: __INPUTS,
                needs: __needs,
                emits: #p::Emitted::By(__emits),
                settings: &[#((#keys, #values)),*],
                layer: #layer,
                call: #p::Call::One(__call),
                location: #p::location!(),
            };
        }
        #p::submit! { #p::Submission::Handler(<#marker as #p::Handler>::DEF) }
    }
}

/// Extracts each argument where its type stands, calls the function, reads what it returned.
fn call(p: &Private, ident: &Ident, handler: &Handler) -> TokenStream {
    let at = here(ident.span());
    let p_at = p.at(at);
    let names: Vec<Ident> = (0..handler.args.len()).map(|i| format_ident!("__arg{}", i, span = at)).collect();
    let extract = handler.args.iter().zip(&names).map(|(ty, name)| {
        let from_delivery = of_type(ty, p, "FromDelivery", "from_delivery");
        let mut arguments = Group::new(Delimiter::Parenthesis, quote_spanned!(at=> &__invocation));
        let last = Range::own(ty).last;
        arguments.set_span(last);
        quote_spanned!(last=> let #name = #from_delivery #arguments.await?;)
    });
    let called = if handler.is_async {
        quote_spanned!(at=> #ident(#(#names),*).await)
    } else {
        quote_spanned!(at=> #ident(#(#names),*))
    };
    let outcome = match &handler.output {
        Some(ty) => {
            let into_outcome = of_type(ty, p, "IntoOutcome", "into_outcome");
            quote!(#into_outcome(#called, &__invocation))
        }
        None => quote_spanned!(at=> #p_at::IntoOutcome::into_outcome(#called, &__invocation)),
    };
    let outcome = if handler.is_async {
        outcome
    } else {
        quote_spanned!(at=> #p_at::call_blocking(move || #outcome).await)
    };
    quote_spanned! {at=>
        fn __call(__invocation: #p_at::Invocation) -> #p_at::BoxFuture<'static, #p_at::Outcome> {
            #p_at::run(async move {
                #(#extract)*
                #p_at::Ok(#outcome)
            })
        }
    }
}

/// What needs the types of the arguments: one constant per question, each where its answer stands.
fn checks(p: &Private, ident: &Ident, handler: &Handler) -> TokenStream {
    let at_name = Range::one(ident.span());
    let mut checks =
        check(at_name, "EVENT_ARGUMENT", &at_name.call(p, "check_event_argument", &quote!(__INPUTS)));
    for (i, ty) in handler.args.iter().enumerate().skip(1) {
        let range = Range::of(ty);
        checks.extend(check(range, "ONE_EVENT", &range.call(p, "check_one_event", &quote!(__INPUTS, #i))));
    }
    match &handler.bind {
        None => {
            checks.extend(check(
                at_name,
                "NEEDS_BIND",
                &at_name.call(p, "check_raw_has_bind", &quote!(__INPUTS, __GROUP)),
            ));
            checks.extend(check(
                at_name,
                "NEEDS_HEADERS",
                &at_name.call(p, "check_own_headers", &quote!(__INPUTS, __GROUP)),
            ));
        }
        Some((binds, all)) => {
            for (i, bind) in binds.iter().enumerate() {
                let range = bind.range();
                let name = bind_const(i);
                let question = match bind {
                    Bind::Key(key) => {
                        // Once, so that a constant that is wrong is wrong in one place.
                        checks.extend(quote!(const #name: &#p::Str = #key;));
                        range.call(p, "check_bind", &quote!(#name, __INPUTS, __GROUP))
                    }
                    Bind::Headers(headers) => {
                        checks.extend(headers_const(p, &name, headers));
                        range.call(p, "check_headers", &quote!(&#name, __INPUTS, __GROUP))
                    }
                };
                checks.extend(check(range, "BIND", &question));
            }
            if !handler.partial {
                let call = all.call(p, "check_covers", &quote!(__BINDS, __INPUTS));
                checks.extend(check(*all, "BIND", &call));
            }
        }
    }
    checks
}

/// The headers that a binding asks for, as a constant.
pub(crate) fn headers_const(p: &Private, name: &Ident, headers: &HeadersMatch) -> TokenStream {
    let mode = if headers.any { quote!(Any) } else { quote!(All) };
    let values = headers.values.iter().map(|(header, value)| {
        let value = value.tokens(&quote!(#p));
        quote!((#header, #value))
    });
    quote! {
        const #name: #p::HeadersMatch =
            #p::HeadersMatch { mode: #p::Match::#mode, values: &[#(#values),*] };
    }
}

/// The constant that holds a binding key, or headers.
fn bind_const(index: usize) -> Ident {
    format_ident!("__BIND_{}", index)
}

pub(crate) fn check(range: Range, name: &str, call: &TokenStream) -> TokenStream {
    let name = Ident::new(name, range.first);
    quote_spanned!(range.first=> const _: () = { const #name: () = #call; };)
}
