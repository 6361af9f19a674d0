//! Chooses the broker that the configuration asks for.

use std::sync::Arc;

use super::run::TransportChoice;
use crate::{
    config::{Broker, Config},
    error::Result,
    model::{
        Queue, Topology,
        policy::{Declare, LimitsIn},
    },
    topology::plan::Eyes,
    transport::{Transport, memory::Memory},
};

/// The TLS configuration that the program gives, when it does.
#[derive(Default)]
pub(super) struct GivenTls(
    #[cfg(feature = "amqp")] pub(super) Option<crate::transport::amqp::Tls>,
    #[cfg(not(feature = "amqp"))] (),
);

impl GivenTls {
    pub(super) fn is_given(&self) -> bool {
        #[cfg(feature = "amqp")]
        return self.0.is_some();
        #[cfg(not(feature = "amqp"))]
        return false;
    }
}

impl TransportChoice {
    /// Reads the files that the broker needs, too.
    pub(super) fn configured(config: &Config, tls: &GivenTls) -> Result<Self> {
        match config.broker(cfg!(debug_assertions))? {
            Broker::Memory { chosen, name } => Ok(Self::Memory { chosen, name }),
            #[cfg(feature = "amqp")]
            Broker::Amqp(url) => amqp(&url, config, tls.0.clone()),
            #[cfg(not(feature = "amqp"))]
            Broker::Amqp(url) => {
                let GivenTls(()) = tls;
                Err(crate::error::Error::NoAmqp(url.to_string()))
            }
        }
    }

    fn is_amqp(&self) -> bool {
        #[cfg(feature = "amqp")]
        return matches!(self, Self::Amqp(_));
        #[cfg(not(feature = "amqp"))]
        return false;
    }

    pub(super) fn connect(self) -> Arc<dyn Transport> {
        match self {
            Self::Given(transport) => transport,
            Self::Memory { chosen, name } => {
                if !chosen {
                    tracing::warn!("{}", Config::MEMORY_WARNING);
                }
                Arc::new(name.map_or_else(Memory::new, |name| Memory::named(&name)))
            }
            #[cfg(feature = "amqp")]
            Self::Amqp(options) => crate::transport::amqp::Amqp::connect(*options),
        }
    }
}

/// How the broker is looked at: through its management API where it has one.
pub(super) fn eyes(config: &Config, choice: &TransportChoice) -> Result<Eyes> {
    let url = config.management()?;
    let because = match (choice, url) {
        (TransportChoice::Given(_) | TransportChoice::Memory { .. }, _) => None,
        #[cfg(feature = "amqp")]
        (TransportChoice::Amqp(_), crate::config::ManagementUrl::Off) => {
            Some("`management_url` is \"none\": the management API is not asked".to_owned())
        }
        // Another port may be that of another broker on the same machine, and the usual one not be this one's.
        #[cfg(feature = "management")]
        (TransportChoice::Amqp(options), crate::config::ManagementUrl::Auto)
            if options.hosts.first().is_some_and(|host| !matches!(host.port, 5671 | 5672)) =>
        {
            Some(
                "where the management API is cannot be told from a port of AMQP that is not the usual one: set \
                 `management_url` (ES_BUS_MANAGEMENT_URL)"
                    .to_owned(),
            )
        }
        #[cfg(feature = "management")]
        (TransportChoice::Amqp(options), url) => return management(config, url, options),
        #[cfg(all(feature = "amqp", not(feature = "management")))]
        (TransportChoice::Amqp(_), _) => Some(
            "es-bus was built without its feature `management`, by which it asks the management API"
                .to_owned(),
        ),
    };
    Ok(Eyes::Transport { because })
}

/// What a start sets policies with; `None` where there are none, or others set them.
///
/// # Errors
///
/// Queues of this topology want some, and there is nothing to set them with. A queue that is subscribed to later is
/// refused then.
pub(super) fn policy_eyes(
    config: &Config,
    choice: &TransportChoice,
    topology: &Topology,
) -> Result<Option<Eyes>> {
    let bus = &config.bus;
    if (bus.limits_in.value, bus.declare.value) != (LimitsIn::Policies, Declare::Create) {
        return Ok(None);
    }
    let mut eyes = eyes(config, choice)?;
    if let Eyes::Transport { because } = &eyes
        && choice.is_amqp()
        && topology.queues().any(Queue::has_policy)
    {
        return Err(config.no_policies(because.as_deref().unwrap_or_default()).into());
    }
    eyes.insist();
    Ok(Some(eyes))
}

