//! `handlers`: who takes what.

use serde::Serialize;

use super::{CommandError, Context, Exit, args::HandlersArgs, context::Program, output::Table};
use crate::{
    bus::retries,
    duration,
    name::ExchangeName,
    topology::{Bound, GroupSpec, HandlerSpec},
};

pub(super) fn handlers(args: &HandlersArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.look()?;
    cx.remark_part(&bus)?;
    let program = Program::of(&bus);
    let groups = match &args.group {
        Some(name) => std::slice::from_ref(program.group(name)?),
        None => &program.groups[..],
    };
    let home = program.exchanges.default();
    let described: Vec<Described> = groups
        .iter()
        .flat_map(|group| group.handlers.iter().map(|handler| describe(group, handler, home)))
        .map(|described| Described { at: place(&bus, &described), ..described })
        .collect();
    if cx.is_json() {
        cx.json(&described)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["GROUP", "HANDLER", "BINDINGS", "EVENTS", "QUEUE", "RETRIES", "TIMEOUT"]);
    for one in &described {
        let events = if one.takes_raw { "any (raw)".to_owned() } else { one.events.join(", ") };
        table.row([
            one.group.clone(),
            one.handler.clone(),
            one.bindings.join(", "),
            events,
            one.queue.clone(),
            one.retries.clone(),
            one.timeout.clone(),
        ]);
    }
    match described.is_empty() {
        true => cx.remark("no handler is run here: the program publishes only, or `groups` selects none")?,
        false => cx.say(&table.render(cx.io.style))?,
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Described {
    group: String,
    handler: String,
    bindings: Vec<String>,
    events: Vec<&'static str>,
    takes_raw: bool,
    queue: String,
    /// How often and when, as a person reads it.
    retries: String,
    timeout: String,
    /// The line of its attribute.
    at: Option<String>,
}

fn describe(group: &GroupSpec, handler: &HandlerSpec, home: &ExchangeName) -> Described {
    let binding = |bound: &Bound| match bound.exchange == *home {
        true => bound.in_words(),
        false => format!("{} on {}", bound.in_words(), bound.exchange),
    };
    let kinds = handler.kinds.as_deref();
    Described {
        group: group.name.as_str().to_owned(),
        handler: handler.name.to_string(),
        bindings: handler.bound.iter().map(binding).collect(),
        events: kinds.unwrap_or_default().iter().map(|kind| kind.name).collect(),
        takes_raw: kinds.is_none(),
        queue: group.queue.as_str().to_owned(),
        retries: retries(&handler.policy),
        timeout: duration::print(handler.timeout),
        at: None,
    }
}

fn place(bus: &crate::bus::Bus, handler: &Described) -> Option<String> {
    let mut defs = bus.registry().handlers().iter();
    let def = defs.find(|def| def.group.name == handler.group && def.name == handler.handler)?;
    Some(def.location.to_string())
}
