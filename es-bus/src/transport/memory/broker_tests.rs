//! The state machine under random operations, against a ledger of what has to be in it.
//!
//! The topology loses nothing by its own rules: what a queue does not keep ends in `dlq`. So every
//! copy that was stored and neither acknowledged nor purged has to be in exactly one place.

use proptest::prelude::*;

use super::*;
use crate::model::{DeadLetter, DeadLetterStrategy, ExchangeKind, Overflow, QueueKind};

/// One thing that somebody does to the broker.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { target: Target, ttl_ms: Option<u16> },
    Consume { queue: usize, prefetch: u16 },
    Settle { consumer: usize, delivery: usize, settlement: Settlement },
    Cancel { consumer: usize },
    Close { consumer: usize },
    Disconnect,
    Purge { queue: usize },
    Wait { ms: u16 },
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Work,
    Retry,
    Copy,
    Fan,
}

const QUEUES: [&str; 4] = ["work", "retry", "copy", "dlq"];

fn step() -> impl Strategy<Value = Step> {
    let target = prop_oneof![Just(Target::Work), Just(Target::Retry), Just(Target::Copy), Just(Target::Fan)];
    let settlement = prop_oneof![
        4 => Just(Settlement::Ack),
        2 => Just(Settlement::Requeue),
        1 => Just(Settlement::Reject)
    ];
    prop_oneof![
        8 => (target, proptest::option::weighted(0.3, 0..500_u16))
            .prop_map(|(target, ttl_ms)| Step::Publish { target, ttl_ms }),
        2 => (0..QUEUES.len(), 1..4_u16).prop_map(|(queue, prefetch)| Step::Consume { queue, prefetch }),
        8 => (any::<usize>(), any::<usize>(), settlement)
            .prop_map(|(consumer, delivery, settlement)| Step::Settle { consumer, delivery, settlement }),
        1 => any::<usize>().prop_map(|consumer| Step::Cancel { consumer }),
        1 => any::<usize>().prop_map(|consumer| Step::Close { consumer }),
        1 => Just(Step::Disconnect),
        1 => (0..QUEUES.len()).prop_map(|queue| Step::Purge { queue }),
        4 => (0..400_u16).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A consumer as its owner sees it.
struct Client {
    id: ConsumerId,
    queue: usize,
    mailbox: mpsc::UnboundedReceiver<Mail>,
    held: Vec<(u64, String)>,
}

struct Bench {
    broker: Broker,
    connection: ConnectionId,
    now: Instant,
    clients: Vec<Client>,
    /// Copies that have to be in the broker, by the body.
    stored: BTreeMap<String, usize>,
    published: usize,
    /// The last body that left `copy` for the first time: nothing overtakes there.
    last_of_copy: Option<String>,
}

impl Bench {
    fn new(kind: QueueKind, overflow: Overflow) -> Self {
        let now = Instant::now();
        let mut broker = Broker::new(now, SystemTime::UNIX_EPOCH);
        let (connection, _link) = broker.connect();
        let exchange = |name: &str| ExchangeName::new(name).unwrap();
        for name in ["fan", "in", "dlx"] {
            broker.declare_exchange(&Exchange::durable(exchange(name), ExchangeKind::Fanout)).unwrap();
        }
        let plain = |name: &str| Queue::durable(QueueName::new(name).unwrap(), kind);
        let dead =
            |to: &str, strategy| Some(DeadLetter { exchange: exchange(to), routing_key: None, strategy });
        let retry = Queue {
            dead_letter: dead("in", DeadLetterStrategy::AtLeastOnce),
            overflow: Some(Overflow::RejectPublish),
            message_ttl: Some(Duration::from_millis(300)),
            ..Queue::durable(QueueName::new("retry").unwrap(), QueueKind::Quorum)
        };
        let work = Queue {
            dead_letter: dead("dlx", DeadLetterStrategy::AtMostOnce),
            max_length: Some(4),
            overflow: Some(overflow),
            delivery_limit: (kind == QueueKind::Quorum).then_some(3),
            ..plain("work")
        };
        let copy = Queue { dead_letter: dead("dlx", DeadLetterStrategy::AtMostOnce), ..plain("copy") };
        for queue in [work, retry, copy, plain("dlq")] {
            broker.declare_queue(connection, &queue, now).unwrap();
        }
        for (from, to) in [("fan", "work"), ("fan", "copy"), ("in", "work"), ("dlx", "dlq")] {
            let binding = Binding::by_key(exchange(from), QueueName::new(to).unwrap(), "");
            broker.bind(connection, &binding).unwrap();
        }
        broker.run(now);
        Self {
            broker,
            connection,
            now,
            clients: Vec::new(),
            stored: BTreeMap::new(),
            published: 0,
            last_of_copy: None,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish { target, ttl_ms } => self.publish(target, ttl_ms),
            Step::Consume { queue, prefetch } => {
                let request = ConsumeRequest {
                    queue: QueueName::new(QUEUES[queue]).unwrap(),
                    tag: String::new(),
                    prefetch,
                    exclusive: false,
                    may_hold: 0,
                    offset: None,
                };
                let (id, mailbox, _lost) = self.broker.consume(self.connection, &request, self.now).unwrap();
                self.clients.push(Client { id, queue, mailbox, held: Vec::new() });
            }
            Step::Settle { consumer, delivery, settlement } => self.settle(consumer, delivery, settlement),
            Step::Cancel { consumer } => {
                if let Some(client) = pick(&mut self.clients, consumer) {
                    self.broker.cancel(client.id, self.now);
                }
            }
            Step::Close { consumer } => {
                if !self.clients.is_empty() {
                    let client = self.clients.swap_remove(consumer % self.clients.len());
                    self.broker.close_consumer(client.id, self.now);
                }
            }
            Step::Disconnect => {
                self.broker.drop_clients(self.connection, "the test", self.now);
                self.clients.clear();
            }
            Step::Purge { queue } => {
                let name = QueueName::new(QUEUES[queue]).unwrap();
                let there = self.broker.queue_named(QUEUES[queue]).unwrap();
                let ready: Vec<String> = there.ready().map(body_of).collect();
                let purged = self.broker.purge(self.connection, &name).unwrap();
                assert_eq!(purged, ready.len() as u64);
                ready.into_iter().for_each(|body| self.forget(&body));
            }
            Step::Wait { ms } => self.now += Duration::from_millis(u64::from(ms)),
        }
        self.broker.run(self.now);
        self.read_mail();
        self.check();
    }

    fn publish(&mut self, target: Target, ttl_ms: Option<u16>) {
        let body = format!("{:05}", self.published);
        self.published += 1;
        let (exchange, key, copies) = match target {
            Target::Work => (ExchangeName::default_exchange(), "work", 1),
            Target::Retry => (ExchangeName::default_exchange(), "retry", 1),
            Target::Copy => (ExchangeName::default_exchange(), "copy", 1),
            Target::Fan => (ExchangeName::new("fan").unwrap(), "", 2),
        };
        let mut message = Message { body: body.clone().into(), ..Message::default() };
        message.properties.expiration = ttl_ms.map(|ms| ms.to_string().into());
        let publication =
            Publication { exchange, routing_key: key.into(), message, mandatory: true, lane: None };
        let copies = match self.broker.publish(&publication, self.now) {
            Ok(()) => copies,
            // `work` is the only queue that refuses.
            Err(PublishError::Refused { .. }) => copies - 1,
            Err(error) => panic!("{error}"),
        };
        if copies > 0 {
            self.stored.insert(body, copies);
        }
    }

    fn settle(&mut self, consumer: usize, delivery: usize, settlement: Settlement) {
        let Some(client) = pick(&mut self.clients, consumer) else { return };
        if client.held.is_empty() {
            return;
        }
        let (tag, body) = client.held.swap_remove(delivery % client.held.len());
        let is_lost = match settlement {
            Settlement::Ack => true,
            // `dlq` has no dead-letter exchange, and a rejection in `retry` goes to `work` like the rest.
            Settlement::Reject => QUEUES[client.queue] == "dlq",
            Settlement::Requeue => false,
        };
        assert!(self.broker.settle(client.id, tag, settlement, self.now));
        if is_lost {
            self.forget(&body);
        }
    }

    fn forget(&mut self, body: &str) {
        let count = self.stored.get_mut(body).expect("it is in the ledger");
        *count -= 1;
        if *count == 0 {
            self.stored.remove(body);
        }
    }

    fn read_mail(&mut self) {
        for client in &mut self.clients {
            while let Ok(Mail::Delivery(dispatch)) = client.mailbox.try_recv() {
                let received = dispatch.received();
                let body = String::from_utf8(received.message.body.to_vec()).unwrap();
                if QUEUES[client.queue] == "copy" && !received.redelivered {
                    assert!(self.last_of_copy.as_ref() < Some(&body), "{body} was overtaken");
                    self.last_of_copy = Some(body.clone());
                }
                client.held.push((dispatch.tag, body));
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let broker = &self.broker;
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = |body: String| *found.entry(body).or_default() += 1;
        let mut pending = 0;
        assert_eq!(broker.queue_ids.len(), broker.queues.len());
        for (name, id) in &broker.queue_ids {
            let queue = &broker.queues[id];
            queue.ready().map(body_of).for_each(&mut count);
            queue.letters.iter().map(|letter| text_of(&letter.routed)).for_each(&mut count);
            pending += queue.len() + queue.letters.len() + queue.unsettled;
            let with_consumers: usize = broker
                .consumers
                .values()
                .filter(|consumer| consumer.queue == *id)
                .map(|consumer| consumer.unsettled.len())
                .sum();
            assert_eq!(queue.unsettled, with_consumers, "{name}");
            let is_served = queue.consumers.iter().all(|id| {
                let consumer = &broker.consumers[id];
                consumer.unsettled.len() >= consumer.prefetch
            });
            assert!(queue.len() == 0 || is_served, "{name}: a consumer waits beside a ready message");
            assert!(queue.head_expiry().is_none_or(|at| at > self.now), "{name}: an expired head");
            assert_eq!(queue.listed_due, queue.due(), "{name}");
            assert!(queue.due().is_none_or(|due| broker.due.contains(&(due, *id))), "{name}");
            assert!(!queue.is_dirty, "{name}");
            assert_eq!(broker.holding.contains(id), !queue.letters.is_empty(), "{name}");
            if queue.settings.overflow != OverflowMode::DropHead && name.as_str() == "work" {
                // What comes back may stand above the limit; what is new may not.
                let new = queue.ready().filter(|entry| !entry.redelivered).count();
                assert!(new <= 4, "{new} in {name}");
            }
        }
        let [retry, work] = ["retry", "work"].map(|name| broker.queue_named(name).unwrap());
        assert!(retry.letters.is_empty() || work.refuses(5), "a dead letter is held beside free room");
        for consumer in broker.consumers.values() {
            assert!(consumer.unsettled.len() <= consumer.prefetch);
            consumer.unsettled.values().map(body_of).for_each(&mut count);
        }
        assert_eq!(found, self.stored, "a copy is missing, or is there twice");
        for client in &self.clients {
            let mut tags: Vec<u64> = client.held.iter().map(|(tag, _)| *tag).collect();
            tags.sort_unstable();
            let theirs: Vec<u64> = broker.consumers[&client.id].unsettled.keys().copied().collect();
            assert_eq!(tags, theirs, "what a consumer holds is what the broker says");
        }
        let said = broker.pending();
        assert_eq!(said.ready + said.unsettled + said.scheduled + said.parked + said.held, pending);
    }
}

fn pick(clients: &mut [Client], at: usize) -> Option<&mut Client> {
    let count = clients.len();
    clients.get_mut(at.checked_rem(count)?)
}

fn body_of(entry: &Entry) -> String {
    text_of(&entry.routed)
}

fn text_of(routed: &Routed) -> String {
    String::from_utf8(routed.message.body.to_vec()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_message_is_in_one_place_and_in_order(
        is_quorum in any::<bool>(),
        drops_head in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let kind = if is_quorum { QueueKind::Quorum } else { QueueKind::Classic };
        let overflow = if drops_head { Overflow::DropHead } else { Overflow::RejectPublish };
        let mut bench = Bench::new(kind, overflow);
        for step in steps {
            bench.take(step);
        }

        // Whatever happened: once nobody holds anything, nothing is left that only time can move.
        bench.take(Step::Disconnect);
        for _ in 0..3 {
            bench.take(Step::Wait { ms: 1000 });
        }
        let pending = bench.broker.pending();
        prop_assert_eq!((pending.ready, pending.unsettled, pending.scheduled), (0, 0, 0));
    }
}
