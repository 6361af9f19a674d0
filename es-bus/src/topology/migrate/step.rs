//! The words of a migration.

use std::{fmt, sync::Arc, time::Duration};

use super::MigrateError;
use crate::{
    name::{ExchangeName, QueueName},
    wire::names,
};

/// One step of the way of a queue to other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MigrationStep {
    /// Declares the queue in which messages wait meanwhile.
    Prepare,
    /// Binds it to all that the queue is bound to.
    Divert,
    /// Unbinds the queue: from now on nothing comes in.
    Unbind,
    /// Gets what is in the queue out of it: by its workers, and by moving what they do not take.
    Empty,
    /// Deletes the queue once it is certain that nothing is in it and nobody holds anything of it, and declares it
    /// anew.
    Replace,
    /// Declares it anew, where it is not there.
    Create,
    /// Moves back what was in the queue before the migration began.
    ReturnOld,
    /// Deletes the queue that it was kept in.
    DropOld,
    /// Moves back what came meanwhile.
    Return,
    /// Binds the queue as it was bound, and as the program declares.
    Open,
    /// Unbinds the queue in which messages waited.
    Close,
    /// Deletes it.
    DropAside,
    /// Deletes the exchanges by which messages were moved.
    Tidy,
    /// Of a group that was renamed: declares its queue, bound to nothing yet, and what belongs to it.
    DeclareNew,
    /// Lets retries that wait under the old name come to the queue.
    TakeRetries,
    /// Gets what is in the old queue out of it: by the workers that consume it still, and by moving what they do not
    /// take.
    MoveOver,
    /// Moves the dead letters.
    MoveLetters,
    /// Notes that all was moved, where the old queue has to be left to those who consume it.
    Mark,
    /// Deletes the old queue, once it is certain that nothing is in it and nobody consumes it.
    DropFormer,
    /// Moves what waits under the old name, or lets it come back in its time.
    MoveWaiting,
    /// Deletes the queues that it waited in.
    DropWaiting,
    /// Deletes what else there was of the old name.
    DropParts,
}

impl MigrationStep {
    /// What it does, in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "declare a queue in which messages wait meanwhile",
            Self::Divert => "bind that to all that the queue is bound to",
            Self::Unbind => "unbind the queue, so that nothing comes in",
            Self::Empty => "let workers take what is in it, and move the rest",
            Self::Replace => "once it is certainly empty, delete it and declare it anew",
            Self::Create => "declare it anew",
            Self::ReturnOld => "move back what was in it at first",
            Self::DropOld => "delete the queue that this was kept in",
            Self::Return => "move back what came meanwhile",
            Self::Open => "bind the queue again",
            Self::Close => "unbind the queue in which messages waited",
            Self::DropAside => "delete that, once it is empty",
            Self::Tidy => "delete the exchanges by which messages were moved",
            Self::DeclareNew => "declare the queue under its new name, bound to nothing yet",
            Self::TakeRetries => "have retries that wait under the old name come to the new queue",
            Self::MoveOver => "let workers take what is in the old queue, and move the rest to the new one",
            Self::MoveLetters => "move the dead letters",
            Self::Mark => "leave the old queue, unbound and empty, to the replicas that still consume it",
            Self::DropFormer => "delete the old queue, once it is certainly empty and nobody consumes it",
            Self::MoveWaiting => "move what waits for a retry under the old name",
            Self::DropWaiting => "delete the queues in which events waited under the old name",
            Self::DropParts => "delete what else there was of the old name",
        }
    }
}

impl fmt::Display for MigrationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a migration stands: told at the begin of each step, and while messages are moved or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// The queue that is migrated.
    pub queue: String,
    /// What is being done.
    pub step: MigrationStep,
    /// How many messages were moved in this step.
    pub moved: u64,
    /// How many are left to be moved, or to go by themselves, in this step; `None` where that does not apply.
    pub left: Option<u64>,
}

/// How queues are migrated.
///
/// # Examples
///
/// ```
/// use es_bus::migrate::MigrateOptions;
///
/// let options = MigrateOptions::new()
///     .rate(2000)
///     .on_progress(|it| println!("{}: {} ({} moved, {:?} left)", it.queue, it.step, it.moved, it.left));
/// ```
#[derive(Clone)]
#[must_use]
pub struct MigrateOptions {
    pub(crate) rate: Option<u32>,
    pub(crate) patience: Duration,
    pub(crate) dry_run: bool,
    pub(crate) progress: Option<Tell>,
}

/// What progress is told to.
type Tell = Arc<dyn Fn(&MigrationProgress) + Send + Sync>;

