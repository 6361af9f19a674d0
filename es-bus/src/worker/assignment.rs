//! What a worker is to do, as it changes while the worker runs.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::topology::GroupSpec;

/// The group as it is now, and whether anything is to be taken for it.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// Handlers come and go with subscriptions; name, queue and settings stay.
    pub(crate) group: Arc<GroupSpec>,
    /// Whether the program wants nothing for a while.
    pub(crate) paused: bool,
}

impl Assignment {
    /// Whether deliveries are to be taken.
    #[must_use]
    pub(crate) fn is_active(&self) -> bool {
        !self.paused && !self.group.handlers.is_empty()
    }
}

/// What a worker is told and tells while it runs.
pub(crate) struct Post {
    /// What it is to do.
    pub(crate) assignment: watch::Receiver<Assignment>,
    /// Whether it has a consumer.
    pub(crate) consuming: watch::Sender<bool>,
    /// Asked when the group has no handlers and nothing in hand: says whether it is over for good.
    pub(crate) is_over: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("group", &self.assignment.borrow().group.name)
            .field("consuming", &*self.consuming.borrow())
            .finish_non_exhaustive()
    }
}
