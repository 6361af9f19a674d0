//! What users of the broker have to be allowed, and no more: one who makes the topology, one as whom a program runs.
//!
//! In come a [`Topology`] and the keys of the events that are published; out go regular expressions as RabbitMQ
//! compares them, anchored and escaped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::json;

use super::{ExchangeKind, Queue, Topology, lanes::lanes};

/// The rights of two users on one virtual host. [`Bus::permissions`](crate::Bus::permissions) gives them.
///
/// The *provisioning user* makes exchanges, queues and bindings, and takes back those of retired events; it publishes
/// nothing. Where policies carry limits of queues (`limits_in`) it sets these, for which it has the user tag
/// `policymaker`. It can read the queues that have a dead-letter exchange, as RabbitMQ asks for that to declare them.
///
/// The *runtime user* publishes, handles, retries, dead-letters and replays, with `declare = "passive"`. It declares
/// and deletes nothing that lasts: all it may configure are the queues that go with its connection, which are those of
/// `exclusive` groups and the locks of dead-letter queues. It leaves no notes for other replicas when it stops in
/// order, so what it gave back may be handled alone for once.
///
/// # Examples
///
/// ```standalone_crate
/// # fn main() -> es_bus::Result<()> {
/// let bus = es_bus::Bus::builder().url("memory://").exchange("shop").publish_only().build()?;
///
/// let permissions = bus.permissions();
///
/// assert_eq!(permissions.provisioning().configure, r"^shop$");
/// assert_eq!(
///     permissions.rabbitmqctl("/", "shop-admin", "shop-service").lines().last(),
///     Some("rabbitmqctl set_permissions -p '/' 'shop-service' '^$' '^shop$' '^$'"),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    provisioning: Rights,
    runtime: Rights,
    sets_policies: bool,
}

/// What one user may do: regular expressions over the names of exchanges and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, or bind a queue of.
    pub write: String,
    /// What it may consume, or bind to.
    pub read: String,
    /// Which keys of topic exchanges; of an exchange that is not among them, all.
    pub topics: Vec<TopicRights>,
}

/// What a user may do with a topic exchange: regular expressions over keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicRights {
    /// The exchange.
    pub exchange: String,
    /// The routing keys that it may publish with.
    pub write: String,
    /// The binding keys that it may bind with.
    pub read: String,
}

impl Permissions {
    /// The rights over this topology, to which events are published with these keys, by exchange.
    pub(crate) fn of(topology: &Topology, published: &BTreeMap<&str, BTreeSet<&str>>) -> Self {
        Self {
            provisioning: provisioning(topology),
            runtime: runtime(topology, published),
            sets_policies: topology.queues().any(Queue::has_policy),
        }
    }

    /// Whether the provisioning user has to have the tag `policymaker`, as policies carry limits of queues. It lets
    /// a user set any policy on the virtual hosts that it has rights on.
    #[must_use]
    pub fn sets_policies(&self) -> bool {
        self.sets_policies
    }

    /// Of the user who makes the topology.
    #[must_use]
    pub fn provisioning(&self) -> &Rights {
        &self.provisioning
    }

    /// Of the user as whom the program runs.
    #[must_use]
    pub fn runtime(&self) -> &Rights {
        &self.runtime
    }

    /// Lines for a shell that give these rights to two users, who are there already (`rabbitmqctl add_user`).
    ///
    /// What they had on this virtual host before is replaced, but for the keys of exchanges that are not named.
    #[must_use]
    pub fn rabbitmqctl(&self, vhost: &str, provisioning: &str, runtime: &str) -> String {
        let mut lines = String::new();
        for (user, rights) in [(provisioning, &self.provisioning), (runtime, &self.runtime)] {
            let [vhost, user] = [vhost, user].map(quoted);
            let [configure, write, read] =
                [&rights.configure, &rights.write, &rights.read].map(|it| quoted(it));
            let _ =
                writeln!(lines, "rabbitmqctl set_permissions -p {vhost} {user} {configure} {write} {read}");
            if self.sets_policies && std::ptr::eq(rights, &self.provisioning) {
                lines += "# It sets policies; other tags that it is to keep are named in this line, too.\n";
                let _ = writeln!(lines, "rabbitmqctl set_user_tags {user} policymaker");
            }
            for topic in &rights.topics {
                let [exchange, write, read] =
                    [&topic.exchange, &topic.write, &topic.read].map(|it| quoted(it));
                let _ = writeln!(
                    lines,
                    "rabbitmqctl set_topic_permissions -p {vhost} {user} {exchange} {write} {read}"
                );
            }
        }
        lines
    }

