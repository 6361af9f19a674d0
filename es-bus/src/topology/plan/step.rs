//! The words of a plan.

use std::collections::BTreeSet;

use crate::{
    message::Headers,
    model::{
        Binding, BrokerInfo, Difference, Exchange, ExchangeBinding, ObservedPolicy, Policy, Queue, View,
    },
    name::{ExchangeName, QueueName},
};

/// What stands between a broker and what a program declares.
///
/// Prints as a report without colours, and serialises as one JSON object.
///
/// # Examples
///
/// ```standalone_crate
/// use es_bus::{Bus, plan::Outcome};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> es_bus::Result<()> {
/// let bus = Bus::builder().without_environment().url("memory://plans").exchange("shop").publish_only().build()?;
///
/// let plan = bus.plan().await?;
/// assert_eq!(plan.outcome(), Outcome::Changes);
/// assert!(plan.to_string().contains("+ exchange \"shop\" (topic, durable)"));
///
/// bus.apply(&plan).await?;
/// assert_eq!(bus.plan().await?.outcome(), Outcome::Nothing);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Which broker, without its password.
    pub broker: String,
    /// How it was looked at.
    pub view: View,
    /// What it is, where it told.
    pub info: Option<BrokerInfo>,
    /// The name under which it is kept what the program once declared.
    pub program: Option<String>,
    /// The steps, in the order in which they are done; first what stands in the way of all others.
    pub steps: Vec<Step>,
    /// What will be in the way one day, or is odd.
    pub warnings: Vec<Warning>,
    /// What could not be seen, and why: a sentence each.
    pub unseen: Vec<String>,
}

/// What a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// There is nothing to change, as far as was seen.
    Nothing,
    /// There are steps to be done.
    Changes,
    /// Something is in the way that cannot be changed in place.
    Conflict,
}

impl Outcome {
    /// The exit code of a command that shows a plan: 0, 2 or 3.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Changes => 2,
            Self::Conflict => 3,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Changes => "changes",
            Self::Conflict => "conflict",
        }
    }
}

impl Plan {
    /// What it comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.conflicts().next().is_some() {
            Outcome::Conflict
        } else if self.changes().next().is_some() {
            Outcome::Changes
        } else {
            Outcome::Nothing
        }
    }

    /// The exit code of a command that shows it: 0 for nothing to do, 2 for changes, 3 for a conflict.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.outcome().exit_code()
    }

    /// Whether the broker was seen to have exactly what is declared: nothing is to be changed, nothing in the way,
    /// nothing left over or made by hand, and nothing could not be seen.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.steps.is_empty()
    }

    /// What applying it changes.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.is_change())
    }

    /// What is in the way.
    pub fn conflicts(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.is_in_the_way())
    }

    /// What could not be seen, and is declared again when the plan is applied.
    pub fn unverified(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.action, Action::Unverified(_)))
    }

    /// What is on the broker, is not declared, and is left as it is.
    pub fn left(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.action, Action::Leave(_)))
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// How much can go wrong by it.
    pub risk: Risk,
    /// What it does to what is running.
    pub effect: String,
}

impl Step {
    pub(super) fn new(
        action: Action,
        reason: impl Into<String>,
        risk: Risk,
        effect: impl Into<String>,
    ) -> Self {
        Self { action, reason: reason.into(), risk, effect: effect.into() }
    }
}

/// How much can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Risk {
    /// Nothing that runs notices.
    None,
    /// Something that runs notices, and no message is lost.
    Low,
    /// Messages may be lost, or not delivered.
    High,
}

