//! Handles the suspects of a group, one at a time, while nothing else is handled in this process.
//!
//! A suspect is taken from its queue only when no handler of any group runs and none may start, and is
//! handled at once. So one that comes again from that queue had a process end over it, and nothing else
//! did: no other event is charged with its end.
//!
//! Killed between the copy with the new count and the acknowledgement: the event is there twice. A
//! connection that is lost while a suspect is handled counts as the end of a process to the one that takes
//! it next.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedRwLockWriteGuard, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Assignment, WorkerContext,
    copies::Copy,
    settle::{Handling, Sent},
    suspects::{Turn, Verdict, dead_letters, judge},
};
use crate::{
    name::QueueName,
    telemetry::GroupWatch,
    topology::ProvisionError,
    transport::{ConsumeError, ConsumeRequest, Consumer, DeclareError, Delivery, Settlement},
    wire,
};

/// How often the queue of suspects is looked at: the process that set one aside may be gone for good.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long to rest when no suspect can be handled at the moment.
const REST: Duration = Duration::from_secs(1);
/// How long the handlers of other events may take to end. None is started meanwhile.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
/// How long the broker may take to hand out a suspect that it has.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// How long the broker may take over a copy of a suspect, or over its dead letters.
const SENT_WITHIN: Duration = Duration::from_secs(3);

/// The suspects of a group.
pub(super) struct Suspects {
    pub(super) queue: QueueName,
    /// How many processes may end over an event.
    pub(super) limit: u32,
    pub(super) assignment: watch::Receiver<Assignment>,
    pub(super) context: Arc<WorkerContext>,
    pub(super) watch: Arc<GroupWatch>,
    pub(super) turn: Arc<watch::Sender<Turn>>,
    /// Cancelled when no more are to be taken.
    pub(super) over: CancellationToken,
}

/// Why no suspect can be handled at the moment.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    #[error(transparent)]
    Declare(#[from] DeclareError),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error("the broker takes no publishes")]
    Blocked,
    #[error("the group is paused, or has no handlers")]
    Idle,
    #[error("handlers of other events go on for more than {QUIET_WITHIN:?}")]
    Busy,
    #[error("the program stops")]
    Over,
}

impl Suspects {
    /// Handles suspects until told to stop; what is being handled then is finished.
    pub(super) async fn run(self) {
        let mut turn = self.turn.subscribe();
        while !self.over.is_cancelled() {
            let ended = self.until_none_is_left().await;
            if let Err(hindrance) = &ended {
                tracing::debug!(queue = %self.queue, %hindrance, "no suspect is handled");
            }
            let (is_through, rest) = if ended.is_ok() { (true, LOOK_EVERY) } else { (false, REST) };
            tokio::select! {
                () = self.over.cancelled() => {}
                _ = turn.wait_for(|turn| !turn.is_over()), if is_through => {}
                () = sleep(rest) => {}
            }
        }
    }

    async fn until_none_is_left(&self) -> Result<(), Hindrance> {
        let provision = &self.context.provision;
        loop {
            tokio::select! {
                () = self.over.cancelled() => return Err(Hindrance::Over),
                ready = provision.ready() => ready?,
            };
            let mark = self.turn.borrow().mark();
            let status = provision.transport().queue_status(&self.queue).await?;
            if status.is_none_or(|status| status.messages == 0) {
                self.turn.send_modify(|turn| turn.none_left(mark));
                return Ok(());
            }
            if provision.transport().link().borrow().blocked.is_some() {
                return Err(Hindrance::Blocked);
            }
            if !self.assignment.borrow().is_active() {
                return Err(Hindrance::Idle);
            }
            let alone = tokio::select! {
                () = self.over.cancelled() => return Err(Hindrance::Over),
                alone = timeout(QUIET_WITHIN, Arc::clone(&self.context.alone).write_owned()) => {
                    alone.map_err(|_elapsed| Hindrance::Busy)?
                }
            };
            let Some((consumer, delivery)) = self.take().await? else { return Err(Hindrance::Busy) };
            self.decide(delivery, alone).await;
            consumer.close().await;
        }
    }