    /// The same in the format of RabbitMQ's definitions, as JSON. An import wants the users to be there. Their tags are
    /// no part of it: definitions have them beside the password.
    #[must_use]
    pub fn definitions(&self, vhost: &str, provisioning: &str, runtime: &str) -> String {
        let users = [(provisioning, &self.provisioning), (runtime, &self.runtime)];
        let permissions = users.map(|(user, rights)| {
            json!({
                "user": user,
                "vhost": vhost,
                "configure": rights.configure,
                "write": rights.write,
                "read": rights.read,
            })
        });
        let topics = users.iter().flat_map(|(user, rights)| {
            rights.topics.iter().map(move |topic| {
                json!({
                    "user": user,
                    "vhost": vhost,
                    "exchange": topic.exchange,
                    "write": topic.write,
                    "read": topic.read,
                })
            })
        });
        let all = json!({
            "vhosts": [{ "name": vhost }],
            "permissions": permissions,
            "topic_permissions": topics.collect::<Vec<_>>(),
        });
        format!("{all:#}\n")
    }
}

fn provisioning(topology: &Topology) -> Rights {
    let (mut configure, mut write, mut read) = (Names::default(), Names::default(), Names::default());
    for exchange in topology.exchanges() {
        configure.add(exchange.name.as_str());
        if let Some(alternate) = exchange.arguments.get_str("alternate-exchange") {
            read.add(exchange.name.as_str());
            write.add(alternate);
        }
    }
    for queue in topology.queues().filter(|queue| !queue.exclusive) {
        configure.add(queue.name.as_str());
        if let Some(dead_letter) = &queue.dead_letter {
            read.add(queue.name.as_str());
            write.add(permission_name(dead_letter.exchange.as_str()));
        }
    }
    let mut keys: BTreeMap<&str, Names> = BTreeMap::new();
    for binding in topology.bindings().chain(topology.unbound()) {
        if topology.queue(binding.queue.as_str()).is_some_and(|queue| queue.exclusive) {
            continue;
        }
        write.add(binding.queue.as_str());
        read.add(binding.source.as_str());
        if is_topic(topology, binding.source.as_str()) {
            keys.entry(binding.source.as_str()).or_default().add(&binding.key);
        }
    }
    for binding in topology.exchange_bindings() {
        write.add(binding.destination.as_str());
        read.add(binding.source.as_str());
        if is_topic(topology, binding.source.as_str()) {
            keys.entry(binding.source.as_str()).or_default().add(&binding.key);
        }
    }
    let topics = keys.into_iter().map(|(exchange, keys)| TopicRights {
        exchange: exchange.to_owned(),
        write: NOTHING.to_owned(),
        read: keys.pattern(),
    });
    Rights {
        configure: configure.pattern(),
        write: write.pattern(),
        read: read.pattern(),
        topics: topics.collect(),
    }
}

