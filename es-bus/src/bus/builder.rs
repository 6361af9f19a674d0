//! Gathers what a bus is made of.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::mpsc;

use super::{Bus, assemble, connect::GivenTls, layers::Layers};
#[cfg(feature = "cli")]
use crate::config::Attributes;
use crate::{
    clock::Clock,
    config::{ConfigBuilder, Scope, Text},
    error::Result,
    handler::TypeMap,
    registry::Registry,
    transport::Transport,
    worker::Observation,
};

/// Builds a [`Bus`].
///
/// Settings that the builder sets are defaults of the program: file and environment win over them.
/// The `force` methods win over everything.
///
/// # Examples
///
/// ```standalone_crate
/// use es_bus::Bus;
///
/// # fn main() -> es_bus::Result<()> {
/// let bus = Bus::builder().url("memory://").exchange("shop").publish_only().build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct BusBuilder {
    pub(super) name: &'static str,
    pub(super) registry: Option<Registry>,
    pub(super) state: TypeMap,
    pub(super) layers: Layers,
    pub(super) config: ConfigBuilder,
    pub(super) consumes: bool,
    pub(super) purpose: Purpose,
    pub(super) named_groups: Vec<String>,
    pub(super) transport: Option<Arc<dyn Transport>>,
    pub(super) tls: GivenTls,
    pub(super) clock: Clock,
    pub(super) observer: Option<mpsc::UnboundedSender<Observation>>,
}

/// What the bus is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To run.
    Serve,
    /// To be looked at, without a broker.
    #[cfg(feature = "cli")]
    Look,
    /// To do something on a broker for somebody who has said on which one.
    #[cfg(feature = "cli")]
    Operate,
}

