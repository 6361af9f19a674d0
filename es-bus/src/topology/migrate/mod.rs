//! Migrations: a queue gets another kind or other arguments while events keep coming, and none is lost.
//!
//! A queue that is declared cannot be changed, and its name is fixed by the topology: it has to be emptied, deleted,
//! declared anew and filled again. In come the topology and a broker that shows its bindings and counts; out goes a
//! [`MigrationReport`]. [`Bus::migrate`](crate::Bus::migrate) does it.
//!
//! `decide` is the heart, a pure function: what is there → the next step. A migration has no other state than what is
//! on the broker, so that one that was killed anywhere is gone on with by calling it again. `perform` does the steps,
//! `mover` moves messages, `step` has the words.
//!
//! # The way of a queue `Q`
//!
//! 1. *Prepare*: a queue `Q.migrating`, durable, without limits.
//! 2. *Divert*: it is bound to all that `Q` is bound to, the exchange `Q.in` by which retries come back included; then
//!    *Unbind*: `Q` is bound to nothing. An event that comes in between is in both: a duplicate, never a gap.
//! 3. *Empty*: workers go on consuming `Q`; what they do not take is moved to `Q.migrating.old`. That is a queue of
//!    its own, because what was there first has to be handled first.
//! 4. *Replace*: when `Q` is empty for certain it is deleted, and declared anew at once.
//! 5. *`ReturnOld`*, then *Return*: what was there first is moved back, then what came meanwhile, which still comes. When
//!    that is moved to its end, *Open* binds `Q` again and *Close* unbinds the other; the last few are moved then.
//! 6. What was made for the migration is deleted.
//!
//! A dead-letter queue goes the same way, without workers. A retry queue needs nothing moved: the one aside gets the
//! new arguments, so that messages wait in it as well as in the other, and both empty by themselves.
//!
//! # Why it is so
//!
//! * *Moved through an exchange, not by the name of the queue*: the default exchange would replace the routing key. Two
//!   fanout exchanges, one for each way, because a binding that had to be changed from one queue to the other could be
//!   left at the wrong one. The exchange that an event came by is written into its headers, as on every copy.
//! * *Empty for certain*: what consumers hold no declaration tells, and the management API tells it up to ten seconds
//!   late. From the moment when nothing comes in and nothing is ready, what is held can only become less, or ready
//!   again. So statistics that are younger than that moment, and then one more look at what is ready and bound, are
//!   enough. What is held when the queue goes would be lost with its consumer.
//! * *Deleted without if-empty*: a quorum queue does not know that, and ends the connection over it.
//! * *A short pause between deletion and declaration*: RabbitMQ 3.10 does not tell the consumers of a quorum queue that
//!   it is gone when it is there again within milliseconds. Workers wait 100 ms until they look again; whoever declares
//!   the old queue before the new one is there only makes the migration begin anew.
//! * *Once moved to its end, opened whatever comes*: else traffic would keep it going for ever. An event that comes in
//!   the last milliseconds before that may be handled after a newer one.
//! * *A lock*: an exclusive queue, gone with its connection, so that two never move at the same time.

mod decide;
mod former;
mod mover;
mod perform;
mod step;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::step::{MigrateOptions, MigratedQueue, MigrationProgress, MigrationReport, MigrationStep};
pub(crate) use self::{
    decide::{aside, is_half_way},
    former::{Renamed, renamed},
    perform::{Failure, Migrator, unmovable},
};
use crate::{
    name::InvalidName,
    transport::{ConsumeError, DeclareError, PublishError},
};

/// Why queues could not be migrated. What was done stays, and another call goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// Bindings and counts cannot be seen.
    #[error(
        "queues are migrated only where their bindings and all their messages can be seen, and {reason}; set \
         `management_url` (ES_BUS_MANAGEMENT_URL)"
    )]
    Blind {
        /// What stands in the way.
        reason: String,
    },
    /// An exchange differs, which cannot be migrated.
    #[error(
        "exchange {name:?} is there with other settings ({differs}), and exchanges are not migrated: events that are \
         published while it is declared anew would reach no queue. Name another exchange here, start this version beside \
         the old one, let publishers go over to it, and delete the old one when nothing is published there any more; or \
         stop all publishers, delete it (`rabbitmqadmin delete exchange name={name}`) and start this program"
    )]
    Exchange {
        /// Its name.
        name: String,
        /// The settings that differ.
        differs: String,
    },
    /// An exchange takes a plugin that is not enabled.
    #[error(
        "exchange {name:?} takes a plugin that is not enabled on the broker; enable it on every node \
         (`rabbitmq-plugins enable {plugin}`), and call this again"
    )]
    NoPlugin {
        /// The exchange.
        name: String,
        /// The plugin.
        plugin: &'static str,
    },
    /// The policy of another one applies to the queue, whose limits a policy is to carry.
    #[error("queue {queue:?} cannot be migrated: {reason}")]
    Policy {
        /// Its name.
        queue: String,
        /// Which policy, and what to do.
        reason: String,
    },
    /// The queue is one that cannot be emptied by moving.
    #[error("queue {queue:?} cannot be migrated: {reason}")]
    Unmovable {
        /// Its name.
        queue: String,
        /// Why not.
        reason: String,
    },
    /// The queue has so long a name that no other can be named after it.
    #[error("what queue {queue:?} is migrated with cannot be named after it; give it a shorter name")]
    Name {
        /// Its name.
        queue: String,
        /// What is wrong with the longer one.
        #[source]
        source: InvalidName,
    },
    /// Somebody else migrates the queue.
    #[error(
        "queue {queue:?} is being migrated by another process, which has {lock:?} (`rabbitmqctl list_queues name \
         exclusive owner_pid`); wait for that one, or end it and call this again, which goes on from there"
    )]
    Busy {
        /// The queue.
        queue: String,
        /// The queue that is the lock.
        lock: String,
    },
    /// Nothing changes any more.
    #[error(
        "the migration of queue {queue:?} does not go on since {after:?}: {reason}; calling it again goes on from there"
    )]
    Stuck {
        /// The queue.
        queue: String,
        /// What it waits for.
        reason: String,
        /// For how long.
        after: Duration,
    },
    /// A message cannot be published again.
    #[error(
        "message {id:?} in {queue:?} cannot be moved; it is still there, and the migration goes on from there once it is \
         taken out"
    )]
    Message {
        /// The queue that it is in.
        queue: String,
        /// Its message id; empty without one.
        id: String,
        /// What the broker said.
        #[source]
        source: PublishError,
    },
    /// The connection was lost.
    #[error(
        "the connection was lost while queue {queue:?} was migrated ({reason}); nothing is lost, and calling it again \
         goes on from there"
    )]
    Interrupted {
        /// The queue.
        queue: String,
        /// What happened.
        reason: String,
    },
    /// The broker refused something.
    #[error(
        "the broker refused a step of the migration of queue {queue:?}; calling it again goes on from there"
    )]
    Refused {
        /// The queue.
        queue: String,
        /// What it said.
        #[source]
        source: DeclareError,
    },
    /// A queue cannot be read.
    #[error("the messages of queue {queue:?} cannot be moved; calling it again goes on from there")]
    Consume {
        /// The queue.
        queue: String,
        /// What the broker said.
        #[source]
        source: ConsumeError,
    },
}
