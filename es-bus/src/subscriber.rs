//! Handlers without an attribute: closures, functions and objects.
//!
//! In comes a value of the program; out goes what the attribute would have said of it: which events
//! it takes, what it needs, and a [`Call`] that runs it. The arguments are extractors, as those of a
//! `#[handler]` are. Next: the bus, which puts it into a group while it runs.

use std::{fmt, future::Future, sync::Arc};

use crate::{
    blocking::call_blocking,
    const_check::{check_event_argument, check_one_event},
    event::EventKind,
    extract::{FromDelivery, Input, Need},
    handler::{Call, Invocation},
    outcome::{HandlerError, IntoOutcome, Outcome},
};

/// An `async fn`, or a closure that returns a future, whose arguments are one event and any number
/// of extractors.
///
/// # Examples
///
/// ```
/// use es_bus::{HandlerFn, Metadata, RawEvent};
///
/// fn takes<Args>(handler: impl HandlerFn<Args>) {
///     drop(handler);
/// }
///
/// takes(|event: RawEvent| async move { println!("{}", event.routing_key) });
/// takes(|metadata: Metadata, event: RawEvent| async move {
///     println!("{} {:?}", metadata.event_id, event.json::<serde_json::Value>()?);
///     Ok::<(), serde_json::Error>(())
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle events",
    label = "not an async function of an event",
    note = "write `|order: OrderPlaced| async move {{ .. }}`, with up to eight arguments: one event (a type marked `#[event]`, `Envelope<T>` or `RawEvent`) and extractors",
    note = "it returns `()`, `Result<(), E>`, `Emit<T>` or `Result<Emit<T>, E>`; its future has to be `Send`; a function that is not async goes to `subscribe_blocking`"
)]
pub trait HandlerFn<Args>: Send + Sync + 'static {
    /// What the arguments are.
    const INPUTS: &'static [Input];

    /// What has to be provided.
    fn needs(needs: &mut Vec<Need>);

    /// The events that its result may publish.
    fn emits(kinds: &mut Vec<&'static EventKind>);

    /// Runs it.
    fn into_call(self) -> Call;
}

/// A function or closure that is not async: it runs on tokio's blocking pool. Its arguments are as
/// those of a [`HandlerFn`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle events",
    label = "not a function of an event",
    note = "write `|order: OrderPlaced| {{ .. }}`, with up to eight arguments: one event (a type marked `#[event]`, `Envelope<T>` or `RawEvent`) and extractors",
    note = "it returns `()`, `Result<(), E>`, `Emit<T>` or `Result<Emit<T>, E>`; an async one goes to `subscribe`"
)]
pub trait BlockingFn<Args>: Send + Sync + 'static {
    /// What the arguments are.
    const INPUTS: &'static [Input];

    /// What has to be provided.
    fn needs(needs: &mut Vec<Need>);

    /// The events that its result may publish.
    fn emits(kinds: &mut Vec<&'static EventKind>);

    /// Runs it.
    fn into_call(self) -> Call;
}

/// An object that takes several events: a projection, say.
///
/// # Examples
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use es_bus::{HandlerError, Subscriber, event};
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// #[event(aggregate = "Order")]
/// #[derive(Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { order_id: String, total: u64 },
///     OrderShipped { order_id: String },
/// }
///
/// #[derive(Default)]
/// struct OrderStatistics {
///     revenue: AtomicU64,
///     shipped: AtomicU64,
/// }
///
/// impl Subscriber for OrderStatistics {
///     type Events = OrderEvent;
///
///     async fn handle(&self, event: OrderEvent) -> Result<(), HandlerError> {
///         match event {
///             OrderEvent::OrderPlaced { total, .. } => self.revenue.fetch_add(total, Relaxed),
///             OrderEvent::OrderShipped { .. } => self.shipped.fetch_add(1, Relaxed),
///         };
///         Ok(())
///     }
/// }
/// ```
pub trait Subscriber: Send + Sync + 'static {
    /// What it takes: an event set, one event, an [`Envelope`](crate::Envelope) of either, or
    /// [`RawEvent`](crate::RawEvent).
    type Events: FromDelivery + 'static;

    /// Handles one event.
    ///
    /// # Errors
    ///
    /// As of any handler: the event comes again, unless the error says otherwise.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the timeout, and when the process ends.
    fn handle(&self, event: Self::Events) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// What an attribute would have said.
pub(crate) struct Described {
    /// What it goes by, where nobody names it.
    pub(crate) name: &'static str,
    /// The events that it takes; `None` for raw ones.
    pub(crate) kinds: Option<&'static [EventKind]>,
    /// What has to be provided.
    pub(crate) needs: Vec<Need>,
    /// The events that its result may publish.
    pub(crate) emits: Vec<&'static EventKind>,
    /// Runs it.
    pub(crate) call: Call,
}

impl fmt::Debug for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

