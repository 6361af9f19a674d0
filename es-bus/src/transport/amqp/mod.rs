//! RabbitMQ, through lapin: the only room that names it.
//!
//! What comes in are the words of [`message`](crate::message) and [`model`](crate::model); what
//! goes out are AMQP methods, and the verdicts of the broker as typed errors. Two connections are
//! kept by a supervisor each (`connect`), one that publishes (`publish`) and one that consumes
//! (`consume`) and declares (`declare`): a blocked connection writes nothing at all, and must
//! not hold back acknowledgements. lapin's own recovery stays off: it would bring back topology
//! that somebody removed, and hides a reconnect from its consumers.
//!
//! # RabbitMQ
//!
//! Written against 3.10 and 4.x. Where they differ:
//!
//! * 4.x refuses bodies above 16 MiB by default (406, read as [`PublishError::TooLarge`]), 3.10
//!   above 128 MiB.
//! * a queue declared without `x-queue-type` is compared as *none* by 3.10 and as `classic` by
//!   4.x; [`Queue::argument_table`] always sends it.
//! * 4.x does not count an `x-death` that a client sends along.

mod ack;
mod classify;
mod connect;
mod consume;
mod convert;
mod declare;
mod handshake;
#[cfg(feature = "management")]
pub(crate) mod management;
mod publish;
mod silence;
mod tls;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;

#[doc(hidden)]
pub use self::convert::there_and_back;
/// For [`Tls::from`]: the version whose `ClientConfig` it takes.
pub use rustls;

pub use self::tls::{Tls, TlsError, TlsFiles, TlsIdentity};
use self::{connect::Line, consume::Settler, declare::Declarer, publish::Publisher};
use super::{
    Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Link, Publication, Publish,
    PublishError, QueueStatus, Removal, Settle, Transport,
};
use crate::{
    handler::BoxFuture,
    model::{Binding, Exchange, ExchangeBinding, Queue},
    name::{ExchangeName, QueueName},
};

/// Where RabbitMQ is, as whom to log in, and how to keep the connections.
#[derive(Clone)]
pub struct AmqpOptions {
    /// The nodes, tried in turn.
    pub hosts: Vec<Host>,
    /// How the connections are encrypted, when they are.
    pub tls: Option<Tls>,
    /// How this program proves who it is.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The virtual host.
    pub vhost: String,
    /// What the connections are called in the broker's tools; `(publishing)` or `(consuming)` is
    /// added.
    pub connection_name: String,
    /// How often each side shows that it lives; a dead peer is noticed after twice that. In whole
    /// seconds, rounded up; the broker may ask for less. Zero leaves it to the broker.
    pub heartbeat: Duration,
    /// How long one attempt to connect may take, login included.
    pub connect_timeout: Duration,
    /// The shortest wait before another attempt.
    pub reconnect_min: Duration,
    /// The longest wait before another attempt.
    pub reconnect_max: Duration,
    /// The largest frame of the publishing connection, in bytes. The headers of a message have to
    /// fit into one; 4096 is the least, the broker may ask for less. lapin keeps 64 times as much
    /// memory. The consuming connection takes what the broker has.
    pub frame_max: u32,
    /// How many messages may be on their way to the broker at once on one channel; one with a large body
    /// counts as several, one for each 16 KiB.
    pub window: usize,
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            hosts: vec![Host { host: "localhost".to_owned(), port: 5672 }],
            tls: None,
            mechanism: Mechanism::Plain,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            connection_name: "es-bus".to_owned(),
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(30),
            frame_max: 128 * 1024,
            window: 256,
        }
    }
}

impl fmt::Debug for AmqpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpOptions")
            .field("hosts", &self.hosts)
            .field("tls", &self.tls)
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .field("password", &"***")
            .field("vhost", &self.vhost)
            .field("connection_name", &self.connection_name)
            .field("heartbeat", &self.heartbeat)
            .field("connect_timeout", &self.connect_timeout)
            .field("reconnect_min", &self.reconnect_min)
            .field("reconnect_max", &self.reconnect_max)
            .field("frame_max", &self.frame_max)
            .field("window", &self.window)
            .finish()
    }
}

impl AmqpOptions {
    /// The address of one node without the password, for people.
    fn address(&self, host: &Host) -> String {
        self.url(&host.to_string())
    }

    /// The address of all nodes without the password, for people.
    fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        self.url(&hosts.join(","))
    }

    fn url(&self, hosts: &str) -> String {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        let user = match self.mechanism {
            Mechanism::Plain => format!("{}@", self.user),
            // Only the broker knows whom the certificate names.
            Mechanism::External => String::new(),
        };
        format!("{scheme}://{user}{hosts}/{}", self.vhost.trim_start_matches('/'))
    }
}

