//! A lock as a manifest: declarations of a program whose code is elsewhere.
//!
//! In comes the text of a lock, which may be written by hand; out goes a [`BusBuilder`] whose registry holds what the
//! text declares. It is assembled like any other, so that whatever is told of a program is told of its manifest by the
//! same code. What is made of the text is never given back: a registry holds what lives as long as the process, and a
//! process reads one manifest.
//!
//! The exchanges and queues that stand in a manifest are not declared from there: they follow from groups and settings,
//! as in the program. They are what the outcome is held to ([`Manifest::contradictions`]).

use std::{collections::BTreeMap, fmt, path::Path};

use super::{
    Lock, LockedBinding, LockedEvent, LockedExchange, LockedGroup, LockedHandler, Misfits, Settings,
    lines::{Known, Lines, Step, line_of},
    text::FORMAT,
};
use crate::{
    bus::{Bus, BusBuilder},
    config::{Attributes, Level, keys},
    event::{EventKind, Unroutable},
    exchange::{Bind, ExchangeDef, ExchangeKind, ExchangeRef, HeadersMatch, Match, SourceDef},
    extract::Input,
    handler::{BoxFuture, Call, Invocation},
    location::Location,
    message::StaticValue,
    outcome::{HandlerError, Outcome},
    registry::{Emitted, EventDef, GroupDef, GroupRef, HandlerDef, Registry, Submission},
    suggest,
};

/// A program as its manifest knows it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    lock: Lock,
    registry: Registry,
    attributes: Attributes,
}

/// Everything that is wrong with a manifest, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestError {
    /// What was found; never empty.
    pub(crate) mistakes: Vec<Mistake>,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// `es-bus.lock:12`.
    pub(crate) place: String,
    /// What is wrong, and what would do.
    pub(crate) problem: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => f.write_str("the manifest has a mistake:")?,
            count => write!(f, "the manifest has {count} mistakes:")?,
        }
        self.mistakes.iter().try_for_each(|it| write!(f, "\n  {}: {}", it.place, it.problem))
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads the text of a file of this name.
    pub(crate) fn read(path: &Path, text: &str) -> Result<Self, ManifestError> {
        let file: &'static str = path.display().to_string().leak();
        let fails = |line: u32, problem: String| ManifestError {
            mistakes: vec![Mistake { place: format!("{file}:{line}"), problem }],
        };
        let no_toml = |error: &toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            fails(line_of(text, at), error.message().trim().replace('\n', ", "))
        };
        let lines = Lines::of(text).map_err(|error| no_toml(&error))?;
        let table: toml::Table = toml::from_str(text).map_err(|error| no_toml(&error))?;
        let format_line = lines.line(&[Step::Key("format")]);
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => {
                return Err(fails(
                    format_line,
                    format!(
                        "it has format {found}, and this es-bus knows up to {FORMAT}: install the version that wrote it, \
                         or a later one"
                    ),
                ));
            }
            Some(found) => {
                return Err(fails(
                    format_line,
                    format!(
                        "it has format {found}, which does not say enough of a program to operate it: have the program \
                         write it anew (`lock`) with es-bus {}",
                        env!("CARGO_PKG_VERSION")
                    ),
                ));
            }
            None => {
                return Err(fails(
                    1,
                    format!("it does not say its format: begin it with `format = {FORMAT}`"),
                ));
            }
        }
        let mut reader = Reader {
            file,
            lines,
            mistakes: Vec::new(),
            default_kind: ExchangeKind::Topic,
            exchanges: BTreeMap::new(),
            kinds: BTreeMap::new(),
        };
        for (line, problem) in reader.lines.unknown(KEYS) {
            reader.mistakes.push((line, problem));
        }
        let lock = match toml::from_str::<Lock>(text) {
            Ok(lock) => lock,
            Err(error) if reader.mistakes.is_empty() => return Err(no_toml(&error)),
            // An unknown key, which has been told.
            Err(_) => return Err(reader.failed()),
        };
        let (registry, attributes) = reader.read(&lock);
        if !reader.mistakes.is_empty() {
            return Err(reader.failed());
        }
        Ok(Self { lock, registry, attributes })
    }

    /// A bus of what it declares, to be looked at and operated, out of one of nothing.
    pub(crate) fn builder(&self, empty: BusBuilder) -> BusBuilder {
        let builder = empty.registry(self.registry.clone()).attributes(self.attributes.clone());
        if self.lock.groups.is_empty() { builder.publish_only() } else { builder }
    }

    /// What the manifest says of the broker that does not follow from its groups under the settings that hold here.
    pub(crate) fn contradictions(&self, bus: &Bus) -> Vec<String> {
        self.lock.contradictions(&Lock::of(bus))
    }

    /// What a program declares, with the schemas that only the manifest has.
    pub(crate) fn with_schemas(&self, mut lock: Lock) -> Lock {
        for (name, event) in &mut lock.events {
            event.schema = self.lock.events.get(name).and_then(|event| event.schema.clone());
        }
        lock
    }

    /// How data fit an event, as far as its schema is in the manifest; `None` where it has none.
    pub(crate) fn misfits(&self, kind: &EventKind, data: &serde_json::Value) -> Option<Misfits> {
        let event = self.lock.events.get(&format!("{}.{}", kind.aggregate, kind.name))?;
        Some(Misfits::of(event.schema.as_ref()?, data))
    }
}

