//! The attributes of es-bus; use them as `es_bus::event`, `es_bus::exchange`,
//! `es_bus::handler`, `es_bus::group` and `es_bus::Failure`.
//!
//! Each is read (`parse`) into a model, with every mistake noted where it stands,
//! and the model is written out (`expand`, which cannot fail). What the user wrote is always among
//! what is written.

mod args;
mod errors;
mod event;
mod exchange;
#[cfg(test)]
mod expansions;
mod failure;
mod group;
mod handler;
mod layer;
mod pattern;
mod private;
mod rules;
mod settings;
mod units;

use errors::Errors;
use proc_macro::TokenStream;
use quote::quote;

/// Makes an event of a struct, or an event set of an enum.
#[proc_macro_attribute]
pub fn event(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args, item, event::parse, event::expand)
}

/// Makes an exchange of a unit struct.
#[proc_macro_attribute]
pub fn exchange(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args, item, exchange::parse, exchange::expand)
}

/// Makes a handler of a function.
#[proc_macro_attribute]
pub fn handler(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args, item, handler::parse, handler::expand)
}

/// Makes a group of a unit struct.
#[proc_macro_attribute]
pub fn group(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args, item, group::parse, group::expand)
}

/// Gives each error of a type its verdict.
#[proc_macro_derive(Failure, attributes(failure))]
pub fn failure(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let written = failure::parse(item.into(), &mut errors).map(|model| failure::expand(&model));
    let errors = errors.into_tokens();
    quote!(#written #errors).into()
}

fn attribute<M>(
    args: TokenStream,
    item: TokenStream,
    parse: impl FnOnce(proc_macro2::TokenStream, &proc_macro2::TokenStream, &mut Errors) -> Option<M>,
    expand: impl FnOnce(&M) -> proc_macro2::TokenStream,
) -> TokenStream {
    let item = item.into();
    let mut errors = Errors::default();
    let written = parse(args.into(), &item, &mut errors).map_or_else(|| item.clone(), |model| expand(&model));
    let errors = errors.into_tokens();
    quote!(#written #errors).into()
}