/// How a program proves to RabbitMQ who it is, in the words of SASL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// By user and password.
    #[default]
    Plain,
    /// By the certificate that it shows in the TLS handshake; needs the plugin
    /// `rabbitmq_auth_mechanism_ssl`.
    External,
}

/// A node of RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name or an address.
    pub host: String,
    /// The port, usually 5672, and 5671 with TLS.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') && !self.host.starts_with('[') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// RabbitMQ as a [`Transport`].
pub struct Amqp {
    description: String,
    link: watch::Receiver<Link>,
    publishing: Line,
    consuming: Line,
    publisher: Publisher,
    declarer: Declarer,
    consumers: Mutex<Vec<Weak<Settler>>>,
}

impl Amqp {
    /// Starts to connect, and returns at once: [`Transport::link`] tells how it goes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect(options: AmqpOptions) -> Arc<Self> {
        let options = Arc::new(options);
        let (board, link) = connect::Board::new();
        let publishing = Line::open(connect::Side::Publishing, options.clone(), board.clone());
        let consuming = Line::open(connect::Side::Consuming, options.clone(), board);
        Arc::new(Self {
            description: options.describe(),
            link,
            publisher: Publisher::new(publishing.watch(), options.window),
            declarer: Declarer::new(consuming.watch()),
            publishing,
            consuming,
            consumers: Mutex::default(),
        })
    }
}

impl fmt::Debug for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amqp").field("broker", &self.description).finish_non_exhaustive()
    }
}

impl Transport for Amqp {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.publisher.close().await;
            let consumers =
                std::mem::take(&mut *self.consumers.lock().unwrap_or_else(PoisonError::into_inner));
            let settlers: Vec<Arc<Settler>> = consumers.iter().filter_map(Weak::upgrade).collect();
            futures_util::future::join_all(settlers.iter().map(|settler| settler.close())).await;
            futures_util::future::join(self.publishing.close(), self.consuming.close()).await;
        })
    }
}

impl Admin for Amqp {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.declare_exchange(exchange))
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.declare_queue(queue))
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.bind(binding))
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.unbind(binding))
    }

    fn bind_exchange<'a>(&'a self, binding: &'a ExchangeBinding) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.bind_exchange(binding))
    }

    fn unbind_exchange<'a>(
        &'a self,
        binding: &'a ExchangeBinding,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.unbind_exchange(binding))
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.delete_queue(queue))
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.delete_exchange(exchange))
    }

    fn delete_idle_queue<'a>(
        &'a self,
        queue: &'a QueueName,
        classic: bool,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.delete_idle_queue(queue, classic))
    }

    fn delete_unused_exchange<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.delete_unused_exchange(exchange))
    }

    fn remove_while_locked<'a>(
        &'a self,
        removal: &'a Removal,
        lock: &'a QueueName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        Box::pin(self.declarer.remove_while_locked(removal, lock))
    }

    fn exchange_exists<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<bool, DeclareError>> {
        Box::pin(self.declarer.exchange_exists(exchange))
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>> {
        Box::pin(self.declarer.queue_status(queue))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>> {
        Box::pin(self.declarer.purge(queue))
    }
}

impl Publish for Amqp {
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>> {
        Box::pin(self.publisher.publish(publication))
    }
}

impl Consume for Amqp {
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>> {
        Box::pin(async move {
            let (consumer, settler) = consume::start(&self.consuming.watch(), request).await?;
            let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
            consumers.retain(|consumer| consumer.strong_count() > 0);
            consumers.push(settler);
            Ok(consumer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_password() {
        let options = AmqpOptions { password: "p@ss%40/word".to_owned(), ..AmqpOptions::default() };

        let shown = format!("{options:?} {} {}", options.describe(), options.address(&options.hosts[0]));

        assert!(!shown.contains("p@ss"), "{shown}");
        assert_eq!(options.describe(), "amqp://guest@localhost:5672/");
    }

    #[test]
    fn writes_addresses_as_people_write_them() {
        let options = AmqpOptions {
            hosts: vec![
                Host { host: "rabbit-1".to_owned(), port: 5671 },
                Host { host: "::1".to_owned(), port: 5671 },
            ],
            tls: Some(
                Tls::from_files(TlsFiles { accept_any_certificate: true, ..TlsFiles::default() }).unwrap(),
            ),
            user: "orders".to_owned(),
            vhost: "shop".to_owned(),
            ..AmqpOptions::default()
        };

        assert_eq!(options.describe(), "amqps://orders@rabbit-1:5671,[::1]:5671/shop");
    }
}
