//! The text of a lock: TOML, one thing per line, sorted.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    str::FromStr,
};

use super::{
    Arguments, Lock, LockedBinding, LockedEvent, LockedExchange, LockedGroup, LockedHandler, LockedQueue,
};

/// The format that is written, and the highest that is read.
pub(super) const FORMAT: i64 = 2;

/// Why a text is no lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Something in it cannot be read.
    #[error(
        "line {line}: {reason}; the file is written by es-bus: take it from version control again, or have it written anew"
    )]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not say its format.
    #[error("there is no `format` in it, so it is no lock of es-bus: have it written anew")]
    NoFormat,
    /// A later version wrote it.
    #[error(
        "it has format {found}, and this version of es-bus knows up to {known}: take the version that wrote it, or a later one"
    )]
    Newer {
        /// The format that it says.
        found: i64,
        /// The highest that is known.
        known: i64,
    },
}

impl FromStr for Lock {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        let failed = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            LockError::Line { line, reason: error.message().trim().replace('\n', ", ") }
        };
        let all: toml::Table = toml::from_str(text).map_err(failed)?;
        // Before the rest: a later format may have what this one does not know.
        match all.get("format").and_then(toml::Value::as_integer) {
            None => Err(LockError::NoFormat),
            Some(found) if found > FORMAT => Err(LockError::Newer { found, known: FORMAT }),
            Some(_) => toml::from_str(text).map_err(failed),
        }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        writeln!(f, "format = {FORMAT}")?;
        if !self.settings.is_empty() {
            writeln!(f, "\n[settings]")?;
            write_entries(f, "", &self.settings)?;
        }
        write_all(f, "exchange", &self.exchanges, write_exchange)?;
        write_all(f, "queue", &self.queues, write_queue)?;
        write_all(f, "group", &self.groups, write_group)?;
        write_all(f, "event", &self.events, write_event)
    }
}

const HEAD: &str = "\
# What this program has on its broker, and what its events look like. Written by es-bus, and committed:
# a change that would break a running system is refused until this file agrees to it.
";

fn write_all<T>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    all: &BTreeMap<String, T>,
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (name, one) in all {
        writeln!(f, "\n[{what}.{}]", key(name))?;
        write(f, one)?;
    }
    Ok(())
}

fn write_exchange(f: &mut fmt::Formatter<'_>, exchange: &LockedExchange) -> fmt::Result {
    writeln!(f, "kind = {}", quoted(&exchange.kind))?;
    write_flags(
        f,
        &[
            ("declared", exchange.declared, false),
            ("durable", exchange.durable, true),
            ("auto_delete", exchange.auto_delete, false),
            ("internal", exchange.internal, false),
        ],
    )?;
    write_arguments(f, "arguments", &exchange.arguments)?;
    write_list(f, "from", exchange.from.iter().map(binding))
}

