//! A view of a node through RabbitMQ's HTTP management API, and virtual hosts made by it.
//!
//! The client speaks HTTP/1.0, so that every answer ends with its connection and is never
//! chunked; more than that, a test does not need.

use std::{
    fmt::Write as _,
    io::{self, Read, Write as _},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A virtual host of one test; removed, with all that is in it, when dropped.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    /// Of the nodes that have it.
    amqp_ports: Vec<u16>,
    api: Api,
}

impl Vhost {
    /// Creates the virtual host; RabbitMQ gives its maker, `guest`, all permissions on it.
    #[track_caller]
    pub(crate) fn create(name: String, amqp_ports: Vec<u16>, api: Api) -> Self {
        let vhost = Self { name, amqp_ports, api };
        vhost.api.send("PUT", &vhost.path("vhosts"), Some("{}"));
        vhost
    }

    /// The name it has on the broker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `amqp://guest:guest@127.0.0.1:{port}/{name}`, with the hosts of all nodes in a cluster.
    pub fn url(&self) -> String {
        self.url_from(0)
    }

    /// As [`url`](Self::url), with the given node of the cluster first, and the others after it.
    pub fn url_from(&self, first: usize) -> String {
        let mut ports = self.amqp_ports.clone();
        ports.rotate_left(first);
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("amqp://guest:guest@{}/{}", hosts.join(","), encode(&self.name))
    }

    /// The queue of that name; `None` when there is none.
    ///
    /// Arguments are those of the declaration. Counts lag behind the broker by up to half a
    /// second, so a zero proves nothing: wait for what should come with [`eventually`], and for
    /// what should not with [`settled_queue`](Self::settled_queue).
    #[track_caller]
    pub fn queue(&self, name: &str) -> Option<QueueInfo> {
        self.api.get(&format!("{}/{}", self.path("queues"), encode(name)))
    }

    /// As [`queue`](Self::queue), with counts no older than this call, which takes a second.
    #[track_caller]
    pub fn settled_queue(&self, name: &str) -> Option<QueueInfo> {
        thread::sleep(2 * COUNTS_INTERVAL);
        self.queue(name)
    }

    /// All queues, sorted by name; counts as for [`queue`](Self::queue).
    #[track_caller]
    pub fn queues(&self) -> Vec<QueueInfo> {
        let mut queues: Vec<QueueInfo> = self.list("queues");
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        queues
    }

    /// All exchanges but the ones every virtual host has, sorted by name.
    #[track_caller]
    pub fn exchanges(&self) -> Vec<ExchangeInfo> {
        let mut exchanges: Vec<ExchangeInfo> = self.list("exchanges");
        exchanges.retain(|exchange| !exchange.name.is_empty() && !exchange.name.starts_with("amq."));
        exchanges.sort_by(|a, b| a.name.cmp(&b.name));
        exchanges
    }

    /// All bindings but those to the default exchange, sorted by source, destination and key.
    #[track_caller]
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let mut bindings: Vec<BindingInfo> = self.list("bindings");
        bindings.retain(|binding| !binding.source.is_empty());
        bindings.sort_by(|a, b| {
            (&a.source, &a.destination, &a.routing_key).cmp(&(&b.source, &b.destination, &b.routing_key))
        });
        bindings
    }

    /// How many messages consumers hold, by the word of their channels; as old as the counts of
    /// [`queue`](Self::queue).
    #[track_caller]
    pub fn held_by_channels(&self) -> u64 {
        let path = format!("{}/channels", self.path("vhosts"));
        let channels: Option<Vec<ChannelInfo>> = self.api.get(&path);
        channels.unwrap_or_default().iter().map(|channel| channel.messages_unacked).sum()
    }

    /// Deletes a queue, whoever uses it; its consumers get a `basic.cancel`.
    ///
    /// # Panics
    ///
    /// When there is no such queue.
    #[track_caller]
    pub fn delete_queue(&self, name: &str) {
        self.api.send("DELETE", &format!("{}/{}", self.path("queues"), encode(name)), None);
    }

    /// Declares what is in `definitions`, an object of lists as `rabbitmqctl export_definitions`
    /// writes it: `{"queues": [..], "exchanges": [..], "bindings": [..]}`.
    #[track_caller]
    pub fn define(&self, definitions: &Value) {
        self.api.send("POST", &self.path("definitions"), Some(&definitions.to_string()));
    }

    /// `/api/{what}/{this vhost}`.
    fn path(&self, what: &str) -> String {
        format!("/api/{what}/{}", encode(&self.name))
    }

    #[track_caller]
    fn list<T: DeserializeOwned>(&self, what: &str) -> Vec<T> {
        self.api.get(&self.path(what)).expect("the virtual host lives as long as this value")
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // The node may be dead or frozen, on purpose; then the virtual host goes with it.
        let _ = self.api.request("DELETE", &self.path("vhosts"), None);
    }
}

