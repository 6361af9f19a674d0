//! How a broker is looked at: through its management API where there is one, else as its transport can.

use crate::{
    model::{Observed, ObservedQueue},
    name::{ExchangeName, QueueName},
    transport::{Admin, DeclareError},
};

/// What a broker is looked at with.
#[derive(Debug)]
pub(crate) enum Eyes {
    /// The connection itself; a reason for it, where another way would tell more.
    Transport {
        /// Why not through the management API.
        because: Option<String>,
    },
    /// The management API.
    #[cfg(feature = "management")]
    Management {
        /// Whom to ask.
        api: Box<crate::transport::amqp::management::Management>,
        /// Whether somebody named its address: then it has to answer.
        is_named: bool,
    },
}

/// A broker that could not be looked at.
#[derive(Debug)]
pub(crate) enum LookError {
    #[cfg(feature = "management")]
    Management(crate::transport::ManagementError),
    Transport(DeclareError),
}

impl Eyes {
    /// Looks at everything, or at these at least.
    pub(crate) async fn observe(
        &mut self,
        admin: &dyn Admin,
        exchanges: &[ExchangeName],
        queues: &[QueueName],
    ) -> Result<Observed, LookError> {
        #[cfg(feature = "management")]
        if let Self::Management { api, is_named } = self {
            match Box::pin(api.observe()).await {
                Ok(observed) => return Ok(observed),
                Err(error) if *is_named => return Err(LookError::Management(error)),
                // Its usual place was a guess. For what follows, too.
                Err(error) => *self = Self::Transport { because: Some(error.to_string()) },
            }
        }
        let mut observed = admin.observe(exchanges, queues).await.map_err(LookError::Transport)?;
        if let (Self::Transport { because: Some(because) }, None) = (&*self, &observed.bindings) {
            observed.unseen.push(because.clone());
        }
        Ok(observed)
    }

    /// Looks at one queue once more; `None` when it is gone.
    pub(crate) async fn queue(
        &self,
        admin: &dyn Admin,
        name: &QueueName,
    ) -> Result<Option<ObservedQueue>, LookError> {
        match self {
            #[cfg(feature = "management")]
            Self::Management { api, .. } => {
                Box::pin(api.queue(name.as_str())).await.map_err(LookError::Management)
            }
            Self::Transport { .. } => {
                let observed = admin.observe(&[], std::slice::from_ref(name)).await;
                let mut observed = observed.map_err(LookError::Transport)?;
                Ok(observed.queues.remove(name.as_str()))
            }
        }
    }
}

#[cfg(all(test, feature = "management"))]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::*;
    use crate::transport::{
        ManagementError,
        amqp::management::{Management, ManagementOptions},
        memory::Memory,
    };

    fn eyes(port: u16, is_named: bool) -> Eyes {
        let options = ManagementOptions {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
            prefix: String::new(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            timeout: Duration::from_secs(5),
        };
        Eyes::Management { api: Box::new(Management::new(options)), is_named }
    }

    #[tokio::test]
    async fn an_address_that_was_a_guess_may_be_nobodys_and_one_that_was_named_may_not() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (mut guessed, mut named) = (eyes(free, false), eyes(free, true));

        let seen = guessed.observe(&Memory::new(), &[], &[]).await;
        let refused = named.observe(&Memory::new(), &[], &[]).await;

        assert!(seen.is_ok(), "{seen:?}");
        let Eyes::Transport { because: Some(because) } = guessed else { panic!("{guessed:?}") };
        assert!(because.contains("cannot be reached"), "{because}");
        assert!(
            matches!(refused, Err(LookError::Management(ManagementError::Unreachable { .. }))),
            "{refused:?}"
        );
    }
}
