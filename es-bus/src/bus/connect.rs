//! Chooses the broker that the configuration asks for.

use std::sync::Arc;

use super::run::TransportChoice;
use crate::{
    config::{Broker, Config},
    error::Result,
    transport::{Transport, memory::Memory},
};

impl TransportChoice {
    pub(super) fn connect(self, config: &Config) -> Result<Arc<dyn Transport>> {
        match self {
            Self::Given(transport) => Ok(transport),
            Self::Configured(Broker::Memory { chosen, name }) => {
                if !chosen {
                    tracing::warn!("{}", Config::MEMORY_WARNING);
                }
                Ok(Arc::new(name.map_or_else(Memory::new, |name| Memory::named(&name))))
            }
            #[cfg(feature = "amqp")]
            Self::Configured(Broker::Amqp(url)) => Ok(amqp(&url, config)),
            #[cfg(not(feature = "amqp"))]
            Self::Configured(Broker::Amqp(url)) => {
                let _ = config;
                Err(crate::error::Error::NoAmqp(url.to_string()))
            }
        }
    }
}

#[cfg(feature = "amqp")]
fn amqp(url: &crate::config::AmqpUrl, config: &Config) -> Arc<dyn Transport> {
    use crate::transport::amqp::{Amqp, AmqpOptions, Host};

    let bus = &config.bus;
    let options = AmqpOptions {
        hosts: url
            .hosts()
            .iter()
            .map(|host| Host { host: host.name().to_owned(), port: host.port() })
            .collect(),
        tls: url.is_tls(),
        user: url.user().to_owned(),
        password: url.expose_password().to_owned(),
        vhost: url.virtual_host().to_owned(),
        connection_name: bus.consumer_name.value.clone(),
        heartbeat: bus.heartbeat.value.unwrap_or_default(),
        connect_timeout: bus.connect_timeout.value,
        reconnect_min: bus.reconnect_min.value,
        reconnect_max: bus.reconnect_max.value,
        frame_max: u32::try_from(bus.frame_max.value.bytes()).unwrap_or(u32::MAX),
        channels: usize::from(bus.publish_channels.value),
    };
    Amqp::connect(options)
}
