//! `publish`: one event of the program, by its name.
//!
//! The data are read as the event, by the code that its handlers read it with, and written as any program writes
//! it. An event that only a handler names, of a registry that was filled by hand, is known by its description
//! alone: then any JSON object will do.

use std::{borrow::Cow, path::Path};

use serde::{Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;

use super::{
    CommandError, Context, Exit,
    args::PublishArgs,
    context::{Program, read_file},
};
use crate::{
    event::{AnyEvent, Event, EventKind, PayloadStyle, Unroutable},
    metadata::Metadata,
    publish::PublishError,
    registry::{DecodeFn, Registry},
    suggest,
};

pub(super) async fn publish(args: &PublishArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.operated()?;
    let program = Program::of(&bus);
    let (kind, decode) = find(&args.event, &program.registry)?;
    let data = match args.data.strip_prefix('@') {
        Some(path) => read_file(Path::new(path))?,
        None if args.data == "-" => cx.piped().await?,
        None => args.data.clone().into_bytes(),
    };
    let event = read(kind, decode, &data)?;
    if decode.is_none() {
        see_fit(kind, &data, cx)?;
    }
    if kind.has_fields() && args.key.is_none() && decode.is_none() {
        return Err(CommandError::NoKey { event: kind.name.to_owned(), pattern: kind.key.to_owned() });
    }
    for field in left_out(&*event, &data) {
        let word = cx.io.err_style.yellow("warning");
        cx.remark(&format!("{word}: {} has no field {field:?}; it is not published", kind.name))?;
    }
    cx.open(bus).await?;
    let mut publish = cx.handle().publisher().publish_any(&*event);
    for (name, value) in &args.header {
        publish = publish.header(name.clone(), value.clone());
    }
    if let Some(id) = &args.id {
        publish = publish.id(id);
    }
    if let Some(id) = &args.aggregate_id {
        publish = publish.aggregate_id(id);
    }
    if let Some(id) = &args.correlation_id {
        publish = publish.correlation_id(id);
    }
    if let Some(key) = &args.key {
        publish = publish.key(key);
    }
    let id = publish.await?;
    let exchange = program.exchanges.of(kind);
    let key = args.key.clone().unwrap_or_else(|| event.any_routing_key().into_owned());
    let reached = cx.handle().counts().unroutable == 0;
    if !reached && kind.unroutable != Unroutable::Optional {
        return Err(PublishError::Unroutable { exchange: exchange.to_owned(), routing_key: key }.into());
    }
    if cx.is_json() {
        cx.json(&json!({
            "event": kind.name, "event_id": id, "exchange": exchange, "routing_key": key, "taken": reached,
        }))?;
    } else {
        let taken = if reached { "" } else { "; no queue took it, which is no error for this event" };
        cx.say(&format!("published {} {id} to {exchange} as {key}{taken}\n", kind.name))?;
    }
    Ok(Exit::Done)
}

/// The event of a name or of a routing key, and how it is read. Pure.
fn find(asked: &str, registry: &Registry) -> Result<(&'static EventKind, Option<DecodeFn>), CommandError> {
    let known = registry.kinds();
    let mut found: Vec<&'static EventKind> = Vec::new();
    for kind in known.iter().copied().filter(|kind| kind.key == asked || kind.name == asked) {
        if !found.iter().any(|other| other.key == kind.key && other.exchange == kind.exchange) {
            found.push(kind);
        }
    }
    match found.as_slice() {
        [kind] => {
            // What a second view of the event leaves out would be lost.
            let mut defs: Vec<_> = registry.events().iter().filter(|def| def.kinds.contains(kind)).collect();
            defs.sort_by_key(|def| def.view);
            Ok((kind, defs.first().and_then(|def| def.decode)))
        }
        [] => {
            let names = || known.iter().flat_map(|kind| [kind.name, kind.key]);
            let mut all: Vec<String> = known.iter().map(|kind| kind.name.to_owned()).collect();
            all.dedup();
            Err(CommandError::UnknownEvent {
                event: asked.to_owned(),
                nearest: suggest::nearest(asked, names()).map(str::to_owned),
                known: all,
            })
        }
        several => Err(CommandError::SeveralEvents {
            event: asked.to_owned(),
            keys: several.iter().map(|kind| kind.key.to_owned()).collect(),
        }),
    }
}

fn read(
    kind: &'static EventKind,
    decode: Option<DecodeFn>,
    data: &[u8],
) -> Result<Box<dyn AnyEvent>, CommandError> {
    let wrong = |reason: String| CommandError::Data { event: kind.name.to_owned(), reason };
    match decode {
        Some(decode) => decode(kind.name, data).map_err(|error| wrong(error.to_string())),
        None => match serde_json::from_slice(data) {
            Ok(Json::Object(fields)) => Ok(Box::new(Untyped { kind, fields })),
            Ok(_) => Err(wrong("they are JSON, but no object".to_owned())),
            Err(error) => Err(wrong(error.to_string())),
        },
    }
}

/// Holds data that no code here can read to what is written down of the event.
fn see_fit(kind: &EventKind, data: &[u8], cx: &mut Context<'_>) -> Result<(), CommandError> {
    let json = serde_json::from_slice(data).unwrap_or_default();
    let word = cx.io.err_style.yellow("warning");
    let Some(misfits) = cx.misfits(kind, &json) else {
        return cx.remark(&format!(
            "{word}: nothing tells what the fields of {} are, so the data are published as they are",
            kind.name
        ));
    };
    if !misfits.wrong.is_empty() {
        let all: Vec<String> = misfits.wrong.into_iter().chain(misfits.odd).collect();
        return Err(CommandError::Data { event: kind.name.to_owned(), reason: all.join(", ") });
    }
    for odd in misfits.odd {
        cx.remark(&format!("{word}: {}: {odd}; it is published all the same", kind.name))?;
    }
    Ok(())
}

/// The fields of the data that the event, as it is published, does not have: a slip, most likely.
fn left_out(event: &dyn AnyEvent, data: &[u8]) -> Vec<String> {
    let kind = event.any_kind();
    let metadata = Metadata::new(
        "00000000-0000-0000-0000-000000000000".to_owned(),
        kind.name.to_owned(),
        OffsetDateTime::UNIX_EPOCH,
    );
    let fields = |json: &[u8]| serde_json::from_slice::<Map<String, Json>>(json).ok();
    // Whatever cannot be written is told of when it is published.
    let Some(mut written) = event.any_encode(&metadata).ok().and_then(|message| fields(&message.body)) else {
        return Vec::new();
    };
    if kind.payload == PayloadStyle::Nested {
        match written.remove("payload") {
            Some(Json::Object(payload)) => written = payload,
            _ => return Vec::new(),
        }
    }
    let given = fields(data).unwrap_or_default();
    given.into_iter().map(|(name, _)| name).filter(|name| !written.contains_key(name)).collect()
}

/// An event of which only the description is known.
struct Untyped {
    kind: &'static EventKind,
    fields: Map<String, Json>,
}

impl Event for Untyped {
    const KINDS: &'static [EventKind] = &[];

    fn kind(&self) -> &'static EventKind {
        self.kind
    }

    fn aggregate_id(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }

    fn deserialize_payload<'de, D: Deserializer<'de>>(name: &str, _: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format!("{name} is only published here")))
    }
}