impl Described {
    pub(crate) fn function<F: HandlerFn<Args>, Args>(function: F) -> Self {
        const { check_inputs(F::INPUTS) };
        let (mut needs, mut emits) = (Vec::new(), Vec::new());
        F::needs(&mut needs);
        F::emits(&mut emits);
        Self::new(F::INPUTS, needs, emits, function.into_call())
    }

    pub(crate) fn blocking<F: BlockingFn<Args>, Args>(function: F) -> Self {
        const { check_inputs(F::INPUTS) };
        let (mut needs, mut emits) = (Vec::new(), Vec::new());
        F::needs(&mut needs);
        F::emits(&mut emits);
        Self::new(F::INPUTS, needs, emits, function.into_call())
    }

    pub(crate) fn object<S: Subscriber>(subscriber: Arc<S>) -> Self {
        const { check_inputs(&[S::Events::INPUT]) };
        let mut needs = Vec::new();
        S::Events::needs(&mut needs);
        let call = Call::Shared(Arc::new(move |invocation: Invocation| {
            let subscriber = Arc::clone(&subscriber);
            Box::pin(async move {
                match S::Events::from_delivery(&invocation).await {
                    Ok(event) => subscriber.handle(event).await.into_outcome(&invocation),
                    Err(error) => Outcome::Failed(error),
                }
            })
        }));
        Self::new(&[S::Events::INPUT], needs, Vec::new(), call)
    }

    fn new(inputs: &[Input], needs: Vec<Need>, emits: Vec<&'static EventKind>, call: Call) -> Self {
        let event = inputs.iter().find_map(|input| match input {
            Input::Event { name, kinds } => Some((*name, *kinds)),
            Input::Raw | Input::Side => None,
        });
        match event {
            Some((_, kinds @ [kind])) => Self { name: kind.name, kinds: Some(kinds), needs, emits, call },
            Some((name, kinds)) => Self { name, kinds: Some(kinds), needs, emits, call },
            None => Self { name: "RawEvent", kinds: None, needs, emits, call },
        }
    }
}

/// One of the arguments is the event. Asked when the program is compiled.
const fn check_inputs(inputs: &[Input]) {
    check_event_argument(inputs);
    let mut index = 1;
    while index < inputs.len() {
        check_one_event(inputs, index);
        index += 1;
    }
}

macro_rules! functions {
    ($($($argument:ident)+;)+) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, R, $($argument,)+> HandlerFn<($($argument,)+)> for F
        where
            F: Fn($($argument),+) -> R + Send + Sync + 'static,
            R: Future<Output: IntoOutcome> + Send,
            $($argument: FromDelivery + 'static,)+
        {
            const INPUTS: &'static [Input] = &[$($argument::INPUT),+];

            fn needs(needs: &mut Vec<Need>) {
                $($argument::needs(needs);)+
            }

            fn emits(kinds: &mut Vec<&'static EventKind>) {
                <R::Output as IntoOutcome>::emits(kinds);
            }

            fn into_call(self) -> Call {
                let function = Arc::new(self);
                Call::Shared(Arc::new(move |invocation: Invocation| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        $(
                            #[expect(non_snake_case, reason = "one name for type and value")]
                            let $argument = match $argument::from_delivery(&invocation).await {
                                Ok(argument) => argument,
                                Err(error) => return Outcome::Failed(error),
                            };
                        )+
                        function($($argument),+).await.into_outcome(&invocation)
                    })
                }))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F, R, $($argument,)+> BlockingFn<($($argument,)+)> for F
        where
            F: Fn($($argument),+) -> R + Send + Sync + 'static,
            R: IntoOutcome,
            $($argument: FromDelivery + 'static,)+
        {
            const INPUTS: &'static [Input] = &[$($argument::INPUT),+];

            fn needs(needs: &mut Vec<Need>) {
                $($argument::needs(needs);)+
            }

            fn emits(kinds: &mut Vec<&'static EventKind>) {
                R::emits(kinds);
            }

            fn into_call(self) -> Call {
                let function = Arc::new(self);
                Call::Shared(Arc::new(move |invocation: Invocation| {
                    let function = Arc::clone(&function);
                    Box::pin(async move {
                        $(
                            #[expect(non_snake_case, reason = "one name for type and value")]
                            let $argument = match $argument::from_delivery(&invocation).await {
                                Ok(argument) => argument,
                                Err(error) => return Outcome::Failed(error),
                            };
                        )+
                        call_blocking(move || function($($argument),+).into_outcome(&invocation)).await
                    })
                }))
            }
        }
    )+};
}

functions! {
    A1;
    A1 A2;
    A1 A2 A3;
    A1 A2 A3 A4;
    A1 A2 A3 A4 A5;
    A1 A2 A3 A4 A5 A6;
    A1 A2 A3 A4 A5 A6 A7;
    A1 A2 A3 A4 A5 A6 A7 A8;
}