#[cfg(feature = "management")]
fn management(
    config: &Config,
    url: &crate::config::ManagementUrl,
    broker: &crate::transport::amqp::AmqpOptions,
) -> Result<Eyes> {
    use crate::{
        config::ManagementUrl,
        transport::amqp::{
            Tls,
            management::{Management, ManagementOptions},
        },
    };

    let (user, password) = (broker.user.clone(), broker.password.clone());
    let first = broker.hosts.first().map_or("localhost", |host| &*host.host).to_owned();
    let options = ManagementOptions {
        host: first,
        port: 15672,
        tls: None,
        prefix: String::new(),
        user,
        password,
        vhost: broker.vhost.clone(),
        timeout: config.bus.connect_timeout.value,
    };
    let (options, is_named) = match url {
        ManagementUrl::At(url) => {
            let tls = match (url.is_tls(), &broker.tls) {
                (false, _) => None,
                (true, Some(tls)) => Some(tls.clone()),
                (true, None) => Some(Tls::from_files(tls_files(config)).map_err(|errors| {
                    let files = errors.into_iter().map(|error| (error.setting, error.file, error.problem));
                    crate::config::unusable_files(&config.bus, files)
                })?),
            };
            let login = url.expose_login().map(|(user, password)| (user.to_owned(), password.to_owned()));
            let (user, password) = login.unwrap_or((options.user, options.password));
            let (host, port, prefix) = (url.host().to_owned(), url.port(), url.prefix().to_owned());
            (ManagementOptions { host, port, tls, prefix, user, password, ..options }, true)
        }
        // A broker that is spoken to over TLS gets the password over TLS alone.
        _ if broker.tls.is_some() => {
            (ManagementOptions { port: 15671, tls: broker.tls.clone(), ..options }, false)
        }
        _ => (options, false),
    };
    Ok(Eyes::Management { api: Box::new(Management::new(options)), is_named })
}

#[cfg(feature = "amqp")]
fn amqp(
    url: &crate::config::AmqpUrl,
    config: &Config,
    given: Option<crate::transport::amqp::Tls>,
) -> Result<TransportChoice> {
    use crate::{
        config::Auth,
        transport::amqp::{AmqpOptions, Host, Mechanism, Tls},
    };

    let bus = &config.bus;
    let tls = match (url.is_tls(), given) {
        (false, _) => None,
        (true, Some(given)) => Some(given),
        (true, None) => Some(Tls::from_files(tls_files(config)).map_err(|errors| {
            let files = errors.into_iter().map(|error| (error.setting, error.file, error.problem));
            crate::config::unusable_files(bus, files)
        })?),
    };
    Ok(TransportChoice::Amqp(Box::new(AmqpOptions {
        hosts: url
            .hosts()
            .iter()
            .map(|host| Host { host: host.name().to_owned(), port: host.port() })
            .collect(),
        tls,
        mechanism: match bus.auth.value {
            Auth::Plain => Mechanism::Plain,
            Auth::External => Mechanism::External,
        },
        user: url.user().to_owned(),
        password: url.expose_password().to_owned(),
        vhost: url.virtual_host().to_owned(),
        connection_name: bus.consumer_name.value.clone(),
        heartbeat: bus.heartbeat.value.unwrap_or_default(),
        connect_timeout: bus.connect_timeout.value,
        reconnect_min: bus.reconnect_min.value,
        reconnect_max: bus.reconnect_max.value,
        frame_max: u32::try_from(bus.frame_max.value.bytes()).unwrap_or(u32::MAX),
        window: usize::from(bus.publish_window.value),
    })))
}

#[cfg(feature = "amqp")]
fn tls_files(config: &Config) -> crate::transport::amqp::TlsFiles {
    use crate::transport::amqp::{TlsFiles, TlsIdentity};

    let bus = &config.bus;
    let pem = bus.cert_file.value.clone().zip(bus.key_file.value.clone());
    let pem = pem.map(|(cert_file, key_file)| TlsIdentity::Pem { cert_file, key_file });
    let password = bus.identity_password.value.as_ref().map_or("", |password| password.expose());
    let pkcs12 = bus.identity_file.value.clone();
    let pkcs12 =
        pkcs12.map(|identity_file| TlsIdentity::Pkcs12 { identity_file, password: password.to_owned() });
    TlsFiles {
        ca_file: bus.ca_file.value.clone(),
        identity: pem.or(pkcs12),
        accept_any_certificate: !bus.verify_ssl.value,
    }
}
