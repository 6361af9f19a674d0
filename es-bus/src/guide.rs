//! Guides: one page per theme, each example compiled.
//!
//! | page | answers |
//! | --- | --- |
//! | [`first_service`] | how to get from an empty directory to a service on RabbitMQ |
//! | [`subscribing`] | how handlers, bindings and consumers come and go while the program runs |
//! | [`routing`] | which queue gets which event: topic, direct, fanout and headers exchanges |
//! | [`testing`] | how a service is tested, from a plain call to a broker that dies |
//! | [`configuration`] | where settings come from, and which of two counts |
//! | [`security`] | TLS, client certificates, logins without a password, and what is never told |
//! | [`production`] | starting, stopping, scaling, the first deploy |
//! | [`troubleshooting`] | what you see, what it is, what to do |
//! | [`dead_letters`] | what follows a failure, and how to look at, replay and throw away what failed for good |
//! | [`handlers`] | what a handler takes, what its failures mean, what runs around it, and in which order |
//! | [`publishing`] | how events are published: one, a list, in the background, from a handler, from a web server |
//! | [`groups`] | who shares the work, who gets a copy, and how a group's queue is shaped |
//! | [`mixed_fleet`] | what happens while old and new replicas of a service run side by side |
//! | [`guarantees`] | what is promised, and what a kill at each moment leaves behind |
//! | [`observing`] | what a running bus tells of itself: statistics, queues, health, metrics |

#[doc = include_str!("docs/guide/first_service.md")]
pub mod first_service {}

#[doc = include_str!("docs/guide/subscribing.md")]
pub mod subscribing {}

#[doc = include_str!("docs/guide/routing.md")]
pub mod routing {}

#[cfg(feature = "testing")]
#[doc = include_str!("docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("docs/guide/configuration.md")]
pub mod configuration {}

#[cfg(feature = "amqp")]
#[doc = include_str!("docs/guide/security.md")]
pub mod security {}

#[doc = include_str!("docs/guide/production.md")]
pub mod production {}

#[doc = include_str!("docs/guide/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("docs/guide/dead_letters.md")]
pub mod dead_letters {}

#[doc = include_str!("docs/guide/groups.md")]
pub mod groups {}

#[doc = include_str!("docs/guide/mixed_fleet.md")]
pub mod mixed_fleet {}

#[doc = include_str!("docs/guide/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("docs/guide/observing.md")]
pub mod observing {}

#[doc = include_str!("docs/guide/handlers.md")]
pub mod handlers {}

#[doc = include_str!("docs/guide/publishing.md")]
pub mod publishing {}
