//! Guides: one page per theme, each example compiled.
//!
//! From the first program to what holds when it is killed:
//!
//! | page | answers |
//! | --- | --- |
//! | [`first_service`] | how to get from an empty directory to a service on RabbitMQ |
//! | [`routing`] | which queue gets which event: topic, direct, fanout and headers exchanges; why one does not |
//! | [`groups`] | who shares the work, who gets a copy, and how a group's queue is shaped |
//! | [`publishing`] | how events are published: one, a list, in the background, from a handler, from a web server |
//! | [`subscribing`] | how handlers, bindings and consumers come and go while the program runs |
//! | [`handlers`] | what a handler takes, what its failures mean, what runs around it, and in which order |
//! | [`dead_letters`] | what follows a failure, and how to look at, replay and throw away what failed for good |
//! | [`configuration`] | where settings come from, and which of two counts |
//! | [`security`] | TLS, client certificates, logins without a password, and what is never told |
//! | [`observing`] | what a running bus tells of itself: statistics, queues, health, metrics, traces |
//! | [`testing`] | how a service is tested, from a plain call to a broker that dies |
//! | [`production`] | starting, stopping, scaling, the first deploy, what a start warns of |
//! | `operating` | the command line in the program: check, doctor, dead letters, publish, tail (feature `cli`) |
//! | [`troubleshooting`] | what you see, what it is, what to do |
//! | [`mixed_fleet`] | what happens while old and new replicas of a service run side by side |
//! | [`guarantees`] | what is promised, and what a kill at each moment leaves behind |
//!
//! # From eventsource-py
//!
//! Where the sections of its RabbitMQ tutorial are:
//!
//! | there | here | in a word |
//! | --- | --- | --- |
//! | Setting up RabbitMQ, Basic setup | [`first_service`] | `#[event]`, `#[handler]`, [`run`](crate::run) |
//! | Publishing events, Batch publishing | [`publishing`] | [`Publisher::publish`](crate::Publisher::publish), [`publish_all`](crate::Publisher::publish_all) |
//! | Configuration options | [`configuration`] | `es-bus.toml`, `ES_BUS_…`, and its `RABBITMQ_…` |
//! | Retry and DLQ settings | [`handlers`], [`dead_letters`] | `#[handler(retries = 3, backoff(..))]`, `#[group(dlq_ttl = "1d")]` |
//! | Queue naming | [`groups`] | [`Bus::queues`](crate::Bus::queues), [`Bus::topology`](crate::Bus::topology) |
//! | Exchange types and routing | [`routing`] | `#[exchange(kind = "direct")]`, `bind = "Order.*"` |
//! | Dynamic routing key bindings | [`subscribing`] | [`Subscriptions::bind`](crate::Subscriptions::bind), [`bind_event`](crate::Subscriptions::bind_event) |
//! | Consumer groups: load balancing, fan-out | [`groups`] | one queue per group, `#[handler(group = "analytics")]` |
//! | Subscribing handlers, projections, to all events | [`subscribing`] | [`subscribe`](crate::Subscriptions::subscribe), [`subscribe_all`](crate::Subscriptions::subscribe_all), [`subscribe_to_all`](crate::Subscriptions::subscribe_to_all) |
//! | Dead letter queue: inspect, replay, purge, monitor | [`dead_letters`] | [`Handle::dead_letters`](crate::Handle::dead_letters) |
//! | SSL/TLS security | [`security`] | `amqps://`, `ca_file`, `cert_file`, `key_file` |
//! | Monitoring and statistics, health check | [`observing`] | [`Handle::stats`](crate::Handle::stats), [`queue_info`](crate::Handle::queue_info), [`health`](crate::Handle::health) |
//! | Health check endpoint | [`observing`] | `http = "0.0.0.0:9090"` |
//! | Graceful shutdown | [`production`] | [`run`](crate::run), [`Handle::stop_on_signal`](crate::Handle::stop_on_signal) |
//! | Production configuration | [`configuration`], [`production`] | |
//! | Troubleshooting | [`troubleshooting`] | |
//!
//! Services of both kinds may share a broker and events, and with `compat = "eventsource"` a [group](groups) too.

#[doc = include_str!("docs/guide/first_service.md")]
pub mod first_service {}

#[doc = include_str!("docs/guide/routing.md")]
pub mod routing {}

#[doc = include_str!("docs/guide/groups.md")]
pub mod groups {}

#[doc = include_str!("docs/guide/publishing.md")]
pub mod publishing {}

#[doc = include_str!("docs/guide/subscribing.md")]
pub mod subscribing {}

#[doc = include_str!("docs/guide/handlers.md")]
pub mod handlers {}

#[doc = include_str!("docs/guide/dead_letters.md")]
pub mod dead_letters {}

#[doc = include_str!("docs/guide/configuration.md")]
pub mod configuration {}

#[cfg(feature = "amqp")]
#[doc = include_str!("docs/guide/security.md")]
pub mod security {}

#[doc = include_str!("docs/guide/observing.md")]
pub mod observing {}

#[cfg(feature = "testing")]
#[doc = include_str!("docs/guide/testing.md")]
pub mod testing {}

#[cfg(feature = "cli")]
#[doc = include_str!("docs/guide/operating.md")]
pub mod operating {}

#[doc = include_str!("docs/guide/production.md")]
pub mod production {}

#[doc = include_str!("docs/guide/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("docs/guide/mixed_fleet.md")]
pub mod mixed_fleet {}

#[doc = include_str!("docs/guide/guarantees.md")]
pub mod guarantees {}
