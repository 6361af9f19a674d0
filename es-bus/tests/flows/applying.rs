//! A plan that is applied ends whole, wherever its process is killed, and by however many it is applied at once.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Bus, Registry, event, exchange, group, handler,
    model::{Binding, Exchange, ExchangeBinding, Observed, Queue},
    name::{ExchangeName, QueueName},
    plan::{Applied, Outcome, PlanOptions},
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Link, Publication, Publish,
        PublishError, QueueStatus, Transport, memory::Memory,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[exchange(name = "shop")]
struct Shop;
#[exchange(name = "audit", from(Shop, "Order.#"))]
struct Audit;
#[exchange(name = "shards", kind = "consistent-hash", from(Shop, "Order.#"))]
struct Shards;

#[event(aggregate = "Order", exchange = Shop)]
#[derive(Serialize, Deserialize)]
struct Placed {}
#[event(aggregate = "Order", exchange = Shop)]
#[derive(Serialize, Deserialize)]
struct Shipped {}

#[group(name = "left", exchange = Shards)]
struct Left;
/// Beside which the other one has a share.
#[group(name = "right", exchange = Shards)]
struct Right;
#[group(name = "auditors", exchange = Audit)]
struct Auditors;

#[handler(group = "stock", retries = 1)]
async fn reserve(_order: Placed) {}
#[handler(group = "stock", retries = 1)]
async fn release(_order: Shipped) {}
#[handler(group = Left, retries = 1)]
async fn share(_order: Placed) {}
#[handler(group = Right, retries = 1)]
async fn share_too(_order: Placed) {}
#[handler(group = Auditors, bind = "Order.*", retries = 1)]
async fn audit(_event: es_bus::RawEvent) {}

/// What the program declares now, and what it declared before: another weight, a binding and a group more.
fn bus(transport: Arc<dyn Transport>, is_now: bool) -> Bus {
    let registry = Registry::new().event::<Shipped>().handler::<reserve>();
    let registry = registry.handler::<share>().handler::<share_too>();
    let (registry, weight) = match is_now {
        true => (registry, "5"),
        false => (registry.handler::<release>().handler::<audit>(), "1"),
    };
    let bus = Bus::builder().without_environment().transport(transport).registry(registry);
    let bus = bus.set("program", "shop").set("retry_ladder", "none").set_for_group("left", "weight", weight);
    bus.build().unwrap_or_else(|error| panic!("{error:?}"))
}

/// Brings a broker to what the program declares, and prunes what is left over.
async fn brought(transport: Arc<dyn Transport>, is_now: bool) -> Applied {
    let bus = bus(transport, is_now);
    let plan = bus.plan_with(&prune(is_now)).await.unwrap();
    bus.apply(&plan).await.unwrap_or_else(|error| panic!("{error:?}"))
}

fn prune(is_now: bool) -> PlanOptions {
    if is_now { PlanOptions::new().prune() } else { PlanOptions::new() }
}

/// Applies, and is killed at a point: the call under way never returns, and the connection is cut.
async fn killed(broker: &Memory, kill_at: usize, is_now: bool) -> Option<Applied> {
    let connection = broker.reconnect();
    let kill = Arc::new(Notify::new());
    let mortal = Mortal { on: connection.clone(), left: kill_at.into(), kill: Arc::clone(&kill) };
    let applied = tokio::select! {
        biased;
        () = kill.notified() => None,
        applied = brought(Arc::new(mortal), is_now) => Some(applied),
    };
    connection.faults().cut_link_for(Duration::from_secs(3600));
    applied
}

