//! Tables in JSON, as RabbitMQ's management API and its definitions write them.

use serde_json::{Map, Number, Value as Json};

use crate::message::{Headers, Value};

/// A value in JSON; `None` for one that JSON cannot hold: bytes, a time, a decimal number.
pub(crate) fn of_value(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Bool(truth) => Json::from(*truth),
        Value::F32(number) => Json::Number(Number::from_f64(f64::from(*number))?),
        Value::F64(number) => Json::Number(Number::from_f64(*number)?),
        Value::Str(_) => Json::from(value.as_str()?),
        Value::Array(values) => Json::Array(values.iter().map(of_value).collect::<Option<_>>()?),
        Value::Table(table) => Json::Object(of_table(table).ok()?),
        number if number.is_integer() => Json::from(number.as_int()?),
        _ => return None,
    })
}

/// A table in JSON.
///
/// # Errors
///
/// The name of the first value that JSON cannot hold.
pub(crate) fn of_table(table: &Headers) -> Result<Map<String, Json>, &str> {
    table.iter().map(|(name, value)| Ok((name.to_owned(), of_value(value).ok_or(name)?))).collect()
}

/// A table from JSON, as only a management API answers. Integers come in one width, as JSON does not tell theirs.
#[cfg(any(feature = "management", test))]
pub(crate) fn table(json: &Map<String, Json>) -> Headers {
    json.iter().map(|(name, json)| (name.clone(), value(json))).collect()
}

#[cfg(any(feature = "management", test))]
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::I64(number),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => Value::Array(values.iter().map(value).collect()),
        Json::Object(object) => Value::Table(table(object)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::equivalence::is_same_table;

    #[test]
    fn what_json_can_hold_comes_back_but_for_the_width_of_integers() {
        let inner: Headers = [("x-match", Value::from("all"))].into_iter().collect();
        let headers: Headers = [
            ("truth", Value::Bool(true)),
            ("narrow", Value::I8(5)),
            ("wide", Value::U32(u32::MAX)),
            ("half", Value::F64(0.5)),
            ("text", Value::from("ünï")),
            ("list", Value::Array(vec![Value::I16(300), Value::Table(inner)])),
        ]
        .into_iter()
        .collect();

        let back = table(&of_table(&headers).unwrap());

        assert!(is_same_table(&back, &headers), "{back:?}");
    }

    #[test]
    fn names_what_json_cannot_hold() {
        let headers: Headers =
            [("a", Value::I8(1)), ("odd", Value::Bytes(Bytes::from_static(b"\0")))].into_iter().collect();

        assert_eq!(of_table(&headers), Err("odd"));
    }
}
