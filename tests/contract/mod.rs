//! The contract of a transport: what every broker does, in cases that run on each of them.
//!
//! A case is a function over a [`Fixture`]; [`contract!`] makes a test of each, most of them for
//! classic and for quorum queues. Cases wait on conditions, so they take no time on a paused clock
//! and as long as it needs on a server. `contract_memory.rs` and `contract_rabbitmq.rs` say how a
//! fixture is made:
//!
//! ```ignore
//! #[macro_use]
//! mod contract;
//!
//! async fn setup(kind: QueueKind) -> Fixture {
//!     Fixture::new(transport, kind).keeping(vhost)
//! }
//!
//! contract!(#[tokio::test] setup);
//! ```

pub(crate) mod consuming;
pub(crate) mod content;
pub(crate) mod dead_letters;
pub(crate) mod declaring;
pub(crate) mod limits;
pub(crate) mod publishing;
pub(crate) mod routing;
pub(crate) mod streams;

use std::{any::Any, borrow::Cow, sync::Arc, time::Duration};

use es_bus::{
    message::Message,
    model::{Binding, Exchange, ExchangeKind, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{
        ConsumeRequest, Consumer, Delivery, Publication, PublishError, QueueStatus, Settlement, Transport,
    },
};
use tokio::time::timeout;

/// Makes a test of every case: `contract!(#[tokio::test] setup)`, where `setup` is an
/// `async fn(QueueKind) -> Fixture` of the calling module.
macro_rules! contract {
    (#[$test:meta] $setup:ident) => {
        contract_cases! { #[$test] $setup; both_kinds;
            consuming: [
                keeps_the_order,
                is_bounded_by_the_prefetch,
                an_ack_makes_room_for_the_next,
                two_consumers_share,
                a_requeued_message_comes_back_redelivered,
                close_gives_back_in_order,
                consumers_closed_one_after_the_other_give_back_in_order,
                a_settlement_after_close_says_so,
                a_delivery_knows_when_its_channel_is_gone,
                cancel_ends_the_stream_and_leaves_the_rest,
                a_deleted_queue_ends_its_consumer,
                there_is_no_consumer_of_a_missing_queue,
                one_active_consumer_at_a_time,
            ]
            content: [
                every_property_survives,
                every_type_of_header_survives,
                every_type_of_header_survives_a_redelivery,
                headers_that_are_no_utf8_survive,
                bodies_of_all_sizes_survive,
            ]
            dead_letters: [
                a_rejected_message_carries_its_death,
                a_rejected_message_without_exchange_is_dropped,
                takes_a_dead_letter_key_or_keeps_its_own,
                expires_by_its_own_ttl_and_loses_it,
                expires_by_the_ttl_of_the_queue,
                the_shorter_ttl_counts,
                a_ttl_of_zero_expires_at_once,
                expires_at_the_head_of_the_queue_only,
                comes_back_through_the_retry_layout_with_its_key,
                a_cycle_without_a_rejection_ends,
                a_missing_exchange_loses_dead_letters_and_nothing_else,
                a_second_death_stands_first,
            ]
            declaring: [
                declares_again_without_harm,
                binds_twice_and_delivers_once,
                unbinds_what_is_not_there,
                an_unbound_queue_gets_nothing_more,
                names_the_setting_of_a_queue_that_differs,
                ignores_arguments_that_nobody_knows,
                refuses_to_bind_what_is_missing,
                deletes_queues_and_their_bindings,
                deletes_only_a_queue_that_is_idle_where_that_is_asked,
                removes_only_while_it_has_the_lock,
                purges_what_is_ready,
                status_counts_ready_messages_and_consumers,
                an_unused_queue_expires,
            ]
            limits: [
                drops_the_oldest_beyond_the_length,
                drops_the_oldest_beyond_the_bytes,
                what_is_dropped_for_length_is_dead_lettered,
                a_full_queue_refuses_until_there_is_room,
                one_full_queue_of_a_fanout_refuses_though_others_store,
            ]
            publishing: [
                a_mandatory_message_without_queue_is_returned,
                a_message_without_queue_is_dropped_when_nobody_asks,
                there_is_no_publishing_to_a_missing_exchange,
                refuses_an_expiration_that_is_no_number,
                publishes_of_many_tasks_arrive_once_each,
                cc_and_bcc_route_copies,
            ]
        }
        contract_cases! { #[$test] $setup; one_kind;
            consuming_of_one_kind: [
                an_exclusive_consumer_is_alone,
                an_auto_delete_queue_goes_with_its_last_consumer,
                higher_priorities_come_first,
            ]
            dead_letters_of_one_kind: [
                a_delivery_limit_ends_redelivery,
                at_least_once_waits_for_a_target,
                at_least_once_waits_for_room,
            ]
            declaring_of_one_kind: [
                names_the_setting_of_an_exchange_that_differs,
                refuses_what_a_kind_of_queue_cannot_be,
                knows_an_exchange_of_whatever_kind,
                deletes_only_an_exchange_that_nothing_is_bound_to_where_that_is_asked,
                is_observed_as_far_as_it_tells,
                the_link_is_up_and_closes,
            ]
            limits_of_one_kind: [
                refuses_and_dead_letters_beyond_the_length,
            ]
            publishing_of_one_kind: [
                no_verdict_is_wrong_among_a_thousand_at_once,
                an_alternate_exchange_takes_what_is_unroutable,
                an_internal_exchange_takes_no_publishes,
                a_key_that_amqp_cannot_carry_is_too_large,
            ]
            streams: [
                a_stream_is_read_again_from_any_place,
                a_delivery_of_a_stream_says_where_it_stands,
                next_is_what_comes_from_then_on,
                an_offset_that_is_not_there_yet_is_waited_for,
                whatever_is_said_of_it_makes_room_and_brings_nothing_back,
                the_prefetch_bounds_a_reader,
                readers_of_a_stream_share_nothing,
                a_deleted_stream_ends_its_reader,
                a_stream_is_never_idle_with_something_in_it,
                refuses_what_a_stream_cannot_be,
                a_time_that_has_not_come_waits_for_what_comes,
            ]
            routing_of_one_kind: [
                direct_compares_the_key,
                fanout_ignores_the_key,
                the_default_exchange_names_the_queue,
                headers_match_all_or_any,
                headers_match_by_presence_and_ignore_own_names,
                topic_agrees_with_the_matcher,
                several_matching_bindings_deliver_one_copy,
                exchanges_bound_to_exchanges_bring_one_copy_to_each_queue,
                an_exchange_that_gives_to_another_keeps_from_its_alternate_one,
                a_consistent_hash_gives_each_value_to_one_queue,
                a_weight_that_changed_counts_once_both_bindings_were_made_anew,
            ]
        }
    };
}

/// The tests of some cases; the front door is [`contract!`].
macro_rules! contract_cases {
    (#[$test:meta] $setup:ident; both_kinds; $($module:ident: [$($case:ident),* $(,)?])*) => {$(
        mod $module {$(
            mod $case {
                #[$test]
                async fn classic() {
                    let fixture = crate::$setup(es_bus::model::QueueKind::Classic).await;
                    Box::pin(crate::contract::$module::$case(&fixture)).await;
                }

                #[$test]
                async fn quorum() {
                    let fixture = crate::$setup(es_bus::model::QueueKind::Quorum).await;
                    Box::pin(crate::contract::$module::$case(&fixture)).await;
                }
            }
        )*}
    )*};
    (#[$test:meta] $setup:ident; one_kind; $($module:ident: [$($case:ident),* $(,)?])*) => {$(
        mod $module {$(
            #[$test]
            async fn $case() {
                let fixture = crate::$setup(es_bus::model::QueueKind::Classic).await;
                Box::pin(crate::contract::$module::$case(&fixture)).await;
            }
        )*}
    )*};
}

