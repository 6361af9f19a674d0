//! `es-bus.lock`: what a program has on its broker and what its events look like, as a text that is committed.
//!
//! In comes a checked [`Bus`](crate::Bus), out goes a [`Lock`]; two of them are compared without a broker, and what would
//! break a running system is told before it is deployed. One thing per line, sorted, so that a difference reads well.
//!
//! The same text is the manifest by which the binary `es-bus` knows a program whose code it does not have: `manifest`
//! makes declarations of it, which are assembled as those of code are.

mod changes;
mod events;
mod finding;
#[cfg(feature = "cli")]
mod fit;
#[cfg(feature = "cli")]
mod lines;
#[cfg(feature = "cli")]
mod manifest;
mod of;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::{
    finding::{LockFinding, Risk},
    text::LockError,
};
#[cfg(feature = "cli")]
pub(crate) use self::{
    fit::Misfits,
    manifest::{Manifest, ManifestError},
};

/// What a program declares, as it was when somebody last agreed to it.
///
/// Its text (`Display`, `FromStr`) is the file `es-bus.lock`. It is a function of the program alone: the same program
/// has the same text, whatever is linked first and whichever process asks. Of a process that consumes only some of its
/// groups (`groups`) it holds only those, so it is made of one that consumes all.
///
/// # Examples
///
/// In a test of the service, so that a change which breaks a running system is agreed to by whoever commits the file:
///
/// ```standalone_crate
/// use es_bus::{Bus, lock::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = Bus::builder().url("memory://").exchange("shop").publish_only().build()?;
/// let now = Lock::of(&bus);
/// let committed: Lock = "format = 2\n[exchange.shop]\nkind = \"direct\"\n".parse()?;
///
/// let findings = committed.check(&now);
///
/// assert!(findings[0].breaks());
/// assert!(findings[0].to_string().starts_with("exchange \"shop\": kind was direct, is topic"));
/// assert!(now.check(&now).is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Looked at before the rest is read.
    format: i64,
    /// What holds for all groups and handlers, where it is not what es-bus does by itself.
    #[serde(default)]
    settings: Settings,
    #[serde(default, rename = "exchange")]
    exchanges: BTreeMap<String, LockedExchange>,
    #[serde(default, rename = "queue")]
    queues: BTreeMap<String, LockedQueue>,
    #[serde(default, rename = "group")]
    groups: BTreeMap<String, LockedGroup>,
    #[serde(default, rename = "event")]
    events: BTreeMap<String, LockedEvent>,
}

type Arguments = BTreeMap<String, toml::Value>;

/// Settings by their names in `es-bus.toml`.
type Settings = BTreeMap<String, toml::Value>;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedExchange {
    kind: String,
    /// Whether the program declares it by itself (`#[exchange]`), and not only by what it publishes and binds.
    #[serde(default)]
    declared: bool,
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    arguments: Arguments,
    /// What it gets from other exchanges.
    #[serde(default)]
    from: Vec<LockedBinding>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedQueue {
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    arguments: Arguments,
    /// What a policy sets, which may change.
    #[serde(default)]
    policy: Arguments,
    #[serde(default)]
    bindings: Vec<LockedBinding>,
    /// What is taken back.
    #[serde(default)]
    retired: Vec<LockedBinding>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedBinding {
    exchange: String,
    key: String,
    #[serde(default)]
    arguments: Arguments,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedGroup {
    /// Its name on the broker. Who writes a manifest by hand may leave it out: it follows from the settings.
    #[serde(default)]
    queue: String,
    dlq: Option<String>,
    /// Names that it had before.
    #[serde(default)]
    formerly: Vec<String>,
    /// What does not hold for all groups.
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    handlers: Vec<LockedHandler>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedHandler {
    name: String,
    /// What it asks for where that is more, or less, than the keys of the events that it takes: binding keys, and
    /// tables of headers.
    binds: Option<Vec<toml::Value>>,
    /// Whether it binds to events that other programs own.
    #[serde(default)]
    foreign: bool,
    /// The events that it takes; none for a handler of raw events.
    takes: Option<Vec<String>>,
    /// The events that its result may publish.
    #[serde(default)]
    emits: Vec<String>,
    /// What does not hold for its whole group.
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    formerly: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedEvent {
    /// The type of its aggregate, where that has a point in it and the name of the section does not tell it.
    aggregate: Option<String>,
    exchange: String,
    key: String,
    version: u32,
    #[serde(default)]
    nested: bool,
    #[serde(default = "yes")]
    persistent: bool,
    priority: Option<u8>,
    ttl_ms: Option<u64>,
    /// `mandatory` or `optional`.
    unroutable: Option<String>,
    /// Headers that all of its messages carry.
    #[serde(default)]
    headers: Arguments,
    /// A line per field, where the type has a schema.
    schema: Option<Vec<String>>,
}

fn yes() -> bool {
    true
}
