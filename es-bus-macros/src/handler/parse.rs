//! Reads `#[handler]` and the signature under it. The body is never parsed: a half-typed one has
//! its syntax error from rustc, once.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Lit, LitStr, ReturnType, Safety, Signature, Type, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

use super::{
    bind::take_bind,
    model::{GroupName, Handler, Model},
};
use crate::{
    args::Args,
    errors::Errors,
    layer, pattern,
    private::Private,
    settings::{self, GROUP_ONLY},
};

const KEYS: &[&str] = &[
    "group",
    "bind",
    "name",
    "formerly",
    "partial",
    "foreign",
    "retries",
    "backoff",
    "timeout",
    "slow_handler",
    "layer",
    "bus",
    "crate",
];

/// A function whose body is not looked at.
struct Function {
    attrs: Vec<Attribute>,
    vis: Visibility,
    signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let function = Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            signature: input.parse()?,
        };
        input.parse::<TokenStream>()?;
        Ok(function)
    }
}

/// Reads the attribute and the item; `None` when there is nothing to write beside the item.
pub(crate) fn parse(args: TokenStream, item: &TokenStream, errors: &mut Errors) -> Option<Model> {
    let Function { attrs, vis, signature } = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            // A function that cannot be read has its syntax error from rustc already.
            let is_fn =
                item.clone().into_iter().any(|tree| matches!(&tree, TokenTree::Ident(word) if word == "fn"));
            if !is_fn {
                errors.at(Span::call_site(), "`#[handler]` belongs on a function");
            }
            return None;
        }
    };
    let has_self = signature.receiver().is_some();
    let mut args = Args::parse("#[handler]", KEYS, args, errors);
    let private = Private::new(args.path("crate", "my_es_bus", errors).as_ref());
    let handler = parse_handler(args, &signature, errors);
    if has_self {
        // Types and constants cannot stand in an `impl` block.
        return None;
    }
    Some(Model {
        private,
        item: item.clone(),
        cfgs: attrs.into_iter().filter(|attr| attr.path().is_ident("cfg")).collect(),
        vis,
        ident: signature.ident,
        handler: if errors.is_empty() { handler } else { None },
    })
}

fn parse_handler(mut args: Args, signature: &Signature, errors: &mut Errors) -> Option<Handler> {
    // `queue` is told to be `group`: it is not missing as well.
    let group_missing = !args.is_meant("group") && args.key_span("queue").is_none() && !args.is_broken();
    let group = take_group(&mut args, errors);
    let bind = take_bind(&mut args, errors);
    let name = args.name("name", "handler", "project", errors);
    let formerly = args.texts("formerly", "old_name", errors).unwrap_or_default();
    for old in &formerly {
        pattern::check_name("handler", old, errors);
    }
    let partial_at = args.key_span("partial");
    let partial = args.flag("partial", errors);
    if partial && bind.is_none() {
        errors.at(
            partial_at.unwrap_or_else(Span::call_site),
            "`partial` narrows `bind`, and there is none: without it the handler is bound to all events it takes",
        );
    }
    let foreign = args.flag("foreign", errors);
    let bus = args.name("bus", "bus", "default", errors);
    let mut settings = Vec::new();
    settings::take_policy(&mut args, &mut settings, errors);
    let layer = layer::take(&mut args, "#[handler]", errors);
    args.finish(elsewhere, errors);

    let own_name = signature.ident.unraw().to_string();
    let name = name.map_or(own_name, |name| name.value());
    for old in formerly.iter().filter(|old| old.value() == name) {
        errors.at(
            old.span(),
            format!("`{name}` is the handler's name now: `formerly` lists names that it had before"),
        );
    }
    if group_missing {
        errors.at(
            Span::call_site(),
            "missing `group`: `#[handler(group = \"...\")]` names the queue that copies of this program share",
        );
    }
    check_signature(signature, errors);
    Some(Handler {
        is_async: signature.asyncness.is_some(),
        args: signature
            .inputs
            .iter()
            .filter_map(|arg| match arg {
                FnArg::Typed(typed) => Some((*typed.ty).clone()),
                FnArg::Receiver(_) => None,
            })
            .collect(),
        output: match &signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some((**ty).clone()),
        },
        bus: bus.map_or_else(|| "default".to_owned(), |bus| bus.value()),
        group: group?,
        name,
        formerly: formerly.iter().map(LitStr::value).collect(),
        bind,
        partial,
        foreign,
        settings,
        layer,
    })
}

