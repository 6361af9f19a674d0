//! A subscription, as whoever made it holds it.

use std::{convert::Infallible, fmt, sync::Arc};

use tokio::sync::oneshot;

use crate::{bus::groups::Groups, name::GroupName};

/// A handler that was subscribed while the bus runs. Dropped, it ends: no delivery that starts from
/// then on goes to it, while a run that has begun goes on.
///
/// # What stays
///
/// The binding on the broker stays, and the queue with it, as other processes may consume it. Where
/// the group has no handler left in this process, the process stops consuming it, and events wait in
/// the queue for the next subscription, of any process. In a group that goes on, an event that no
/// handler takes any more is skipped or waits, as the group's `on_unknown` says;
/// [`Subscriptions::unbind`](crate::Subscriptions::unbind) ends the flow.
///
/// An event that waits for a retry knows its handler by name. While no handler of the group has that
/// name it goes on waiting (`unknown_delay`, `unknown_retries`), then it is dead-lettered as
/// `handler_gone`: a subscription of the same name that comes in time takes it up.
#[must_use = "dropped, a subscription ends; `.keep()` leaves it for the life of the bus"]
pub struct Subscription {
    groups: Option<Arc<Groups>>,
    group: GroupName,
    name: Arc<str>,
    /// Ends when nobody holds the handler any more.
    gone: oneshot::Receiver<Infallible>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("group", &self.group)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    pub(in crate::bus) fn new(
        groups: Arc<Groups>,
        group: GroupName,
        name: Arc<str>,
        gone: oneshot::Receiver<Infallible>,
    ) -> Self {
        Self { groups: Some(groups), group, name, gone }
    }

    /// The name of its group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_str()
    }

    /// The name of the handler: what retries find it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it, and waits until what the group had in hand at that moment is settled: the handler
    /// does not run any more.
    ///
    /// Not to be awaited by the handler itself, whose run would wait for its own end: drop the
    /// guard there.
    ///
    /// # Cancel safety
    ///
    /// It has ended when this is first polled; dropped, the call only waits no longer.
    pub async fn unsubscribe(mut self) {
        self.end();
        let _ = (&mut self.gone).await;
    }

    /// Leaves it there for the life of the bus.
    pub fn keep(mut self) {
        self.groups = None;
    }

    fn end(&mut self) {
        if let Some(groups) = self.groups.take() {
            groups.unsubscribe(&self.group, &self.name);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}
