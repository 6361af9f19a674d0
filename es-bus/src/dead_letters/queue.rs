//! The dead letters of a group, or of a queue by its name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::{
    DeadLetter, DeadLetterError, DeadLetterProgress, Filter, FullDeadLetter, Replay, export,
    lock::Locks,
    progress::Tell,
    scan::{Held, Scan, ready},
};
use crate::{
    clock::Clock,
    name::{ExchangeName, QueueName},
    publish::Publisher,
    suggest,
    telemetry::Counters,
    topology::{GroupSpec, Provision},
};

/// What working on dead letters takes; one per bus.
pub(crate) struct Desk {
    pub(crate) provision: Arc<Provision>,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Clock,
    pub(crate) counters: Arc<Counters>,
    /// How much of a frame headers may take.
    pub(crate) header_limit: usize,
    /// The groups that the program declares, consumed here or not.
    pub(crate) groups: BTreeMap<String, KnownGroup>,
    /// What a dead-letter exchange adds to the name of its home exchange.
    pub(crate) dlx_suffix: String,
    locks: Locks,
}

/// Where the dead letters of a group are, and where they go back to.
#[derive(Clone, Debug)]
pub(crate) struct KnownGroup {
    pub(super) queue: QueueName,
    pub(super) dlq: QueueName,
    /// Leads to the group's queue and to no other.
    pub(super) entry: ExchangeName,
    pub(super) home: ExchangeName,
    /// The queues that it had under other names.
    pub(super) formerly: Vec<QueueName>,
    /// Whether dead letters are kept at all.
    #[cfg(feature = "cli")]
    keeps: bool,
}

#[cfg(feature = "cli")]
impl KnownGroup {
    /// The dead-letter queue, where there is one.
    pub(crate) fn dlq(&self) -> Option<&QueueName> {
        self.keeps.then_some(&self.dlq)
    }
}

impl From<&GroupSpec> for KnownGroup {
    fn from(group: &GroupSpec) -> Self {
        Self {
            queue: group.queue.clone(),
            dlq: group.dlq.clone(),
            entry: group.entry.clone(),
            home: group.settings.home.clone(),
            formerly: group.formerly.iter().map(|old| old.queue.clone()).collect(),
            #[cfg(feature = "cli")]
            keeps: group.keeps_dead_letters(),
        }
    }
}

impl Desk {
    pub(crate) fn new(
        provision: Arc<Provision>,
        publisher: Publisher,
        clock: Clock,
        counters: Arc<Counters>,
        header_limit: usize,
        groups: BTreeMap<String, KnownGroup>,
        dlx_suffix: String,
    ) -> Arc<Self> {
        let locks = Locks::default();
        Arc::new(Self { provision, publisher, clock, counters, header_limit, groups, dlx_suffix, locks })
    }

    /// The dead letters of a group that the program declares, or that came at run time.
    pub(crate) fn of_group(
        self: &Arc<Self>,
        group: &str,
        at_run_time: impl FnOnce() -> Option<KnownGroup>,
    ) -> Result<DeadLetters, DeadLetterError> {
        let Some(known) = self.groups.get(group).cloned().or_else(at_run_time) else {
            let names = self.groups.keys().map(String::as_str);
            return Err(DeadLetterError::UnknownGroup {
                group: group.to_owned(),
                nearest: suggest::nearest(group, names).map(str::to_owned),
                known: self.groups.keys().cloned().collect(),
            });
        };
        Ok(DeadLetters { desk: Arc::clone(self), queue: known.dlq, tell: None })
    }

    /// The dead letters in a queue of any name.
    pub(crate) fn of_queue(self: &Arc<Self>, queue: &str) -> Result<DeadLetters, DeadLetterError> {
        Ok(DeadLetters { desk: Arc::clone(self), queue: QueueName::new(queue)?, tell: None })
    }

    /// Waits until the broker can be asked.
    async fn ready(&self, dlq: &QueueName) -> Result<(), DeadLetterError> {
        match self.provision.ready().await {
            Ok(_generation) => Ok(()),
            Err(error) => Err(DeadLetterError::Interrupted {
                queue: dlq.to_string(),
                done: 0,
                reason: error.to_string(),
            }),
        }
    }
}

