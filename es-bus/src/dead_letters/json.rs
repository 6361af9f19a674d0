//! Headers and properties as JSON: for people and for exports. The way back is not promised.

use serde_json::{Map, Value as Json, json};

use crate::{
    message::{Headers, Message, Value},
    wire::base64,
};

/// The headers, by name.
pub(crate) fn headers(headers: &Headers) -> Json {
    Json::Object(headers.iter().map(|(name, it)| (name.to_owned(), value(it))).collect())
}

/// The properties that are set, by their names in AMQP.
pub(super) fn properties(message: &Message) -> Json {
    let from = &message.properties;
    let texts = [
        ("content_type", &from.content_type),
        ("content_encoding", &from.content_encoding),
        ("correlation_id", &from.correlation_id),
        ("reply_to", &from.reply_to),
        ("expiration", &from.expiration),
        ("message_id", &from.message_id),
        ("type", &from.kind),
        ("user_id", &from.user_id),
        ("app_id", &from.app_id),
    ];
    let mut all: Map<String, Json> =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))).collect();
    all.insert("delivery_mode".to_owned(), json!(if from.persistent { 2 } else { 1 }));
    if let Some(priority) = from.priority {
        all.insert("priority".to_owned(), json!(priority));
    }
    if let Some(timestamp) = from.timestamp {
        all.insert("timestamp".to_owned(), json!(timestamp));
    }
    Json::Object(all)
}

/// A value of a table.
pub(crate) fn value(from: &Value) -> Json {
    match from {
        Value::Bool(v) => json!(v),
        Value::F32(n) => json!(n),
        Value::F64(n) => json!(n),
        Value::Decimal(scale, unscaled) => json!({ "scale": scale, "unscaled": unscaled }),
        Value::Str(bytes) | Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": base64::encode(bytes) }),
        },
        Value::Array(values) => Json::Array(values.iter().map(value).collect()),
        Value::Table(table) => headers(table),
        Value::Timestamp(seconds) => json!(seconds),
        Value::Void => Json::Null,
        integer => integer.as_int().map_or(Json::Null, |number| json!(number)),
    }
}
