//! `dlq show`.

use std::fmt::Write;

use super::open;
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::ShowArgs,
        output::{Style, line, lines},
    },
    dead_letters::{Body, FullDeadLetter},
};

pub(super) async fn show(args: &ShowArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let letters = open(&args.whose, cx).await?;
    let Some(full) = letters.show(&args.id).await? else {
        return Err(CommandError::NoneChosen { queue: letters.queue().to_string() });
    };
    if cx.is_json() {
        cx.json(&full)?;
    } else {
        cx.say(&text(&full, cx.io.style))?;
    }
    Ok(Exit::Done)
}

fn text(full: &FullDeadLetter, style: Style) -> String {
    let it = &full.letter;
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let aggregate = match (&it.aggregate_type, &it.aggregate_id) {
        (None, None) => None,
        (kind, id) => {
            Some([kind.as_deref(), id.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
    };
    let error = match (&it.error_type, &it.error) {
        (Some(kind), Some(error)) => Some(format!("{kind}: {error}")),
        (kind, error) => kind.clone().or_else(|| error.clone()),
    };
    let deaths = it.deaths.as_ref().map(|deaths| {
        let first = [&deaths.first_reason, &deaths.first_queue].into_iter().flatten().cloned();
        format!("{} by the broker, first {}", deaths.count, first.collect::<Vec<_>>().join(" in "))
    });
    let rows = [
        ("id", Some(it.id.clone())),
        ("event", it.event_type.clone()),
        ("event id", it.event_id.clone()),
        ("aggregate", aggregate),
        ("exchange", it.exchange.clone()),
        ("routing key", Some(it.routing_key.clone())),
        ("queue", it.queue.clone()),
        ("handlers", Some(it.handlers.join(", ")).filter(|names| !names.is_empty())),
        ("reason", Some(it.reason.clone())),
        ("error", error),
        ("retries", number(it.retries)),
        ("first failure", it.first_failure_at.clone()),
        ("last failure", it.last_failure_at.clone()),
        ("dead since", it.dead_lettered_at.clone()),
        ("deaths", deaths),
        ("replays", Some(it.replays).filter(|replays| *replays > 0).map(|replays| replays.to_string())),
        ("replayed at", it.replayed_at.clone()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let Some(value) = value else { continue };
        // An error may have several lines.
        let value = lines(&value).replace('\n', &format!("\n{:15}", ""));
        let _ = writeln!(text, "{}  {value}", style.bold(&format!("{name:13}")));
    }
    for (title, values) in [("properties", &full.properties), ("headers", &full.headers)] {
        let _ = writeln!(text, "\n{}", style.bold(title));
        for (name, value) in values.as_object().into_iter().flatten() {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "  {} = {}", line(name), line(&shown));
        }
    }
    let _ = writeln!(text, "\n{}, {} B", style.bold("body"), it.body_size);
    text += &match &full.body {
        Body::Json(value) => format!("{value:#}"),
        Body::Text(it) => lines(it),
        Body::Bytes(bytes) => format!("no text; it begins with {:02x?}", &bytes[..bytes.len().min(16)]),
    };
    text.push('\n');
    text
}
