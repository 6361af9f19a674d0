//! `topology export`: in the formats of others.

use std::fs;

use serde_json::json;

use crate::{
    bus::Bus,
    cli::{
        CommandError, Context, Exit,
        args::{ExportArgs, Format},
    },
    config::{BrokerUrl, Config},
    schema::EventSchema,
};

pub(super) fn export(args: &ExportArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.look()?;
    cx.remark_part(&bus)?;
    let vhost = args.vhost.as_deref().unwrap_or_else(|| virtual_host(bus.config()));
    let text = match args.format {
        Format::Definitions => bus.topology().definitions(vhost)?,
        Format::Mermaid => bus.topology().mermaid(),
        Format::Svg => bus.topology().svg(),
        Format::Permissions => {
            let program = &cx.program;
            let users = args.users.clone();
            let (admin, service) =
                users.unwrap_or_else(|| (format!("{program}-admin"), format!("{program}-service")));
            match cx.is_json() {
                true => bus.permissions().definitions(vhost, &admin, &service),
                false => bus.permissions().rabbitmqctl(vhost, &admin, &service),
            }
        }
        Format::Asyncapi => {
            if cx.has_manifest {
                cx.remark(NOT_IN_MANIFEST)?;
            }
            bus.asyncapi(args.title.as_deref().unwrap_or(&cx.program), &args.release)
        }
        Format::Schemas => {
            let schemas = schemas(&bus);
            if schemas.is_empty() {
                cx.remark(if cx.has_manifest { NOT_IN_MANIFEST } else { NO_SCHEMAS })?;
            }
            format!("{:#}\n", serde_json::Value::from(schemas))
        }
    };
    match &args.output {
        Some(path) => {
            fs::write(path, text).map_err(|source| CommandError::File {
                path: path.clone(),
                what: "written",
                source,
            })?;
            cx.remark(&format!("written to {}", path.display()))?;
        }
        None => cx.say(&text)?,
    }
    Ok(Exit::Done)
}

const NOT_IN_MANIFEST: &str = "note: a manifest holds no JSON Schemas: the service's own program writes them";

const NO_SCHEMAS: &str = if cfg!(feature = "schema") {
    "note: there is none: derive `schemars::JsonSchema` for the types of the events"
} else {
    "note: there is none: es-bus was built without its feature `schema`"
};

/// The schemas, each with the event that it is of.
fn schemas(bus: &Bus) -> Vec<serde_json::Value> {
    let of = |schema: EventSchema| {
        let EventSchema { event, payload, body } = schema;
        json!({
            "event": event.name,
            "aggregate": event.aggregate,
            "exchange": bus.exchanges().of(&event),
            "key": event.key,
            "version": event.version,
            "payload": payload,
            "body": body,
        })
    };
    bus.registry().schemas().into_iter().map(of).collect()
}

/// That of the URL, where there is one.
fn virtual_host(config: &Config) -> &str {
    match &config.bus.url.value {
        Some(BrokerUrl::Amqp(url)) => url.virtual_host(),
        Some(BrokerUrl::Memory { .. }) | None => "/",
    }
}