fn take_group(args: &mut Args, errors: &mut Errors) -> Option<GroupName> {
    let takes = "a text or a type marked `#[group]`: `group = \"projections\"`, `group = Projections`";
    match args.expr("group", takes, errors)? {
        Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => {
            pattern::check_name("group", &name, errors);
            Some(GroupName::Text(name))
        }
        Expr::Path(path) if path.qself.is_none() => Some(GroupName::Type(path.path)),
        Expr::Group(group) => match *group.expr {
            Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => Some(GroupName::Text(name)),
            Expr::Path(path) => Some(GroupName::Type(path.path)),
            other => {
                errors.over(other, format!("`group` of `#[handler]` takes {takes}"));
                None
            }
        },
        other => {
            errors.over(other, format!("`group` of `#[handler]` takes {takes}"));
            None
        }
    }
}

/// Explains keys that have their place elsewhere, or in a later version.
fn elsewhere(key: &str) -> Option<String> {
    if GROUP_ONLY.contains(&key) {
        return Some(format!(
            "`{key}` belongs to the group, whose handlers share one queue: mark a type `#[group({key} = ...)]` and \
             write `group = ThatType`"
        ));
    }
    match key {
        "headers" => Some("unknown key `headers`, did you mean `bind(headers(..))`?".to_owned()),
        "compat" | "exclusive" | "batch" | "exchange_kind" => {
            Some(format!("`{key}` comes in a later version of es-bus"))
        }
        "emit" | "emits" => Some(format!(
            "unknown key `{key}`: a handler says by its result what it publishes, `Emit<T>` or `Result<Emit<T>, E>`"
        )),
        "key" | "pattern" | "routing_key" | "binding" | "topic" => {
            Some(format!("unknown key `{key}`, did you mean `bind`?"))
        }
        "queue" => Some(
            "unknown key `queue`, did you mean `group`? A group has one queue, named after it".to_owned(),
        ),
        "retry" | "max_retries" => Some(format!("unknown key `{key}`, did you mean `retries`?")),
        "attempts" | "max_attempts" => {
            Some(format!("unknown key `{key}`, did you mean `retries`? It does not count the first attempt"))
        }
        _ => None,
    }
}

fn check_signature(signature: &Signature, errors: &mut Errors) {
    if !signature.generics.params.is_empty() {
        errors
            .over(&signature.generics, "a handler cannot be generic: the bus has to know its concrete types");
    } else if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause.where_token.span, "a handler cannot be generic: it has no use for `where`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.at(token.span, "a handler cannot be `unsafe`: the bus calls it, and cannot keep its promises");
    }
    if let Some(token) = &signature.constness {
        errors.at(token.span, "a handler cannot be `const`");
    }
    if let Some(abi) = &signature.abi {
        errors.over(abi, "a handler is an ordinary Rust function, without an ABI of its own");
    }
    if let Some(variadic) = &signature.variadic {
        errors.over(variadic, "a handler has a fixed number of arguments");
    }
    for arg in &signature.inputs {
        match arg {
            FnArg::Receiver(receiver) => errors.over(
                receiver,
                "a handler cannot take `self`: make it a free function and take what it needs as `State<T>`",
            ),
            FnArg::Typed(typed) => {
                if let Some(cfg) = typed.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
                    errors.over(cfg, "an argument of a handler cannot depend on `#[cfg]`: make two handlers");
                }
                check_argument(&typed.ty, errors);
            }
        }
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        match &**ty {
            Type::Never(never) => {
                errors.at(never.span(), "a handler has to return: its event is settled then")
            }
            Type::ImplTrait(ty) => {
                errors.at(ty.impl_token.span, "a handler names what it returns: `()` or `Result<(), E>`")
            }
            _ => {}
        }
    }
}

fn check_argument(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Reference(reference) => {
            errors.at(reference.and_token.span, "a handler owns its arguments: drop the `&`");
        }
        Type::ImplTrait(ty) => {
            errors.at(ty.impl_token.span, "a handler cannot be generic: name the type");
        }
        Type::Infer(infer) => {
            errors.at(infer.underscore_token.span, "a handler's argument has to name its type")
        }
        Type::Paren(paren) => check_argument(&paren.elem, errors),
        Type::Group(group) => check_argument(&group.elem, errors),
        _ => {}
    }
}
