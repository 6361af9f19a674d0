//! How a broker is looked at: through its management API where there is one, else as its transport can.

use std::time::Duration;

use crate::{
    model::{Observed, ObservedPolicy, ObservedQueue, Policy, Topology},
    name::{ExchangeName, QueueName},
    transport::{Admin, DeclareError, no_policies},
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

/// How often, and after which pause, the management API is asked again that could not answer: it fails to list
/// queues of which one goes meanwhile (500, seen on RabbitMQ 3.10).
#[cfg(feature = "management")]
const TRIES: u32 = 5;
#[cfg(feature = "management")]
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(feature = "management")]
async fn persevering<'a, T>(
    // Boxed, and no `AsyncFn`: a task may hold this then.
    ask: impl Fn() -> crate::handler::BoxFuture<'a, Result<T, crate::transport::ManagementError>> + Send + Sync,
) -> Result<T, crate::transport::ManagementError> {
    for _ in 1..TRIES {
        match ask().await {
            Err(crate::transport::ManagementError::Failed { .. }) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    ask().await
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
            match persevering(|| Box::pin(api.observe())).await {
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

    /// Looks at exchanges, queues and bindings, at policies where they are asked for, and at nothing beside them: for
    /// who looks time and again.
    ///
    /// A management API that answered once has to answer from then on. To see less of the same broker would look as
    /// if it had changed.
    #[cfg_attr(
        not(feature = "management"),
        expect(unused_variables, reason = "without the management API they are seen, or are not")
    )]
    pub(crate) async fn survey(
        &mut self,
        admin: &dyn Admin,
        exchanges: &[ExchangeName],
        queues: &[QueueName],
        policies: bool,
    ) -> Result<Observed, LookError> {
        let because = match self {
            Self::Transport { because } => because.clone(),
            #[cfg(feature = "management")]
            Self::Management { api, is_named } => match Box::pin(api.survey(policies)).await {
                Ok(observed) => {
                    *is_named = true;
                    return Ok(observed);
                }
                Err(error) if *is_named => return Err(LookError::Management(error)),
                Err(error) => Some(error.to_string()),
            },
        };
        let mut observed = admin.observe(exchanges, queues).await.map_err(LookError::Transport)?;
        if let (Some(because), None) = (because, &observed.bindings) {
            observed.unseen.push(because);
        }
        Ok(observed)
    }

    /// How old what the management API tells of a queue may be, where it [lags](Self::lag): what consumers hold, and
    /// dead letters that are kept. The queue says so every five seconds, and the API asks for what was said every five.
    pub(crate) const LAG: Duration = Duration::from_secs(12);

    /// Whether counts may be seconds old.
    pub(crate) const fn lag(&self) -> bool {
        match self {
            Self::Transport { .. } => false,
            #[cfg(feature = "management")]
            Self::Management { .. } => true,
        }
    }

    /// Has an address that was a guess be one that has to answer: without it nothing can be done.
    pub(crate) fn insist(&mut self) {
        match self {
            Self::Transport { .. } => {}
            #[cfg(feature = "management")]
            Self::Management { is_named, .. } => *is_named = true,
        }
    }

    /// Whether policies can be set.
    pub(crate) fn takes_policies(&self, admin: &dyn Admin) -> bool {
        match self {
            Self::Transport { .. } => admin.takes_policies(),
            #[cfg(feature = "management")]
            Self::Management { .. } => true,
        }
    }

    /// The policies that are there, which are asked for on behalf of this one.
    pub(crate) async fn policies(
        &self,
        admin: &dyn Admin,
        of: &str,
    ) -> Result<Vec<ObservedPolicy>, DeclareError> {
        match self {
            Self::Transport { .. } if admin.takes_policies() => {
                Ok(admin.observe(&[], &[]).await?.policies.unwrap_or_default())
            }
            Self::Transport { .. } => Err(no_policies(of)),
            #[cfg(feature = "management")]
            Self::Management { api, .. } => {
                let policies = persevering(|| Box::pin(api.policies())).await;
                policies.map_err(|error| declined(of, &error))
            }
        }
    }

    /// Sets a policy, or replaces it.
    pub(crate) async fn put_policy(&self, admin: &dyn Admin, policy: &Policy) -> Result<(), DeclareError> {
        match self {
            Self::Transport { .. } => admin.put_policy(policy).await,
            #[cfg(feature = "management")]
            Self::Management { api, .. } => {
                Box::pin(api.put_policy(policy)).await.map_err(|error| declined(policy.name(), &error))
            }
        }
    }

    /// Deletes a policy; one that is not there does nothing.
    pub(crate) async fn delete_policy(&self, admin: &dyn Admin, name: &str) -> Result<(), DeclareError> {
        match self {
            Self::Transport { .. } => admin.delete_policy(name).await,
            #[cfg(feature = "management")]
            Self::Management { api, .. } => {
                Box::pin(api.delete_policy(name)).await.map_err(|error| declined(name, &error))
            }
        }
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
                let found = persevering(|| Box::pin(api.queue(name.as_str()))).await;
                found.map_err(LookError::Management)
            }
            Self::Transport { .. } => {
                let observed = admin.observe(&[], std::slice::from_ref(name)).await;
                let mut observed = observed.map_err(LookError::Transport)?;
                Ok(observed.queues.remove(name.as_str()))
            }
        }
    }
}