/// The dead letters of a group: those that a handler failed in for good, and those that the broker
/// itself took out of the group's queue.
///
/// [`Handle::dead_letters`](crate::Handle::dead_letters) and
/// [`Handle::dead_letter_queue`](crate::Handle::dead_letter_queue) give one. A clone is cheap.
///
/// # Holding
///
/// All but [`count`](Self::count) and [`check`](Self::check) take the messages and hold them, unseen by
/// others, until they are through: about a second for ten thousand. Then what was not acknowledged is
/// in its place again, marked as redelivered. One call at a time works on a queue; another, from
/// wherever, gets [`DeadLetterError::Busy`]. Messages that come meanwhile are for the next call.
///
/// A broker gives up on messages that are held for longer than its `consumer_timeout`, 30 minutes
/// unless it was set: the call ends with [`DeadLetterError::Interrupted`], and a new one goes on.
///
/// # Cancel safety
///
/// A call that is dropped or killed at any moment loses nothing: what it did not acknowledge is in the
/// queue, and at worst a message is both there and replayed. Killed while it held more than a consumer
/// may, it can leave a quorum queue in another order.
///
/// # Examples
///
/// ```no_run
/// # async fn f(handle: es_bus::Handle) -> es_bus::Result<()> {
/// use es_bus::dead_letters::Filter;
///
/// let dead = handle.dead_letters("projections")?;
/// println!("{} dead letters", dead.count().await?);
/// for letter in dead.list(100).await? {
///     println!("{} {} {:?}", letter.id, letter.reason, letter.error);
/// }
/// let report = dead.replay(Filter::all().reason("timeout")).await?;
/// println!("{} replayed, {} left", report.replayed, report.left);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    pub(super) desk: Arc<Desk>,
    pub(super) queue: QueueName,
    tell: Option<Tell>,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// The dead-letter queue.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Tells how far each call is that goes through the queue, while it does. Told from within the call, so that what
    /// takes its time there holds it up.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn f(handle: es_bus::Handle) -> es_bus::Result<()> {
    /// let dead = handle.dead_letters("projections")?;
    ///
    /// let purged = dead.on_progress(|it| eprintln!("{} of {}", it.done, it.total)).purge().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_progress(mut self, tell: impl Fn(DeadLetterProgress) + Send + Sync + 'static) -> Self {
        self.tell = Some(Arc::new(tell));
        self
    }

    /// How many dead letters there are, asked of the broker at this moment. Those that another call
    /// holds are not counted.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::NoQueue`], and when the broker cannot be asked.
    pub async fn count(&self) -> Result<u64, DeadLetterError> {
        self.desk.ready(&self.queue).await?;
        ready(&**self.desk.provision.transport(), &self.queue).await
    }

    /// How many dead letters there are, when there are at most `max`: for an alert, or a job that
    /// fails when somebody has to look.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::TooMany`], with a warning in the log; those of [`count`](Self::count).
    pub async fn check(&self, max: u64) -> Result<u64, DeadLetterError> {
        let count = self.count().await?;
        if count <= max {
            return Ok(count);
        }
        tracing::warn!(queue = %self.queue, count, max, "too many dead letters");
        Err(DeadLetterError::TooMany { queue: self.queue.to_string(), count, max })
    }

    /// What lies at the head of the queue: each once, in order, without the bodies. `usize::MAX`
    /// lists all.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut letters = Vec::new();
        self.visit(|letter| {
            letters.push(letter);
            letters.len() < limit
        })
        .await?;
        letters.truncate(limit);
        Ok(letters)
    }

    /// Shows one dead letter after the other to `see`, in order, until it says `false`: for queues that
    /// are too long for a list. Memory does not grow with the length of the queue.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn visit(&self, mut see: impl FnMut(DeadLetter) -> bool) -> Result<(), DeadLetterError> {
        let mut scan = self.scan().await?;
        while let Some(held) = scan.next().await? {
            if !see(DeadLetter::read(&held, self.queue.as_str())) {
                return scan.leave().await;
            }
        }
        scan.close().await
    }

    /// One dead letter with its headers and its body; `None` when none has that id.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn show(&self, id: &str) -> Result<Option<FullDeadLetter>, DeadLetterError> {
        let filter = Filter::one(id);
        let mut scan = self.scan().await?;
        while let Some(held) = scan.next().await? {
            let letter = DeadLetter::read(&held, self.queue.as_str());
            if filter.matches(&letter) {
                let full = FullDeadLetter::read(held, self.queue.as_str());
                scan.leave().await?;
                return Ok(Some(full));
            }
        }
        scan.close().await?;
        Ok(None)
    }

    /// Sends dead letters back to be handled again; `.await` does it, and reports.
    ///
    /// Each goes to the group that it failed in, and runs the handlers that it failed in, with all
    /// their attempts before them: other groups and the handlers that succeeded do not see it. It has
    /// the same event id, the header `x-replayed-from-dlq`, and [`Delivered::replayed`] set. What names
    /// no handler, above all what eventsource-py wrote, runs all of the group that take it.
    ///
    /// The broker has confirmed a replay before its dead letter is acknowledged. What fails again comes
    /// back with a new id, and is not replayed by the same call.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]. A dead letter that cannot be replayed is none: it stays where it is, and
    /// [`ReplayReport::failed`](super::ReplayReport::failed) counts it.
    ///
    /// # RabbitMQ
    ///
    /// Published to `{queue}.in`, a fanout exchange that leads to the group's queue alone, so that the
    /// routing key stays. Where that is missing, for a group of eventsource-py say, it is declared.
    ///
    /// [`Delivered::replayed`]: crate::Delivered::replayed
    pub fn replay(&self, filter: Filter) -> Replay<'_> {
        Replay::new(self, filter)
    }

    /// Throws dead letters away, and says how many.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn discard(&self, filter: Filter) -> Result<u64, DeadLetterError> {
        let mut scan = self.scan().await?;
        let mut count = 0;
        loop {
            let next = scan.next().await.map_err(|error| error.after(count))?;
            let Some(held) = next else { break };
            if filter.matches(&DeadLetter::read(&held, self.queue.as_str())) {
                scan.acknowledge(held)?;
                count += 1;
                Counters::add(&self.desk.counters.discarded);
            }
        }
        scan.close().await.map_err(|error| error.after(count))?;
        Ok(count)
    }

    /// Throws all dead letters away, and says how many there were. What comes meanwhile stays.
    ///
    /// [`export_and_purge`](Self::export_and_purge) keeps a copy.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn purge(&self) -> Result<u64, DeadLetterError> {
        self.discard(Filter::all()).await
    }

    /// Writes dead letters as lines of JSON, and says how many: each with its headers, its properties
    /// and its body to the last byte, as `{"text": ".."}` or `{"base64": ".."}`. They stay in the queue.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`].
    pub async fn export<W: AsyncWrite + Unpin>(
        &self,
        filter: Filter,
        writer: &mut W,
    ) -> Result<u64, DeadLetterError> {
        let mut scan = self.scan().await?;
        let mut count = 0;
        self.write(&mut scan, &filter, writer, |_held| count += 1).await?;
        scan.close().await?;
        Ok(count)
    }

    /// [`export`](Self::export)s, and throws away what was written; says how many.
    ///
    /// The first is acknowledged when the last is written and flushed. A file is then with the
    /// operating system, which may lose it when the machine loses its power before it is on disk.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]; after [`DeadLetterError::Export`] all of them are in the queue.
    pub async fn export_and_purge<W: AsyncWrite + Unpin>(
        &self,
        filter: Filter,
        writer: &mut W,
    ) -> Result<u64, DeadLetterError> {
        let mut scan = self.scan().await?;
        let mut written = Vec::new();
        self.write(&mut scan, &filter, writer, |held| written.push(held.into_acknowledge())).await?;
        // Acknowledged messages make room for others, which nobody here will look at.
        scan.stop().await;
        let mut count = 0;
        for acknowledge in written {
            scan.acknowledge_later(acknowledge)?;
            count += 1;
            Counters::add(&self.desk.counters.discarded);
        }
        scan.close().await.map_err(|error| error.after(count))?;
        Ok(count)
    }

    /// Writes what the filter chooses of a scan, to the last flush; `written` has each when it is.
    async fn write<W: AsyncWrite + Unpin>(
        &self,
        scan: &mut Scan,
        filter: &Filter,
        writer: &mut W,
        mut written: impl FnMut(Held),
    ) -> Result<(), DeadLetterError> {
        // A line at a time would be a system call at a time.
        let mut writer = BufWriter::new(writer);
        while let Some(held) = scan.next().await? {
            let letter = DeadLetter::read(&held, self.queue.as_str());
            if filter.matches(&letter) {
                export::write(&mut writer, &letter, &held)
                    .await
                    .map_err(|source| self.not_written(source))?;
                written(held);
            }
        }
        writer.flush().await.map_err(|source| self.not_written(source))
    }

    fn not_written(&self, source: std::io::Error) -> DeadLetterError {
        DeadLetterError::Export { queue: self.queue.to_string(), source }
    }

    pub(super) async fn scan(&self) -> Result<Scan, DeadLetterError> {
        let desk = &*self.desk;
        desk.ready(&self.queue).await?;
        let transport = desk.provision.transport();
        // Before anything is locked: a queue that is not there is to be said as that.
        ready(&**transport, &self.queue).await?;
        let lock = desk.locks.acquire(transport, &self.queue).await?;
        Scan::start(Arc::clone(transport), self.queue.clone(), self.tell.clone(), lock).await
    }
}
