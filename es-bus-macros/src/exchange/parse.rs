//! Reads `#[exchange]` and the struct under it.

use proc_macro2::TokenStream;
use syn::LitStr;

use super::{
    ExchangeName,
    from::{Source, take_sources},
    model::Model,
    take_exchange,
};
use crate::{
    args::{Args, Constant},
    errors::Errors,
    pattern,
    private::{Private, Range, unit_struct},
};

const KEYS: &[&str] = &[
    "name",
    "kind",
    "hash_on",
    "hash_header",
    "transient",
    "auto_delete",
    "internal",
    "alternate_exchange",
    "from",
    "arguments",
    "bus",
    "crate",
];

/// The kinds as AMQP writes them, and their variants.
const KINDS: &[(&str, &str)] = &[
    ("topic", "Topic"),
    ("direct", "Direct"),
    ("fanout", "Fanout"),
    ("headers", "Headers"),
    (HASHED, "ConsistentHash"),
];

/// The kind that gives each message to one of its queues.
const HASHED: &str = "consistent-hash";

/// What it can hash, and the argument that says so: none for the routing key.
const HASH_ON: &[(&str, Option<(&str, &str)>)] = &[
    ("aggregate-id", Some(("hash-header", "aggregate_id"))),
    ("routing-key", None),
    ("message-id", Some(("hash-property", "message_id"))),
    ("correlation-id", Some(("hash-property", "correlation_id"))),
];

/// Reads the attribute and the item; `None` when there is nothing to write beside the item.
pub(crate) fn parse(args: TokenStream, item: &TokenStream, errors: &mut Errors) -> Option<Model> {
    let belongs = "`#[exchange]` belongs on a unit struct: `#[exchange] struct Orders;`";
    let input = unit_struct(item, belongs, errors)?;
    let mut args = Args::parse("#[exchange]", KEYS, args, errors);
    let private = Private::new(args.path("crate", "my_es_bus", errors).as_ref());
    let bus = args.name("bus", "bus", "default", errors);
    let name = args.name("name", "exchange", "orders", errors);
    let name = pattern::name_or_type("exchange", name, &input.ident, errors);
    let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
    let kind = args.word("kind", &words, &[], errors).map_or("topic".to_owned(), |word| word.value());
    let hashed = take_hash(&mut args, kind == HASHED, errors);
    let transient = args.flag("transient", errors);
    let auto_delete = args.flag("auto_delete", errors);
    let internal = args.flag("internal", errors);
    let alternate = take_exchange(&mut args, "alternate_exchange", "#[exchange]", errors);
    if let Some(alternate) = &alternate {
        check_alternate(alternate, &name, &input.ident, errors);
    }
    let sources = take_sources(&mut args, errors);
    for source in &sources {
        check_source(source, &name, &input.ident, errors);
    }
    let mut arguments = args.constants("arguments", "\"x-delayed-type\" = \"topic\"", errors);
    for (argument, value) in &arguments {
        if argument == "alternate-exchange" {
            errors.over(
                value,
                "the alternate exchange has a key of its own: `alternate_exchange = \"unrouted\"`",
            );
        }
    }
    for (argument, value) in &arguments {
        if kind == HASHED && matches!(&**argument, "hash-header" | "hash-property") {
            errors.over(
                value,
                "what is hashed has keys of its own: `hash_on = \"correlation-id\"`, `hash_header = \"tenant\"`",
            );
        }
    }
    arguments.extend(hashed);
    args.finish(elsewhere, errors);
    if !input.generics.params.is_empty() {
        errors.over(&input.generics, "an exchange cannot be generic: it has one name");
        return None;
    }
    Some(Model {
        private,
        item: item.clone(),
        cfgs: input.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect(),
        bus: bus.map_or_else(|| "default".to_owned(), |bus| bus.value()),
        name,
        kind: KINDS.iter().find(|(word, _)| *word == kind).map_or("Topic", |(_, variant)| variant),
        ident: input.ident,
        transient,
        auto_delete,
        internal,
        alternate,
        sources,
        arguments,
        sound: errors.is_empty(),
    })
}