/// Whether a broker has what is declared, nothing else, and the next plan nothing to do.
async fn is_whole(broker: &Memory, is_now: bool, when: &str) {
    let bus = bus(Arc::new(broker.reconnect()), is_now);
    let plan = bus.plan_with(&prune(is_now)).await.unwrap();
    assert_eq!(plan.outcome(), Outcome::Nothing, "{when}: {plan}");
    let observed = bus.observe().await.unwrap();
    let wanted = bus.topology();
    let queues: Vec<&str> = wanted.queues().map(|queue| queue.name.as_str()).collect();
    let there: Vec<&String> = observed.queues.keys().filter(|queue| *queue != "es-bus.owned.shop").collect();
    assert_eq!(there, queues, "{when}");
    let bindings = observed.bindings.unwrap().len();
    assert_eq!(bindings, wanted.bindings().count() + wanted.exchange_bindings().count(), "{when}");
    // Two that wrote the first one at once wrote two, which count together until the next write.
    let record = &observed.queues["es-bus.owned.shop"];
    assert!(matches!((record.ready, record.unacknowledged), (Some(1 | 2), Some(0))), "{when}: {record:?}");
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_is_made_anew_and_goes_on() {
    for is_now in [false, true] {
        let mut kills = 0;
        loop {
            let broker = Memory::new();
            if is_now {
                brought(Arc::new(broker.reconnect()), false).await;
            }
            let first = killed(&broker, kills, is_now).await;

            let then = brought(Arc::new(broker.reconnect()), is_now).await;

            assert!(then.is_complete(), "killed at {kills}: {:?}", then.refused);
            is_whole(&broker, is_now, &format!("killed at {kills}")).await;
            if first.is_some() {
                break;
            }
            // What is pruned is done one by one, what is declared side by side.
            kills += if is_now { 1 } else { 3 };
        }
        assert!(kills > 40, "each call has a point before and one after it: {kills}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_at_once_come_to_the_same() {
    for is_now in [false, true] {
        for ahead in 0..12 {
            let broker = Memory::new();
            if is_now {
                brought(Arc::new(broker.reconnect()), false).await;
            }
            // Both have planned before either begins, and one is so many calls ahead.
            let never = || Arc::new(Notify::new());
            let slow = || Mortal { on: broker.reconnect(), left: usize::MAX.into(), kill: never() };
            let (one, other) = (bus(Arc::new(slow()), is_now), bus(Arc::new(slow()), is_now));
            let (first, second) = (
                one.plan_with(&prune(is_now)).await.unwrap(),
                other.plan_with(&prune(is_now)).await.unwrap(),
            );

            let late = async {
                for _ in 0..ahead {
                    tokio::task::yield_now().await;
                }
                other.apply(&second).await
            };
            let (first, second) = tokio::join!(one.apply(&first), late);

            for applied in [first, second] {
                let applied = applied.unwrap_or_else(|error| panic!("{ahead} ahead: {error:?}"));
                assert!(applied.is_complete(), "{ahead} ahead: {:?}", applied.refused);
            }
            is_whole(&broker, is_now, &format!("{ahead} ahead")).await;
        }
    }
}

/// A broker that answers after a while, and whose process is killed before or after one of its calls is done.
struct Mortal {
    on: Memory,
    left: AtomicUsize,
    kill: Arc<Notify>,
}

impl Mortal {
    async fn live(&self) {
        tokio::task::yield_now().await;
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.kill.notify_one();
            pending::<()>().await;
        }
    }
}

macro_rules! mortally {
    ($self:ident, $answer:expr) => {
        Box::pin(async move {
            $self.live().await;
            let answer = $answer.await;
            $self.live().await;
            answer
        })
    };
}

impl Transport for Mortal {
    fn describe(&self) -> String {
        self.on.describe()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.on.link()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.on.close()
    }
}

impl Admin for Mortal {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.declare_exchange(exchange))
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.declare_queue(queue))
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.bind(binding))
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.unbind(binding))
    }

    fn bind_exchange<'a>(&'a self, binding: &'a ExchangeBinding) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.bind_exchange(binding))
    }

    fn unbind_exchange<'a>(
        &'a self,
        binding: &'a ExchangeBinding,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.unbind_exchange(binding))
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.delete_queue(queue))
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.delete_exchange(exchange))
    }

    fn delete_idle_queue<'a>(
        &'a self,
        queue: &'a QueueName,
        classic: bool,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.delete_idle_queue(queue, classic))
    }

    fn delete_unused_exchange<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        mortally!(self, self.on.delete_unused_exchange(exchange))
    }

    fn exchange_exists<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<bool, DeclareError>> {
        mortally!(self, self.on.exchange_exists(exchange))
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>> {
        mortally!(self, self.on.queue_status(queue))
    }

    fn observe<'a>(
        &'a self,
        exchanges: &'a [ExchangeName],
        queues: &'a [QueueName],
    ) -> BoxFuture<'a, Result<Observed, DeclareError>> {
        mortally!(self, self.on.observe(exchanges, queues))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>> {
        mortally!(self, self.on.purge(queue))
    }
}

impl Publish for Mortal {
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>> {
        mortally!(self, self.on.publish(publication))
    }
}

impl Consume for Mortal {
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>> {
        mortally!(self, self.on.consume(request))
    }
}
