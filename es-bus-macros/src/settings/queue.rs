//! The keys of `#[group]` that shape its queue and its dead letters on the broker, and which of them
//! do not go together. The configuration checks the same again, of all that is said.

use proc_macro2::Span;
use syn::Lit;

use super::Settings;
use crate::{args::Args, errors::Errors};

/// What a name can hold, and where.
const PLACEHOLDERS: [&str; 4] = ["{exchange}", "{group}", "{queue}", "{dlq_exchange_suffix}"];

/// The arguments that es-bus sets itself, and what sets them.
const OWNED: [(&str, &str); 13] = [
    ("x-queue-type", "`kind` sets it"),
    ("x-dead-letter-exchange", "`dlx` sets it"),
    ("x-dead-letter-routing-key", "`dlq_key` sets it"),
    ("x-dead-letter-strategy", "a quorum queue has it, unless `overflow` is \"drop-head\""),
    ("x-message-ttl", "`message_ttl` sets it"),
    ("x-expires", "`expires` sets it"),
    ("x-max-length", "`max_length` sets it"),
    ("x-max-length-bytes", "`max_length_bytes` sets it"),
    ("x-max-age", "`max_age` sets it"),
    ("x-overflow", "`overflow` sets it"),
    ("x-max-priority", "`max_priority` sets it"),
    ("x-single-active-consumer", "`single_active_consumer` sets it"),
    ("x-delivery-limit", "es-bus sets it so high that the broker never gives a message up by itself"),
];

/// Takes the keys.
pub(super) fn take(args: &mut Args, put: &mut impl FnMut(&'static str, Option<String>), errors: &mut Errors) {
    for (key, example) in [
        ("queue", "all_orders"),
        ("dlx", "dlx.events"),
        ("dlq", "dlq.events"),
        ("dlq_key", "{queue}.dead"),
        ("dlq_bind", "#"),
    ] {
        put(key, take_template(args, key, example, errors));
    }
    let kinds = &["quorum", "classic"];
    put("dlq_kind", args.word("dlq_kind", kinds, &[], errors).map(|word| word.value()));
    let kinds = &["direct", "topic", "fanout"];
    put("dlx_kind", args.word("dlx_kind", kinds, &[], errors).map(|word| word.value()));
    put("compat", args.word("compat", &["eventsource"], &[], errors).map(|word| word.value()));
    let words = &["dead_letter", "drop"];
    put("on_exhausted", args.word("on_exhausted", words, &[], errors).map(|word| word.value()));
    for key in ["exclusive", "single_active_consumer", "durable", "auto_delete"] {
        put(key, args.boolean(key, errors).map(|value| value.to_string()));
    }
    put("expires", args.duration("expires", "1s", "3650d", "", errors).map(|(text, _)| text.value()));
    put(
        "max_priority",
        args.number("max_priority", 1, 255, "RabbitMQ advises 10 at most", errors)
            .map(|number| number.to_string()),
    );
    put("arguments", take_arguments(args, errors));
}

fn take_template(args: &mut Args, key: &str, example: &str, errors: &mut Errors) -> Option<String> {
    let text = args.text(key, example, errors)?;
    let value = text.value();
    if value.is_empty() && key == "dlx" {
        errors.at(text.span(), "write `dlx = \"amq.default\"` for the default exchange");
    } else if value.is_empty() || value.trim() != value || value.contains(char::is_control) {
        errors.at(text.span(), format!("`{key}` is a name: not empty, without blanks around it"));
    } else if value.len() > 255 {
        errors.at(text.span(), format!("`{key}` has {} bytes, AMQP carries at most 255", value.len()));
    } else if value.starts_with("amq.") && !(key == "dlx" && value == "amq.default") && key != "dlq_bind" {
        errors.at(text.span(), format!("`{key}` starts with `amq.`, which RabbitMQ keeps for itself"));
    }
    let known: &[&str] = if key == "queue" { &PLACEHOLDERS[..2] } else { &PLACEHOLDERS };
    let mut rest = value.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        let Some(placeholder) = known.iter().find(|known| rest[at..].starts_with(**known)) else {
            let list = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            errors.at(text.span(), format!("`{key}` has an unknown placeholder, known are {list}"));
            break;
        };
        rest = &rest[at + placeholder.len()..];
    }
    Some(value)
}

/// A place in a stream. That a time is one, the configuration checks.
pub(super) fn take_offset(args: &mut Args, errors: &mut Errors) -> Option<String> {
    let text = args.text("offset", "first", errors)?;
    let value = text.value();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_offset = digits(&value) && value.parse::<i64>().is_ok();
    let looks_like_time =
        value.len() >= 20 && digits(&value[..value.find('-').unwrap_or(0)]) && value.contains('T');
    if !matches!(value.as_str(), "first" | "last" | "next") && !is_offset && !looks_like_time {
        errors.at(
            text.span(),
            format!(
                "`offset` is \"first\", \"last\", \"next\", an offset (\"1042\") or a time \
                 (\"2026-01-31T12:00:00Z\"), not {value:?}"
            ),
        );
    }
    Some(value)
}

