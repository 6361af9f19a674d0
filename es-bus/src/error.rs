//! What a program ends with when it cannot start, or cannot go on.
//!
//! One variant per room that can stop the program; each room's own error stands beside its code.
//! [`Display`](fmt::Display) is one line, for logs. `Debug` is a report for the person who reads what
//! `main` returned: it prints after the `Error: ` that Rust itself writes.

mod remedy;
mod report;

use std::{fmt, io, net::SocketAddr, sync::Arc};

#[cfg(feature = "cli")]
pub(crate) use self::remedy::of as remedies;

use crate::{
    bus::SubscribeError,
    config,
    dead_letters::DeadLetterError,
    registry::Finding,
    topology::{
        Conflict, ProvisionError,
        migrate::{self, MigrateError},
        plan::{LookError, PerformError, PlanError},
        position::StreamError,
    },
    transport::{DeclareError, ManagementError, PublishError, TransportError},
};

/// The result of whatever starts, runs or stops a bus.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a bus did not start, or stopped.
///
/// Return it from `main`: its `Debug` is written to be read.
///
/// # Examples
///
/// ```
/// use es_bus::{Error, registry::{Facts, Registry, check}};
///
/// let error = Error::Registry(check(&Registry::new(), &Facts::new().consuming()));
///
/// assert!(error.to_string().starts_with("no handlers are registered"));
/// assert!(format!("{error:?}").contains("help: add `.handler::<the_function>()`"));
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the program declares cannot work. Nothing was sent to a broker.
    #[error("{}", report::summary(.0))]
    Registry(Vec<Finding>),
    /// The configuration is not valid, or names no broker in a release build. Nothing was sent to a
    /// broker.
    #[error("{}", report::summary(.0.findings()))]
    Config(#[from] config::Error),
    /// What the program declares cannot stand on one broker. Nothing was sent to it.
    #[error("{}", report::summary(.0))]
    Conflict(Vec<Conflict>),
    /// The broker has something else under a declared name, or refused a declaration.
    #[error("{}", report::summary(.0))]
    Topology(Vec<DeclareError>),
    /// The connection to the broker could not be made, or was ended for good.
    #[error(transparent)]
    Transport(Arc<TransportError>),
    /// A publish did not end with the broker's confirmation.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Dead letters could not be looked at or moved, or there are too many.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// The management API of the broker did not answer what it was asked.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// A plan cannot be made or performed as it was asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Queues could not be migrated, or not to the end.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The position of a group in its stream could not be set.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Several of these at once.
    #[error("{}", report::summary(.0))]
    Several(Vec<Error>),
    /// The bus was built without the feature that the URL asks for.
    #[error("{0} asks for RabbitMQ, and es-bus was built without its feature `amqp`")]
    NoAmqp(String),
    /// Health and metrics cannot be served on the address of the setting `http`.
    #[error(
        "cannot listen on {address} for health and metrics: {source}; another program has it, or this one started \
         twice: set `http` (ES_BUS_HTTP) to another port, or to `none`"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A subscription or a binding cannot be. The bus goes on as it was.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The bus was closed meanwhile.
    #[error("the bus is closed")]
    Closed,
    /// A task of es-bus itself ended in a way that it should not: please report it.
    #[error("a task of the bus ended unexpectedly: {0}")]
    Internal(String),
}

impl From<ProvisionError> for Error {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Transport(error) => Self::Transport(error),
            ProvisionError::Topology(error) => Self::Topology(error.errors),
            ProvisionError::Closed => Self::Closed,
        }
    }
}

impl From<LookError> for Error {
    fn from(error: LookError) -> Self {
        match error {
            #[cfg(feature = "management")]
            LookError::Management(error) => Self::Management(error),
            LookError::Transport(error) => Self::Topology(vec![error]),
        }
    }
}

impl From<PerformError> for Error {
    fn from(error: PerformError) -> Self {
        match error {
            PerformError::Refused(error) => Self::Topology(error.errors),
            PerformError::Look(error) => error.into(),
        }
    }
}

impl From<migrate::Failure> for Error {
    fn from(error: migrate::Failure) -> Self {
        match error {
            migrate::Failure::Migrate(error) => error.into(),
            migrate::Failure::Look(error) => error.into(),
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Transport(Arc::new(error))
    }
}

impl From<Arc<TransportError>> for Error {
    fn from(error: Arc<TransportError>) -> Self {
        Self::Transport(error)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}

#[cfg(test)]
mod tests;
