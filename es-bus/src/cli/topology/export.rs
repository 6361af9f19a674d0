//! `topology export`: in the formats of others.

use std::fs;

use crate::{
    cli::{
        CommandError, Context, Exit,
        args::{ExportArgs, Format},
    },
    config::{BrokerUrl, Config},
};

pub(super) fn export(args: &ExportArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.look()?;
    let text = match args.format {
        Format::Definitions => {
            let vhost = args.vhost.as_deref().unwrap_or_else(|| virtual_host(bus.config()));
            bus.topology().definitions(vhost)?
        }
        Format::Mermaid => bus.topology().mermaid(),
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

/// That of the URL, where there is one.
fn virtual_host(config: &Config) -> &str {
    match &config.bus.url.value {
        Some(BrokerUrl::Amqp(url)) => url.virtual_host(),
        Some(BrokerUrl::Memory { .. }) | None => "/",
    }
}
