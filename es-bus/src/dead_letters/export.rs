//! Dead letters as lines of JSON.

use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{DeadLetter, json, scan::Held};
use crate::wire::base64;

/// A line: the entry, and the message to the last byte.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    delivered_exchange: &'a str,
    delivered_routing_key: &'a str,
    properties: serde_json::Value,
    headers: serde_json::Value,
    body: Content<'a>,
}

/// The body as it is: never read as JSON, which would round numbers and reorder fields.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Content<'a> {
    Text(&'a str),
    Base64(String),
}

/// Writes one line.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    letter: &DeadLetter,
    held: &Held,
) -> std::io::Result<()> {
    let message = &held.received().message;
    let body = match std::str::from_utf8(&message.body) {
        Ok(text) => Content::Text(text),
        Err(_) => Content::Base64(base64::encode(&message.body)),
    };
    let mut line = serde_json::to_vec(&Line {
        letter,
        delivered_exchange: &held.received().exchange,
        delivered_routing_key: &held.received().routing_key,
        properties: json::properties(message),
        headers: json::headers(&message.headers),
        body,
    })?;
    line.push(b'\n');
    writer.write_all(&line).await
}
