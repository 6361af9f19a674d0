//! The state of a broker's connections.

use std::{sync::Arc, time::Duration};

use super::TransportError;

/// The connections to a broker, as one thing to watch.
#[derive(Clone, Debug)]
pub struct Link {
    /// How they are.
    pub state: LinkState,
    /// How often they were made; what was declared has to be looked after when this changes.
    pub generation: u64,
    /// How often a connection could not be made, or was lost, since the last one that lasted.
    pub failures: u32,
    /// Why the broker takes no publishes at the moment, when it does not.
    pub blocked: Option<String>,
}

/// How the connections to a broker are.
///
/// | from | to | when |
/// | --- | --- | --- |
/// | `Connecting` | `Up` | both connections are made |
/// | `Connecting` | `Backoff` | the attempt failed, for a reason that may pass |
/// | `Connecting` | `Fatal` | the broker refused: the login, the virtual host, the certificate, the protocol |
/// | `Up` | `Backoff` | a connection was lost, whoever ended it |
/// | `Backoff` | `Connecting` | the wait is over; the next host has its turn |
/// | any but `Fatal` | `Closed` | this program ends |
///
/// `Fatal` and `Closed` are for good. The state is that of the connection which is worse off.
#[derive(Clone, Debug)]
pub enum LinkState {
    /// Being made.
    Connecting,
    /// There.
    Up,
    /// Lost, and made again after this time.
    Backoff {
        /// What went wrong.
        reason: String,
        /// When the next try is.
        retry_in: Duration,
    },
    /// Refused, for a reason that trying again cannot cure.
    Fatal(Arc<TransportError>),
    /// Closed by this program.
    Closed,
}
