//! Configuration: what was said in code, in a file and in the environment goes in, one [`Config`]
//! comes out, in which every value knows where it was said. Only this room reads the environment.
//! Next: the bus, which is built from it.
//!
//! # Which value counts
//!
//! A setting can be said about the bus, a group or a handler ([`Scope`]), in any of eight layers
//! ([`Source`]). Of all that is said:
//!
//! 1. What is **forced** by the builder beats everything else; that is what forcing is for.
//! 2. **Specific beats general**: what is said about a handler beats what is said about its group,
//!    and that beats what is said about the bus. `ES_BUS_PREFETCH=50` is for groups that say
//!    nothing themselves; `#[group(prefetch = 5)]` keeps its 5.
//! 3. **Later beats earlier**: built-in, attribute, builder default, `es-bus.toml`, `.env`,
//!    environment, command line. `ES_BUS_GROUP__ORDERS__PREFETCH=9` beats `#[group(prefetch = 5)]`.
//!
//! The rule holds for each key by itself: a handler that says `retries` still takes its group's
//! `timeout`. File and environment cannot name a handler, so what its own attribute says is
//! changed in code only, by the attribute or by force.
//!
//! # Where values are said
//!
//! | layer | about the bus | about a group |
//! | --- | --- | --- |
//! | attribute | – | `#[group(prefetch = 5)]` |
//! | `es-bus.toml` | `prefetch = 50` | `[group.order-projections]`, `prefetch = 5` |
//! | environment | `ES_BUS_PREFETCH=50` | `ES_BUS_GROUP__ORDER_PROJECTIONS__PREFETCH=5` |
//!
//! In the file, `[backoff] base = "1s"` is `backoff_base = "1s"`. In the environment `-`, `.` and
//! `_` are one; two groups that coincide there are an error. `ES_BUS_CONFIG` names another file.
//! `RABBITMQ_URL`, `RABBITMQ_EXCHANGE`, `RABBITMQ_CONSUMER_GROUP` (as `ES_BUS_GROUPS`),
//! `RABBITMQ_PREFETCH`, `RABBITMQ_CA_FILE`, `RABBITMQ_CERT_FILE`, `RABBITMQ_KEY_FILE` and
//! `RABBITMQ_VERIFY_SSL` are read too; the `ES_BUS_` name beats them.
//!
//! A file `.env` in the working directory is read as if its lines were variables, for these names
//! only; a variable of the process beats it. It sets nothing for anybody else.
//!
//! # On layering crates
//!
//! The crate `config` reads the file. It does not decide between layers: it knows only "later beats
//! earlier", over values whose source is a string, and here specific beats general first. With the
//! source beside each value the decision is one `max_by_key`, in `layers.rs`.

use std::collections::BTreeMap;

mod builder;
mod combinations;
mod effective;
mod env_file;
mod environment;
mod error;
mod field;
mod file;
mod layers;
mod loader;
mod management;
mod security;
mod settings;
mod source;
mod url;

#[cfg(test)]
mod tests;

#[cfg(feature = "cli")]
pub(crate) use self::builder::named_manifest;
pub(crate) use self::effective::{Said, SaidOf};
#[cfg(feature = "amqp")]
pub(crate) use self::security::unusable_files;
pub use self::{
    builder::{Attributes, ConfigBuilder},
    error::{Error, Finding},
    field::{GroupSelection, Text},
    management::{HttpUrl, ManagementUrl},
    security::{Auth, Secret},
    settings::{BusSettings, GroupSettings, Key, Policy, keys},
    source::{Level, Scope, Setting, Source},
    url::{AmqpUrl, BrokerUrl, Host, UrlError},
};

/// The effective configuration. Prints as a table of values and where they were said, passwords
/// masked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The settings of the bus.
    pub bus: BusSettings,
    /// The settings of every group that the program declares, by name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// The settings of a group that the program does not declare: one that is subscribed to while it
    /// runs.
    pub(crate) others: GroupConfig,
    /// What is odd, but no mistake: to be logged by the caller. Holds no secret.
    pub warnings: Vec<Finding>,
}

/// The effective settings of a group and of its handlers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupConfig {
    /// The settings of its queue and of the worker on it.
    pub settings: GroupSettings,
    /// What a failure leads to, for handlers that say nothing of their own.
    pub policy: Policy,
    /// What a failure leads to, by handler.
    pub handlers: BTreeMap<String, Policy>,
}

/// The broker that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broker {
    /// The broker inside this process.
    Memory {
        /// Whether somebody asked for it. If not, log [`Config::MEMORY_WARNING`].
        chosen: bool,
        /// Which one, where several buses of this process share it.
        name: Option<String>,
    },
    /// RabbitMQ.
    Amqp(AmqpUrl),
}

