//! Pulls single messages (`basic.get`) over a channel of its own on the consuming connection.

use std::{future::Future, sync::Arc, time::Duration};

use lapin::{
    Channel,
    options::{BasicAckOptions, BasicGetOptions},
    types::ShortString,
};
use tokio::time::timeout;

use super::{
    classify,
    connect::{Session, Sessions},
    convert,
};
use crate::{
    handler::BoxFuture,
    name::QueueName,
    transport::{ConsumeError, Pull, Pulled},
};

/// How long the broker has to answer that a channel ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a channel to pull over.
pub(super) async fn open(sessions: Sessions, queue: &QueueName) -> Result<Box<dyn Pull>, ConsumeError> {
    let session = sessions.current().map_err(|reason| ConsumeError::Interrupted { reason })?;
    let short = convert::short("the name of the queue", queue.as_str()).map_err(|error| {
        let reason = format!("{} has {} bytes, at most {}", error.what, error.size, error.limit);
        ConsumeError::Refused { queue: queue.to_string(), reason }
    })?;
    let queue = queue.to_string();
    // A task of its own: a call that is dropped leaves no channel to lapin's destructor.
    let opening = tokio::spawn(async move {
        let channel = unless_lost(&session, session.connection.create_channel())
            .await?
            .map_err(|error| classify::consume(&error, &queue))?;
        Ok(Puller { queue, short, channel: Some(channel), session })
    });
    let puller =
        opening.await.unwrap_or_else(|join| Err(ConsumeError::Interrupted { reason: join.to_string() }))?;
    Ok(Box::new(puller))
}

struct Puller {
    queue: String,
    short: ShortString,
    /// Gone once it is closed.
    channel: Option<Channel>,
    session: Arc<Session>,
}

impl Puller {
    fn channel(&self) -> Result<&Channel, ConsumeError> {
        self.channel.as_ref().ok_or_else(|| ConsumeError::Interrupted { reason: "it is closed".to_owned() })
    }

    async fn get(&self) -> Result<Option<Pulled>, ConsumeError> {
        let get = self.channel()?.basic_get(self.short.clone(), BasicGetOptions { no_ack: false });
        let got = unless_lost(&self.session, get).await?;
        let got = got.map_err(|error| classify::consume(&error, &self.queue))?;
        Ok(got.map(|message| {
            let tag = message.delivery.delivery_tag;
            Pulled { received: convert::received(message.delivery), tag }
        }))
    }

    async fn tell(&self, tag: u64) -> Result<(), ConsumeError> {
        let ack = self.channel()?.basic_ack(tag, BasicAckOptions { multiple: false });
        let told = unless_lost(&self.session, ack).await?;
        told.map_err(|error| classify::consume(&error, &self.queue))
    }

    /// Closes the channel, once.
    async fn shut(&mut self) -> Result<(), ConsumeError> {
        let Some(channel) = self.channel.take() else { return Ok(()) };
        let close = timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into()));
        match unless_lost(&self.session, close).await? {
            Ok(closed) => closed.map_err(|error| classify::consume(&error, &self.queue)),
            Err(_elapsed) => {
                Err(ConsumeError::Interrupted { reason: "the broker does not answer".to_owned() })
            }
        }
    }
}

impl Pull for Puller {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pulled>, ConsumeError>> {
        Box::pin(self.get())
    }

    fn ack(&mut self, tag: u64) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(self.tell(tag))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), ConsumeError>> {
        Box::pin(async move { self.shut().await })
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take() else { return };
        // Not left to lapin's destructor: one that fails ends the connection. Where there is no
        // runtime any more, the connection ends as well.
        if channel.status().connected()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let _ = timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into())).await;
            });
        }
    }
}

/// What the broker answers, or that the connection is gone.
async fn unless_lost<T>(session: &Session, answer: impl Future<Output = T>) -> Result<T, ConsumeError> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        () = session.lost.cancelled() => Err(ConsumeError::Interrupted { reason: session.reason() }),
    }
}