pub(crate) use self::{
    consuming as consuming_of_one_kind, dead_letters as dead_letters_of_one_kind,
    declaring as declaring_of_one_kind, limits as limits_of_one_kind, publishing as publishing_of_one_kind,
    routing as routing_of_one_kind,
};

/// How long a case waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker for one case, and short ways to talk to it.
///
/// Names are unique within the process; a fixture over a server shared by several processes brings
/// a virtual host of its own.
pub(crate) struct Fixture {
    pub(crate) transport: Arc<dyn Transport>,
    /// The kind of the queues that [`Fixture::queue`] makes.
    pub(crate) kind: QueueKind,
    prefix: String,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A fixture over a transport that is up.
    pub(crate) fn new(transport: Arc<dyn Transport>, kind: QueueKind) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("case{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self { transport, kind, prefix, kept: None }
    }

    /// Keeps something until the case has ended: a virtual host, a node.
    #[must_use]
    #[allow(dead_code, reason = "the in-process broker has nothing to keep")]
    pub(crate) fn keeping(mut self, kept: impl Any + Send + Sync) -> Self {
        self.kept = Some(Box::new(kept));
        self
    }

    /// A queue of the case's kind, not declared yet.
    pub(crate) fn queue(&self, name: &str) -> Queue {
        self.queue_of(self.kind, name)
    }

    /// A queue of a kind, not declared yet.
    pub(crate) fn queue_of(&self, kind: QueueKind, name: &str) -> Queue {
        let name = QueueName::new(format!("{}.{name}", self.prefix)).expect("a legal name");
        Queue::durable(name, kind)
    }

    /// A name for an exchange, not declared yet.
    pub(crate) fn exchange_name(&self, name: &str) -> ExchangeName {
        ExchangeName::new(format!("{}.{name}", self.prefix)).expect("a legal name")
    }

    /// Declares a queue.
    pub(crate) async fn declare(&self, queue: &Queue) -> QueueName {
        self.transport.declare_queue(queue).await.expect("the queue is declared");
        queue.name.clone()
    }

    /// Declares a queue of the case's kind without further settings.
    pub(crate) async fn plain(&self, name: &str) -> QueueName {
        self.declare(&self.queue(name)).await
    }