fn take_arguments(args: &mut Args, errors: &mut Errors) -> Option<String> {
    let values = args.values("arguments", "\"x-queue-mode\" = \"lazy\"", errors)?;
    let mut texts: Vec<(String, String)> = Vec::new();
    for (name, at, value) in values {
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            errors.at(at, "the name of an argument is ASCII without blanks, 1 to 128 bytes");
        } else if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name) {
            errors.at(at, format!("`{name}` is not set by hand: {instead}"));
        } else if texts.iter().any(|(known, _)| *known == name) {
            errors.at(at, format!("argument `{name}` is given twice"));
        }
        let text = match &value {
            Lit::Str(text) if text.value().contains('"') => {
                errors.at(text.span(), "the value of an argument cannot hold a quote");
                continue;
            }
            Lit::Str(text) => format!("\"{}\"", text.value()),
            Lit::Int(number) if number.base10_parse::<i64>().is_ok() && number.suffix().is_empty() => {
                number.base10_digits().to_owned()
            }
            Lit::Bool(value) => value.value.to_string(),
            other => {
                errors.over(other, "the value of an argument is a text, a whole number, true or false");
                continue;
            }
        };
        texts.push((name, text));
    }
    if texts.is_empty() {
        return Some("none".to_owned());
    }
    Some(texts.iter().map(|(name, text)| format!("{name} = {text}")).collect::<Vec<_>>().join(", "))
}

/// What says where dead letters go, and how they are kept.
const DEAD_LETTERS: &[&str] =
    &["dlx", "dlx_kind", "dlq", "dlq_key", "dlq_bind", "dlq_kind", "dlq_ttl", "dlq_max_length"];

/// Refuses what one attribute shows to be impossible.
pub(super) fn check_combinations(settings: &Settings, at: &[(&str, Span)], errors: &mut Errors) {
    let get = |key: &str| settings.iter().find(|(name, _)| *name == key).map(|(_, text)| text.as_str());
    let span = |key: &str| at.iter().find(|(name, _)| *name == key).map(|(_, span)| *span);
    let mut refuse = |keys: &[&str], beside: &str, why: &str| {
        for key in keys {
            if let (Some(_), Some(at)) = (get(key), span(key)) {
                errors.at(at, format!("`{key}` and `{beside}` do not go together: {why}"));
            }
        }
    };
    let (exclusive, compat) = (get("exclusive") == Some("true"), get("compat").is_some());
    if exclusive {
        let why = "an exclusive queue goes with its process, retries in memory, and has no dead-letter queue";
        refuse(DEAD_LETTERS, "exclusive", why);
        let keys = ["compat", "single_active_consumer", "expires", "durable", "auto_delete"];
        refuse(&keys, "exclusive", why);
        refuse(&["unknown_delay", "unknown_retries", "crash_limit", "retry_ladder"], "exclusive", why);
        if get("on_unknown").is_some_and(|word| word != "skip") {
            refuse(&["on_unknown"], "exclusive", "it skips what its handlers do not take");
        }
        if get("on_exhausted") == Some("dead_letter") {
            refuse(&["on_exhausted"], "exclusive", why);
        }
    }
    if compat {
        let why = "the queue is declared exactly as eventsource-py declares it";
        let keys = [
            "queue",
            "single_active_consumer",
            "expires",
            "max_priority",
            "max_length",
            "max_length_bytes",
            "overflow",
            "message_ttl",
            "durable",
            "auto_delete",
            "arguments",
        ];
        refuse(&keys, "compat", why);
        refuse(&DEAD_LETTERS[..6], "compat", why);
    }
    if get("kind") == Some("quorum") {
        if exclusive {
            refuse(&["kind"], "exclusive", "an exclusive queue is a classic one");
        }
        if compat {
            refuse(&["kind"], "compat", "eventsource-py declares classic queues");
        }
        let why = "a quorum queue has no priorities, write `kind = \"classic\"`";
        refuse(&["max_priority"], "kind = \"quorum\"", why);
        let why = "a quorum queue always outlives its consumers and the broker, write `kind = \"classic\"`";
        if get("durable") == Some("false") {
            refuse(&["durable"], "kind = \"quorum\"", why);
        }
        if get("auto_delete") == Some("true") {
            refuse(&["auto_delete"], "kind = \"quorum\"", why);
        }
    }
    if get("kind") == Some("stream") {
        let why = "a stream keeps what was read, for the next reader";
        refuse(&["exclusive", "compat"], "kind = \"stream\"", why);
        let why = "a stream lets events go by `max_age` and `max_length_bytes` alone";
        refuse(&["max_length", "message_ttl", "overflow"], "kind = \"stream\"", why);
        let why = "a stream has one order, that in which events came";
        refuse(&["max_priority"], "kind = \"stream\"", why);
        let why = "a stream stays when nobody reads it, and outlives the broker";
        refuse(&["expires"], "kind = \"stream\"", why);
        if get("durable") == Some("false") {
            refuse(&["durable"], "kind = \"stream\"", why);
        }
        if get("auto_delete") == Some("true") {
            refuse(&["auto_delete"], "kind = \"stream\"", why);
        }
    } else if let Some(kind) = get("kind") {
        let why = "only a stream is read from a place in it, write `kind = \"stream\"`";
        refuse(&["offset", "max_age"], &format!("kind = {kind:?}"), why);
    }
    if get("on_exhausted") == Some("drop") && !exclusive {
        refuse(DEAD_LETTERS, "on_exhausted = \"drop\"", "there is no dead-letter queue then");
    }
}