/// What the management API said against a policy, as what a broker says against a declaration. Pure.
#[cfg(feature = "management")]
fn declined(name: &str, error: &crate::transport::ManagementError) -> DeclareError {
    use crate::transport::ManagementError as No;

    let (what, name, reason) = ("policy", name.to_owned(), error.to_string());
    match error {
        No::Login { .. } | No::Forbidden { .. } => DeclareError::Forbidden { what, name, reason },
        No::Unreachable { .. } | No::TimedOut { .. } | No::Failed { status: 500.., .. } => {
            DeclareError::Unanswered { what, name, reason }
        }
        No::Failed { .. } | No::Tls { .. } | No::NoVirtualHost { .. } | No::NotAnApi { .. } => {
            DeclareError::Refused { what, name, reason }
        }
    }
}

/// The names to look for, each once: of all exchanges, and of the queues that are not of a single process.
pub(crate) fn shared_names(topologies: &[&Topology]) -> (Vec<ExchangeName>, Vec<QueueName>) {
    let mut exchanges: Vec<ExchangeName> =
        topologies.iter().flat_map(|it| it.exchanges()).map(|it| it.name.clone()).collect();
    let queues = topologies.iter().flat_map(|it| it.queues()).filter(|queue| !queue.exclusive);
    let mut queues: Vec<QueueName> = queues.map(|queue| queue.name.clone()).collect();
    for former in topologies.iter().flat_map(|it| it.formers()) {
        exchanges.extend(
            [former.entry(), former.retry(), former.marker()].iter().map(|it| ExchangeName::of_existing(it)),
        );
        queues.extend([former.old.clone(), former.old_dlq.clone()]);
    }
    exchanges.sort();
    exchanges.dedup();
    queues.sort();
    queues.dedup();
    (exchanges, queues)
}

#[cfg(all(test, feature = "management"))]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::*;
    use crate::{
        model::View,
        transport::{
            ManagementError,
            amqp::management::{Management, ManagementOptions},
            memory::Memory,
        },
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

    #[tokio::test]
    async fn who_looks_again_takes_no_smaller_view_once_the_api_has_answered() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut eyes = eyes(listener.local_addr().unwrap().port(), false);
        let api = tokio::spawn(async move {
            // It is late, then it answers each question of one look, then it is gone.
            drop(listener.accept().await.unwrap());
            let mut asked = String::new();
            for body in ["{\"rabbitmq_version\":\"3.10.8\"}", "[]", "[]", "[]"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                asked += String::from_utf8_lossy(&request[..length]).lines().next().unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let broker = Memory::new();

        let late = eyes.survey(&broker, &[], &[], false).await.unwrap();
        let there = eyes.survey(&broker, &[], &[], false).await.unwrap();
        let asked = api.await.unwrap();
        let gone = eyes.survey(&broker, &[], &[], false).await;

        assert_eq!(late.view, View::Memory, "a guess that nobody answers is let go, for this once");
        assert!(matches!(there.view, View::Management { .. }), "{there:?}");
        assert!(asked.contains("/api/queues/%2F?disable_stats=true&columns=name,"), "{asked}");
        assert!(matches!(gone, Err(LookError::Management(ManagementError::Unreachable { .. }))), "{gone:?}");
    }
}
