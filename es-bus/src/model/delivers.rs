//! Which messages a binding delivers: AMQP's rule, per kind of exchange.

use super::ExchangeKind;
use crate::message::{Headers, Value};

/// Whether a binding delivers a message to its queue.
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
        ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout => {
            kind.delivers(binding_key, routing_key)
        }
    }
}

fn headers_match(arguments: &Headers, headers: &Headers) -> bool {
    let mode = arguments.get_str("x-match").unwrap_or("all");
    let with_x = mode.ends_with("-with-x");
    let mut wanted =
        arguments.iter().filter(|(name, _)| *name != "x-match" && (with_x || !name.starts_with("x-")));
    let mut fits =
        |(name, value): (&str, &Value)| headers.get(name).is_some_and(|there| same_value(value, there));
    if mode.starts_with("any") { wanted.any(&mut fits) } else { wanted.all(&mut fits) }
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
        }
    }
}