fn write_queue(f: &mut fmt::Formatter<'_>, queue: &LockedQueue) -> fmt::Result {
    write_flags(
        f,
        &[
            ("durable", queue.durable, true),
            ("exclusive", queue.exclusive, false),
            ("auto_delete", queue.auto_delete, false),
        ],
    )?;
    write_arguments(f, "arguments", &queue.arguments)?;
    write_arguments(f, "policy", &queue.policy)?;
    write_list(f, "bindings", queue.bindings.iter().map(binding))?;
    write_list(f, "retired", queue.retired.iter().map(binding))
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &LockedGroup) -> fmt::Result {
    writeln!(f, "queue = {}", quoted(&group.queue))?;
    if let Some(dlq) = &group.dlq {
        writeln!(f, "dlq = {}", quoted(dlq))?;
    }
    if !group.formerly.is_empty() {
        let names: Vec<String> = group.formerly.iter().map(|it| quoted(it)).collect();
        writeln!(f, "formerly = [{}]", names.join(", "))?;
    }
    write_entries(f, "settings.", &group.settings)?;
    let handler = |handler: &LockedHandler| {
        let list = |name: &str, all: &[String]| {
            format!(", {name} = [{}]", all.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "))
        };
        let takes = handler.takes.as_ref().map_or_else(String::new, |takes| list("takes", takes));
        let emits = if handler.emits.is_empty() { String::new() } else { list("emits", &handler.emits) };
        let formerly =
            if handler.formerly.is_empty() { String::new() } else { list("formerly", &handler.formerly) };
        let binds = handler.binds.as_ref().map_or_else(String::new, |binds| {
            format!(", binds = [{}]", binds.iter().map(inline).collect::<Vec<_>>().join(", "))
        });
        let foreign = if handler.foreign { ", foreign = true" } else { "" };
        let settings = if handler.settings.is_empty() {
            String::new()
        } else {
            format!(", settings = {}", inline_table(handler.settings.iter()))
        };
        format!("{{ name = {}{binds}{foreign}{takes}{emits}{formerly}{settings} }}", quoted(&handler.name))
    };
    write_list(f, "handlers", group.handlers.iter().map(handler))
}

fn write_event(f: &mut fmt::Formatter<'_>, event: &LockedEvent) -> fmt::Result {
    if let Some(aggregate) = &event.aggregate {
        writeln!(f, "aggregate = {}", quoted(aggregate))?;
    }
    writeln!(f, "exchange = {}", quoted(&event.exchange))?;
    writeln!(f, "key = {}", quoted(&event.key))?;
    writeln!(f, "version = {}", event.version)?;
    write_flags(f, &[("nested", event.nested, false), ("persistent", event.persistent, true)])?;
    if let Some(priority) = event.priority {
        writeln!(f, "priority = {priority}")?;
    }
    if let Some(ttl) = event.ttl_ms {
        writeln!(f, "ttl_ms = {ttl}")?;
    }
    if let Some(unroutable) = &event.unroutable {
        writeln!(f, "unroutable = {}", quoted(unroutable))?;
    }
    write_entries(f, "headers.", &event.headers)?;
    match &event.schema {
        Some(schema) => write_list(f, "schema", schema.iter().map(|line| literal(line))),
        None => Ok(()),
    }
}

/// What is as it mostly is, is not told.
fn write_flags(f: &mut fmt::Formatter<'_>, flags: &[(&str, bool, bool)]) -> fmt::Result {
    for (name, value, _) in flags.iter().filter(|(_, value, default)| value != default) {
        writeln!(f, "{name} = {value}")?;
    }
    Ok(())
}

fn write_arguments(f: &mut fmt::Formatter<'_>, what: &str, arguments: &Arguments) -> fmt::Result {
    write_entries(f, &format!("{what}."), arguments)
}

fn write_entries(
    f: &mut fmt::Formatter<'_>,
    before: &str,
    entries: &BTreeMap<String, toml::Value>,
) -> fmt::Result {
    for (name, value) in entries {
        writeln!(f, "{before}{} = {}", key(name), inline(value))?;
    }
    Ok(())
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    if lines.len() == 0 {
        return Ok(());
    }
    writeln!(f, "{name} = [")?;
    for line in lines {
        writeln!(f, "    {line},")?;
    }
    f.write_str("]\n")
}

fn binding(binding: &LockedBinding) -> String {
    let arguments = if binding.arguments.is_empty() {
        String::new()
    } else {
        format!(", arguments = {}", inline_table(binding.arguments.iter()))
    };
    format!("{{ exchange = {}, key = {}{arguments} }}", quoted(&binding.exchange), quoted(&binding.key))
}

/// A value in one line.
pub(super) fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => quoted(text),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(truth) => truth.to_string(),
        // With its point, or it would be read as a whole number.
        toml::Value::Float(number) if number.is_finite() => format!("{number:?}"),
        toml::Value::Float(number) if number.is_nan() => "nan".to_owned(),
        toml::Value::Float(number) => if *number > 0.0 { "inf" } else { "-inf" }.to_owned(),
        toml::Value::Datetime(time) => time.to_string(),
        toml::Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        toml::Value::Table(table) => inline_table(table.iter()),
    }
}

fn inline_table<'a>(all: impl Iterator<Item = (&'a String, &'a toml::Value)>) -> String {
    let all: Vec<String> = all.map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
    if all.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", all.join(", ")) }
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// A text as it is, where it has quotes of its own and nothing that has to be escaped.
fn literal(text: &str) -> String {
    let is_literal = text.contains('"') && !text.contains(|c: char| c == '\'' || c.is_control());
    if is_literal { format!("'{text}'") } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => drop(write!(quoted, "\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
