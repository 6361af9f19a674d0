//! Reads `bind`: binding keys, `bind = "Order.*"`, and headers, `bind(headers(format = "pdf"))`.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Expr, ExprLit, Lit, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
};

use crate::{
    args::{Args, Constant, ListOrExpr, elements_of, table},
    errors::Errors,
    pattern,
    private::Range,
};

/// One thing that a handler asks for.
pub(crate) enum Bind {
    /// A binding key: a literal or a constant.
    Key(Expr),
    /// Headers.
    Headers(HeadersMatch),
}

/// What a message has to have.
pub(crate) struct HeadersMatch {
    /// Whether one of them is enough.
    pub(crate) any: bool,
    /// Names and values.
    pub(crate) values: Vec<(String, Constant)>,
    /// Where it stands.
    pub(crate) range: Range,
}

impl Bind {
    /// Where it stands.
    pub(crate) fn range(&self) -> Range {
        match self {
            Self::Key(expr) => Range::of(expr),
            Self::Headers(headers) => headers.range,
        }
    }
}

const TAKES: &str = "a pattern, a constant, or a list of them: `bind = \"Order.*\"`, `bind = [OrderPlaced::ROUTING_KEY]`; \
                     or, on a headers exchange, `bind(headers(match = \"all\", format = \"pdf\"))`";

/// Takes `bind`, with where the whole of it stands.
pub(super) fn take_bind(args: &mut Args, errors: &mut Errors) -> Option<(Vec<Bind>, Range)> {
    let (binds, range) = match args.list_or_expr("bind", TAKES, errors)? {
        ListOrExpr::Expr(expr) => {
            let binds: Vec<Bind> = elements_of(&expr).into_iter().cloned().map(Bind::Key).collect();
            if binds.is_empty() {
                errors.over(&expr, EMPTY);
            }
            (binds, Range::of(&expr))
        }
        ListOrExpr::List(span, tokens) => {
            let mut whole = Group::new(Delimiter::Parenthesis, TokenStream::new());
            whole.set_span(span);
            let range = Range::of(&tokens);
            let wrong = format!("`bind` of `#[handler]` takes {TAKES}");
            let (binds, broken) = parse_list(tokens, &wrong, errors);
            if binds.is_empty() && !broken {
                errors.over(whole, EMPTY);
            }
            (binds, range)
        }
    };
    check_keys(&binds, &format!("`bind` of `#[handler]` takes {TAKES}"), errors);
    Some((binds, range))
}

/// Checks the binding keys of a list, as far as they are literals; `wrong` is said of what is no key.
pub(crate) fn check_keys(binds: &[Bind], wrong: &str, errors: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for bind in binds {
        let Bind::Key(key) = bind else { continue };
        match key {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                pattern::check_binding(text, errors);
                if seen.contains(&text.value()) {
                    errors.at(text.span(), format!("binding `{}` is given twice", text.value()));
                }
                seen.push(text.value());
            }
            Expr::Path(_) | Expr::Macro(_) | Expr::Group(_) => {}
            other => errors.over(other, wrong),
        }
    }
}

const EMPTY: &str = "`bind` is empty: leave it out to be bound to exactly the events that the handler takes";

/// Reads `headers(..)`, and keys between them; `wrong` is said of what is neither. The second value says that some
/// could not be read.
pub(crate) fn parse_list(tokens: TokenStream, wrong: &str, errors: &mut Errors) -> (Vec<Bind>, bool) {
    let (mut binds, mut broken) = (Vec::new(), false);
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            match parse_headers(input)? {
                Some((word, close, tokens)) => match headers(&word, close, tokens, wrong, errors) {
                    Some(headers) => binds.push(Bind::Headers(headers)),
                    None => broken = true,
                },
                None => binds.push(Bind::Key(input.parse()?)),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        errors.absorb(error);
        broken = true;
    }
    (binds, broken)
}

/// `headers(..)`, when that is what comes.
fn parse_headers(input: ParseStream<'_>) -> syn::Result<Option<(Ident, Span, TokenStream)>> {
    let ahead = input.fork();
    if ahead.call(Ident::parse_any).is_err() || !ahead.peek(syn::token::Paren) {
        return Ok(None);
    }
    let word = input.call(Ident::parse_any)?;
    let TokenTree::Group(list) = input.parse()? else {
        return Err(syn::Error::new(word.span(), "expected `headers(..)`"));
    };
    Ok(Some((word, list.span_close(), list.stream())))
}

fn headers(
    word: &Ident,
    close: Span,
    tokens: TokenStream,
    wrong: &str,
    errors: &mut Errors,
) -> Option<HeadersMatch> {
    if word != "headers" {
        errors.at(word.span(), wrong);
        return None;
    }
    let before = errors.len();
    let (mode, tokens) = split_match(tokens, errors);
    let any = match mode {
        None => false,
        Some(Constant::Str(text)) if text.value() == "all" => false,
        Some(Constant::Str(text)) if text.value() == "any" => true,
        Some(other) => {
            errors.over(
                other,
                "`match` is \"all\", every header has to be there, or \"any\", one of them is enough; a header of \
                 that name is written in quotes, `\"match\" = ..`",
            );
            false
        }
    };
    let values = table(tokens, errors);
    for (name, value) in &values {
        if name.starts_with("x-") {
            errors.over(
                value,
                format!(
                    "header `{name}` begins with `x-`, and RabbitMQ leaves those out when it matches: choose another name"
                ),
            );
        } else if name == "es-delay" {
            errors.over(value, "header `es-delay` is written by es-bus itself; choose another name");
        }
    }
    if values.is_empty() && errors.len() == before {
        errors.at(
            word.span(),
            "`headers(..)` names no header, so it would match every message: say which, `headers(format = \"pdf\")`",
        );
    }
    let range = Range { first: crate::private::here(word.span()), last: crate::private::here(close) };
    Some(HeadersMatch { any, values, range })
}

/// Takes `match = ..` out of the table, wherever it stands. A header of that name is in quotes.
fn split_match(tokens: TokenStream, errors: &mut Errors) -> (Option<Constant>, TokenStream) {
    let mut mode = None;
    let mut rest = TokenStream::new();
    for entry in entries(tokens) {
        let is_match = matches!(entry.first(), Some(TokenTree::Ident(word)) if word.unraw() == "match");
        let value: TokenStream = entry.iter().skip(2).cloned().collect();
        match Constant::parse.parse2(value) {
            Ok(value) if is_match => {
                if mode.replace(value).is_some() {
                    errors.over(&entry[0], "`match` is given twice");
                }
            }
            _ => {
                rest.extend(entry);
                TokenTree::from(proc_macro2::Punct::new(',', proc_macro2::Spacing::Alone))
                    .to_tokens(&mut rest);
            }
        }
    }
    (mode, rest)
}

/// The entries of a list, parted by commas.
fn entries(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut entries = vec![Vec::new()];
    for tree in tokens {
        match &tree {
            TokenTree::Punct(comma) if comma.as_char() == ',' => entries.push(Vec::new()),
            _ => entries.last_mut().expect("one at least").push(tree),
        }
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}
