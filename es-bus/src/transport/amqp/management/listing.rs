//! What the management API lists, read into the words of the model. What it does not tell is absent.

use serde_json::Value as Json;

use crate::{
    message::Headers,
    model::{
        BrokerInfo, ExchangeSettings, ObservedBinding, ObservedExchange, ObservedPolicy, ObservedQueue,
        QueueSettings, json,
    },
};

/// What is asked of each exchange.
pub(super) const EXCHANGE: &[&str] = &["name", "type", "durable", "auto_delete", "internal", "arguments"];
/// What is asked of each queue.
pub(super) const QUEUE: &[&str] = &[
    "name",
    "type",
    "durable",
    "auto_delete",
    "exclusive",
    "arguments",
    "messages_ready",
    "messages_unacknowledged",
    "messages_dlx",
    "consumers",
    "policy",
    "effective_policy_definition",
    "state",
];
/// What is asked of each queue of which only its settings are compared.
pub(super) const SETTINGS_OF_QUEUE: &[&str] =
    &["name", "type", "durable", "auto_delete", "exclusive", "arguments", "state"];
/// What is asked of each binding.
pub(super) const BINDING: &[&str] =
    &["source", "destination", "destination_type", "routing_key", "arguments"];

/// States in which a queue cannot be used.
const TROUBLES: &[&str] = &["down", "stopped", "crashed", "minority"];

pub(super) fn broker(overview: &Json) -> Option<BrokerInfo> {
    Some(BrokerInfo {
        product: text(overview, "product_name").unwrap_or_else(|| "RabbitMQ".to_owned()),
        version: text(overview, "rabbitmq_version")?,
        erlang: text(overview, "erlang_version").unwrap_or_else(|| "unknown".to_owned()),
        plugins: None,
    })
}

/// An exchange; `None` for one that every virtual host has.
pub(super) fn exchange(json: &Json) -> Option<(String, ObservedExchange)> {
    let name = text(json, "name").filter(|name| !name.is_empty() && !name.starts_with("amq."))?;
    let settings = ExchangeSettings {
        kind: text(json, "type")?,
        durable: flag(json, "durable"),
        auto_delete: flag(json, "auto_delete"),
        internal: flag(json, "internal"),
        arguments: table(json, "arguments"),
    };
    Some((name, ObservedExchange { settings: Some(settings) }))
}

pub(super) fn queue(json: &Json) -> Option<(String, ObservedQueue)> {
    let settings = QueueSettings {
        kind: text(json, "type").unwrap_or_else(|| "classic".to_owned()),
        durable: flag(json, "durable"),
        exclusive: flag(json, "exclusive"),
        auto_delete: flag(json, "auto_delete"),
        arguments: table(json, "arguments"),
    };
    let is_quorum = settings.kind == "quorum";
    let count = |name: &str| json.get(name).and_then(Json::as_u64);
    let state = text(json, "state").filter(|state| TROUBLES.contains(&&**state));
    let queue = ObservedQueue {
        settings: Some(settings),
        ready: count("messages_ready"),
        unacknowledged: count("messages_unacknowledged"),
        // Only quorum queues keep any.
        dead_letters: if is_quorum { count("messages_dlx") } else { Some(0) },
        consumers: count("consumers"),
        policy: text(json, "policy").filter(|policy| !policy.is_empty()),
        policy_sets: table(json, "effective_policy_definition"),
        trouble: state.map(|state| format!("its state is {state:?}")),
    };
    Some((text(json, "name")?, queue))
}

/// A binding; `None` for one of the default exchange, which every queue has.
pub(super) fn binding(json: &Json) -> Option<ObservedBinding> {
    Some(ObservedBinding {
        source: text(json, "source").filter(|source| !source.is_empty())?,
        destination: text(json, "destination")?,
        to_exchange: text(json, "destination_type")? == "exchange",
        key: text(json, "routing_key").unwrap_or_default(),
        arguments: table(json, "arguments"),
    })
}

pub(super) fn policy(json: &Json) -> Option<ObservedPolicy> {
    Some(ObservedPolicy {
        name: text(json, "name")?,
        pattern: text(json, "pattern").unwrap_or_default(),
        apply_to: text(json, "apply-to").unwrap_or_else(|| "all".to_owned()),
        definition: table(json, "definition"),
        priority: json.get("priority").and_then(Json::as_i64).unwrap_or_default(),
    })
}

/// The plugins of all nodes.
pub(super) fn plugins(nodes: &Json) -> Vec<String> {
    let nodes = nodes.as_array().into_iter().flatten();
    let enabled = nodes.filter_map(|node| node.get("enabled_plugins")?.as_array()).flatten();
    let mut plugins: Vec<String> = enabled.filter_map(Json::as_str).map(str::to_owned).collect();
    plugins.sort();
    plugins.dedup();
    plugins
}

/// The names of features that are given up and in use.
pub(super) fn deprecated(features: &Json) -> Vec<String> {
    features.as_array().into_iter().flatten().filter_map(|feature| text(feature, "name")).collect()
}

fn text(json: &Json, name: &str) -> Option<String> {
    Some(json.get(name)?.as_str()?.to_owned())
}

fn flag(json: &Json, name: &str) -> bool {
    json.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// A table; an empty one is written as an empty list at times.
fn table(json: &Json, name: &str) -> Headers {
    json.get(name).and_then(Json::as_object).map(json::table).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_queue_without_statistics_has_no_counts_and_none_are_made_up() {
        // As RabbitMQ 3.10.8 lists a queue in the first seconds of its life.
        let (name, young) = queue(&json!({
            "arguments": { "x-delivery-limit": 5, "x-queue-type": "quorum" }, "auto_delete": false, "durable": true,
            "exclusive": null, "name": "q1", "type": "quorum",
        }))
        .unwrap();

        assert_eq!(name, "q1");
        assert_eq!((young.ready, young.consumers, young.dead_letters), (None, None, None));
        assert_eq!(young.settings.unwrap().arguments.get_int("x-delivery-limit"), Some(5));
    }

    #[test]
    fn what_policies_set_stands_beside_the_arguments() {
        let (_, queue) = queue(&json!({
            "arguments": [], "name": "q1", "type": "classic", "messages_ready": 3, "messages_unacknowledged": 1,
            "policy": "p1", "effective_policy_definition": { "message-ttl": 1000 }, "state": "down",
        }))
        .unwrap();

        assert!(queue.settings.unwrap().arguments.is_empty());
        assert_eq!(
            (queue.policy.as_deref(), queue.policy_sets.get_int("message-ttl")),
            (Some("p1"), Some(1000))
        );
        assert_eq!((queue.ready, queue.unacknowledged, queue.dead_letters), (Some(3), Some(1), Some(0)));
        assert_eq!(queue.trouble.as_deref(), Some("its state is \"down\""));
    }

    #[test]
    fn leaves_out_what_every_virtual_host_has() {
        for name in ["", "amq.topic"] {
            assert_eq!(exchange(&json!({ "name": name, "type": "topic" })), None, "{name:?}");
        }
        let of_default =
            json!({ "source": "", "destination": "q1", "destination_type": "queue", "routing_key": "q1" });
        assert_eq!(binding(&of_default), None);
    }
}
