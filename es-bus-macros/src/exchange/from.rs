//! Reads `from`: the exchanges that an exchange gets messages from, and which: `from(Shop, "Order.#")`.

use proc_macro2::TokenStream;
use syn::{
    Expr, ExprLit, Lit, Token,
    parse::{ParseStream, Parser as _},
};

use super::ExchangeName;
use crate::{
    args::Args,
    errors::Errors,
    handler::bind::{Bind, check_keys, parse_list},
    pattern,
};

/// What an exchange gets from another one.
pub(crate) struct Source {
    /// The other one.
    pub(crate) exchange: ExchangeName,
    /// What it asks for; nothing for everything.
    pub(crate) binds: Vec<Bind>,
}

const TAKES: &str = "an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, \"Order.#\")`; \
                     from a headers exchange, `from(Reports, headers(format = \"pdf\"))`; everything, `from(News)`";

/// Takes `from`, as often as it stands there.
pub(super) fn take_sources(args: &mut Args, errors: &mut Errors) -> Vec<Source> {
    let wrong = format!("`from` of `#[exchange]` takes {TAKES}");
    let lists = args.lists("from", TAKES, errors);
    let sources = lists.into_iter().filter_map(|(span, tokens)| {
        if tokens.is_empty() {
            errors.at(span, &wrong);
            return None;
        }
        let read = |input: ParseStream<'_>| {
            let exchange: Expr = input.parse()?;
            input.parse::<Option<Token![,]>>()?;
            Ok((exchange, input.parse::<TokenStream>()?))
        };
        let (mut exchange, rest) = match read.parse2(tokens) {
            Ok(read) => read,
            Err(error) => {
                errors.absorb(error);
                return None;
            }
        };
        while let Expr::Group(group) = exchange {
            exchange = *group.expr;
        }
        let exchange = match exchange {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => {
                pattern::check_name("exchange", &name, errors);
                ExchangeName::Text(name)
            }
            Expr::Path(path) if path.qself.is_none() => ExchangeName::Type(path.path),
            other => {
                errors.over(other, &wrong);
                return None;
            }
        };
        let (binds, _) = parse_list(rest, &wrong, errors);
        check_keys(&binds, &wrong, errors);
        Some(Source { exchange, binds })
    });
    sources.collect()
}
