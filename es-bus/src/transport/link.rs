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
        /// When the next try is: at once, while there are hosts that had no turn yet.
        retry_in: Duration,
    },
    /// Refused, for a reason that trying again cannot cure.
    Fatal(Arc<TransportError>),
    /// Closed by this program.
    Closed,
}

#[cfg(any(feature = "amqp", test))]
impl LinkState {
    /// Whether a connection that is in this state may be in that one next: the table above.
    pub(crate) const fn may_become(&self, next: &Self) -> bool {
        use LinkState::{Backoff, Closed, Connecting, Fatal, Up};
        match (self, next) {
            (Connecting, Up | Backoff { .. } | Fatal(_))
            | (Up, Backoff { .. })
            | (Backoff { .. }, Connecting) => true,
            (from, Closed) => !matches!(from, Fatal(_) | Closed),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_states_is_what_may_happen() {
        let source = include_str!("link.rs");
        let row = |line: &str| -> Option<(String, String)> {
            let mut cells = line.strip_prefix("/// | `")?.split('|').map(|cell| cell.trim().replace('`', ""));
            Some((cells.next()?, cells.next()?))
        };
        let listed: Vec<(String, String)> = source.lines().filter_map(row).collect();
        let fatal = TransportError::Closed { address: String::new() };
        let states = [
            ("Connecting", LinkState::Connecting),
            ("Up", LinkState::Up),
            ("Backoff", LinkState::Backoff { reason: String::new(), retry_in: Duration::ZERO }),
            ("Fatal", LinkState::Fatal(Arc::new(fatal))),
            ("Closed", LinkState::Closed),
        ];

        assert_eq!(listed.len(), 5, "{listed:?}");
        for (from, state) in &states {
            for (to, next) in &states {
                // The last row: any but `Fatal`.
                let ends = *to == "Closed" && !["Fatal", "Closed"].contains(from);
                let is_listed = listed.iter().any(|(a, b)| (a.as_str(), b.as_str()) == (*from, *to));
                assert_eq!(state.may_become(next), is_listed || ends, "{from} -> {to}");
            }
        }
    }
}
