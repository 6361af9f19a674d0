//! Which messages a binding delivers: AMQP's rule, per kind of exchange.

use super::ExchangeKind;
use crate::{
    message::{Headers, Value},
    topic,
};

/// Whether a binding delivers a message to its queue; on a consistent-hash exchange, whether it may, as one of its
/// bindings does.
///
/// # Examples
///
/// ```
/// use es_bus::{message::Headers, model::{ExchangeKind, delivers}};
///
/// let none = Headers::new();
/// assert!(delivers(ExchangeKind::Topic, ("Order.*", &none), ("Order.Placed", &none)));
/// assert!(!delivers(ExchangeKind::Direct, ("Order.*", &none), ("Order.Placed", &none)));
///
/// let pdf: Headers = [("format", "pdf")].into_iter().collect();
/// assert!(delivers(ExchangeKind::Headers, ("", &pdf), ("Report.Rendered", &pdf)));
/// ```
#[must_use]
pub fn delivers(
    kind: ExchangeKind,
    (binding_key, arguments): (&str, &Headers),
    (routing_key, headers): (&str, &Headers),
) -> bool {
    match kind {
        ExchangeKind::Headers => headers_match(arguments, headers),
        ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::ConsistentHash => {
            kind.delivers(binding_key, routing_key)
        }
    }
}

/// Why a binding does not deliver a message, to follow the binding: `Order.*: word 1 is "Invoice", …`; `None`
/// where it delivers it.
pub(crate) fn refusal(
    kind: ExchangeKind,
    (binding_key, arguments): (&str, &Headers),
    (routing_key, headers): (&str, &Headers),
) -> Option<String> {
    if delivers(kind, (binding_key, arguments), (routing_key, headers)) {
        return None;
    }
    Some(match kind {
        ExchangeKind::Topic => topic::parting(binding_key, routing_key)?.to_string(),
        ExchangeKind::Direct => {
            format!("the key is {routing_key:?}, which a direct exchange compares as a whole")
        }
        ExchangeKind::Fanout | ExchangeKind::ConsistentHash => return None,
        ExchangeKind::Headers => {
            let mut refused = wanted(arguments).filter(|(name, value)| !fits(headers, name, value));
            match refused.next() {
                Some((name, value)) => match headers.get(name) {
                    Some(there) => {
                        format!("the header {name} is {}, not {}", in_words(there), in_words(value))
                    }
                    None => format!("the message has no header {name}"),
                },
                None => "it names no header, and asks for one of them".to_owned(),
            }
        }
    })
}

/// What a binding asks for, in words: `Order.*`, `everything`, `all of format = "pdf"`, `a share of weight 2`.
pub(crate) fn asked(kind: ExchangeKind, binding_key: &str, arguments: &Headers) -> String {
    match kind {
        ExchangeKind::Topic | ExchangeKind::Direct => binding_key.to_owned(),
        ExchangeKind::Fanout => "everything".to_owned(),
        ExchangeKind::ConsistentHash if binding_key.is_empty() => "a share".to_owned(),
        ExchangeKind::ConsistentHash => format!("a share of weight {binding_key}"),
        ExchangeKind::Headers => {
            let mode = arguments.get_str("x-match").unwrap_or("all");
            let values = arguments.iter().filter(|(name, _)| *name != "x-match");
            let values: Vec<_> =
                values.map(|(name, value)| format!("{name} = {}", in_words(value))).collect();
            format!("{mode} of {}", values.join(", "))
        }
    }
}

/// A value of a header as a person would write it.
pub(crate) fn in_words(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        value if value.is_integer() => value.as_int().unwrap_or_default().to_string(),
        value => format!("{:?}", value.as_str().unwrap_or_default()),
    }
}

fn headers_match(arguments: &Headers, headers: &Headers) -> bool {
    let mut fits = |(name, value): (&str, &Value)| fits(headers, name, value);
    if mode(arguments).starts_with("any") {
        wanted(arguments).any(&mut fits)
    } else {
        wanted(arguments).all(&mut fits)
    }
}