impl Config {
    /// What to log when the broker in memory was nobody's choice.
    pub const MEMORY_WARNING: &str = "no broker URL is set: events live in the memory of this process and die with it; \
         set ES_BUS_URL=amqp://user:password@host:5672/vhost, or ES_BUS_URL=memory:// to choose this";

    /// Tells which broker to use. Without a URL that is memory in a debug build, where trying out
    /// is what counts; `debug` is `cfg!(debug_assertions)` but in tests.
    ///
    /// # Errors
    ///
    /// No URL is set and this is no debug build: a service that runs on memory loses its events at
    /// the next restart. The error prints the line to type.
    pub fn broker(&self, debug: bool) -> Result<Broker, Error> {
        match &self.bus.url.value {
            Some(BrokerUrl::Amqp(url)) => Ok(Broker::Amqp(url.clone())),
            Some(BrokerUrl::Memory { name }) => Ok(Broker::Memory { chosen: true, name: name.clone() }),
            None if debug => Ok(Broker::Memory { chosen: false, name: None }),
            None => Err(Error::new(vec![no_url()])),
        }
    }
}

impl Config {
    /// How the management API is found.
    ///
    /// # Errors
    ///
    /// One is named, and the feature `management` is off.
    pub(crate) fn management(&self) -> Result<&ManagementUrl, Error> {
        let url = &self.bus.management_url;
        if matches!(url.value, ManagementUrl::At(_)) && !cfg!(feature = "management") {
            let finding = Finding::new(&url.source, "es-bus was built without its feature `management`")
                .remedy("add it to the features of es-bus in Cargo.toml, or leave the setting `management_url` out");
            return Err(Error::new(vec![finding]));
        }
        Ok(&url.value)
    }

    /// What there is to say where policies are to carry limits, and nothing sets policies.
    pub(crate) fn no_policies(&self, because: &str) -> Error {
        let source = &self.bus.limits_in.source;
        let problem =
            format!("limits_in \"policies\" needs the management API, by which policies are set: {because}");
        let finding = Finding::new(source, problem).remedy(
            "set `management_url` (ES_BUS_MANAGEMENT_URL) to its address, http://user:password@host:15672, or leave \
             `limits_in` at \"arguments\"; a process with `declare = \"passive\"` sets no policies and needs none",
        );
        Error::new(vec![finding])
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    ///
    /// They are to be served, and the feature `http` is off.
    pub(crate) fn http(&self) -> Result<Option<std::net::SocketAddr>, Error> {
        let http = &self.bus.http;
        if http.value.is_some() && !cfg!(feature = "http") {
            let finding = Finding::new(&http.source, "es-bus was built without its feature `http`")
                .remedy("add it to the features of es-bus in Cargo.toml, or leave the setting `http` out");
            return Err(Error::new(vec![finding]));
        }
        Ok(http.value)
    }
}

#[cfg(feature = "cli")]
impl Config {
    /// Sees that somebody who operates the program has said which broker to look at, and that it is one which
    /// others can be at too. A default of the program is not enough where that is memory: it is empty.
    ///
    /// # Errors
    ///
    /// There is no URL, or the one in the program's own code is that of memory. The error prints the line to
    /// type.
    pub(crate) fn named_broker(&self) -> Result<(), Error> {
        let url = &self.bus.url;
        let problem = match (&url.value, &url.source) {
            (None, _) => {
                "no broker URL is set, and a command never falls back to memory, where there is nothing"
            }
            (Some(BrokerUrl::Memory { .. }), Source::Builder) => {
                "this program's own default is memory://, which is empty whenever a command starts, and no other \
                 broker is named"
            }
            (Some(BrokerUrl::Memory { .. } | BrokerUrl::Amqp(_)), _) => return Ok(()),
        };
        let remedy = "type\n\n      export ES_BUS_URL=amqp://user:password@host:5672/vhost\n\n  \
                      or give it to this command alone: --url amqp://user:password@host:5672/vhost";
        Err(Error::new(vec![Finding::new("ES_BUS_URL", problem).remedy(remedy)]))
    }
}

/// The arguments of this process, its own name first.
#[cfg(feature = "cli")]
pub(crate) fn arguments() -> Vec<std::ffi::OsString> {
    std::env::args_os().collect()
}

fn no_url() -> Finding {
    Finding {
        place: "ES_BUS_URL".to_owned(),
        problem: "no broker URL is set, and a release build does not fall back to memory, \
                  which loses events"
            .to_owned(),
        remedy: Some(
            "type\n\n      export ES_BUS_URL=amqp://user:password@host:5672/vhost\n\n  \
             or, where events may be lost, ES_BUS_URL=memory://"
                .to_owned(),
        ),
    }
}
