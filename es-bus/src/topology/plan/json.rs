//! A plan as one JSON object, for programs. Names in it stay; new ones may come.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use super::step::{Action, Left, Plan, Step};
use crate::{
    message::Headers,
    model::{Binding, ExchangeBinding, View, equivalence::shown, json},
};

impl Plan {
    /// The plan as JSON, indented, with a line break at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Json {
        let (seen, address) = match &self.view {
            View::Amqp => ("amqp", None),
            View::Management { address } => ("management", Some(address)),
            View::Memory => ("memory", None),
        };
        json!({
            "outcome": self.outcome().as_str(),
            "exit_code": self.exit_code(),
            "broker": {
                "address": self.broker,
                "seen_by": seen,
                "management": address,
                "product": self.info.as_ref().map(|info| &info.product),
                "version": self.info.as_ref().map(|info| &info.version),
                "erlang": self.info.as_ref().map(|info| &info.erlang),
                "plugins": self.info.as_ref().and_then(|info| info.plugins.as_ref()),
            },
            "program": self.program,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "warnings": self.warnings,
            "unseen": self.unseen,
        })
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

fn step(step: &Step) -> Json {
    let mut object = Map::new();
    action(&step.action, &mut object);
    object.insert("reason".to_owned(), Json::from(&*step.reason));
    object.insert("risk".to_owned(), Json::from(step.risk.as_str()));
    object.insert("effect".to_owned(), Json::from(&*step.effect));
    Json::Object(object)
}

fn action(action: &Action, object: &mut Map<String, Json>) {
    let told = match action {
        Action::CreateExchange(it) => json!({
            "action": "create", "object": "exchange", "name": it.name.as_str(), "type": it.kind.as_str(),
            "durable": it.durable, "auto_delete": it.auto_delete, "internal": it.internal,
            "arguments": table(&it.arguments),
        }),
        Action::CreateQueue(it) => json!({
            "action": "create", "object": "queue", "name": it.name.as_str(), "type": it.kind.as_str(),
            "durable": it.durable, "auto_delete": it.auto_delete, "arguments": table(&it.argument_table()),
        }),
        Action::Bind(it) => binding("bind", it),
        Action::Unbind(it) => binding("unbind", it),
        Action::BindExchange(it) => exchange_binding("bind", it),
        Action::UnbindExchange(it) => exchange_binding("unbind", it),
        Action::DeleteQueue { queue, classic: _, discard } => {
            json!({ "action": "delete", "object": "queue", "name": queue.as_str(), "discard": discard })
        }
        Action::DeleteExchange(name) => {
            json!({ "action": "delete", "object": "exchange", "name": name.as_str() })
        }
        Action::SetPolicy { policy, was } => json!({
            "action": if was.is_some() { "change" } else { "create" }, "object": "policy", "name": policy.name(),
            "queue": policy.queue().as_str(), "pattern": policy.pattern(), "definition": table(&policy.definition),
            "was": was.as_ref().map(table),
        }),
        Action::DeletePolicy { policy, queue } => {
            json!({ "action": "delete", "object": "policy", "name": policy, "queue": queue.as_str() })
        }
        Action::PolicyBlocked { policy, others } => json!({
            "action": "conflict", "object": "policy", "name": policy.name(), "queue": policy.queue().as_str(),
            "definition": table(&policy.definition),
            "others": others
                .iter()
                .map(|it| {
                    json!({
                        "name": it.name, "pattern": it.pattern, "apply_to": it.apply_to, "priority": it.priority,
                        "definition": table(&it.definition),
                    })
                })
                .collect::<Vec<_>>(),
        }),
        Action::Conflict { what, name, differences } => {
            json!({ "action": "conflict", "object": what, "name": name, "differences": differences })
        }
        Action::NeedsPlugin { exchange, plugin } => {
            json!({ "action": "needs_plugin", "object": "exchange", "name": exchange, "plugin": plugin })
        }
        Action::HalfMigrated { queue } => {
            json!({ "action": "half_migrated", "object": "queue", "name": queue })
        }
        Action::Renamed { from, to } => {
            json!({ "action": "migrate", "object": "queue", "name": from, "to": to })
        }
        Action::Leave(Left::Former { from, to }) => {
            json!({ "action": "leave", "object": "queue", "name": from, "to": to, "once_declared": true })
        }
        Action::Unverified(inner) => {
            self::action(inner, object);
            let does = object.insert("action".to_owned(), Json::from("unverified"));
            object.insert("does".to_owned(), does.unwrap_or_default());
            return;
        }
        Action::Leave(Left::Binding { source, queue, key, arguments, once_declared }) => json!({
            "action": "leave", "object": "binding", "source": source, "queue": queue, "key": key,
            "arguments": table(arguments), "once_declared": once_declared,
        }),
        Action::Leave(Left::ExchangeBinding { source, destination, key, arguments, once_declared }) => {
            json!({
                "action": "leave", "object": "exchange binding", "source": source, "destination": destination, "key": key,
                "arguments": table(arguments), "once_declared": once_declared,
            })
        }
        Action::Leave(Left::Queue(name)) => {
            json!({ "action": "leave", "object": "queue", "name": name, "once_declared": true })
        }
        Action::Leave(Left::Policy(name)) => {
            json!({ "action": "leave", "object": "policy", "name": name, "once_declared": true })
        }
        Action::Leave(Left::Exchange(name)) => {
            json!({ "action": "leave", "object": "exchange", "name": name, "once_declared": true })
        }
    };
    if let Json::Object(told) = told {
        object.extend(told);
    }
}

fn binding(action: &str, it: &Binding) -> Json {
    json!({
        "action": action, "object": "binding", "source": it.source.as_str(), "queue": it.queue.as_str(),
        "key": it.key, "arguments": table(&it.arguments),
    })
}

fn exchange_binding(action: &str, it: &ExchangeBinding) -> Json {
    json!({
        "action": action, "object": "exchange binding", "source": it.source.as_str(),
        "destination": it.destination.as_str(), "key": it.key, "arguments": table(&it.arguments),
    })
}

/// What JSON cannot hold stands as people write it.
fn table(table: &Headers) -> Json {
    let value = |value| json::of_value(value).unwrap_or_else(|| Json::from(shown(value)));
    Json::Object(table.iter().map(|(name, it)| (name.to_owned(), value(it))).collect())
}
