//! Reads `#[failure(..)]` on an error type.

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Data, DeriveInput, Field, Fields, Ident, Member, Meta, spanned::Spanned as _};

use super::model::{Case, Model, Verdict};
use crate::{args::Args, errors::Errors, private::Private};

const KEYS: &[&str] = &["retry", "retry_after", "reject", "drop", "transparent"];
const ENUM_KEYS: &[&str] = &["crate"];
const STRUCT_KEYS: &[&str] = &["retry", "retry_after", "reject", "drop", "transparent", "crate"];

/// Reads the type; `None` when there is nothing to write.
pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Model> {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => {
            errors.absorb(error);
            return None;
        }
    };
    let mut private = Private::new(None);
    let mut cases = Vec::new();
    match &input.data {
        Data::Struct(data) => {
            let mut args = args_of(&input.attrs, STRUCT_KEYS, errors);
            if let Some(path) = args.path("crate", "my_es_bus", errors) {
                private = Private::new(Some(&path));
            }
            let verdict = take_verdict(args, None, &input.ident, &data.fields, errors);
            cases.extend(verdict.map(|verdict| Case { variant: None, verdict }));
        }
        Data::Enum(data) => {
            let mut args = args_of(&input.attrs, ENUM_KEYS, errors);
            if let Some(path) = args.path("crate", "my_es_bus", errors) {
                private = Private::new(Some(&path));
            }
            args.finish(
                |key| {
                    KEYS.contains(&key).then(|| {
                        format!("`{key}` belongs on a variant: each failure says for itself what it asks for")
                    })
                },
                errors,
            );
            for variant in &data.variants {
                let args = args_of(&variant.attrs, KEYS, errors);
                let verdict =
                    take_verdict(args, Some(&variant.ident), &variant.ident, &variant.fields, errors);
                cases.extend(verdict.map(|verdict| Case { variant: Some(variant.ident.clone()), verdict }));
            }
        }
        Data::Union(data) => {
            errors
                .at(data.union_token.span, "`Failure` is derived for an error enum, or for an error struct");
            return None;
        }
    }
    if !input.generics.params.is_empty() {
        errors.over(
            &input.generics,
            "a failure cannot be generic: its verdict is looked up by its concrete type",
        );
        return None;
    }
    Some(Model { private, ident: input.ident, cases: errors.is_empty().then_some(cases) })
}

/// What the type's or variant's one `#[failure(..)]` says.
fn args_of(attrs: &[Attribute], known: &'static [&'static str], errors: &mut Errors) -> Args {
    let mut tokens = TokenStream::new();
    let mut broken = false;
    for (i, attr) in attrs.iter().filter(|attr| attr.path().is_ident("failure")).enumerate() {
        match &attr.meta {
            _ if i > 0 => errors.over(attr, "`#[failure]` is given twice: a failure asks for one thing"),
            Meta::List(list) => tokens = list.tokens.clone(),
            Meta::Path(_) | Meta::NameValue(_) => {
                broken = true;
                errors.over(attr, "write `#[failure(retry)]`, `#[failure(reject)]`, ...");
            }
        }
    }
    let mut args = Args::parse("#[failure]", known, tokens, errors);
    if broken {
        args.mark_broken();
    }
    args
}

fn take_verdict(
    mut args: Args,
    variant: Option<&Ident>,
    ident: &Ident,
    fields: &Fields,
    errors: &mut Errors,
) -> Option<Verdict> {
    let broken = args.is_broken();
    let transparent_at = args.key_span("transparent");
    let mut said: Vec<(Span, Verdict)> = Vec::new();
    let mut found = 0;
    for (key, verdict) in [("retry", Verdict::Retry), ("reject", Verdict::Reject), ("drop", Verdict::Drop)] {
        if let Some(span) = args.key_span(key) {
            args.flag(key, errors);
            found += 1;
            said.push((span, verdict));
        }
    }
    if let Some(span) = args.key_span("retry_after") {
        found += 1;
        if let Some((_, ms)) = args.duration("retry_after", "1ms", "30d", "", errors) {
            said.push((span, Verdict::RetryAfter(ms)));
        }
    }
    if args.flag("transparent", errors) {
        found += 1;
        let span = transparent_at.unwrap_or_else(Span::call_site);
        match inner_of(fields) {
            Some((member, place)) => said.push((span, Verdict::Of(member, place))),
            None => errors.at(
                span,
                format!("`transparent` asks the error inside `{ident}`: mark its field `#[source]`, or keep only that field"),
            ),
        }
    }
    let unknown_before = errors.len();
    args.finish(
        |key| match key {
            "reject_now" | "dead_letter" => Some(format!("unknown key `{key}`, did you mean `reject`?")),
            "ignore" | "skip" => Some(format!("unknown key `{key}`, did you mean `drop`?")),
            "source" => Some("unknown key `source`, did you mean `transparent`?".to_owned()),
            _ => None,
        },
        errors,
    );
    if found > 1 {
        errors.at(
            said.last().map_or_else(|| ident.span(), |(span, _)| *span),
            format!(
                "`{ident}` asks for one thing: `retry`, `retry_after`, `reject`, `drop` or `transparent`"
            ),
        );
    }
    if found == 0 && !broken && errors.len() == unknown_before {
        let what = if variant.is_some() { "variant" } else { "error" };
        errors.at(
            ident.span(),
            format!(
                "what does the {what} `{ident}` ask for? Write `#[failure(retry)]` when another attempt may help, \
                 `#[failure(reject)]` when none can, `#[failure(drop)]` to forget the event, or \
                 `#[failure(transparent)]` to ask the error inside"
            ),
        );
    }
    said.pop().map(|(_, verdict)| verdict)
}

/// The field that holds the error inside, and where its type stands: marked `#[source]` or
/// `#[from]`, named `source`, or the only one.
fn inner_of(fields: &Fields) -> Option<(Member, Span)> {
    let mut all = fields.iter().zip(fields.members());
    let is_marked = |field: &Field| {
        field.attrs.iter().any(|attr| attr.path().is_ident("source") || attr.path().is_ident("from"))
    };
    let is_source = |member: &Member| matches!(member, Member::Named(name) if name == "source");
    let (field, member) = all
        .clone()
        .find(|(field, _)| is_marked(field))
        .or_else(|| all.clone().find(|(_, member)| is_source(member)))
        .or_else(|| if fields.len() == 1 { all.next() } else { None })?;
    Some((member, field.ty.span()))
}