fn mode(arguments: &Headers) -> &str {
    arguments.get_str("x-match").unwrap_or("all")
}

/// The headers that a binding looks at.
fn wanted(arguments: &Headers) -> impl Iterator<Item = (&str, &Value)> {
    let with_x = mode(arguments).ends_with("-with-x");
    arguments.iter().filter(move |(name, _)| *name != "x-match" && (with_x || !name.starts_with("x-")))
}

fn fits(headers: &Headers, name: &str, wanted: &Value) -> bool {
    headers.get(name).is_some_and(|there| same_value(wanted, there))
}

/// RabbitMQ compares within a class of types (any integer with any integer, `f` with `d`); a binding without a
/// value asks for presence only.
fn same_value(wanted: &Value, there: &Value) -> bool {
    let float = |value: &Value| match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        _ => None,
    };
    match wanted {
        Value::Void => true,
        wanted if wanted.is_integer() => there.is_integer() && wanted.as_int() == there.as_int(),
        Value::F32(_) | Value::F64(_) => float(there).is_some() && float(wanted) == float(there),
        wanted => wanted == there,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_match_all_or_any_and_ignore_names_that_begin_with_x() {
        let table = |pairs: &[(&'static str, Value)]| pairs.iter().cloned().collect::<Headers>();
        let region = || ("region", Value::from("eu"));
        let level = || ("level", Value::I8(4));
        let message = table(&[region(), ("level", Value::I64(4)), ("x-own", Value::from("1"))]);
        for (arguments, expected) in [
            (table(&[]), true),
            (table(&[region(), level()]), true),
            (table(&[region(), ("level", Value::I8(5))]), false),
            (table(&[("x-match", "any".into())]), false),
            (table(&[("x-match", "any".into()), region(), ("level", Value::I8(5))]), true),
            (table(&[("x-own", "2".into()), region()]), true),
            (table(&[("x-match", "all-with-x".into()), ("x-own", "2".into())]), false),
            (table(&[("region", Value::Void)]), true),
            (table(&[("tenant", Value::Void)]), false),
            (table(&[("level", "4".into())]), false),
        ] {
            assert_eq!(headers_match(&arguments, &message), expected, "{arguments:?}");
            let refusal = refusal(ExchangeKind::Headers, ("", &arguments), ("", &message));
            assert_eq!(refusal.is_none(), expected, "{arguments:?}: {refusal:?}");
        }
    }

    #[test]
    fn says_what_a_message_lacks() {
        let none = Headers::new();
        let pdf: Headers = [("format", "pdf")].into_iter().collect();
        let csv: Headers = [("format", "csv")].into_iter().collect();
        let any: Headers = [("x-match", "any")].into_iter().collect();
        for (kind, key, arguments, headers, expected) in [
            (
                ExchangeKind::Topic,
                "Order.*",
                &none,
                &none,
                "word 1 is \"Report\", the binding asks for \"Order\"",
            ),
            (
                ExchangeKind::Direct,
                "Report.*",
                &none,
                &none,
                "the key is \"Report.Rendered\", which a direct exchange compares as a whole",
            ),
            (ExchangeKind::Headers, "", &pdf, &csv, "the header format is \"csv\", not \"pdf\""),
            (ExchangeKind::Headers, "", &pdf, &none, "the message has no header format"),
            (ExchangeKind::Headers, "", &any, &pdf, "it names no header, and asks for one of them"),
        ] {
            let refusal = refusal(kind, (key, arguments), ("Report.Rendered", headers));
            assert_eq!(refusal.as_deref(), Some(expected), "{kind:?} {key}");
        }
        assert_eq!(refusal(ExchangeKind::Fanout, ("", &none), ("a", &none)), None);
    }
}
