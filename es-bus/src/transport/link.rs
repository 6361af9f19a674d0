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
    /// Why the broker takes no publishes at the moment, when it does not.
    pub blocked: Option<String>,
}

/// How the connections to a broker are.
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