impl fmt::Debug for BusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was set may be a secret.
        f.debug_struct("BusBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BusBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "default",
            registry: None,
            state: TypeMap::default(),
            layers: Layers::default(),
            config: ConfigBuilder::from_process(),
            consumes: true,
            purpose: Purpose::Serve,
            named_groups: Vec::new(),
            transport: None,
            tls: GivenTls::default(),
            clock: Clock::default(),
            observer: None,
        }
    }

    /// Takes its events, groups and handlers from this registry instead of all that is linked.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Takes the definitions that name this bus (`#[handler(bus = "..")]`), instead of those that
    /// name none.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Provides a value to handlers that ask for `State<T>`. One value per type.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
        self
    }

    /// Makes a group known that will be subscribed to while the bus runs, so that `[group.{name}]` of
    /// the file, the environment and [`set_for_group`](Self::set_for_group) may speak of it.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.named_groups.push(name.into());
        self
    }

    /// Runs no `#[handler]`: declares the exchanges of its events, and publishes. What is subscribed
    /// while it runs ([`Handle::subscriptions`](crate::Handle::subscriptions)) is consumed.
    pub fn publish_only(mut self) -> Self {
        self.consumes = false;
        self
    }

    /// Consumes only these groups (`ES_BUS_GROUPS`).
    pub fn groups<S: AsRef<str>>(self, groups: impl IntoIterator<Item = S>) -> Self {
        let groups: Vec<String> = groups.into_iter().map(|group| group.as_ref().to_owned()).collect();
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(",") };
        self.set("groups", groups)
    }

    /// Where the broker is: `amqp://user:password@host:5672/vhost`, or `memory://` (`ES_BUS_URL`).
    pub fn url(self, url: impl Into<Text>) -> Self {
        self.set("url", url)
    }

    /// The exchange of events and groups that name none (`ES_BUS_EXCHANGE`).
    pub fn exchange(self, exchange: impl Into<Text>) -> Self {
        self.set("exchange", exchange)
    }

    /// Sets a default for a setting, by its name in `es-bus.toml`.
    pub fn set(mut self, key: &str, value: impl Into<Text>) -> Self {
        self.config = self.config.set_default(Scope::Bus, key, value);
        self
    }

    /// Sets a default for a setting of one group, by its name in `es-bus.toml`.
    pub fn set_for_group(mut self, group: &str, key: &str, value: impl Into<Text>) -> Self {
        self.config = self.config.set_default(Scope::Group(group.to_owned()), key, value);
        self
    }

    /// Sets a value that neither attribute nor file nor environment changes.
    pub fn force(mut self, key: &str, value: impl Into<Text>) -> Self {
        self.config = self.config.force(Scope::Bus, key, value);
        self
    }

    /// Sets a value for one group that neither attribute nor file nor environment changes.
    pub fn force_for_group(mut self, group: &str, key: &str, value: impl Into<Text>) -> Self {
        self.config = self.config.force(Scope::Group(group.to_owned()), key, value);
        self
    }

    /// Where the broker is, whatever file and environment say.
    pub fn force_url(self, url: impl Into<Text>) -> Self {
        self.force("url", url)
    }

    /// Reads this file instead of `es-bus.toml`; it has to be there.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = self.config.file(path);
        self
    }

    /// Reads neither `es-bus.toml` nor `.env` nor the environment. Settings made before are forgotten.
    pub fn without_environment(mut self) -> Self {
        self.config = ConfigBuilder::new();
        self
    }

    /// Encrypts connections the way that this configuration of rustls says, instead of reading
    /// `ca_file`, `cert_file` and the others: certificates from elsewhere than files, keys in
    /// hardware, a verifier of one's own.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// use std::sync::Arc;
    ///
    /// use es_bus::{Bus, transport::amqp::rustls};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let provider = Arc::new(rustls::crypto::ring::default_provider());
    /// let tls = rustls::ClientConfig::builder_with_provider(provider)
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(rustls::RootCertStore::empty())
    ///     .with_no_client_auth();
    ///
    /// let bus = Bus::builder()
    ///     .url("amqps://orders:secret@rabbitmq.internal/")
    ///     .tls(Arc::new(tls))
    ///     .publish_only()
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "amqp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "amqp")))]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = GivenTls(Some(config.into()));
        self
    }

    /// Runs on this broker, whatever the URL says.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Goes by tokio's clock, so that a test can pause it.
    #[cfg(feature = "testing")]
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Tells what becomes of every delivery.
    #[cfg(feature = "testing")]
    pub(crate) fn observer(mut self, observer: mpsc::UnboundedSender<Observation>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Says something about the bus as an attribute says it of a group: everybody else beats it.
    #[cfg(feature = "cli")]
    pub(crate) fn attributes(mut self, attributes: Attributes) -> Self {
        self.config = self.config.bus(attributes);
        self
    }

    /// Sets a value as the command line says it: it beats file and environment.
    #[cfg(feature = "cli")]
    pub(crate) fn said(mut self, key: &str, value: impl Into<Text>) -> Self {
        self.config = self.config.set_from_command_line(Scope::Bus, key, value);
        self
    }

    /// Reads the file that the command line names.
    #[cfg(feature = "cli")]
    pub(crate) fn said_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = self.config.file_from_command_line(path);
        self
    }

    /// Is built to be looked at, whatever broker is named, or none.
    #[cfg(feature = "cli")]
    pub(crate) fn for_looking(mut self) -> Self {
        self.purpose = Purpose::Look;
        self
    }

    /// Is built for somebody who operates the program: on a broker that is named, and that is there now.
    #[cfg(feature = "cli")]
    pub(crate) fn for_operating(mut self) -> Self {
        self.purpose = Purpose::Operate;
        self.set("start_timeout", "0s")
    }

    /// The effective configuration alone, whatever else is wrong with the program.
    #[cfg(feature = "cli")]
    pub(crate) fn configuration(mut self) -> Result<crate::config::Config> {
        let (_registry, config) = assemble::configure(&mut self);
        Ok(config?)
    }

    /// Checks everything that can be checked without a broker.
    ///
    /// # Errors
    ///
    /// All that is wrong with the configuration, or with the declarations, at once.
    pub fn build(self) -> Result<Bus> {
        assemble::assemble(self)
    }
}
