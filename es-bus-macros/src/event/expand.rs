//! Writes the implementations beside the item.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Ident, Member, Type, ext::IdentExt as _};

use super::model::{Content, Kind, Model, Shape, Unroutable, Variant, Word};
use crate::{
    exchange::ExchangeName,
    private::{Private, Range, here, of_type},
};

/// The item, and what makes it an event.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { private: p, item, cfgs, ident, bus, view, shape } = model;
    let name = &ident.unraw().to_string();
    let body = match shape {
        None => broken(p, ident),
        Some(Shape::Struct(kind)) => {
            let own = of_struct(p, ident, kind);
            let key = key_check(p, ident, kind, 0);
            quote!(#own #key)
        }
        Some(Shape::Set { aggregate, variants }) => {
            let set = of_set(p, ident, variants);
            let checks = checks(p, name, ident, aggregate.as_ref(), variants);
            quote!(#set #checks)
        }
    };
    let declared = declared_kinds(p, shape.as_ref());
    let at = here(ident.span());
    let p_at = p.at(at);
    let is_set = matches!(shape, Some(Shape::Set { .. }));
    let submission = shape
        .as_ref()
        .map(|_| quote!(#p::submit! { #p::Submission::Event(<#ident as #p::DeclaredEvent>::DEF) }));
    let impls = quote_spanned! {at=>
        impl #p_at::DeclaredEvent for #ident {
            const DEF: &'static #p_at::EventDef = &#p_at::EventDef {
                bus: #bus,
                type_name: #name,
                kinds: #declared,
                view: #view,
                is_set: #is_set,
                schema: #p_at::schema_of!(#ident),
                decode: #p_at::decoder_of::<#ident>(),
                location: #p_at::location!(),
            };
        }
        impl #p_at::FromDelivery for #ident {
            const INPUT: #p_at::Input =
                #p_at::Input::Event { name: <#ident as #p_at::Event>::TYPE_NAME, kinds: <#ident as #p_at::Event>::KINDS };
            async fn from_delivery(
                invocation: &#p_at::Invocation,
            ) -> #p_at::Result<Self, #p_at::HandlerError> {
                invocation.decode::<Self>()
            }
        }
    };
    quote! {
        #item
        #(#cfgs)*
        #[allow(deprecated, clippy::pedantic)]
        const _: () = {
            #body
            #impls
            #submission
        };
    }
}