impl Risk {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Declares an exchange that is not there.
    CreateExchange(Exchange),
    /// Declares a queue that is not there.
    CreateQueue(Box<Queue>),
    /// Makes a binding that is not there.
    Bind(Binding),
    /// Removes a binding that must not be there, or that the program no longer declares.
    Unbind(Binding),
    /// Makes a binding of an exchange to an exchange that is not there.
    BindExchange(ExchangeBinding),
    /// Removes a binding of an exchange to an exchange that the program no longer declares.
    UnbindExchange(ExchangeBinding),
    /// Deletes a queue that the program no longer declares. One that has messages or consumers by then stays.
    DeleteQueue {
        /// Which one.
        queue: QueueName,
        /// Whether it is known to be a classic queue, of which the broker itself sees that it is idle.
        classic: bool,
        /// Whether what is in it goes with it.
        discard: bool,
    },
    /// Deletes an exchange that the program no longer declares, while nothing is bound to it.
    DeleteExchange(ExchangeName),
    /// Sets the policy that carries the limits of a queue, or changes it.
    SetPolicy {
        /// The policy.
        policy: Policy,
        /// What it sets now, where it is there.
        was: Option<Headers>,
    },
    /// Deletes the policy of a queue that wants none, or is gone.
    DeletePolicy {
        /// Its name.
        policy: String,
        /// The queue that it is for.
        queue: QueueName,
    },
    /// Nothing: other policies apply to the queue, and RabbitMQ applies one.
    PolicyBlocked {
        /// The policy that carries the limits of the queue.
        policy: Policy,
        /// The others, the highest priority first.
        others: Vec<ObservedPolicy>,
    },
    /// Nothing: it is there with other settings, and cannot be changed in place.
    Conflict {
        /// `exchange` or `queue`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Every setting that differs.
        differences: Vec<Difference>,
    },
    /// Nothing: it is not there, and the broker lacks the plugin that has exchanges of its kind.
    NeedsPlugin {
        /// The exchange.
        exchange: String,
        /// The plugin, as `rabbitmq-plugins enable` takes it.
        plugin: &'static str,
    },
    /// Nothing: it is what is declared, but messages of it are still elsewhere, as its migration was not ended.
    HalfMigrated {
        /// The queue.
        queue: String,
    },
    /// Nothing: a queue is there under a name that its group had, and has to be brought to the one of today first.
    Renamed {
        /// The queue under the former name.
        from: String,
        /// The queue of the group.
        to: String,
    },
    /// Does it although it may be done already, which changes nothing then: the broker does not tell.
    Unverified(Box<Action>),
    /// Nothing: it is there, and not declared.
    Leave(Left),
}

impl Action {
    /// Whether nothing is done before it is out of the way.
    pub(crate) const fn is_in_the_way(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::NeedsPlugin { .. }
                | Self::PolicyBlocked { .. }
                | Self::HalfMigrated { .. }
                | Self::Renamed { .. }
        )
    }

    /// Whether applying it changes the broker.
    pub(super) const fn is_change(&self) -> bool {
        match self {
            Self::CreateExchange(_)
            | Self::CreateQueue(_)
            | Self::Bind(_)
            | Self::Unbind(_)
            | Self::BindExchange(_)
            | Self::UnbindExchange(_)
            | Self::DeleteQueue { .. }
            | Self::DeleteExchange(_)
            | Self::SetPolicy { .. }
            | Self::DeletePolicy { .. } => true,
            Self::Conflict { .. }
            | Self::PolicyBlocked { .. }
            | Self::HalfMigrated { .. }
            | Self::Renamed { .. }
            | Self::NeedsPlugin { .. }
            | Self::Unverified(_)
            | Self::Leave(_) => false,
        }
    }
}

/// Something that is there, and is left as it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Left {
    /// A binding.
    Binding {
        /// The exchange.
        source: String,
        /// The queue.
        queue: String,
        /// The binding key.
        key: String,
        /// Its arguments.
        arguments: Headers,
        /// Whether the program once declared it.
        once_declared: bool,
    },
    /// A binding of an exchange to an exchange.
    ExchangeBinding {
        /// The exchange that messages come from.
        source: String,
        /// The exchange that they go to.
        destination: String,
        /// The binding key.
        key: String,
        /// Its arguments.
        arguments: Headers,
        /// Whether the program once declared it.
        once_declared: bool,
    },
    /// A queue that the program once declared.
    Queue(String),
    /// An exchange that the program once declared.
    Exchange(String),
    /// A queue under a name that its group had, which gets nothing any more, for the last replicas that consume it.
    Former {
        /// The queue under the former name.
        from: String,
        /// The queue of the group.
        to: String,
    },
    /// A policy that carries the limits of a queue that the program once declared.
    Policy(String),
}

/// Something to know, about which this plan does nothing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// What it is about: `queue "events.audit"`, say.
    pub about: String,
    /// What there is to know, and what would do.
    pub text: String,
}

/// What a plan may contain beside what is declared.
///
/// # Examples
///
/// ```
/// use es_bus::plan::PlanOptions;
///
/// // Removes what the program no longer declares, and the one queue with messages in it, too.
/// let options = PlanOptions::new().prune().discard("events.old-audit");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct PlanOptions {
    pub(crate) prune: bool,
    pub(crate) discard: BTreeSet<String>,
}

impl PlanOptions {
    /// Nothing but what is declared.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also removes bindings, queues and exchanges that this program once declared and no longer does: known
    /// by the record under the setting `program`. A queue that has messages or consumers stays.
    pub fn prune(mut self) -> Self {
        self.prune = true;
        self
    }

    /// Prunes this queue although it has messages, or may have some that the broker does not tell of. They are
    /// lost. A queue with consumers stays even so.
    pub fn discard(mut self, queue: impl Into<String>) -> Self {
        self.discard.insert(queue.into());
        self
    }
}