impl Default for MigrateOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MigrateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrateOptions")
            .field("rate", &self.rate)
            .field("patience", &self.patience)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl MigrateOptions {
    /// As fast as the broker confirms.
    pub fn new() -> Self {
        Self { rate: None, patience: Duration::from_secs(30 * 60), dry_run: false, progress: None }
    }

    /// Moves so many messages a second at most; 0 is taken for 1.
    ///
    /// It has to be more than what comes for the queue: else the queue is bound again before all of what waits is
    /// moved back, and newer events may be handled before older ones.
    pub fn rate(mut self, messages_per_second: u32) -> Self {
        self.rate = Some(messages_per_second.max(1));
        self
    }

    /// How long nothing may change until the migration gives up, 30 minutes unless it is said: longer than a handler
    /// runs, and than a message waits for its retry. What was given up goes on when it is called again.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Changes nothing, and tells the steps.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Calls this at the begin of each step, and several times a second while messages are moved.
    pub fn on_progress(mut self, tell: impl Fn(&MigrationProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(tell));
        self
    }
}

/// What became of a migration, or what a dry run says that it would do. Prints as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The queues that had other settings, or whose migration was left half-way; no others are touched.
    pub queues: Vec<MigratedQueue>,
}

/// What became of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigratedQueue {
    /// Its name.
    pub queue: String,
    /// The steps, in their order; one may have been done several times, as when an old replica bound the queue anew.
    pub steps: Vec<MigrationStep>,
    /// How many messages were moved, each time counted.
    pub moved: u64,
    /// Under which name its group had another queue, where that was brought to it.
    pub formerly: Option<String>,
    /// How many consumers the old queue has, for the sake of which it is still there; it goes with the next call after
    /// they did.
    pub consumers: u64,
}

impl fmt::Display for MigrationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.queues.is_empty() {
            return f.write_str("no queue has other settings or another name than this program declares\n");
        }
        for (index, it) in self.queues.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let moved = count(it.moved, "message");
            match (self.dry_run, &it.formerly) {
                (true, None) => writeln!(f, "queue {:?} would be migrated:", it.queue)?,
                (false, None) => {
                    writeln!(f, "queue {:?} was migrated, {} moved:", it.queue, moved)?;
                }
                (true, Some(old)) => writeln!(f, "queue {old:?} would be moved to {:?}:", it.queue)?,
                (false, Some(old)) => {
                    writeln!(f, "queue {old:?} was moved to {:?}, {} messages moved:", it.queue, it.moved)?
                }
            }
            for (number, step) in it.steps.iter().enumerate() {
                writeln!(f, "{:>4}. {step}", number + 1)?;
            }
            if let (Some(old), 1..) = (&it.formerly, it.consumers) {
                let consumers = count(it.consumers, "consumer");
                match self.dry_run {
                    true => writeln!(f, "after that, as the old version has {consumers} on {old:?}:")?,
                    false => writeln!(
                        f,
                        "the old version still has {consumers} on {old:?}, to which nothing comes any more; what to do now:"
                    )?,
                }
                writeln!(
                    f,
                    "  - start this version: until then nobody handles what comes to {:?}",
                    it.queue
                )?;
                writeln!(f, "  - then stop the old version")?;
                writeln!(
                    f,
                    "  - then migrate once more: that takes what it gave back, and deletes what is left of {old:?}"
                )?;
            }
        }
        Ok(())
    }
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// What there is of a migration on a broker, by its name.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(super) queue: QueueName,
    /// In which messages wait that come meanwhile.
    pub(super) aside: QueueName,
    /// In which those wait that were there before.
    pub(super) old: QueueName,
    /// Leads to that one alone.
    pub(super) to_old: ExchangeName,
    /// Leads to the queue alone.
    pub(super) back: ExchangeName,
    /// Whoever has it migrates the queue.
    pub(super) lock: QueueName,
}

impl Names {
    pub(crate) fn of(queue: &QueueName) -> Result<Self, MigrateError> {
        let invalid = |source| MigrateError::Name { queue: queue.to_string(), source };
        let named = |suffix: &str| QueueName::new(format!("{queue}{suffix}")).map_err(invalid);
        let exchange = |suffix: &str| ExchangeName::new(format!("{queue}{suffix}")).map_err(invalid);
        Ok(Self {
            queue: queue.clone(),
            aside: named(names::ASIDE_SUFFIX)?,
            old: named(names::OLD_SUFFIX)?,
            to_old: exchange(names::OLD_SUFFIX)?,
            back: exchange(".migrating.back")?,
            lock: named(".migrating.lock")?,
        })
    }
}