fn runtime(topology: &Topology, published: &BTreeMap<&str, BTreeSet<&str>>) -> Rights {
    let (mut configure, mut write, mut read) = (Names::default(), Names::default(), Names::default());
    for exchange in topology.exchanges().filter(|exchange| !exchange.internal) {
        write.add(exchange.name.as_str());
    }
    let mut own = BTreeMap::new();
    for lane in lanes(topology) {
        if let Some(end) = &lane.end {
            write.add(permission_name(end.exchange));
            if let Some(queue) = end.queue {
                read.add(queue.name.as_str());
                configure.add(&format!("{}.lock", queue.name));
            }
        }
        if !lane.queue.exclusive {
            read.add(lane.queue.name.as_str());
            if let Some(suspects) = lane.suspects {
                read.add(suspects.name.as_str());
            }
            continue;
        }
        // Of its connection alone, so it declares and binds it itself.
        let name = of_any_process(lane.queue);
        [&mut configure, &mut write, &mut read].into_iter().for_each(|names| names.add_pattern(name.clone()));
        for binding in lane.bindings {
            read.add(binding.source.as_str());
            if is_topic(topology, binding.source.as_str()) {
                own.entry(binding.source.as_str()).or_insert_with(Names::default).add(&binding.key);
            }
        }
    }
    let exchanges: BTreeSet<&str> = published.keys().chain(own.keys()).copied().collect();
    let topics = exchanges.into_iter().filter(|exchange| is_topic(topology, exchange)).map(|exchange| {
        let mut keys = Names::default();
        published.get(exchange).into_iter().flatten().for_each(|key| keys.add_pattern(key_pattern(key)));
        TopicRights {
            exchange: exchange.to_owned(),
            write: keys.pattern(),
            read: own.get(exchange).map_or_else(|| NOTHING.to_owned(), Names::pattern),
        }
    });
    let topics = topics.collect();
    Rights { configure: configure.pattern(), write: write.pattern(), read: read.pattern(), topics }
}

fn is_topic(topology: &Topology, exchange: &str) -> bool {
    topology.exchange(exchange).is_some_and(|exchange| exchange.kind == ExchangeKind::Topic)
}

/// What RabbitMQ calls an exchange when it looks for permissions.
fn permission_name(exchange: &str) -> &str {
    if exchange.is_empty() { "amq.default" } else { exchange }
}

/// The queue of an exclusive group, whose name ends in what no other process has.
fn of_any_process(queue: &Queue) -> Vec<String> {
    let name = queue.common_name();
    let stem = name.strip_suffix(".*").unwrap_or(&name);
    stem.split('.').map(escaped).chain(["[0-9a-f]{8}".to_owned()]).collect()
}

/// A routing key with wildcards in the places of what an event fills in.
fn key_pattern(key: &str) -> Vec<String> {
    let word = |word: &str| match word {
        "*" => "[^.]*".to_owned(),
        "#" => ".*".to_owned(),
        word => escaped(word),
    };
    key.split('.').map(word).collect()
}

/// Matches the empty name alone, and no exchange or queue has it.
const NOTHING: &str = "^$";

/// Names as one regular expression: what begins alike is written once, part by part, so that it stays short enough for
/// a person, and for the broker.
#[derive(Default)]
struct Names {
    parts: BTreeMap<String, Names>,
    is_whole: bool,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.add_pattern(name.split('.').map(escaped).collect());
    }

    fn add_pattern(&mut self, parts: Vec<String>) {
        let mut at = self;
        for part in parts {
            at = at.parts.entry(part).or_default();
        }
        at.is_whole = true;
    }

    fn pattern(&self) -> String {
        if self.parts.is_empty() { NOTHING.to_owned() } else { format!("^{}$", self.alternatives()) }
    }

    fn alternatives(&self) -> String {
        let all: Vec<String> =
            self.parts.iter().map(|(part, rest)| format!("{part}{}", rest.rest())).collect();
        if all.len() == 1 { all.concat() } else { format!("({})", all.join("|")) }
    }

    fn rest(&self) -> String {
        match (self.parts.is_empty(), self.is_whole) {
            (true, _) => String::new(),
            (false, true) => format!("(\\.{})?", self.alternatives()),
            (false, false) => format!("\\.{}", self.alternatives()),
        }
    }
}