struct Reader<'a> {
    file: &'static str,
    lines: Lines<'a>,
    mistakes: Vec<(u32, String)>,
    /// How the exchange of the bus picks queues, as far as the manifest says.
    default_kind: ExchangeKind,
    exchanges: BTreeMap<String, &'static ExchangeDef>,
    kinds: BTreeMap<String, EventKind>,
}

impl Reader<'_> {
    fn failed(&self) -> ManifestError {
        let mut mistakes = self.mistakes.clone();
        mistakes.sort();
        mistakes.dedup();
        let place = |line| format!("{}:{line}", self.file);
        let mistakes = mistakes.into_iter().map(|(line, problem)| Mistake { place: place(line), problem });
        ManifestError { mistakes: mistakes.collect() }
    }

    fn wrong(&mut self, way: &[Step<'_>], problem: impl Into<String>) {
        self.mistakes.push((self.lines.line(way), problem.into()));
    }

    fn at(&self, way: &[Step<'_>]) -> Location {
        Location { module: "manifest", file: self.file, line: self.lines.line(way) }
    }

    fn read(&mut self, lock: &Lock) -> (Registry, Attributes) {
        let mut registry = Registry::new();
        let settings = self.settings(&lock.settings, &[Step::Key("settings")], Level::Bus);
        let line = self.lines.line(&[Step::Key("settings")]);
        let attributes = Attributes::at(self.file, line).with_all(settings);
        let said = |name: &str| settings.iter().find(|(said, _)| *said == name).map(|(_, value)| *value);
        let default = said("exchange").unwrap_or("events");
        self.default_kind =
            said("exchange_type").and_then(|kind| kind.parse().ok()).unwrap_or(ExchangeKind::Topic);
        for (name, exchange) in lock.exchanges.iter().filter(|(_, exchange)| exchange.declared) {
            if let Some(def) = self.exchange(name, exchange) {
                let def: &'static ExchangeDef = Box::leak(Box::new(def));
                self.exchanges.insert(name.clone(), def);
                registry.insert(&Submission::Exchange(def));
            }
        }
        for (name, event) in &lock.events {
            if let Some(kind) = self.event(name, event, default) {
                self.kinds.insert(name.clone(), kind);
                let def = EventDef {
                    bus: BUS,
                    type_name: kind.name,
                    kinds: Vec::leak(vec![kind]),
                    view: false,
                    is_set: false,
                    schema: || None,
                    decode: None,
                    location: self.at(&[Step::Key("event"), Step::Key(name)]),
                };
                registry.insert(&Submission::Event(Box::leak(Box::new(def))));
            }
        }
        for (name, group) in &lock.groups {
            self.group(name, group, &mut registry);
        }
        (registry, attributes)
    }

    fn exchange(&mut self, name: &str, exchange: &LockedExchange) -> Option<ExchangeDef> {
        let way = [Step::Key("exchange"), Step::Key(name)];
        let kind = match exchange.kind.parse::<ExchangeKind>() {
            Ok(kind) => kind,
            Err(error) => {
                self.wrong(&[way[0], way[1], Step::Key("kind")], error.to_string());
                return None;
            }
        };
        let mut arguments = Vec::new();
        let mut alternate = None;
        for (argument, value) in &exchange.arguments {
            match (argument.as_str(), value) {
                ("alternate-exchange", toml::Value::String(name)) => {
                    alternate = Some(ExchangeRef { name: leak(name), def: None });
                }
                _ => match static_value(value) {
                    Some(value) => arguments.push((leak(argument), value)),
                    None => self.wrong(
                        &[way[0], way[1], Step::Key("arguments"), Step::Key(argument)],
                        format!("argument {argument:?} is {}, {PLAIN}", value.type_str()),
                    ),
                },
            }
        }
        let mut sources: BTreeMap<&str, Vec<Bind>> = BTreeMap::new();
        for (index, binding) in exchange.from.iter().enumerate() {
            let binds = sources.entry(&binding.exchange).or_default();
            match asked(binding) {
                Ok(bind) => binds.extend(bind),
                Err(problem) => self.wrong(&[way[0], way[1], Step::Key("from"), Step::Item(index)], problem),
            }
        }
        let sources = sources.into_iter().map(|(name, binds)| SourceDef {
            exchange: ExchangeRef { name: leak(name), def: None },
            binds: binds.leak(),
        });
        Some(ExchangeDef {
            bus: BUS,
            name: leak(name),
            kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            alternate,
            sources: sources.collect::<Vec<_>>().leak(),
            arguments: arguments.leak(),
            location: self.at(&way),
        })
    }

    fn event(&mut self, name: &str, event: &LockedEvent, default: &str) -> Option<EventKind> {
        let way = [Step::Key("event"), Step::Key(name)];
        let parts = match &event.aggregate {
            Some(aggregate) => name
                .strip_prefix(aggregate.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .map(|name| (aggregate.as_str(), name)),
            None => name.split_once('.'),
        };
        let Some((aggregate, own)) =
            parts.filter(|(aggregate, own)| !aggregate.is_empty() && !own.is_empty())
        else {
            self.wrong(
                &way,
                format!("event {name:?} is not named by its aggregate and its type: \"Order.OrderPlaced\""),
            );
            return None;
        };
        if event.version == 0 {
            self.wrong(&[way[0], way[1], Step::Key("version")], "versions count from 1");
        }
        let unroutable = match event.unroutable.as_deref() {
            None => Unroutable::Known,
            Some("mandatory") => Unroutable::Mandatory,
            Some("optional") => Unroutable::Optional,
            Some(other) => {
                let problem =
                    format!("unroutable is {other:?}: write \"mandatory\" or \"optional\", or leave it out");
                self.wrong(&[way[0], way[1], Step::Key("unroutable")], problem);
                Unroutable::Known
            }
        };
        let mut headers = Vec::new();
        for (header, value) in &event.headers {
            match static_value(value) {
                Some(value) => headers.push((leak(header), value)),
                None => self.wrong(
                    &[way[0], way[1], Step::Key("headers"), Step::Key(header)],
                    format!("header {header:?} is {}, {PLAIN}", value.type_str()),
                ),
            }
        }
        let mut kind = EventKind::new(leak(own), leak(aggregate), leak(&event.key))
            .version(event.version)
            .unroutable(unroutable)
            .headers(headers.leak());
        // That of the bus follows the settings.
        if event.exchange != default {
            kind = match self.exchanges.get(&event.exchange) {
                Some(def) => kind.on(def),
                None => kind.exchange(leak(&event.exchange)),
            };
        }
        kind = if event.nested { kind.nested() } else { kind };
        kind = if event.persistent { kind } else { kind.transient() };
        kind = event.priority.map_or(kind, |priority| kind.priority(priority));
        Some(event.ttl_ms.map_or(kind, |ttl| kind.ttl_ms(ttl)))
    }

    fn group(&mut self, name: &str, group: &LockedGroup, registry: &mut Registry) {
        let way = [Step::Key("group"), Step::Key(name)];
        let settings = self.settings(&group.settings, &[way[0], way[1], Step::Key("settings")], Level::Group);
        let location = self.at(&way);
        if group.handlers.is_empty() {
            self.wrong(&way, format!("group {name:?} has no handlers, so nothing would be declared of it"));
        }
        let name = leak(name);
        let formerly = leaked(&group.formerly);
        let def = GroupDef { bus: BUS, name, formerly, settings, exchange: None, layer: None, location };
        registry.insert(&Submission::Group(Box::leak(Box::new(def))));
        for (index, handler) in group.handlers.iter().enumerate() {
            let way = [way[0], way[1], Step::Key("handlers"), Step::Item(index)];
            let def = self.handler(name, handler, &way);
            registry.insert(&Submission::Handler(Box::leak(Box::new(def))));
        }
    }

    fn handler(&mut self, group: &'static str, handler: &LockedHandler, way: &[Step<'_>]) -> HandlerDef {
        let kinds = handler.takes.as_ref().map(|takes| self.kinds_of(handler, "takes", takes, way));
        let emits = self.kinds_of(handler, "emits", &handler.emits, way);
        let binds: Vec<Bind> = match &handler.binds {
            Some(binds) => {
                let read: Vec<_> = binds.iter().map(bind_of).collect();
                for problem in read.iter().filter_map(|bind| bind.as_ref().err()) {
                    self.wrong(way, format!("handler {:?}: {problem}", handler.name));
                }
                let read: Vec<Bind> = read.into_iter().flatten().collect();
                self.see_taken(&handler.name, &read, kinds, way);
                read
            }
            None => kinds.unwrap_or_default().iter().map(|kind| Bind::Key(kind.key)).collect(),
        };
        let input = match kinds {
            // The name of the argument's type is the code's own.
            Some(kinds) => Input::Event { name: kinds.first().map_or("an event", |kind| kind.name), kinds },
            None => Input::Raw,
        };
        HandlerDef {
            bus: BUS,
            group: GroupRef { name: group, def: None },
            name: leak(&handler.name),
            formerly: leaked(&handler.formerly),
            binds: binds.leak(),
            has_bind: handler.binds.is_some(),
            foreign: handler.foreign,
            inputs: vec![input].leak(),
            needs: |_| {},
            emits: Emitted::These(emits),
            settings: self.settings(&handler.settings, way, Level::Handler),
            layer: None,
            call: Call::One(no_code),
            location: self.at(way),
        }
    }

    /// The events that a handler names.
    fn kinds_of(
        &mut self,
        handler: &LockedHandler,
        does: &str,
        names: &[String],
        way: &[Step<'_>],
    ) -> &'static [EventKind] {
        let mut kinds = Vec::new();
        for event in names {
            match self.kinds.get(event) {
                Some(kind) => kinds.push(*kind),
                None => {
                    let known = || self.kinds.keys().map(String::as_str);
                    let hint = match suggest::nearest(event, known()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("write `[event.{event:?}]`, with its exchange, key and version"),
                    };
                    let name = &handler.name;
                    let problem =
                        format!("handler {name:?} {does} {event:?}, and there is no such event; {hint}");
                    self.wrong(way, problem);
                }
            }
        }
        kinds.leak()
    }

    /// Sees that each binding brings an event that the handler takes, as the compiler sees it of code.
    fn see_taken(
        &mut self,
        handler: &str,
        binds: &[Bind],
        kinds: Option<&'static [EventKind]>,
        way: &[Step<'_>],
    ) {
        let Some(kinds) = kinds.filter(|kinds| !kinds.is_empty()) else { return };
        for bind in binds {
            let on = |kind: &EventKind| match (kind.exchange_def, kind.exchange) {
                (Some(def), _) => def.kind,
                (None, Some(_)) => ExchangeKind::Topic,
                (None, None) => self.default_kind,
            };
            if kinds.iter().any(|kind| bind.may_take(on(kind), kind)) {
                continue;
            }
            let keys = || kinds.iter().map(|kind| kind.key);
            let near = bind.key().and_then(|key| suggest::nearest_pattern(key, keys()));
            let hint = match near {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("their keys are {}", keys().collect::<Vec<_>>().join(", ")),
            };
            let problem = format!(
                "handler {handler:?} binds {bind}, which brings none of the events that it takes; {hint}"
            );
            self.wrong(way, problem);
        }
    }

    /// Settings, held to their names and bounds.
    fn settings(
        &mut self,
        settings: &Settings,
        way: &[Step<'_>],
        level: Level,
    ) -> &'static [(&'static str, &'static str)] {
        let mut read = Vec::new();
        for (name, value) in settings {
            let way: Vec<Step<'_>> = way.iter().copied().chain([Step::Key(name)]).collect();
            let Some(key) = keys().find(|key| key.name == name) else {
                let near =
                    suggest::nearest(name, keys().filter(|key| key.level >= level).map(|key| key.name));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                self.wrong(&way, format!("unknown setting `{name}`{hint}"));
                continue;
            };
            if key.level < level {
                self.wrong(&way, format!("`{name}` is a setting of {}", key.level));
                continue;
            }
            if PLACES.contains(&key.name) {
                let problem = format!(
                    "`{name}` may hold a password, and a manifest is committed: say it in es-bus.toml or \
                                       in the environment"
                );
                self.wrong(&way, problem);
                continue;
            }
            match text_of(value) {
                Ok(text) => match key.check(&text.as_str().into()) {
                    Ok(()) => read.push((key.name, leak(&text))),
                    Err(problem) => self.wrong(&way, format!("`{name}` {problem}")),
                },
                Err(problem) => self.wrong(&way, format!("`{name}` {problem}")),
            }
        }
        read.leak()
    }
}

/// The one bus of a manifest.
const BUS: &str = "default";

/// What may hold a login.
const PLACES: [&str; 3] = ["identity_password", "management_url", "url"];

const PLAIN: &str = "and has to be a text, a whole number, true or false";

/// The keys of a manifest.
const KEYS: &[(&str, Known)] = &[
    ("format", Known::Any),
    ("settings", Known::Any),
    ("exchange", Known::Each(&Known::Keys(OF_EXCHANGE))),
    ("queue", Known::Each(&Known::Keys(OF_QUEUE))),
    ("group", Known::Each(&Known::Keys(OF_GROUP))),
    ("event", Known::Each(&Known::Keys(OF_EVENT))),
];
const OF_EXCHANGE: &[(&str, Known)] = &[
    ("kind", Known::Any),
    ("declared", Known::Any),
    ("durable", Known::Any),
    ("auto_delete", Known::Any),
    ("internal", Known::Any),
    ("arguments", Known::Any),
    ("from", Known::List(&Known::Keys(OF_BINDING))),
];
const OF_QUEUE: &[(&str, Known)] = &[
    ("durable", Known::Any),
    ("exclusive", Known::Any),
    ("auto_delete", Known::Any),
    ("arguments", Known::Any),
    ("policy", Known::Any),
    ("bindings", Known::List(&Known::Keys(OF_BINDING))),
    ("retired", Known::List(&Known::Keys(OF_BINDING))),
];
const OF_BINDING: &[(&str, Known)] =
    &[("exchange", Known::Any), ("key", Known::Any), ("arguments", Known::Any)];
const OF_GROUP: &[(&str, Known)] = &[
    ("queue", Known::Any),
    ("dlq", Known::Any),
    ("formerly", Known::Any),
    ("settings", Known::Any),
    ("handlers", Known::List(&Known::Keys(OF_HANDLER))),
];
const OF_HANDLER: &[(&str, Known)] = &[
    ("name", Known::Any),
    ("binds", Known::Any),
    ("foreign", Known::Any),
    ("takes", Known::Any),
    ("emits", Known::Any),
    ("formerly", Known::Any),
    ("settings", Known::Any),
];
const OF_EVENT: &[(&str, Known)] = &[
    ("aggregate", Known::Any),
    ("exchange", Known::Any),
    ("key", Known::Any),
    ("version", Known::Any),
    ("nested", Known::Any),
    ("persistent", Known::Any),
    ("priority", Known::Any),
    ("ttl_ms", Known::Any),
    ("unroutable", Known::Any),
    ("headers", Known::Any),
    ("schema", Known::Any),
];

/// What a handler of a manifest would do, if anybody ran it.
fn no_code(_: Invocation) -> BoxFuture<'static, Outcome> {
    Box::pin(async { Outcome::Failed(HandlerError::retry("a manifest has no code to handle events with")) })
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn leaked(texts: &[String]) -> &'static [&'static str] {
    texts.iter().map(|text| leak(text)).collect::<Vec<_>>().leak()
}

fn static_value(value: &toml::Value) -> Option<StaticValue> {
    match value {
        toml::Value::String(text) => Some(StaticValue::Str(leak(text))),
        toml::Value::Integer(number) => Some(StaticValue::Int(*number)),
        toml::Value::Boolean(truth) => Some(StaticValue::Bool(*truth)),
        _ => None,
    }
}

/// The text form of a setting, which is that of every source: a list is parted by commas.
fn text_of(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Array(items) if items.is_empty() => Ok("none".to_owned()),
        toml::Value::Array(items) => Ok(items.iter().map(text_of).collect::<Result<Vec<_>, _>>()?.join(", ")),
        toml::Value::Table(_) | toml::Value::Datetime(_) => {
            Err(format!("is {}: write a value, or a list of values", value.type_str()))
        }
    }
}

