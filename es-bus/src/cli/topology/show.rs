//! `topology show`: as tables.

use serde_json::{Value as Json, json};

use crate::{
    cli::{CommandError, Context, Exit, args::ShowTopologyArgs, output::Table},
    duration,
    message::{Headers, Value},
    model::{Binding, Exchange, ExchangeBinding, Policy, Queue},
};

pub(super) fn show(_args: &ShowTopologyArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.look()?;
    cx.remark_part(&bus)?;
    let topology = bus.topology();
    if cx.is_json() {
        // The same objects as in the definitions, without the virtual host, and with exclusive queues.
        cx.json(&json!({
            "exchanges": topology.exchanges().map(exchange_json).collect::<Vec<_>>(),
            "queues": topology.queues().map(queue_json).collect::<Vec<_>>(),
            "bindings": topology
                .bindings()
                .map(binding_json)
                .chain(topology.exchange_bindings().map(exchange_binding_json))
                .collect::<Vec<_>>(),
            "policies": topology.policies().map(|it| policy_json(&it)).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    let mut exchanges = Table::new(&["EXCHANGE", "TYPE", "SETTINGS"]);
    for it in topology.exchanges() {
        exchanges.row([it.name.to_string(), it.kind.as_str().to_owned(), of_exchange(it)]);
    }
    let mut queues = Table::new(&["QUEUE", "TYPE", "DEAD LETTERS TO", "SETTINGS"]);
    for it in topology.queues() {
        queues.row([it.name.to_string(), it.kind.as_str().to_owned(), dead_letters(it), of_queue(it)]);
    }
    let mut bindings = Table::new(&["EXCHANGE", "BINDING KEY", "QUEUE", "ARGUMENTS"]);
    for it in topology.bindings() {
        bindings.row([it.source.to_string(), it.key.clone(), it.queue.to_string(), table(&it.arguments)]);
    }
    for it in topology.exchange_bindings() {
        let to = format!("exchange {}", it.destination);
        bindings.row([it.source.to_string(), it.key.clone(), to, table(&it.arguments)]);
    }
    let style = cx.io.style;
    let mut tables = vec![exchanges, queues, bindings];
    let mut policies = Table::new(&["POLICY", "QUEUE", "SETS"]);
    for it in topology.policies() {
        policies.row([it.name().to_owned(), it.queue().to_string(), table(&it.definition)]);
    }
    if topology.policies().next().is_some() {
        tables.push(policies);
    }
    let tables: Vec<String> = tables.into_iter().map(|table| table.render(style)).collect();
    cx.say(&tables.join("\n"))?;
    Ok(Exit::Done)
}

fn of_exchange(it: &Exchange) -> String {
    let flags = [(!it.durable, "transient"), (it.auto_delete, "auto-delete"), (it.internal, "internal")];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned());
    flags.chain(it.arguments.iter().map(entry)).collect::<Vec<_>>().join(", ")
}

fn of_queue(it: &Queue) -> String {
    let mut words: Vec<String> = [
        (!it.durable, "transient"),
        (it.exclusive, "exclusive"),
        (it.auto_delete, "auto-delete"),
        (it.single_active_consumer, "single active consumer"),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .map(|(_, word)| word.to_owned())
    .collect();
    words.extend(it.message_ttl.map(|ttl| format!("ttl {}", duration::print(ttl))));
    words.extend(it.expires.map(|time| format!("expires unused after {}", duration::print(time))));
    words.extend(it.max_length.map(|most| format!("at most {most}")));
    words.extend(it.max_length_bytes.map(|most| format!("at most {most} B")));
    words.extend(it.max_age.map(|time| format!("keeps {}", duration::print(time))));
    words.extend(it.overflow.map(|overflow| overflow.as_str().to_owned()));
    words.extend(it.max_priority.map(|most| format!("priorities to {most}")));
    words.extend(it.arguments.iter().map(entry));
    words.join(", ")
}

fn dead_letters(it: &Queue) -> String {
    it.dead_letter.as_ref().map_or_else(String::new, |to| match (to.exchange.as_str(), &to.routing_key) {
        ("", Some(queue)) => format!("queue {queue}"),
        (exchange, Some(key)) => format!("{exchange} as {key}"),
        (exchange, None) => exchange.to_owned(),
    })
}

fn table(arguments: &Headers) -> String {
    arguments.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn entry((name, value): (&str, &Value)) -> String {
    format!("{name} = {}", json_of(value))
}

fn exchange_json(it: &Exchange) -> Json {
    json!({
        "name": it.name.as_str(),
        "type": it.kind.as_str(),
        "durable": it.durable,
        "auto_delete": it.auto_delete,
        "internal": it.internal,
        "arguments": table_json(&it.arguments),
    })
}

fn queue_json(it: &Queue) -> Json {
    json!({
        "name": it.name.as_str(),
        "durable": it.durable,
        "exclusive": it.exclusive,
        "auto_delete": it.auto_delete,
        "arguments": table_json(&it.argument_table()),
    })
}

fn policy_json(it: &Policy) -> Json {
    json!({
        "name": it.name(),
        "pattern": it.pattern(),
        "apply-to": Policy::APPLY_TO,
        "priority": Policy::PRIORITY,
        "definition": table_json(&it.definition),
    })
}

fn binding_json(it: &Binding) -> Json {
    json!({
        "source": it.source.as_str(),
        "destination": it.queue.as_str(),
        "destination_type": "queue",
        "routing_key": it.key,
        "arguments": table_json(&it.arguments),
    })
}

fn exchange_binding_json(it: &ExchangeBinding) -> Json {
    json!({
        "source": it.source.as_str(),
        "destination": it.destination.as_str(),
        "destination_type": "exchange",
        "routing_key": it.key,
        "arguments": table_json(&it.arguments),
    })
}

fn table_json(table: &Headers) -> Json {
    crate::dead_letters::headers_json(table)
}

fn json_of(value: &Value) -> Json {
    crate::dead_letters::value_json(value)
}
