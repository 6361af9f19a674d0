//! The one table of settings: name, type, default, bounds, text. The fields of the structs below,
//! the known keys, the names of the variables, the "did you mean" and the printed configuration all
//! derive from it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    field::{Field, GroupSelection},
    layers::Layers,
    management::ManagementUrl,
    security::{Auth, Secret},
    source::{Level, Scope, Setting},
    url::BrokerUrl,
};
use crate::{
    duration::ByteSize,
    model::{
        Arguments, ExchangeKind, Overflow, QueueKind, StreamOffset, Template,
        policy::{Compat, Declare, DlxKind, LimitsIn, OnExhausted, OnUnknown, Ordering},
    },
};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// The name in the file, in attributes and on the builder.
    pub name: &'static str,
    /// The most specific thing that it can be said about.
    pub level: Level,
    /// The built-in default, as text.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Checks a text; the error says what was wrong and what would do.
    pub(super) check: fn(&str) -> Result<(), String>,
}

impl Key {
    /// Holds a text to the type and the bounds of the setting.
    pub(crate) fn check(&self, text: &super::Text) -> Result<(), String> {
        (self.check)(&text.0)
    }

    /// The environment variable that sets it for the bus and for all groups.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ES_BUS_{}", self.name.to_uppercase())
    }
}

/// Every setting there is: of the bus, of groups, of handlers.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    // `exchange` stands at the bus and at groups: the row that allows more speaks for it.
    BusSettings::KEYS
        .iter()
        .filter(|key| !GroupSettings::KEYS.iter().any(|other| other.name == key.name))
        .chain(GroupSettings::KEYS)
        .chain(Policy::KEYS)
}

/// A printed setting.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) source: String,
}

fn out_of_bounds(text: &str, bounds: &str) -> String {
    format!("\"{text}\" is out of bounds, write {bounds}")
}

macro_rules! settings {
    ($(
        $(#[$meta:meta])+
        pub struct $name:ident: $level:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:literal
                $(, within $low:literal..=$high:literal $(, because $reason:literal)?)?;
            )+
        }
    )+) => {$(
        $(#[$meta])+
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: `", $default, "`.")]
                pub $field: Setting<$type>,
            )+
        }

        impl $name {
            const KEYS: &'static [Key] = &[$(Key {
                name: stringify!($field),
                level: Level::$level,
                default: $default,
                doc: concat!($($doc),+),
                check: |text| {
                    let value = <$type as Field>::parse(text)?;
                    $(if !value.is_within($low, $high) {
                        return Err(out_of_bounds(
                            text,
                            concat!($low, " to ", $high $(, " (", $reason, ")")?),
                        ));
                    })?
                    let _ = value;
                    Ok(())
                },
            }),+];

            pub(super) fn resolve(layers: &Layers, scope: &Scope) -> Self {
                Self {
                    $($field: layers.resolve(scope, stringify!($field), $default)),+
                }
            }

            pub(super) fn rows(&self) -> Vec<Row> {
                vec![$(Row {
                    name: stringify!($field),
                    value: self.$field.value.print(),
                    source: self.$field.source.to_string(),
                }),+]
            }
        }
    )+};
}

