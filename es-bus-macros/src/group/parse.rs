//! Reads `#[group]` and the struct under it.

use proc_macro2::TokenStream;
use syn::LitStr;

use super::model::Model;
use crate::{
    args::Args,
    errors::Errors,
    exchange::{ExchangeName, take_exchange},
    layer, pattern,
    private::{Private, unit_struct},
    settings,
};

const KEYS: &[&str] = &[
    "name",
    "formerly",
    "exchange",
    "kind",
    "offset",
    "max_age",
    "prefetch",
    "concurrency",
    "ordering",
    "on_unknown",
    "unknown_delay",
    "unknown_retries",
    "crash_limit",
    "weight",
    "retired",
    "retries",
    "backoff",
    "timeout",
    "slow_handler",
    "retry_ladder",
    "max_length",
    "max_length_bytes",
    "overflow",
    "message_ttl",
    "expires",
    "max_priority",
    "queue",
    "compat",
    "exclusive",
    "single_active_consumer",
    "durable",
    "auto_delete",
    "arguments",
    "on_exhausted",
    "dlx",
    "dlx_kind",
    "dlq",
    "dlq_key",
    "dlq_bind",
    "dlq_kind",
    "dlq_ttl",
    "dlq_max_length",
    "layer",
    "bus",
    "crate",
];

/// Reads the attribute and the item; `None` when there is nothing to write beside the item.
pub(crate) fn parse(args: TokenStream, item: &TokenStream, errors: &mut Errors) -> Option<Model> {
    let belongs = "`#[group]` belongs on a unit struct: `#[group] struct Projections;`";
    let input = unit_struct(item, belongs, errors)?;
    let mut args = Args::parse("#[group]", KEYS, args, errors);
    let private = Private::new(args.path("crate", "my_es_bus", errors).as_ref());
    let bus = args.name("bus", "bus", "default", errors);
    let name = args.name("name", "group", "projections", errors);
    let formerly = args.texts("formerly", "old_name", errors).unwrap_or_default();
    for old in &formerly {
        pattern::check_name("group", old, errors);
    }
    let exchange = take_exchange(&mut args, "exchange", "#[group]", errors);
    let mut settings = Vec::new();
    if let Some(ExchangeName::Text(name)) = &exchange {
        settings.push(("exchange", name.value()));
    }
    settings::take_group(&mut args, &mut settings, errors);
    settings::take_policy(&mut args, &mut settings, errors);
    let layer = layer::take(&mut args, "#[group]", errors);
    args.finish(elsewhere, errors);
    if !input.generics.params.is_empty() {
        errors.over(&input.generics, "a group cannot be generic: it is one queue");
        return None;
    }
    let name = pattern::name_or_type("group", name, &input.ident, errors);
    for old in formerly.iter().filter(|old| old.value() == name) {
        errors.at(
            old.span(),
            format!("`{name}` is the group's name now: `formerly` lists names that it had before"),
        );
    }
    Some(Model {
        private,
        item: item.clone(),
        cfgs: input.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect(),
        bus: bus.map_or_else(|| "default".to_owned(), |bus| bus.value()),
        name,
        formerly: formerly.iter().map(LitStr::value).collect(),
        ident: input.ident,
        settings,
        exchange,
        layer,
        sound: errors.is_empty(),
    })
}

fn elsewhere(key: &str) -> Option<String> {
    match key {
        "bind" | "partial" | "foreign" => {
            Some(format!("`{key}` belongs on a `#[handler]`: the queue is bound to what its handlers take"))
        }
        "headers" | "batch" => Some(format!("`{key}` comes in a later version of es-bus")),
        "emit" | "emits" => Some(format!(
            "unknown key `{key}`: a handler says by its result what it publishes, `Emit<T>` or `Result<Emit<T>, E>`"
        )),
        "hash_on" | "hash_header" => {
            Some(format!("`{key}` belongs on the `#[exchange]`: all of its groups share by it"))
        }
        "transient" => Some("write `durable = false`: the queue does not outlive the broker".to_owned()),
        "ephemeral" => Some("write `exclusive`: each process has a queue of its own".to_owned()),
        "enable_dlq" => Some("write `on_exhausted = \"drop\"` for no dead-letter queue".to_owned()),
        "retry" | "max_retries" => Some(format!("unknown key `{key}`, did you mean `retries`?")),
        "unknown_wait" => Some("unknown key `unknown_wait`, did you mean `unknown_delay`?".to_owned()),
        _ => None,
    }
}