/// What an exchange asks another one for; nothing for everything.
fn asked(binding: &LockedBinding) -> Result<Option<Bind>, String> {
    if binding.arguments.is_empty() {
        return Ok(Some(binding.key.as_str()).filter(|key| !key.is_empty()).map(|key| Bind::Key(leak(key))));
    }
    let mut headers = binding.arguments.clone();
    let mode = headers.remove("x-match");
    if headers.is_empty() {
        return Ok(None);
    }
    let mode = mode.as_ref().and_then(toml::Value::as_str).unwrap_or(Match::All.as_str());
    headers_of(mode, headers.iter()).map(Some)
}

/// What a handler asks for.
fn bind_of(value: &toml::Value) -> Result<Bind, String> {
    const FORM: &str = "binds are keys, \"Order.*\", and tables of headers, { match = \"all\", headers = { format = \"pdf\" } }";
    match value {
        toml::Value::String(key) => Ok(Bind::Key(leak(key))),
        toml::Value::Table(table) => {
            let mode = table.get("match").and_then(toml::Value::as_str);
            let headers = table.get("headers").and_then(toml::Value::as_table);
            match (mode, headers, table.len()) {
                (Some(mode), Some(headers), 2) => headers_of(mode, headers.iter()),
                _ => Err(FORM.to_owned()),
            }
        }
        _ => Err(FORM.to_owned()),
    }
}

fn headers_of<'a>(
    mode: &str,
    headers: impl Iterator<Item = (&'a String, &'a toml::Value)>,
) -> Result<Bind, String> {
    let mode = match mode {
        "all" => Match::All,
        "any" => Match::Any,
        other => return Err(format!("match is {other:?}: write \"all\" or \"any\"")),
    };
    let mut values = Vec::new();
    for (name, value) in headers {
        match static_value(value) {
            Some(value) => values.push((leak(name), value)),
            None => return Err(format!("header {name:?} is {}, {PLAIN}", value.type_str())),
        }
    }
    Ok(Bind::Headers(HeadersMatch { mode, values: values.leak() }))
}