settings! {
    /// The settings of the bus itself.
    pub struct BusSettings: Bus {
        /// Where the broker is: `amqp://user:password@host:5672/vhost`, `amqps://…`, several
        /// hosts parted by commas, `memory://`, or `memory://shop`, which buses of one process share.
        url: Option<BrokerUrl> = "none";
        /// How to log in: `plain`, by user and password of the URL, or `external`, by the client
        /// certificate.
        auth: Auth = "plain";
        /// The certificates of the authorities that alone are trusted, a PEM file; `none` trusts
        /// those that the system trusts.
        ca_file: Option<PathBuf> = "none";
        /// The client certificate, a PEM file; needs `key_file`.
        cert_file: Option<PathBuf> = "none";
        /// The private key of the client certificate, a PEM file.
        key_file: Option<PathBuf> = "none";
        /// Client certificate and key in one PKCS #12 file (`.p12`), instead of `cert_file` and
        /// `key_file`.
        identity_file: Option<PathBuf> = "none";
        /// What `identity_file` is encrypted with.
        identity_password: Option<Secret> = "none";
        /// Whether the broker has to prove who it is. `false` sends everything, the password too, to
        /// whoever answers.
        verify_ssl: bool = "true";
        /// The exchange that events are published to, and the home exchange of groups, unless they
        /// say otherwise.
        exchange: String = "events";
        /// How that exchange picks queues, unless an `#[exchange]` of its name says so: `topic`,
        /// `direct`, `fanout`, `headers` or `consistent-hash`.
        exchange_type: ExchangeKind = "topic";
        /// The groups that this process consumes: `all`, `none`, or names parted by commas.
        groups: GroupSelection = "all";
        /// What the name of the dead-letter exchange adds to that of its exchange.
        dlq_exchange_suffix: String = "_dlq";
        /// What to do about the topology: `create` what is missing; `passive`, declare nothing and
        /// do not start while something is missing; `none`, not even look.
        declare: Declare = "create";
        /// What carries the limits of queues (`max_length`, `max_length_bytes`, `overflow`, `message_ttl`, `expires`,
        /// and `dlq_ttl` and `dlq_max_length`): `arguments`, which only a migration changes, or `policies`, one for
        /// each queue, which may change while it is used. Policies are set through the management API
        /// (`management_url`), by a user with the tag `policymaker`. All processes of a program have to say the same.
        limits_in: LimitsIn = "arguments";
        /// The management API of RabbitMQ (feature `management`), which tells a plan what AMQP does not:
        /// `http://user:password@host:15672`. `auto` is port 15672 of the first host of `url` (15671 with
        /// `amqps://`), with its login, and AMQP alone where nobody answers there, or `url` names another port
        /// than the usual one. `none` is AMQP alone.
        management_url: ManagementUrl = "auto";
        /// The name of the program, which all of its processes share and no other program has. Under it is kept
        /// what the program once declared, so that what it no longer declares can be pruned; `none` keeps nothing.
        program: Option<String> = "none";
        /// The name of this process among the consumers of a group.
        consumer_name: String = "{hostname}-{8 hex digits}";
        /// How often peers prove that they live; a dead one is noticed within two of them. `none`
        /// leaves it to the broker. In whole seconds on the wire, rounded up.
        heartbeat: Option<Duration> = "10s", within "1s"..="10m";
        /// How long one attempt to connect may take.
        connect_timeout: Duration = "10s", within "100ms"..="5m";
        /// How long a start waits for a broker that is not there; `none` waits for ever, `0s` ends when
        /// each host has been tried in vain.
        start_timeout: Option<Duration> = "none", within "0s"..="1d";
        /// The wait before the first attempt to connect again; it doubles up to `reconnect_max`.
        reconnect_min: Duration = "1s", within "1ms"..="1h";
        /// The longest wait between two attempts to connect.
        reconnect_max: Duration = "30s", within "1ms"..="1h";
        /// How long a publish may take until the broker has confirmed it, reconnects included.
        publish_timeout: Duration = "30s", within "1ms"..="1h";
        /// How long the broker waits for an acknowledgement before it takes a delivery back
        /// (RabbitMQ's `consumer_timeout`); what is too old to be finished within it is given back
        /// before it starts.
        consumer_timeout: Option<Duration> = "30m", within "1s"..="30d",
            because "`none` for a broker that waits for ever";
        /// How many publishes may be unconfirmed at once on the connection.
        publish_window: u16 = "256", within "1"..="8192";
        /// How many events of one batch are in flight at once.
        publish_batch: u32 = "100", within "1"..="100000";
        /// How many events may be on their way in the background; the next one waits for room.
        publish_background: u32 = "1000", within "1"..="100000";
        /// Whether spans are made and `traceparent` is written; without the feature `otel`, or where
        /// the program sets no tracer provider, it never is.
        tracing: bool = "true";
        /// How long a stop waits for what is in hand.
        shutdown_timeout: Duration = "30s", within "0s"..="1h";
        /// The largest AMQP frame; all properties and headers of a message have to fit into one.
        frame_max: ByteSize = "128 KiB", within "8 KiB"..="16 MiB";
        /// The largest body that is sent; a larger one is an error before anything leaves.
        max_message_size: ByteSize = "16 MiB", within "1 B"..="512 MiB";
        /// Where health and metrics are served (feature `http`): an address and a port, or a port of
        /// `127.0.0.1`. Port 0 is any that is free.
        http: Option<SocketAddr> = "none";
        /// After how long without a delivery a group's queue is looked at: a consumer that gets none although
        /// the queue has some is started anew, and told of.
        watchdog_interval: Option<Duration> = "30s", within "1s"..="1h", because "`none` for never";
        /// How often the sizes of queues are measured (feature `metrics`); `none` for never.
        queue_size_interval: Option<Duration> = "15s", within "1s"..="1h", because "`none` for never";
        /// How often the broker is compared with what the program declares, `5m` for instance, and what
        /// drifted is told: in the log, in health, as the metric `es_bus_drift`. Without the management API no
        /// more is seen than exchanges and queues that are missing. Nothing is changed; `none` for never.
        drift_interval: Option<Duration> = "none", within "1s"..="1d", because "`none` for never";
    }

    /// The settings of a group.
    pub struct GroupSettings: Group {
        /// The home exchange, after which the queue is named.
        exchange: String = "events";
        /// The name of the queue, in which `{exchange}` and `{group}` stand for theirs. Names below
        /// can hold `{queue}` and `{dlq_exchange_suffix}` too.
        queue: Template = "{exchange}.{group}";
        /// How the broker keeps the queue: `quorum` or `classic`; or `stream`: events come to a stream beside it,
        /// `{queue}.stream`, which keeps them, and go on to the queue in their order.
        kind: QueueKind = "quorum";
        /// Where in its stream a group begins, before it has a position of its own: `first`, `last`, `next`, an
        /// offset, or a time (`2026-01-31T12:00:00Z`).
        offset: StreamOffset = "first";
        /// How long the stream keeps an event at least; without it and `max_length_bytes` it keeps all.
        max_age: Option<Duration> = "none", within "1s"..="3650d";
        /// `eventsource`: the queue is one that workers of eventsource-py consume too, and is declared
        /// as they declare it.
        compat: Option<Compat> = "none";
        /// Whether each process has a queue of its own, which goes with its connection: for what every
        /// replica has to hear, and may miss while it is away.
        exclusive: bool = "false";
        /// Whether one process of the group has all deliveries, until it is gone.
        single_active_consumer: bool = "false";
        /// How many deliveries the broker sends ahead of their acknowledgements.
        prefetch: u16 = "100", within "1"..="65535", because "0 would be unlimited";
        /// How many deliveries are handled at once, at most `prefetch`.
        concurrency: u16 = "16", within "1"..="65535";
        /// `aggregate`: the events of one aggregate stay in order; `strict`: also when one fails, and over
        /// several processes, of which one is active; `none`: whatever is ready runs.
        ordering: Ordering = "aggregate";
        /// What happens to an event that no handler takes: `skip`, `wait`, `dead_letter`, or `auto`
        /// (skip under a wide binding; wait otherwise, and for what came as a share of a consistent-hash exchange).
        on_unknown: Option<OnUnknown> = "auto";
        /// How long an unknown event waits until it is looked at again.
        unknown_delay: Duration = "30s", within "1ms"..="30d";
        /// How often an unknown event is looked at again before it is dead-lettered.
        unknown_retries: u32 = "40", within "0"..="100000";
        /// How many processes may end over an event, one after another, before it is dead-lettered; `none`
        /// counts none. Groups with a single active consumer count none either.
        crash_limit: Option<u32> = "3", within "2"..="100", because "`none` to count none";
        /// How large the group's share of a consistent-hash exchange is, beside those of the other groups there.
        weight: u16 = "1", within "1"..="1000";
        /// The delays that `retry after` is made of, besides those of the policies.
        retry_ladder: Vec<Duration> = "30s, 5m", within "1ms"..="30d";
        /// The most messages that the queue holds.
        max_length: Option<u64> = "none", within "1"..="9223372036854775807";
        /// The most bytes of bodies that the queue holds; of a group with a stream, what the stream holds.
        max_length_bytes: Option<ByteSize> = "none", within "1 B"..="1048576 GiB";
        /// What a full queue does: `reject-publish`, or `drop-head`, which loses the oldest.
        overflow: Overflow = "reject-publish";
        /// How long a message stays in the queue before it is dead-lettered.
        message_ttl: Option<Duration> = "none", within "1ms"..="30d";
        /// How long the queue may stand without a consumer before the broker deletes it.
        expires: Option<Duration> = "none", within "1s"..="3650d";
        /// The highest priority that the queue tells apart. Classic queues only.
        max_priority: Option<u8> = "none", within "1"..="255";
        /// Whether the group's queues survive a restart of the broker. Without it, classic ones only.
        durable: bool = "true";
        /// Whether the queue goes with its last consumer. Classic queues only.
        auto_delete: bool = "false";
        /// Further arguments of the queue: `x-queue-mode = "lazy"`, parted by commas.
        arguments: Arguments = "none";
        /// What happens to an event that its handlers gave up: `dead_letter`, or `drop`.
        on_exhausted: OnExhausted = "dead_letter";
        /// The dead-letter exchange; `amq.default` is AMQP's default exchange.
        dlx: Template = "{exchange}{dlq_exchange_suffix}";
        /// How the dead-letter exchange picks queues: `direct`, `topic` or `fanout`.
        dlx_kind: DlxKind = "direct";
        /// The dead-letter queue. Groups that say the same of it share it.
        dlq: Template = "{queue}.dlq";
        /// The routing key of dead letters; `auto`: the name of the queue that they come from.
        dlq_key: Option<Template> = "auto";
        /// The key that binds the dead-letter queue; `auto`: the key of the dead letters.
        dlq_bind: Option<Template> = "auto";
        /// How the broker keeps the dead-letter queue; `auto`: as the queue.
        dlq_kind: Option<QueueKind> = "auto";
        /// How long a message stays in the dead-letter queue before it is dropped.
        dlq_ttl: Option<Duration> = "none", within "1ms"..="3650d";
        /// The most messages that the dead-letter queue holds; what fails while it is full stays in the
        /// group's queue.
        dlq_max_length: Option<u64> = "none", within "1"..="9223372036854775807";
        /// Binding keys that the group no longer asks for: unbound, and skipped unless a handler takes it.
        retired: Vec<String> = "none";
    }

    /// What a failure leads to, and when an attempt counts as failed. A handler may say it, or its
    /// group for all of its handlers.
    pub struct Policy: Handler {
        /// How often a failed event is tried again; 0 dead-letters at the first failure.
        retries: u32 = "3", within "0"..="100";
        /// The wait before the first retry; it doubles up to `backoff_max`.
        backoff_base: Duration = "1s", within "1ms"..="30d";
        /// The longest wait between two attempts.
        backoff_max: Duration = "1m", within "1ms"..="30d";
        /// By which part of itself a wait varies at random, either way.
        backoff_jitter: f64 = "0.1", within "0"..="1";
        /// How long one attempt may take.
        timeout: Duration = "5m", within "1ms"..="1d";
        /// A run that takes this long is warned of and counted; `none` for never.
        slow_handler: Option<Duration> = "1s", within "1ms"..="1d", because "`none` for never";
    }
}
