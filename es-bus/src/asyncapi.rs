//! A program as an AsyncAPI document: which messages it sends and receives, by which exchange and key, and what they
//! look like.
//!
//! In comes a checked [`Bus`], out goes AsyncAPI 3.0 with AMQP bindings, as JSON. A channel is an exchange with a key;
//! each group receives from the channels that its handlers are bound to. There is no server in it, and so no address
//! and no password.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::{
    bus::Bus,
    event::EventKind,
    message::StaticValue,
    model::{ExchangeKind, Topology, asked},
    schema::body_of,
    topology::{Bound, GroupSpec, HandlerSpec},
};

impl Bus {
    /// The program as an AsyncAPI 3.0 document in JSON, with AMQP bindings, under a title and a version of its own.
    ///
    /// The bodies are described as far as is known: with the feature `schema`, of an event whose type derives
    /// `schemars::JsonSchema`, whole; else the fields of the envelope. What a handler of raw events is bound to stands
    /// there by its binding key, beside the events of this program that it gets.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// # fn main() -> es_bus::Result<()> {
    /// let bus = es_bus::Bus::builder().url("memory://").exchange("shop").publish_only().build()?;
    ///
    /// let document = bus.asyncapi("Shop", "1.4.0");
    ///
    /// assert!(document.contains(r#""asyncapi": "3.0.0""#));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn asyncapi(&self, title: &str, version: &str) -> String {
        let mut document = Document::new(self);
        for def in self.registry().events().iter().filter(|def| !def.view) {
            for kind in def.kinds {
                document.send(None, kind);
            }
        }
        for group in self.groups() {
            for handler in &group.handlers {
                document.receive(group, handler);
                for kind in &handler.emits {
                    document.send(Some(group.name.as_str()), kind);
                }
            }
        }
        let all = json!({
            "asyncapi": "3.0.0",
            "info": { "title": title, "version": version },
            "defaultContentType": "application/json",
            "channels": document.channels,
            "operations": document.operations,
            "components": { "messages": document.messages, "schemas": document.schemas },
        });
        format!("{all:#}\n")
    }
}

struct Document<'a> {
    bus: &'a Bus,
    channels: Map<String, Json>,
    operations: Map<String, Json>,
    messages: Map<String, Json>,
    schemas: Map<String, Json>,
    /// What each name in the document stands for.
    named: BTreeMap<String, String>,
}

impl<'a> Document<'a> {
    fn new(bus: &'a Bus) -> Self {
        Self {
            bus,
            channels: Map::new(),
            operations: Map::new(),
            messages: Map::new(),
            schemas: Map::new(),
            named: BTreeMap::new(),
        }
    }

    /// The program publishes an event, or a group does by the result of a handler.
    fn send(&mut self, group: Option<&str>, kind: &EventKind) {
        let channel = self.event_channel(kind);
        let mut amqp = json!({
            "deliveryMode": if kind.persistent { 2 } else { 1 },
            "priority": kind.priority.unwrap_or(0),
            "mandatory": true,
            "timestamp": true,
            "bindingVersion": BINDINGS,
        });
        if let Some(ttl) = kind.ttl_ms {
            amqp["expiration"] = ttl.into();
        }
        let whose = group.map_or_else(String::new, |group| format!("{group}."));
        let id = self.name(&format!("{whose}send.{channel}"), "");
        let operation = self.operation("send", &channel, &amqp);
        self.operations.insert(id, operation);
    }