/// `EventKind::new(..)` and what differs from the default.
fn kind_value(private: &Private, at: Span, kind: &Kind) -> TokenStream {
    let p = &private.at(at);
    let Kind {
        name,
        aggregate,
        key,
        version,
        exchange,
        headers,
        priority,
        ttl_ms,
        transient,
        unroutable,
        nested,
        ..
    } = kind;
    let version = (*version != 1).then(|| quote!(.version(#version)));
    let exchange = exchange.iter().map(|exchange| match exchange {
        ExchangeName::Text(text) => quote!(.exchange(#text)),
        ExchangeName::Type(_) => {
            let def = exchange.ask(private, "exchange_of");
            quote!(.on(#def))
        }
    });
    let headers = (!headers.is_empty()).then(|| {
        let pairs = headers.iter().map(|(name, value)| {
            let value = value.tokens(p);
            quote!((#name, #value))
        });
        quote!(.headers(&[#(#pairs),*]))
    });
    let priority = priority.iter().map(|priority| quote!(.priority(#priority)));
    let ttl = ttl_ms.iter().map(|ms| quote!(.ttl_ms(#ms)));
    let transient = transient.then(|| quote!(.transient()));
    let unroutable = unroutable.iter().map(|unroutable| match unroutable {
        Unroutable::Mandatory => quote!(.unroutable(#p::Unroutable::Mandatory)),
        Unroutable::Optional => quote!(.unroutable(#p::Unroutable::Optional)),
    });
    let nested = nested.then(|| quote!(.nested()));
    quote! {
        #p::EventKind::new(#name, #aggregate, #key)
            #version #(#exchange)* #headers #(#priority)* #(#ttl)* #transient #(#unroutable)* #nested
    }
}

/// The events that the type declares itself.
fn declared_kinds(p: &Private, shape: Option<&Shape>) -> TokenStream {
    let at = Span::call_site();
    let kinds: Vec<TokenStream> = match shape {
        None => Vec::new(),
        Some(Shape::Struct(kind)) => vec![kind_value(p, at, kind)],
        Some(Shape::Set { variants, .. }) => variants
            .iter()
            .filter_map(|variant| match &variant.content {
                Content::Wraps(_) => None,
                Content::Inline { kind, .. } => Some(kind_value(p, at, kind)),
            })
            .collect(),
    };
    quote!(&[#(#kinds),*])
}

fn of_struct(p: &Private, ident: &Ident, kind: &Kind) -> TokenStream {
    let type_name = ident.unraw().to_string();
    let value = kind_value(p, here(ident.span()), kind);
    let p = p.at(here(ident.span()));
    let key = &kind.key;
    let aggregate_id = kind.aggregate_id.as_ref().map(|field| {
        let at = here(ident.span());
        quote_spanned! {at=>
            fn aggregate_id(&self) -> #p::Option<#p::Cow<'_, #p::Str>> {
                #p::Some(#p::AggregateId::aggregate_id(&self.#field))
            }
        }
    });
    let routing_key = (!kind.words.is_empty()).then(|| {
        let words = words(kind, |at, member| quote_spanned!(at=> self.#member));
        quote_spanned! {here(ident.span())=>
            fn routing_key(&self) -> #p::Cow<'static, #p::Str> {
                #p::key_of(#words)
            }
        }
    });
    let doc = match kind.words.is_empty() {
        true => format!("The routing key of this event: `{key}`."),
        false => format!("The binding key of this event, whatever its fields: `{key}`."),
    };
    quote_spanned! {here(ident.span())=>
        impl #p::Event for #ident {
            const TYPE_NAME: &'static #p::Str = #type_name;
            const KINDS: #p::Kinds = &[#value];
            fn kind(&self) -> &'static #p::EventKind {
                &<Self as #p::Event>::KINDS[0]
            }
            #routing_key
            #aggregate_id
            fn serialize_payload<S: #p::Serializer>(&self, serializer: S) -> #p::Result<S::Ok, S::Error> {
                <Self as #p::Payload>::write(self, serializer)
            }
            fn deserialize_payload<'de, D: #p::Deserializer<'de>>(
                name: &#p::Str,
                deserializer: D,
            ) -> #p::Result<Self, D::Error> {
                match #p::kind_index(<Self as #p::Event>::KINDS, name) {
                    #p::Some(_) => <Self as #p::Payload>::read(deserializer),
                    #p::None => #p::Err(#p::unknown_event(<Self as #p::Event>::KINDS, name)),
                }
            }
        }
        #[allow(dead_code)]
        impl #ident {
            #[doc = #doc]
            pub const ROUTING_KEY: &'static #p::Str = #key;
        }
    }
}

fn of_set(private: &Private, ident: &Ident, variants: &[Variant]) -> TokenStream {
    let type_name = ident.unraw().to_string();
    let at = here(ident.span());
    let p = &private.at(at);
    let kinds = variants.iter().map(|variant| match &variant.content {
        Content::Inline { kind, .. } => kind_value(private, at, kind),
        Content::Wraps(ty) => {
            let kinds = of_type(ty, private, "Event", "KINDS");
            quote_spanned!(at=> #p::wrapped_kind(#kinds))
        }
    });
    let kind_arms = variants.iter().enumerate().map(|(i, Variant { ident, .. })| {
        quote_spanned!(at=> Self::#ident { .. } => &<Self as #p::Event>::KINDS[#i])
    });
    let key_arms = variants.iter().map(|Variant { ident, content, .. }| match content {
        Content::Inline { kind, .. } if kind.words.is_empty() => {
            let key = &kind.key;
            quote_spanned!(at=> Self::#ident { .. } => #p::Cow::Borrowed(#key))
        }
        Content::Inline { kind, .. } => {
            let members: Vec<&Member> = kind
                .words
                .iter()
                .filter_map(|word| match word {
                    Word::Text(_) => None,
                    Word::Field(member) => Some(member),
                })
                .collect();
            let value = |member: &Member| {
                let at = members.iter().position(|it| *it == member).unwrap_or_default();
                Ident::new(&format!("word{at}"), here(ident.span()))
            };
            let words = words(kind, |_, member| value(member).into_token_stream());
            let mut bound: Vec<&Member> = Vec::new();
            for member in &members {
                if !bound.contains(member) {
                    bound.push(member);
                }
            }
            let values = bound.iter().map(|member| value(member));
            quote_spanned!(at=> Self::#ident { #(#bound: #values,)* .. } => #p::key_of(#words))
        }
        Content::Wraps(ty) => {
            let routing_key = of_type(ty, private, "Event", "routing_key");
            quote_spanned!(at=> Self::#ident(event) => #routing_key(event))
        }
    });
    let id_arms = variants.iter().map(|Variant { ident, content, .. }| match content {
        Content::Inline { kind, .. } => match &kind.aggregate_id {
            Some(field) => quote_spanned! {at=>
                Self::#ident { #field: field, .. } => #p::Some(#p::AggregateId::aggregate_id(field))
            },
            None => quote_spanned!(at=> Self::#ident { .. } => #p::None),
        },
        Content::Wraps(ty) => {
            let aggregate_id = of_type(ty, private, "Event", "aggregate_id");
            quote_spanned!(at=> Self::#ident(event) => #aggregate_id(event))
        }
    });
    let write_arms = variants.iter().map(|Variant { ident, content, .. }| match content {
        Content::Inline { .. } => quote_spanned! {at=>
            Self::#ident { .. } => <Self as #p::Payload>::write_variant(self, serializer)
        },
        Content::Wraps(ty) => {
            let serialize = of_type(ty, private, "Event", "serialize_payload");
            quote_spanned!(at=> Self::#ident(event) => #serialize(event, serializer))
        }
    });
    let read_arms = variants.iter().enumerate().map(|(i, Variant { ident, content, .. })| match content {
        Content::Inline { index, .. } => quote_spanned! {at=>
            #p::Some(#i) => <Self as #p::Payload>::read_variant(#index, deserializer)
        },
        Content::Wraps(ty) => {
            let deserialize = of_type(ty, private, "Event", "deserialize_payload");
            quote_spanned! {at=>
                #p::Some(#i) => match #deserialize(name, deserializer) {
                    #p::Ok(event) => #p::Ok(Self::#ident(event)),
                    #p::Err(error) => #p::Err(error),
                }
            }
        }
    });
    quote_spanned! {at=>
        impl #p::Event for #ident {
            const TYPE_NAME: &'static #p::Str = #type_name;
            const KINDS: #p::Kinds = &[#(#kinds),*];
            fn kind(&self) -> &'static #p::EventKind {
                match self { #(#kind_arms,)* }
            }
            fn routing_key(&self) -> #p::Cow<'static, #p::Str> {
                match self { #(#key_arms,)* }
            }
            fn aggregate_id(&self) -> #p::Option<#p::Cow<'_, #p::Str>> {
                match self { #(#id_arms,)* }
            }
            fn serialize_payload<S: #p::Serializer>(&self, serializer: S) -> #p::Result<S::Ok, S::Error> {
                match self { #(#write_arms,)* }
            }
            fn deserialize_payload<'de, D: #p::Deserializer<'de>>(
                name: &#p::Str,
                deserializer: D,
            ) -> #p::Result<Self, D::Error> {
                match #p::kind_index(<Self as #p::Event>::KINDS, name) {
                    #(#read_arms,)*
                    _ => #p::Err(#p::unknown_event(<Self as #p::Event>::KINDS, name)),
                }
            }
        }
    }
}

/// The words of a key, each field by what `value` makes of it.
fn words(kind: &Kind, value: impl Fn(Span, &Member) -> TokenStream) -> TokenStream {
    // What a field lacks is told where the key names it.
    let at = here(kind.key_at.unwrap_or_else(Span::call_site));
    let words = kind.words.iter().map(|word| match word {
        Word::Text(text) => quote_spanned!(at=> &#text),
        Word::Field(member) => {
            let value = value(at, member);
            quote_spanned!(at=> &#value)
        }
    });
    quote_spanned!(at=> &[#(#words),*])
}

/// An event with fields in its key is on an exchange that can bind all of its messages.
fn key_check(p: &Private, ident: &Ident, kind: &Kind, index: usize) -> Option<TokenStream> {
    let by_type = matches!(kind.exchange, Some(ExchangeName::Type(_)));
    (by_type && !kind.words.is_empty()).then(|| {
        let at = here(kind.key_at.unwrap_or_else(Span::call_site));
        let p = p.at(at);
        quote_spanned! {at=>
            const _: () = {
                const KEY: () = #p::check_key_fields(&<#ident as #p::Event>::KINDS[#index]);
            };
        }
    })
}

/// What only the types know: that wrapped ones are single events, and that no two are the same.
fn checks(
    p: &Private,
    name: &str,
    ident: &Ident,
    aggregate: Option<&syn::LitStr>,
    variants: &[Variant],
) -> TokenStream {
    let wraps = |variant: &&Variant| matches!(variant.content, Content::Wraps(_));
    let any_wraps = variants.iter().any(|variant| wraps(&variant));
    let mut checks = TokenStream::new();
    for (i, variant) in variants.iter().enumerate() {
        if let Content::Wraps(ty) = &variant.content {
            checks.extend(wrapped_checks(p, name, aggregate, ty));
        }
        if let Content::Inline { kind, .. } = &variant.content {
            checks.extend(key_check(p, ident, kind, i));
        }
        if any_wraps && i > 0 {
            let at = here(variant.at);
            let p = p.at(at);
            checks.extend(quote_spanned! {at=>
                const _: () = {
                    const DISTINCT: () = #p::check_distinct(#name, <#ident as #p::Event>::KINDS, #i);
                };
            });
        }
    }
    checks
}

fn wrapped_checks(p: &Private, set: &str, aggregate: Option<&syn::LitStr>, ty: &Type) -> TokenStream {
    let range = Range::of(ty);
    let text = quote!(#ty).to_string().replace(' ', "");
    let kinds = of_type(ty, p, "Event", "KINDS");
    let wrapped = range.call(p, "check_wrapped", &quote!(#text, #kinds));
    let aggregate = aggregate.map(|aggregate| {
        let aggregate = aggregate.value();
        let call = range.call(p, "check_aggregate", &quote!(#set, #aggregate, #kinds));
        quote_spanned!(range.first=> const _: () = { const AGGREGATE: () = #call; };)
    });
    quote_spanned!(range.first=> const _: () = { const ONE_EVENT: () = #wrapped; }; #aggregate)
}

/// Stands for an event whose attribute is wrong, so that its handlers have no errors of their own.
fn broken(p: &Private, ident: &Ident) -> TokenStream {
    let type_name = ident.unraw().to_string();
    quote! {
        impl #p::Event for #ident {
            const TYPE_NAME: &'static #p::Str = #type_name;
            const KINDS: #p::Kinds = &[];
            fn kind(&self) -> &'static #p::EventKind {
                loop {}
            }
            fn serialize_payload<S: #p::Serializer>(&self, _: S) -> #p::Result<S::Ok, S::Error> {
                loop {}
            }
            fn deserialize_payload<'de, D: #p::Deserializer<'de>>(
                _: &#p::Str,
                _: D,
            ) -> #p::Result<Self, D::Error> {
                loop {}
            }
        }
        #[allow(dead_code)]
        impl #ident {
            /// Stands for the routing key.
            pub const ROUTING_KEY: &'static #p::Str = "#";
        }
    }
}
