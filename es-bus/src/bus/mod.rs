//! The bus: what was declared and configured, checked, then run.
//!
//! [`BusBuilder`] gathers registry, configuration and state; [`Bus`] is the checked program, not
//! yet connected; [`Handle`] is the running one.

mod assemble;
mod builder;
mod connect;
mod groups;
mod handle;
mod layers;
mod migrate;
mod plan;
mod run;
mod stream;
mod subscribe;
mod summary;

pub(crate) use self::assemble::conflicts;
pub use self::subscribe::{Subscribe, SubscribeError, Subscribers, Subscription, Subscriptions};
#[cfg(feature = "cli")]
pub(crate) use self::summary::{retries, skipped};
pub use self::{builder::BusBuilder, handle::Handle, run::Bus};

/// Runs everything that the program declares, until SIGTERM or SIGINT.
///
/// Reads the configuration from `es-bus.toml` and the environment, checks the registry, brings the
/// broker to the declared topology, consumes every group, and stops in order: what is in hand is
/// finished or given back. A second signal ends the process at once, with exit code 130.
///
/// Without a subscriber of its own the program gets a readable log on standard error.
///
/// # Errors
///
/// [`Error`](crate::Error): everything that is wrong with the declarations and the configuration,
/// before the broker is touched; a broker that refuses login or topology. Returned from `main` it
/// prints as a report.
///
/// # Examples
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> es_bus::Result<()> {
///     es_bus::run().await
/// }
/// ```
pub async fn run() -> crate::error::Result<()> {
    crate::logging::install();
    Bus::builder().build()?.run().await
}