    fn receive(&mut self, group: &GroupSpec, handler: &HandlerSpec) {
        let known = self.bus.registry().kinds();
        let gets = |bound: &Bound, kind: &EventKind| {
            bound.exchange.as_str() == self.bus.exchanges().of(kind) && bound.may_deliver(kind)
        };
        let mut channels = BTreeSet::new();
        let taken: Vec<&EventKind> = match &handler.kinds {
            Some(kinds) => kinds.iter().collect(),
            None => {
                known.into_iter().filter(|kind| handler.bound.iter().any(|bound| gets(bound, kind))).collect()
            }
        };
        let missed: Vec<&Bound> = handler
            .bound
            .iter()
            // Raw handlers get more than what this program knows.
            .filter(|bound| {
                handler.kinds.is_none() && (bound.is_wide() || !taken.iter().any(|kind| gets(bound, kind)))
            })
            .collect();
        for kind in taken {
            channels.insert(self.event_channel(kind));
        }
        for bound in missed {
            channels.insert(self.channel(bound.exchange.as_str(), &bound.key));
        }
        for channel in channels {
            let id = self.name(&format!("{}.receive.{channel}", group.name), "");
            let operation =
                self.operation("receive", &channel, &json!({ "ack": true, "bindingVersion": BINDINGS }));
            let operation = self.operations.entry(id).or_insert(operation);
            operation["x-group"] = group.name.as_str().into();
            // That of an exclusive group is named after its process, too.
            if !group.is_exclusive() {
                operation["x-queue"] = group.queue.as_str().into();
            }
            let handlers = &mut operation["x-handlers"];
            let mut all = handlers.as_array().cloned().unwrap_or_default();
            all.push((&*handler.name).into());
            *handlers = all.into();
        }
    }

    /// The channel of an event, with its message.
    fn event_channel(&mut self, kind: &EventKind) -> String {
        let channel = self.channel(self.bus.exchanges().of(kind), kind.key);
        let name = self.name(&format!("{}.{}", kind.aggregate, kind.name), "");
        if !self.messages.contains_key(&name) {
            let message = self.message(kind, &name);
            self.messages.insert(name.clone(), message);
        }
        self.channels[&channel]["messages"][&name] =
            json!({ "$ref": format!("#/components/messages/{name}") });
        channel
    }

    /// The channel of an exchange and a key.
    fn channel(&mut self, exchange: &str, key: &str) -> String {
        let wanted = match key {
            "" => format!("{exchange}.everything"),
            key => format!("{exchange}.{}", key.replace('*', "any").replace('#', "all")),
        };
        let id = self.name(&wanted, &format!("{key} on {exchange}"));
        let topology = self.bus.topology();
        let (kind, durable, auto_delete) = match topology.exchange(exchange) {
            Some(it) => (it.kind, it.durable, it.auto_delete),
            None => (self.bus.exchanges().kind(exchange), true, false),
        };
        // The binding has AMQP's own kinds of exchanges alone; what it has no word for is an extension.
        let extensions = extensions(topology, exchange);
        self.channels.entry(id.clone()).or_insert_with(|| {
            let address = if key.is_empty() { Json::Null } else { key.into() };
            let mut of_exchange = json!({
                "name": exchange,
                "durable": durable,
                "autoDelete": auto_delete,
            });
            if kind.plugin().is_none() {
                of_exchange["type"] = kind.as_str().into();
            }
            let mut channel = json!({
                "address": address,
                "title": format!("{key} on {exchange}").trim_start_matches(" on "),
                "messages": {},
                "bindings": { "amqp": {
                    "is": "routingKey",
                    "exchange": of_exchange,
                    "bindingVersion": BINDINGS,
                } },
            });
            if let Some(extensions) = extensions {
                channel["x-es-bus-exchange"] = extensions;
            }
            channel
        });
        id
    }

