//! Consuming: a stream of deliveries, and the channel that settles them.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Memory,
    broker::{ConsumerId, Mail},
    connect::Shared,
};
use crate::{
    handler::BoxFuture,
    transport::{Consume, ConsumeError, ConsumeRequest, Consumer, Delivery, Settle, Settlement},
};

impl Consume for Memory {
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>> {
        Box::pin(async move {
            let connection = &self.connection;
            let (id, mailbox, lost) =
                connection.shared.with(|broker, now| match broker.link_fault(connection.id) {
                    None => broker.consume(connection.id, &request, now),
                    Some(fault) => Err(ConsumeError::Interrupted { reason: fault.reason().to_owned() }),
                })?;
            let channel =
                Arc::new(Channel { shared: Arc::clone(&connection.shared), id, lost: Arc::new(lost) });
            let reader = Reader { mailbox, channel: Arc::clone(&channel) };
            let deliveries = stream::unfold(reader, |mut reader| async move {
                let mail = reader.mailbox.recv().await?;
                let item = reader.read(mail);
                Some((item, reader))
            });
            Ok(Consumer::new(deliveries.boxed(), channel))
        })
    }
}

/// The reading end; dropping it cancels the consumer.
struct Reader {
    mailbox: mpsc::UnboundedReceiver<Mail>,
    channel: Arc<Channel>,
}

impl Reader {
    fn read(&self, mail: Mail) -> Result<Delivery, ConsumeError> {
        match mail {
            Mail::Delivery(dispatch) => {
                let channel: Arc<dyn Settle> = Arc::<Channel>::clone(&self.channel);
                Ok(Delivery::new(dispatch.received(), dispatch.tag, channel))
            }
            Mail::End(error) => Err(error),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channel.stop();
    }
}

/// A channel with one consumer. It closes with the last of its deliveries, when nobody closed it.
struct Channel {
    shared: Arc<Shared>,
    id: ConsumerId,
    lost: Arc<CancellationToken>,
}

impl Channel {
    fn stop(&self) {
        self.shared.with(|broker, now| broker.cancel(self.id, now));
    }

    fn end(&self) {
        self.shared.with(|broker, now| broker.close_consumer(self.id, now));
    }
}

impl Settle for Channel {
    fn settle(&self, tag: u64, settlement: Settlement) -> bool {
        self.shared.with(|broker, now| broker.settle(self.id, tag, settlement, now))
    }

    fn lost(&self) -> &Arc<CancellationToken> {
        &self.lost
    }

    // What is settled costs nothing here, one by one or together.
    fn held(&self) -> usize {
        0
    }

    fn leave(&self) {}

    fn has_left(&self) -> bool {
        false
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.stop() })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.end() })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.end();
    }
}
