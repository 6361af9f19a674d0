//! RabbitMQ's management API: what AMQP does not tell of a broker, and policies, which AMQP cannot set.
//!
//! In comes an address and a login, out goes an [`Observed`]. `client` asks over HTTP, one connection per
//! question; `listing` reads the answers; `diagnosis` asks what only the doctor wants to know. Settings and bindings are what the broker has at that moment; counts
//! of messages and consumers are statistics, which queues send every five seconds.

mod client;
#[cfg(feature = "cli")]
mod diagnosis;
mod listing;

use std::{fmt, time::Duration};

use futures_util::future::try_join3;
use serde_json::Value as Json;

use self::client::Client;
#[cfg(feature = "cli")]
pub(crate) use self::diagnosis::{Diagnosis, Granted, NodeState};
use super::Tls;
use crate::{
    model::{Observed, ObservedPolicy, ObservedQueue, Policy, View, json},
    transport::ManagementError,
};

/// Where the management API is, and as whom to ask it.
#[derive(Clone)]
pub(crate) struct ManagementOptions {
    /// A name or an address, an IPv6 one without its brackets.
    pub(crate) host: String,
    /// The port, usually 15672.
    pub(crate) port: u16,
    /// How the connection is encrypted, when it is.
    pub(crate) tls: Option<Tls>,
    /// What stands before `/api`: empty, or `/rabbit`.
    pub(crate) prefix: String,
    /// The user.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: String,
    /// The virtual host that is looked at.
    pub(crate) vhost: String,
    /// How long one question may take, connecting included.
    pub(crate) timeout: Duration,
}

impl fmt::Debug for ManagementOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagementOptions({}, vhost {:?})", self.address(), self.vhost)
    }
}

impl ManagementOptions {
    /// The address without the password, for people.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let Self { user, port, prefix, .. } = self;
        match &*self.host {
            host if host.contains(':') => format!("{scheme}://{user}@[{host}]:{port}{prefix}"),
            host => format!("{scheme}://{user}@{host}:{port}{prefix}"),
        }
    }
}

/// The management API of one broker.
#[derive(Debug)]
pub(crate) struct Management {
    client: Client,
}

impl Management {
    /// Asks nothing yet.
    pub(crate) fn new(options: ManagementOptions) -> Self {
        Self { client: Client::new(options) }
    }

    /// Everything on the virtual host.
    ///
    /// What only an administrator or a monitoring user may read (plugins) is told as unseen to others.
    ///
    /// # Errors
    ///
    /// [`ManagementError`] when it does not answer, or the user may not read the virtual host.
    pub(crate) async fn observe(&self) -> Result<Observed, ManagementError> {
        let client = &self.client;
        let mut observed = Observed::new(View::Management { address: client.address() });
        // Alone and first: of everything that is wrong with the address or the login it says it best.
        let mut broker = listing::broker(&client.get("overview").await?)
            .ok_or_else(|| client.not_an_api("its overview names no version of RabbitMQ"))?;
        // Then one alone, which tells whether the user may see the virtual host.
        let exchanges = client.list("exchanges", listing::EXCHANGE).await?;
        let (queues, bindings, policies) = try_join3(
            client.list("queues", listing::QUEUE),
            client.list("bindings", listing::BINDING),
            client.list("policies", &[]),
        )
        .await?;
        observed.exchanges = exchanges.iter().filter_map(listing::exchange).collect();
        observed.queues = queues.iter().filter_map(listing::queue).collect();
        observed.bindings = Some(bindings.iter().filter_map(listing::binding).collect());
        observed.policies = Some(policies.iter().filter_map(listing::policy).collect());
        // What limits what a policy sets. Some brokers in a cloud do not tell it.
        let operators = client.list("operator-policies", &[]).await.ok();
        observed.operator_policies = operators.map(|all| all.iter().filter_map(listing::policy).collect());
        match client.get("nodes").await {
            Ok(nodes) => broker.plugins = Some(listing::plugins(&nodes)),
            Err(ManagementError::Forbidden { user, .. }) => observed.unseen.push(format!(
                "which plugins are enabled: user {user:?} has not the tag `monitoring` (`rabbitmqctl set_user_tags`)"
            )),
            Err(error) => return Err(error),
        }
        observed.broker = Some(broker);
        // Not before 3.13, and for administrators and monitoring users only.
        observed.deprecated =
            client.get("deprecated-features/used").await.ok().as_ref().map(listing::deprecated);
        Ok(observed)
    }

    /// Exchanges, queues and bindings of the virtual host, policies where they are asked for, and the version of the
    /// broker: what is asked time and again. Queues come without their statistics, which are most of what a list of
    /// them costs.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    pub(crate) async fn survey(&self, policies: bool) -> Result<Observed, ManagementError> {
        let client = &self.client;
        let mut observed = Observed::new(View::Management { address: client.address() });
        observed.broker = listing::broker(&client.get("overview").await?);
        // One after another: nobody waits for it.
        let exchanges = client.list("exchanges", listing::EXCHANGE).await?;
        let queues = client.list_plain("queues", listing::SETTINGS_OF_QUEUE).await?;
        let bindings = client.list("bindings", listing::BINDING).await?;
        if policies {
            observed.policies = Some(self.policies().await?);
        }
        observed.exchanges = exchanges.iter().filter_map(listing::exchange).collect();
        observed.queues = queues.iter().filter_map(listing::queue).collect();
        observed.bindings = Some(bindings.iter().filter_map(listing::binding).collect());
        Ok(observed)
    }

    /// The policies of the virtual host.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    pub(crate) async fn policies(&self) -> Result<Vec<ObservedPolicy>, ManagementError> {
        let policies = self.client.list("policies", &[]).await?;
        Ok(policies.iter().filter_map(listing::policy).collect())
    }

    /// Sets a policy, or replaces it.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe); when the user has not the tag `policymaker`.
    pub(crate) async fn put_policy(&self, policy: &Policy) -> Result<(), ManagementError> {
        let definition = json::of_table(&policy.definition).expect("limits are numbers and texts");
        let body = serde_json::json!({
            "pattern": policy.pattern(),
            "apply-to": Policy::APPLY_TO,
            "priority": Policy::PRIORITY,
            "definition": definition,
        });
        self.client.put("policies", policy.name(), &body).await
    }

    /// Deletes a policy; one that is not there does nothing.
    ///
    /// # Errors
    ///
    /// As [`put_policy`](Self::put_policy).
    pub(crate) async fn delete_policy(&self, name: &str) -> Result<(), ManagementError> {
        self.client.delete("policies", name).await
    }

    /// One queue, as it is now; `None` when there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    pub(crate) async fn queue(&self, name: &str) -> Result<Option<ObservedQueue>, ManagementError> {
        let queue: Option<Json> = self.client.get_queue(name).await?;
        Ok(queue.as_ref().and_then(listing::queue).map(|(_, queue)| queue))
    }
}