    /// Takes one suspect, and no other.
    async fn take(&self) -> Result<Option<(Consumer, Delivery)>, ConsumeError> {
        let request = ConsumeRequest {
            queue: self.queue.clone(),
            tag: format!("{}@{}", self.queue, self.context.consumer_name),
            prefetch: 1,
            exclusive: false,
            may_hold: 0,
            offset: None,
        };
        let mut consumer = self.context.provision.transport().consume(request).await?;
        let mut next = timeout(TAKEN_WITHIN, consumer.next()).await.ok().flatten();
        // Before it is settled, so that there is no second one.
        consumer.cancel().await;
        if next.is_none() {
            // It may have come at the last moment.
            next = timeout(TAKEN_WITHIN, consumer.next()).await.ok().flatten();
        }
        match next {
            Some(taken) => Ok(Some((consumer, taken?))),
            None => Ok(None),
        }
    }

    async fn decide(&self, delivery: Delivery, alone: OwnedRwLockWriteGuard<()>) {
        let group = Arc::clone(&self.assignment.borrow().group);
        let crashes = wire::crashes(&delivery.received, group.queue.as_str());
        let verdict = judge(crashes, delivery.received.redelivered, self.limit);
        let handling = Handling::new(
            Arc::clone(&group),
            Arc::clone(&self.context),
            Arc::clone(&self.watch),
            Instant::now(),
            None,
        );
        match verdict {
            Verdict::Try => self.handle_alone(handling.alone(alone), delivery, crashes).await,
            Verdict::Count(crashes) => {
                drop(alone);
                let info = handling.info(delivery.received.clone(), Arc::clone(delivery.lost()));
                tracing::warn!(
                    event_id = wire::event_id(info.received()).as_deref(),
                    event_type = info.origin().event_type,
                    routing_key = info.origin().routing_key,
                    queue = info.queue(),
                    crashes,
                    "a process ended while it handled the event alone; it is handled alone once more"
                );
                let copy = [Copy::Suspect { crashes }];
                self.settle(delivery, handling.send(&copy, &info)).await;
            }
            Verdict::Condemned(crashes) => {
                drop(alone);
                let info = handling.info(delivery.received.clone(), Arc::clone(delivery.lost()));
                let attempts = wire::attempts(info.received(), info.queue());
                let letters = dead_letters(&group, &attempts, crashes);
                self.settle(delivery, handling.send(&letters, &info)).await;
            }
        }
    }

    /// Acknowledges a suspect once what stands for it is on the broker. Otherwise it comes again.
    async fn settle(&self, delivery: Delivery, sending: impl Future<Output = Sent>) {
        if let Ok(Sent::Confirmed) = timeout(SENT_WITHIN, sending).await {
            delivery.settle(Settlement::Ack);
        }
    }

    /// Handles a suspect. When it is not settled then, because the program stops or a layer has no room, it
    /// goes back as it was, by a copy: given back it would look as if a process had ended over it.
    async fn handle_alone(&self, handling: Handling, delivery: Delivery, crashes: u32) {
        let lost = Arc::clone(delivery.lost());
        let (mut received, settle) = delivery.split();
        // It was in somebody's hand before.
        received.redelivered = true;
        let settle = Arc::new(Mutex::new(Some(settle)));
        let settling = {
            let settle = Arc::clone(&settle);
            move |settlement| {
                if settlement == Settlement::Requeue {
                    return true;
                }
                let settle = settle.lock().unwrap_or_else(PoisonError::into_inner).take();
                settle.is_some_and(|settle| settle(settlement))
            }
        };
        let kill = self.context.kill.clone();
        tokio::select! {
            biased;
            () = kill.cancelled() => {}
            _ = handling.handle_received(received.clone(), lost.clone(), settling) => {}
        }
        let left = settle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(settle) = left
            && !lost.is_cancelled()
        {
            let back = Copy::Suspect { crashes: crashes.max(1) };
            let info = handling.info(received, lost);
            if let Ok(Sent::Confirmed) =
                timeout(SENT_WITHIN, handling.send_although_killed(&back, &info)).await
            {
                settle(Settlement::Ack);
            }
            tokio::select! {
                () = self.over.cancelled() => {}
                () = sleep(REST) => {}
            }
        }
    }
}
