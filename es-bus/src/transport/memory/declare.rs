//! Declarations, and looking at queues.

use super::{
    Memory,
    broker::{Broker, LinkFault},
};
use crate::{
    handler::BoxFuture,
    model::{Binding, Exchange, ExchangeBinding, Observed, Policy, Queue},
    name::{ExchangeName, QueueName},
    transport::{Admin, DeclareError, QueueStatus},
};

impl Admin for Memory {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = exchange.name.as_str();
        self.admin("exchange", name, |broker, _, _| broker.declare_exchange(exchange))
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = queue.name.as_str();
        self.admin("queue", name, |broker, connection, now| broker.declare_queue(connection, queue, now))
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = binding.queue.as_str();
        self.admin("binding", name, |broker, connection, _| broker.bind(connection, binding))
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = binding.queue.as_str();
        self.admin("binding", name, |broker, connection, _| broker.unbind(connection, binding))
    }

    fn bind_exchange<'a>(&'a self, binding: &'a ExchangeBinding) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = binding.destination.as_str();
        self.admin("binding", name, |broker, _, _| broker.bind_exchange(binding))
    }

    fn unbind_exchange<'a>(
        &'a self,
        binding: &'a ExchangeBinding,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        let name = binding.destination.as_str();
        self.admin("binding", name, |broker, _, _| broker.unbind_exchange(binding))
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("queue", queue.as_str(), |broker, connection, _| broker.delete_queue(connection, queue))
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("exchange", exchange.as_str(), |broker, _, _| broker.delete_exchange(exchange))
    }

    fn delete_idle_queue<'a>(
        &'a self,
        queue: &'a QueueName,
        _classic: bool,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("queue", queue.as_str(), |broker, connection, _| {
            broker.delete_idle_queue(connection, queue)
        })
    }

    fn delete_unused_exchange<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("exchange", exchange.as_str(), |broker, _, _| broker.delete_unused_exchange(exchange))
    }

    fn exchange_exists<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<bool, DeclareError>> {
        self.admin("exchange", exchange.as_str(), |broker, _, _| Ok(broker.has_exchange(exchange.as_str())))
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>> {
        self.admin("queue", queue.as_str(), |broker, connection, _| broker.queue_status(connection, queue))
    }

    fn takes_policies(&self) -> bool {
        true
    }

    fn put_policy<'a>(&'a self, policy: &'a Policy) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("policy", policy.name(), |broker, _, now| {
            broker.put_policy(policy, now);
            Ok(())
        })
    }

    fn delete_policy<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.admin("policy", name, |broker, _, now| {
            broker.delete_policy(name, now);
            Ok(())
        })
    }

    fn observe<'a>(
        &'a self,
        _exchanges: &'a [ExchangeName],
        _queues: &'a [QueueName],
    ) -> BoxFuture<'a, Result<Observed, DeclareError>> {
        // All that there is, as nothing here is hard to list.
        self.admin("queue", "", |broker, _, _| Ok(broker.observe()))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>> {
        self.admin("queue", queue.as_str(), |broker, connection, _| broker.purge(connection, queue))
    }
}

impl Memory {
    fn admin<'a, R: Send + 'a>(
        &'a self,
        what: &'static str,
        name: &'a str,
        act: impl FnOnce(&mut Broker, u64, tokio::time::Instant) -> Result<R, DeclareError> + Send + 'a,
    ) -> BoxFuture<'a, Result<R, DeclareError>> {
        Box::pin(async move {
            let connection = &self.connection;
            connection.shared.with(|broker, now| match broker.link_fault(connection.id) {
                None => act(broker, connection.id, now),
                Some(fault) => Err(DeclareError::Interrupted {
                    what,
                    name: name.to_owned(),
                    reason: fault.reason().to_owned(),
                }),
            })
        })
    }
}

impl LinkFault {
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "the connection to the in-process broker is closed",
            Self::Down => "the connection to the in-process broker is down",
        }
    }
}