    fn operation(&self, action: &str, channel: &str, amqp: &Json) -> Json {
        let messages = self.channels[channel]["messages"].as_object().into_iter().flatten();
        let messages: Vec<Json> = messages
            .map(|(name, _)| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") }))
            .collect();
        let mut operation = json!({
            "action": action,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "bindings": { "amqp": amqp },
        });
        // Left out it means all, which is none that anybody knows.
        if !messages.is_empty() {
            operation["messages"] = messages.into();
        }
        operation
    }

    fn message(&mut self, kind: &EventKind, name: &str) -> Json {
        let mut payload = body_of(self.bus.registry(), kind);
        let mut definitions = Map::new();
        if let Some(body) = payload.as_object_mut() {
            // The dialect is that of the document, which is an older one.
            body.remove("$schema");
            if let Some(Json::Object(all)) = body.remove("$defs") {
                definitions = all;
            }
        }
        for (definition, mut schema) in definitions {
            self.adapt(&mut schema, name);
            let name = self.definition(name, &definition);
            self.schemas.insert(name, schema);
        }
        self.adapt(&mut payload, name);
        let mut message = json!({
            "name": kind.name,
            "title": format!("{} {} v{}", kind.aggregate, kind.name, kind.version),
            "contentType": "application/json",
            "headers": headers(kind),
            "payload": payload,
            "bindings": { "amqp": { "contentEncoding": "utf-8", "bindingVersion": BINDINGS } },
        });
        if let Some(description) = payload.get("description") {
            message["summary"] = description.clone();
        }
        message
    }

    /// As the document has schemas: definitions have their place among its components, and a tuple is a list of
    /// `items`.
    fn adapt(&mut self, schema: &mut Json, message: &str) {
        match schema {
            Json::Object(all) => {
                if let Some(Json::String(target)) = all.get_mut("$ref")
                    && let Some(definition) = target.strip_prefix("#/$defs/")
                {
                    *target = format!("#/components/schemas/{}", self.definition(message, definition));
                }
                if let Some(parts) = all.remove("prefixItems") {
                    all.insert("items".to_owned(), parts);
                }
                all.values_mut().for_each(|inner| self.adapt(inner, message));
            }
            Json::Array(all) => all.iter_mut().for_each(|inner| self.adapt(inner, message)),
            _ => {}
        }
    }

    fn definition(&mut self, message: &str, definition: &str) -> String {
        self.name(&format!("{message}.{definition}"), "")
    }

    /// What something is called in the document, where names are of few characters. Two that come to the same, and are
    /// not the same by what else is known of them, get a number.
    fn name(&mut self, wanted: &str, of: &str) -> String {
        let known = format!("{wanted} {of}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let plain: String = wanted.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let mut name = plain.clone();
        for number in 2.. {
            match self.named.get(&name) {
                Some(there) if *there != known => name = format!("{plain}-{number}"),
                Some(_) => break,
                None => {
                    self.named.insert(name.clone(), known);
                    break;
                }
            }
        }
        name
    }
}

/// What an exchange is that the AMQP binding has no word for: a kind that a plugin has, with what it hashes, and the
/// exchanges from which it gets messages.
fn extensions(topology: &Topology, exchange: &str) -> Option<Json> {
    let mut extensions = Map::new();
    if let Some(it) = topology.exchange(exchange).filter(|it| it.kind.plugin().is_some()) {
        extensions.insert("type".to_owned(), it.kind.as_str().into());
        extensions.insert("hashes".to_owned(), it.hashed().into());
    }
    let sources = topology.exchange_bindings().filter(|it| it.destination.as_str() == exchange);
    let from: Vec<Json> = sources
        .map(|it| {
            let kind =
                topology.exchange(it.source.as_str()).map_or(ExchangeKind::Topic, |source| source.kind);
            json!({ "exchange": it.source.as_str(), "gets": asked(kind, &it.key, &it.arguments) })
        })
        .collect();
    if !from.is_empty() {
        extensions.insert("from".to_owned(), from.into());
    }
    (!extensions.is_empty()).then_some(Json::Object(extensions))
}

fn headers(kind: &EventKind) -> Json {
    let id = json!({ "type": "string", "format": "uuid" });
    let mut properties = json!({
        "event_type": { "const": kind.name },
        "aggregate_id": id,
        "aggregate_type": { "const": kind.aggregate },
        "aggregate_version": { "type": "integer", "minimum": 1 },
        "tenant_id": id,
        "correlation_id": id,
        "causation_id": id,
        "x-retry-count": { "type": "integer", "minimum": 0 },
    });
    for (name, value) in kind.headers {
        properties[name] = json!({ "const": constant(value) });
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["event_type", "aggregate_id", "aggregate_type", "aggregate_version"],
    })
}

fn constant(value: &StaticValue) -> Json {
    match value {
        StaticValue::Bool(truth) => (*truth).into(),
        StaticValue::Int(number) => (*number).into(),
        StaticValue::Str(text) => (*text).into(),
    }
}

/// The version of AsyncAPI's bindings for AMQP 0-9-1.
const BINDINGS: &str = "0.3.0";
