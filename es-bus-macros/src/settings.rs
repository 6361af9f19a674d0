//! Settings of groups and handlers: checked here, kept as text under the configuration's names.

mod queue;

use crate::{
    args::{self, Args},
    errors::Errors,
    pattern, rules,
};

/// Names and texts, as the configuration knows them.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// The keys that only a group has.
pub(crate) const GROUP_ONLY: &[&str] = &[
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
    "retry_ladder",
    "max_length",
    "max_length_bytes",
    "overflow",
    "message_ttl",
    "queue",
    "compat",
    "exclusive",
    "single_active_consumer",
    "expires",
    "max_priority",
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
];

const BACKOFF_KEYS: &[&str] = &["base", "max", "jitter"];

/// The longest length that a queue can have.
const LONGEST: u64 = 9_223_372_036_854_775_807;

/// Takes retries, backoff, timeout, and when a run is slow.
pub(crate) fn take_policy(args: &mut Args, settings: &mut Settings, errors: &mut Errors) {
    if let Some(retries) = args.number("retries", 0, 100, "", errors) {
        settings.push(("retries", retries.to_string()));
    }
    let example = "base = \"1s\", max = \"60s\", jitter = 0.1";
    if let Some(mut backoff) = args.list("backoff", "backoff", BACKOFF_KEYS, example, errors) {
        let base = backoff.duration("base", "1ms", "30d", "", errors);
        let max = backoff.duration("max", "1ms", "30d", "", errors);
        if let (Some((base, base_ms)), Some((max, max_ms))) = (&base, &max)
            && base_ms > max_ms
        {
            errors.at(
                base.span(),
                format!(
                    "`base` of {} is longer than `max` of {}: the first wait is the shortest",
                    base.value(),
                    max.value()
                ),
            );
        }
        settings.extend(base.map(|(text, _)| ("backoff_base", text.value())));
        settings.extend(max.map(|(text, _)| ("backoff_max", text.value())));
        settings.extend(backoff.fraction("jitter", errors).map(|jitter| ("backoff_jitter", jitter)));
        backoff.finish(|_| None, errors);
    }
    if let Some((text, _)) = args.duration("timeout", "1ms", "1d", "", errors) {
        settings.push(("timeout", text.value()));
    }
    if let Some(text) = args.duration_or_none("slow_handler", "1ms", "1d", errors) {
        settings.push(("slow_handler", text.value()));
    }
}

/// Takes what only a group has.
pub(crate) fn take_group(args: &mut Args, settings: &mut Settings, errors: &mut Errors) {
    let at: Vec<_> = GROUP_ONLY.iter().filter_map(|key| Some((*key, args.key_span(key)?))).collect();
    let mut put = |key: &'static str, value: Option<String>| settings.extend(value.map(|value| (key, value)));
    put("kind", args.word("kind", &["quorum", "classic", "stream"], &[], errors).map(|word| word.value()));
    put("offset", queue::take_offset(args, errors));
    put("max_age", args.duration("max_age", "1s", "3650d", "", errors).map(|(text, _)| text.value()));
    let prefetch = args.number("prefetch", 1, 65_535, "0 would be unlimited", errors);
    let concurrency_at = args.key_span("concurrency");
    let concurrency = args.number("concurrency", 1, 65_535, "", errors);
    if let (Some(prefetch), Some(concurrency), Some(at)) = (prefetch, concurrency, concurrency_at)
        && concurrency > prefetch
    {
        errors.at(
            at,
            format!("`concurrency` of {concurrency} can never be reached with a `prefetch` of {prefetch}"),
        );
    }
    put("prefetch", prefetch.map(|number| number.to_string()));
    put("concurrency", concurrency.map(|number| number.to_string()));
    put(
        "ordering",
        args.word("ordering", &["aggregate", "strict", "none"], &[], errors).map(|word| word.value()),
    );
    let words = &["skip", "wait", "dead_letter"];
    put("on_unknown", args.word("on_unknown", words, &[], errors).map(|word| word.value()));
    put(
        "unknown_delay",
        args.duration("unknown_delay", "1ms", "30d", "", errors).map(|(text, _)| text.value()),
    );
    put(
        "unknown_retries",
        args.number("unknown_retries", 0, 100_000, "", errors).map(|number| number.to_string()),
    );
    put("crash_limit", args.number_or_none("crash_limit", 2, 100, errors));
    put("weight", args.number("weight", 1, 1000, "", errors).map(|number| number.to_string()));
    put("retired", take_retired(args, errors));
    put("retry_ladder", take_ladder(args, errors));
    put("max_length", args.number("max_length", 1, LONGEST, "", errors).map(|number| number.to_string()));
    put("max_length_bytes", args.size("max_length_bytes", errors).map(|text| text.value()));
    put(
        "overflow",
        args.word("overflow", &["reject-publish", "drop-head"], &[], errors).map(|word| word.value()),
    );
    put("message_ttl", args.duration("message_ttl", "1ms", "30d", "", errors).map(|(text, _)| text.value()));
    queue::take(args, &mut put, errors);
    put("dlq_ttl", args.duration("dlq_ttl", "1ms", "3650d", "", errors).map(|(text, _)| text.value()));
    put(
        "dlq_max_length",
        args.number("dlq_max_length", 1, LONGEST, "", errors).map(|number| number.to_string()),
    );
    queue::check_combinations(settings, &at, errors);
}

fn take_retired(args: &mut Args, errors: &mut Errors) -> Option<String> {
    let keys = args.texts("retired", "Order.OrderPlaced", errors)?;
    for key in &keys {
        pattern::check_listed_binding(key, errors);
    }
    Some(rules::list(keys.iter().map(syn::LitStr::value)))
}

fn take_ladder(args: &mut Args, errors: &mut Errors) -> Option<String> {
    let rungs = args.texts("retry_ladder", "30s", errors)?;
    let mut before: Option<u64> = None;
    for rung in &rungs {
        let ms = args::check_duration("retry_ladder", rung, "1ms", "30d", "", errors);
        if let (Some(before), Some(ms)) = (before, ms)
            && ms <= before
        {
            errors.at(rung.span(), "the rungs of a ladder go from the shortest to the longest, each once");
        }
        before = ms.or(before);
    }
    Some(rules::list(rungs.iter().map(syn::LitStr::value)))
}