/// A queue as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// The queue's name.
    pub name: String,
    /// `classic`, `quorum` or `stream`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to one connection.
    #[serde(default)]
    pub exclusive: bool,
    /// The arguments of its declaration.
    pub arguments: Map<String, Value>,
    /// The node that it is on, by Erlang's name; of a quorum queue, its leader.
    #[serde(default)]
    pub node: String,
    /// Messages that are ready or unacknowledged.
    #[serde(default)]
    pub messages: u64,
    /// Messages that wait for a consumer.
    #[serde(default)]
    pub messages_ready: u64,
    /// Messages that a consumer holds.
    #[serde(default, rename = "messages_unacknowledged")]
    pub messages_unacked: u64,
    /// Messages that a quorum queue keeps until their dead-letter queue has confirmed them.
    #[serde(default)]
    pub messages_dlx: u64,
    /// Consumers, on all connections.
    #[serde(default)]
    pub consumers: u64,
    /// The consumers, where one queue was asked for.
    #[serde(default)]
    pub consumer_details: Vec<ConsumerInfo>,
}

/// A consumer as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// How many deliveries it may have unsettled.
    pub prefetch_count: u64,
}

/// A channel as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ChannelInfo {
    /// Messages that its consumers hold.
    #[serde(default, rename = "messages_unacknowledged")]
    messages_unacked: u64,
}

/// An exchange as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ExchangeInfo {
    /// The exchange's name.
    pub name: String,
    /// `topic`, `direct`, `fanout`, `headers`, or a plugin's word.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges can publish to it.
    pub internal: bool,
    /// The arguments of its declaration.
    pub arguments: Map<String, Value>,
}

/// A binding as the broker sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BindingInfo {
    /// The exchange that messages come from.
    pub source: String,
    /// The queue or exchange that they go to.
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    /// The binding key; the protocol calls it routing key here.
    pub routing_key: String,
    /// The arguments of a headers binding.
    pub arguments: Map<String, Value>,
}

/// Asks again until `probe` gives a value, and returns it.
///
/// Blocks the thread; a test whose own tasks must go on meanwhile calls it from
/// `tokio::task::spawn_blocking`.
///
/// # Panics
///
/// After 20 s, naming `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited 20 s in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The management API of one node, as user `guest`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api {
    pub(crate) port: u16,
}

impl Api {
    /// Whether the API answers.
    pub(crate) fn is_up(self) -> bool {
        matches!(self.request("GET", "/api/vhosts", None), Ok((200, _)))
    }

    /// Reads a resource; `None` when there is none.
    #[track_caller]
    fn get<T: DeserializeOwned>(self, path: &str) -> Option<T> {
        match self.request("GET", path, None) {
            // By way of a `Value`: of a queue whose leader is moving, RabbitMQ 4.0 tells some fields twice.
            Ok((200, body)) => Some(
                serde_json::from_str(&body)
                    .and_then(|value: Value| serde_json::from_value(value))
                    .unwrap_or_else(|error| panic!("GET {path}: {error} in {body}")),
            ),
            Ok((404, _)) => None,
            other => panic!("GET {path}: {other:?}"),
        }
    }

    /// Changes a resource.
    #[track_caller]
    fn send(self, method: &str, path: &str, body: Option<&str>) {
        match self.request(method, path, body) {
            Ok((200..=299, _)) => {}
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// One request: status and body.
    fn request(self, method: &str, path: &str, body: Option<&str>) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let body = body.unwrap_or_default();
        stream.write_all(
            format!(
                "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: Basic {GUEST}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len(),
            )
            .as_bytes(),
        )?;

        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
    }
}

/// One path segment, with all that a URL reserves in percent signs.
fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes all"),
        }
    }
    encoded
}

/// `guest:guest` in base 64.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// How often the broker brings the counts up to date.
pub(crate) const COUNTS_INTERVAL: Duration = Duration::from_millis(500);

/// Deleting a virtual host with a hundred quorum queues takes seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