    /// Declares an exchange.
    pub(crate) async fn exchange(&self, name: &str, kind: ExchangeKind) -> ExchangeName {
        let exchange = Exchange::durable(self.exchange_name(name), kind);
        self.transport.declare_exchange(&exchange).await.expect("the exchange is declared");
        exchange.name
    }

    /// Binds.
    pub(crate) async fn bind(&self, exchange: &ExchangeName, queue: &QueueName, key: &str) {
        let binding = Binding::by_key(exchange.clone(), queue.clone(), key);
        self.transport.bind(&binding).await.expect("the queue is bound");
    }

    /// Publishes.
    pub(crate) async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        timeout(PATIENCE, self.transport.publish(&publication)).await.expect("the broker answers")
    }

    /// Publishes a text, mandatory.
    pub(crate) async fn publish_to(
        &self,
        exchange: &ExchangeName,
        key: &str,
        body: &str,
    ) -> Result<(), PublishError> {
        self.publish(publication(exchange, key, text(body))).await
    }

    /// Publishes a message to one queue.
    pub(crate) async fn send_message(&self, queue: &QueueName, message: Message) {
        let publication = publication(&ExchangeName::default_exchange(), queue.as_str(), message);
        self.publish(publication).await.expect("the queue takes it");
    }

    /// Publishes texts to one queue, one after the other.
    pub(crate) async fn send(&self, queue: &QueueName, bodies: &[&str]) {
        for body in bodies {
            self.send_message(queue, text(body)).await;
        }
    }

    /// What a consumer asks for here.
    pub(crate) fn request(&self, queue: &QueueName, prefetch: u16) -> ConsumeRequest {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let tag = format!("{}.{}", self.prefix, COUNT.fetch_add(1, Ordering::Relaxed));
        ConsumeRequest { queue: queue.clone(), tag, prefetch, exclusive: false, may_hold: 0, offset: None }
    }

    /// Starts a consumer.
    pub(crate) async fn consume(&self, queue: &QueueName, prefetch: u16) -> Consumer {
        let request = self.request(queue, prefetch);
        self.transport.consume(request).await.expect("the consumer starts")
    }

    /// How full a queue is; `None` when it is not there.
    pub(crate) async fn status(&self, queue: &QueueName) -> Option<QueueStatus> {
        self.transport.queue_status(queue).await.expect("the queue can be looked at")
    }

    /// Waits until so many messages are ready in a queue.
    pub(crate) async fn wait_for_messages(&self, queue: &QueueName, count: u64) {
        self.wait_for_status(queue, "messages", count, |status| status.messages).await;
    }

    /// Waits until a queue has so many consumers; quorum queues count late.
    pub(crate) async fn wait_for_consumers(&self, queue: &QueueName, count: u64) {
        self.wait_for_status(queue, "consumers", count, |status| status.consumers).await;
    }

    async fn wait_for_status(
        &self,
        queue: &QueueName,
        what: &str,
        expected: u64,
        count: impl Fn(QueueStatus) -> u64,
    ) {
        let mut last = None;
        let reached = timeout(PATIENCE, async {
            loop {
                last = self.status(queue).await.map(&count);
                if last == Some(expected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(reached.await.is_ok(), "{queue} has {last:?} {what}, expected {expected}");
    }

    /// Takes all that is in a queue, in order.
    pub(crate) async fn contents(&self, queue: &QueueName) -> Vec<String> {
        self.send(queue, &[END]).await;
        let mut consumer = self.consume(queue, 100).await;
        let mut bodies = Vec::new();
        loop {
            let body = take(&mut consumer).await;
            if body == END {
                consumer.close().await;
                return bodies;
            }
            bodies.push(body);
        }
    }
}

/// A mandatory publication.
pub(crate) fn publication(exchange: &ExchangeName, key: &str, message: Message) -> Publication {
    Publication {
        exchange: exchange.clone(),
        routing_key: Cow::Owned(key.to_owned()),
        message,
        mandatory: true,
        lane: None,
    }
}

/// A message of a text.
pub(crate) fn text(body: &str) -> Message {
    Message { body: body.to_owned().into(), ..Message::default() }
}

/// A message that expires.
pub(crate) fn expiring(body: &str, after: Duration) -> Message {
    let mut message = text(body);
    message.properties.expiration = Some(after.as_millis().to_string().into());
    message
}

/// The text of a delivery.
pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.received.message.body).into_owned()
}

/// The next delivery.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    let next = timeout(PATIENCE, consumer.next()).await.expect("a delivery comes in time");
    next.expect("the stream goes on").expect("a delivery, not an error")
}

/// Acknowledges the next delivery and gives its text.
pub(crate) async fn take(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    let body = body(&delivery);
    assert!(delivery.settle(Settlement::Ack));
    body
}

/// Acknowledges the next deliveries and gives their texts.
pub(crate) async fn take_all(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(take(consumer).await);
    }
    bodies
}

/// The next deliveries, held.
pub(crate) async fn hold(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(consumer).await);
    }
    held
}

const END: &str = "the end of the queue";
