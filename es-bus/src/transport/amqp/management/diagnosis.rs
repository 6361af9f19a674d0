//! What the broker tells of itself and of a user, for whoever looks for what is wrong.

use serde_json::Value as Json;

use super::Management;
use crate::transport::ManagementError;

/// How a broker is, and what a user may do on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The user whose rights were asked for.
    pub(crate) user: String,
    /// Where.
    pub(crate) vhost: String,
    /// Its nodes; `None` where the user may not read that.
    pub(crate) nodes: Option<Vec<NodeState>>,
    /// What the user may do on the virtual host; `None` where only an administrator could tell.
    pub(crate) rights: Option<Granted>,
    /// The user as whom the API is asked, and its tags.
    pub(crate) asked_as: Option<(String, Vec<String>)>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) is_running: bool,
    /// Whether it takes no publishes for want of memory.
    pub(crate) is_short_of_memory: bool,
    /// Whether it takes no publishes for want of disk.
    pub(crate) is_short_of_disk: bool,
    /// The nodes that it does not see although they are there.
    pub(crate) partitions: Vec<String>,
}

/// Regular expressions over names, as `rabbitmqctl set_permissions` takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) configure: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

impl Management {
    /// Asks how the broker is, and what this user may do on the virtual host. What the own user may not read is
    /// `None`.
    pub(crate) async fn diagnose(&self, user: &str) -> Result<Diagnosis, ManagementError> {
        let nodes = allowed(self.client.get("nodes").await)?;
        let rights = allowed(self.client.get_rights(user).await)?;
        let asked_as = allowed(self.client.get("whoami").await)?;
        Ok(Diagnosis {
            user: user.to_owned(),
            vhost: self.client.vhost().to_owned(),
            nodes: nodes.as_ref().map(self::nodes),
            rights: rights.as_ref().map(granted),
            asked_as: asked_as.as_ref().map(|json| (text(json, "name"), tags(json))),
        })
    }
}

/// `None` for what may not be asked.
fn allowed<T>(answer: Result<T, ManagementError>) -> Result<Option<T>, ManagementError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ManagementError::Forbidden { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn nodes(json: &Json) -> Vec<NodeState> {
    let flag = |node: &Json, name: &str| node.get(name).and_then(Json::as_bool).unwrap_or(false);
    let of = |node: &Json| NodeState {
        name: text(node, "name"),
        is_running: flag(node, "running"),
        is_short_of_memory: flag(node, "mem_alarm"),
        is_short_of_disk: flag(node, "disk_free_alarm"),
        partitions: node
            .get("partitions")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect(),
    };
    json.as_array().into_iter().flatten().map(of).collect()
}

fn granted(json: &Json) -> Granted {
    Granted { configure: text(json, "configure"), write: text(json, "write"), read: text(json, "read") }
}

/// A list; RabbitMQ 3.8 has one text with commas.
fn tags(json: &Json) -> Vec<String> {
    match json.get("tags") {
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        Some(Json::String(all)) => all.split(',').map(|tag| tag.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn text(json: &Json, name: &str) -> String {
    json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_is_down_tells_neither_alarms_nor_partitions() {
        // As RabbitMQ 3.10.8 lists a node of a cluster that is stopped, beside one that runs.
        let nodes = nodes(&json!([
            { "name": "rabbit@a", "running": true, "mem_alarm": true, "disk_free_alarm": false, "partitions": ["rabbit@c"] },
            { "name": "rabbit@b", "running": false, "type": "disc" },
        ]));

        let up = NodeState {
            name: "rabbit@a".to_owned(),
            is_running: true,
            is_short_of_memory: true,
            partitions: vec!["rabbit@c".to_owned()],
            ..NodeState::default()
        };
        assert_eq!(nodes, [up, NodeState { name: "rabbit@b".to_owned(), ..NodeState::default() }]);
    }
}