/// As a regular expression that matches this text alone.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        name::ExchangeName,
        topology::{
            build,
            fixtures::{PLACED, SHIPPED, exchanges, group, handler, named_with},
        },
    };

    fn pattern(names: &[&str]) -> String {
        let mut all = Names::default();
        names.iter().for_each(|name| all.add(name));
        all.pattern()
    }

    #[test]
    fn names_are_anchored_escaped_and_written_once_where_they_begin_alike() {
        for (names, expected) in [
            (vec![], "^$"),
            (vec!["events"], "^events$"),
            (vec!["a.b", "a.c"], r"^a\.(b|c)$"),
            (vec!["a", "a.b.c", "a.b.d", "e"], r"^(a(\.b\.(c|d))?|e)$"),
            (vec!["a+b*(c)", "Order.*"], r"^(Order\.\*|a\+b\*\(c\))$"),
            (vec!["a.", "a"], r"^a(\.)?$"),
        ] {
            assert_eq!(pattern(&names), expected, "{names:?}");
        }
    }

    #[test]
    fn a_provisioning_user_makes_all_and_publishes_nothing_and_a_runtime_user_makes_nothing_that_lasts() {
        let audit = named_with("audit", vec![handler("record", &["#"], None)], |settings| {
            settings.exclusive = Some("0123abcd".to_owned());
        });
        let projections = group(vec![handler("project", &["Order.*"], Some(&[PLACED]))]);
        let topology = build(&[projections, audit], &[PLACED, SHIPPED], &exchanges()).unwrap();
        let published = BTreeMap::from([("events", BTreeSet::from([PLACED.key, "order.created.*"]))]);

        let permissions = Permissions::of(&topology, &published);

        insta::assert_snapshot!(permissions.rabbitmqctl("shop", "admin", "the 'service'"), @r"
        rabbitmqctl set_permissions -p 'shop' 'admin' '^(events(\.projections(\.(dlq|in|retry(\.(1s|2s|300s|30s|4s))?|suspects))?)?|events_dlq)$' '^(events\.projections(\.(dlq|in|retry\.(1s|2s|300s|30s|4s)|suspects))?|events_dlq)$' '^(events(\.projections(\.(in|retry(\.(1s|2s|300s|30s|4s))?|suspects))?)?|events_dlq)$'
        rabbitmqctl set_topic_permissions -p 'shop' 'admin' 'events' '^$' '^Order\.\*$'
        rabbitmqctl set_permissions -p 'shop' 'the '\''service'\''' '^events\.(audit\.[0-9a-f]{8}|projections\.dlq\.lock)$' '^(events(\.(audit\.[0-9a-f]{8}|projections\.(in|retry)))?|events_dlq)$' '^events(\.(audit\.[0-9a-f]{8}|projections(\.(dlq|suspects))?))?$'
        rabbitmqctl set_topic_permissions -p 'shop' 'the '\''service'\''' 'events' '^(Order\.OrderPlaced|order\.created\.[^.]*)$' '^#$'
        ");
    }

    #[test]
    fn dead_letters_over_the_default_exchange_are_published_by_its_name() {
        let group = named_with("audit", vec![handler("record", &["#"], None)], |settings| {
            settings.home = ExchangeName::new("events").unwrap();
            settings.dlx = "amq.default".parse().unwrap();
        });
        let topology = build(&[group], &[], &exchanges()).unwrap();

        let permissions = Permissions::of(&topology, &BTreeMap::new());

        assert_eq!(permissions.runtime().write, r"^(amq\.default|events(\.audit\.(in|retry))?)$");
        assert!(permissions.provisioning().write.starts_with(r"^(amq\.default|events\.audit"));
    }

    #[test]
    fn definitions_say_the_same() {
        let topology = build(&[group(vec![handler("h", &["#"], None)])], &[], &exchanges()).unwrap();
        let permissions = Permissions::of(&topology, &BTreeMap::from([("events", BTreeSet::from(["a"]))]));

        let json: serde_json::Value =
            serde_json::from_str(&permissions.definitions("/", "admin", "service")).unwrap();

        let runtime = permissions.runtime();
        assert_eq!(
            json["permissions"][1],
            json!({
                "user": "service", "vhost": "/",
                "configure": runtime.configure, "write": runtime.write, "read": runtime.read,
            })
        );
        assert_eq!(
            json["topic_permissions"],
            json!([
                { "user": "admin", "vhost": "/", "exchange": "events", "write": "^$", "read": "^#$" },
                { "user": "service", "vhost": "/", "exchange": "events", "write": "^a$", "read": "^$" },
            ])
        );
    }
}
