//! Whether an event is still this handler's to settle.

use tokio_util::sync::CancellationToken;

use super::FromDelivery;
use crate::{handler::Invocation, outcome::HandlerError};

/// The hold that a handler has on its event: lost once the channel is gone that brought it.
///
/// The broker then hands the event out again, to whichever process is there, and what becomes of this
/// run changes nothing about that: its outcome is dropped and counted
/// ([`Counts::stale`](crate::telemetry::Counts::stale)), no retry is made of it, and it goes to no
/// dead-letter queue. So a handler that is long at work can ask before it goes on, and leave the rest to the
/// run that comes: its effects happen twice otherwise.
///
/// It is known late: when a cable is pulled, after two heartbeats. A lease that is not lost is no lock.
///
/// The events of an exclusive group do not come again; their lease is never lost.
///
/// # Examples
///
/// ```
/// use es_bus::{Lease, event, handler};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// #[event(aggregate = "Invoice", aggregate_id = id)]
/// struct InvoiceSent { id: String, pages: u32 }
///
/// #[handler(group = "archive")]
/// async fn archive(invoice: InvoiceSent, lease: Lease) -> Result<(), String> {
///     for page in 0..invoice.pages {
///         if lease.is_lost() {
///             return Err(format!("stopped at page {page}: the event comes again"));
///         }
///         store(&invoice.id, page).await;
///     }
///     Ok(())
/// }
/// # async fn store(_id: &str, _page: u32) {}
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    lost: CancellationToken,
}

impl Lease {
    /// Whether the event comes again whatever this run comes to.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Waits until the lease is lost; for ever when it is not.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl FromDelivery for Lease {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        Ok(Self { lost: invocation.delivery().lost().clone() })
    }
}