/// Takes what a consistent-hash exchange hashes, as an argument of its declaration.
fn take_hash(args: &mut Args, is_hashed: bool, errors: &mut Errors) -> Option<(String, Constant)> {
    let spans = ["hash_on", "hash_header"].map(|key| args.key_span(key));
    let words: Vec<&str> = HASH_ON.iter().map(|(word, _)| *word).collect();
    let on = args.word("hash_on", &words, &[], errors);
    let header = args.text("hash_header", "tenant_id", errors);
    let text = |argument: &str, value: LitStr| Some((argument.to_owned(), Constant::Str(value)));
    if !is_hashed {
        for span in spans.into_iter().flatten() {
            errors.at(
                span,
                "only a consistent-hash exchange hashes: write `kind = \"consistent-hash\"` beside it",
            );
        }
        return None;
    }
    match (on, header) {
        (Some(_), Some(header)) => {
            errors.over(header, "`hash_on` says already what is hashed: drop one of the two");
            None
        }
        (None, Some(header)) if header.value().is_empty() || header.value().len() > 255 => {
            errors.over(header, "a header has a name of 1 to 255 bytes");
            None
        }
        (None, Some(header)) => text("hash-header", header),
        (on, None) => {
            let word = on.as_ref().map_or_else(|| "aggregate-id".to_owned(), LitStr::value);
            let (_, argument) = HASH_ON.iter().find(|(known, _)| *known == word)?;
            let (argument, value) = (*argument)?;
            let span = on.map_or_else(proc_macro2::Span::call_site, |on| on.span());
            text(argument, LitStr::new(value, span))
        }
    }
}

fn check_alternate(alternate: &ExchangeName, name: &str, ident: &syn::Ident, errors: &mut Errors) {
    let at = match alternate {
        ExchangeName::Text(text) if text.value() == name => text.span(),
        ExchangeName::Type(path) if path.is_ident(ident) => Range::own(path).first,
        ExchangeName::Text(_) | ExchangeName::Type(_) => return,
    };
    errors.at(
        at,
        "an exchange cannot be its own alternate exchange: what it has no queue for, it would have none for again",
    );
}

fn check_source(source: &Source, name: &str, ident: &syn::Ident, errors: &mut Errors) {
    let at = match &source.exchange {
        ExchangeName::Text(text) if text.value() == name => text.span(),
        ExchangeName::Type(path) if path.is_ident(ident) => Range::own(path).first,
        ExchangeName::Text(_) | ExchangeName::Type(_) => return,
    };
    errors.at(at, "an exchange cannot get messages from itself: name another one");
}

fn elsewhere(key: &str) -> Option<String> {
    match key {
        "type" | "exchange_type" => Some(format!("unknown key `{key}`, did you mean `kind`?")),
        "durable" => Some(
            "an exchange survives a restart of the broker unless you write `transient`: drop `durable`"
                .to_owned(),
        ),
        "alternate" => Some("unknown key `alternate`, did you mean `alternate_exchange`?".to_owned()),
        "bind" | "headers" => Some(format!(
            "`{key}` belongs on a `#[handler]`: a binding is what somebody asks the exchange for; what this exchange gets \
             from another one is `from(Shop, \"Order.#\")`"
        )),
        "source" | "sources" | "bind_to" | "gets" => {
            Some(format!("unknown key `{key}`, did you mean `from`? `from(Shop, \"Order.#\")`"))
        }
        "hash" | "hash_property" | "hash_by" => {
            Some(format!("unknown key `{key}`, did you mean `hash_on`? `hash_on = \"correlation-id\"`"))
        }
        "weight" => Some(
            "`weight` belongs on a `#[group]`: it says how large the share of that group is, `#[group(exchange = ThisType, \
             weight = 2)]`"
                .to_owned(),
        ),
        "group" | "queue" => Some(format!(
            "`{key}` has no place here: a `#[group]` names its exchange, `#[group(exchange = ThisType)]`"
        )),
        _ => None,
    }
}
