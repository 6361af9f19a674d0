//! Many events at once, with a report on each.

use std::{collections::HashSet, fmt, future::IntoFuture};

use super::{
    AnyEvent, Failed, Prepared, Publish, PublishError, PublishReport, Publisher,
    lanes::{Done, Lane, Lanes},
    publisher::Patience,
};
use crate::{event::Event, handler::BoxFuture, telemetry::Counters};

/// Several events on their way: `.await` it to publish them.
///
/// # Examples
///
/// Events of several types, one with something said of it:
///
/// ```
/// # use es_bus::{event::Event, Publisher, PublishReport};
/// # async fn example<A: Event, B: Event>(publisher: &Publisher, placed: &A, shipped: &B) -> Result<(), PublishReport> {
/// let ids = publisher
///     .publish_all([publisher.publish(placed), publisher.publish(shipped).aggregate_version(2)])
///     .in_order()
///     .await
///     .into_result()?;
///
/// assert_eq!(ids.len(), 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is published until this is awaited"]
pub struct PublishAll<'a> {
    publisher: &'a Publisher,
    events: Box<dyn Iterator<Item = Publish<'a>> + Send + 'a>,
    in_order: bool,
}

impl fmt::Debug for PublishAll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishAll").field("in_order", &self.in_order).finish_non_exhaustive()
    }
}

impl<'a> PublishAll<'a> {
    pub(super) fn new<I>(publisher: &'a Publisher, events: I) -> Self
    where
        I: IntoIterator<IntoIter: Send + 'a, Item: BatchItem<'a>>,
    {
        let events = events.into_iter().map(|event| event.into_publish(publisher));
        Self { publisher, events: Box::new(events), in_order: false }
    }

    /// One after the other, whatever their aggregates: each waits until the broker has confirmed the
    /// one before, and the first that fails holds back all behind it.
    ///
    /// Slower by far: one event per round trip to the broker.
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }
}

impl<'a> IntoFuture for PublishAll<'a> {
    type Output = PublishReport;
    type IntoFuture = BoxFuture<'a, PublishReport>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { publisher, events, in_order } = self;
        let all: Lane = Some(0);
        // Encoded when their turn is near, so that a long list is not held twice.
        let events = events.map(move |event| {
            let lane = if in_order { all } else { event.lane() };
            (lane, event.prepare())
        });
        Box::pin(async move {
            let report = publish_all(publisher.clone(), events).await;
            if report.total() > 0 {
                let counters = publisher.counters();
                Counters::add(&counters.batches);
                counters.batch_published.add(report.published.len() as u64);
                counters.batch_failures.add(u64::from(!report.is_complete()));
            }
            report
        })
    }
}

/// Publishes prepared events, as many at once as a batch may have under way.
pub(super) async fn publish_all(
    publisher: Publisher,
    events: impl Iterator<Item = (Lane, Result<Prepared, PublishError>)>,
) -> PublishReport {
    let window = publisher.settings().batch.max(1);
    let mut report = PublishReport::default();
    let mut lanes = Lanes::new(publisher, Patience::Once);
    let mut stopped: HashSet<Lane> = HashSet::new();
    let mut events = events.enumerate();
    let mut under_way = 0;
    loop {
        while under_way < window {
            let Some((index, (lane, event))) = events.next() else { break };
            match event {
                _ if stopped.contains(&lane) => report.failed.push(Failed::held_back(index)),
                Ok(event) => {
                    lanes.push(lane, index, event);
                    under_way += 1;
                }
                Err(error) => {
                    stopped.insert(lane);
                    report.failed.push(Failed { index, id: None, error: Some(error) });
                }
            }
        }
        let Some(Done { lane, tag: index, event_id, result }) = lanes.next().await else { break };
        under_way -= 1;
        match result {
            Ok(()) => {
                report.published.push((index, event_id));
                lanes.go_on(lane);
            }
            Err(error) => {
                stopped.insert(lane);
                report.failed.push(Failed { index, id: Some(event_id), error: Some(error) });
                for (index, _) in lanes.give_back(lane) {
                    under_way -= 1;
                    report.failed.push(Failed::held_back(index));
                }
            }
        }
    }
    report.published.sort_unstable_by_key(|(index, _)| *index);
    report.failed.sort_unstable_by_key(|failed| failed.index);
    report.chunks = report.total().div_ceil(window);
    report
}

/// What [`publish_all`](Publisher::publish_all) takes a list of: references to events, of one type or
/// as [`AnyEvent`], or [`Publish`]es with something said of each.
#[diagnostic::on_unimplemented(
    message = "a list of `{Self}` cannot be published",
    label = "not a reference to an event",
    note = "give `publish_all` references: `&orders`, or `orders.iter()`; for events of several types `[publisher.publish(&placed), publisher.publish(&shipped)]`, or `&Vec<Box<dyn AnyEvent>>`"
)]
pub trait BatchItem<'a> {
    /// The event with what is said of it.
    fn into_publish(self, publisher: &'a Publisher) -> Publish<'a>;
}

impl<'a, E: Event> BatchItem<'a> for &'a E {
    fn into_publish(self, publisher: &'a Publisher) -> Publish<'a> {
        Publish::new(publisher, self)
    }
}

impl<'a> BatchItem<'a> for &'a dyn AnyEvent {
    fn into_publish(self, publisher: &'a Publisher) -> Publish<'a> {
        Publish::new(publisher, self)
    }
}

impl<'a> BatchItem<'a> for &'a Box<dyn AnyEvent> {
    fn into_publish(self, publisher: &'a Publisher) -> Publish<'a> {
        Publish::new(publisher, &**self)
    }
}

impl<'a> BatchItem<'a> for Publish<'a> {
    fn into_publish(self, _: &'a Publisher) -> Publish<'a> {
        self
    }
}
