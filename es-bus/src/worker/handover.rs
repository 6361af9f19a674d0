//! Tells a delivery that was given back in order from one that a process had in hand when it ended. Both
//! are redelivered.
//!
//! Who gives something back leaves a note on the broker before: a queue without messages, named after the
//! group's queue and the time. Its name is what tells how old it is: looking at a queue keeps it alive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{
    model::{Queue, QueueKind},
    name::QueueName,
    topology::{GroupSpec, Provision},
};

/// For how long a note is of one name. It holds for the rest of that time, and for as long again.
const SLOT: i64 = 30;
/// When the broker deletes a note that nobody looks at.
const EXPIRES: Duration = Duration::from_secs(120);
/// How long the broker may take over a note. A stop does not wait any longer for it.
const WITHIN: Duration = Duration::from_secs(4);

/// The notes that this process knows to be there: of each queue the last.
#[derive(Clone, Default)]
pub(crate) struct Handovers(Arc<Mutex<HashMap<QueueName, i64>>>);

impl Handovers {
    /// Notes that deliveries of the group are about to be given back.
    ///
    /// Without the right to declare, or when the broker does not answer, there is no note: what was given
    /// back may then be handled alone for once.
    pub(super) async fn leave(&self, provision: &Provision, group: &GroupSpec, now: OffsetDateTime) {
        let slot = slot(now);
        if group.suspects().is_none() || !provision.may_declare() || self.known(&group.queue) == Some(slot) {
            return;
        }
        let Ok(name) = note(group, slot) else { return };
        let note = Queue { expires: Some(EXPIRES), ..Queue::durable(name, QueueKind::Classic) };
        match timeout(WITHIN, provision.transport().declare_queue(&note)).await {
            Ok(Ok(())) => self.learn(&group.queue, slot),
            Ok(Err(error)) => tracing::debug!(group = %group.name, %error, "no note of what is given back"),
            Err(_elapsed) => tracing::debug!(group = %group.name, "no note of what is given back in time"),
        }
    }

    /// Whether deliveries of the group were given back lately, by whichever process.
    pub(super) async fn is_left(
        &self,
        provision: &Provision,
        group: &GroupSpec,
        now: OffsetDateTime,
    ) -> bool {
        let slot = slot(now);
        if self.known(&group.queue).is_some_and(|known| known >= slot - 1) {
            return true;
        }
        // Whose clock is ahead writes of the next one already.
        for slot in [slot, slot - 1, slot + 1] {
            let Ok(name) = note(group, slot) else { return false };
            if let Ok(Ok(Some(_))) = timeout(WITHIN, provision.transport().queue_status(&name)).await {
                self.learn(&group.queue, slot);
                return true;
            }
        }
        false
    }

    fn known(&self, queue: &QueueName) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(queue).copied()
    }

    fn learn(&self, queue: &QueueName, slot: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), slot);
    }
}

fn slot(now: OffsetDateTime) -> i64 {
    now.unix_timestamp().div_euclid(SLOT)
}

fn note(group: &GroupSpec, slot: i64) -> Result<QueueName, crate::name::InvalidName> {
    QueueName::new(format!("{}.handover.{slot}", group.queue))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::{
        model::{Topology, policy::Declare},
        topology::fixtures::{group, group_with},
        transport::memory::Memory,
    };

    const NOON: OffsetDateTime = datetime!(2026-01-02 12:00:00 UTC);

    fn at(seconds: i64) -> OffsetDateTime {
        NOON + time::Duration::seconds(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_note_holds_for_half_a_minute_and_for_no_longer_than_a_minute() {
        let provision = Provision::new(Arc::new(Memory::new()), Topology::new(), Declare::Create);
        let group = group(Vec::new());

        Handovers::default().leave(&provision, &group, at(29)).await;

        // A clock that is behind that of whoever left it, by half a minute at most, changes nothing.
        for (seconds, expected) in [(-31, false), (-1, true), (29, true), (59, true), (60, false)] {
            // Another process each time, which knows of no note.
            let is_left = Handovers::default().is_left(&provision, &group, at(seconds)).await;
            assert_eq!(is_left, expected, "{seconds}");
        }
        let own = Handovers::default();
        assert!(own.is_left(&provision, &group, at(59)).await);
        assert!(!own.is_left(&provision, &group, at(90)).await, "what was known is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_note_without_the_right_to_declare_and_none_of_a_group_without_suspects() {
        let broker = Arc::new(Memory::new());
        let without = group_with(Vec::new(), |settings| settings.crash_limit = None);
        for (declare, group) in [(Declare::None, group(Vec::new())), (Declare::Create, without)] {
            let provision = Provision::new(broker.clone(), Topology::new(), declare);
            let handovers = Handovers::default();

            handovers.leave(&provision, &group, NOON).await;

            assert!(!handovers.is_left(&provision, &group, NOON).await);
        }
    }
}
