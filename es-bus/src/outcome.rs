//! What became of one handler's run, and what that means for the event.
//!
//! A handler gives a [`Result`]; its error carries a [`Verdict`]. [`Outcome`] is what the worker
//! sees, [`decide`] turns it and the attempts so far into a [`Decision`], and the worker performs
//! that. Nothing here waits or talks to a broker.

use std::{
    any::Any,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    event::EventKind,
    handler::Invocation,
    retry::{RetryPolicy, spread},
};

/// An error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What one run of a handler came to.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The handler is done with the event.
    Done,
    /// The handler failed.
    Failed(HandlerError),
}

impl Outcome {
    /// Whether the handler succeeded.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Try again, by the handler's policy; dead-letter when its retries are spent.
    Retry,
    /// Try again, not before this much time has passed.
    RetryAfter(Duration),
    /// Dead-letter now: no retry can help.
    Reject,
    /// Forget the event for this handler; counted.
    Drop,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler, or an extractor, returned an error.
    Error,
    /// The handler panicked.
    Panic,
    /// The handler took longer than its timeout.
    Timeout,
    /// The body is not what the event says it is.
    Undecodable,
    /// The handler succeeded, but what had to be completed after it failed.
    Completion,
}

impl FailureKind {
    /// The name that headers and log fields carry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "handler_error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Undecodable => "undecodable",
            Self::Completion => "completion",
        }
    }
}

/// What an error type says about each of its values: retry, reject, drop.
///
/// Derived by `#[derive(Failure)]`, which asks for a verdict on every variant.
pub trait Failure: Error {
    /// What this failure asks for.
    fn verdict(&self) -> Verdict;
}

/// A handler's error: any error, with the verdict that it carries.
///
/// `?` makes one of every error, `anyhow::Error`, `String` and `&str` included. The verdict is
/// [`Verdict::Retry`] unless the error, or one in its source chain, derives `Failure`; the
/// constructors set it outright.
///
/// Like `anyhow::Error` it does not implement [`std::error::Error`], which is what lets `?` work.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use es_bus::{HandlerError, Verdict};
///
/// let busy = HandlerError::retry_after(Duration::from_secs(30), "the ledger is closed for the night");
/// assert_eq!(busy.verdict(), Verdict::RetryAfter(Duration::from_secs(30)));
///
/// let unknown: HandlerError = "no such order".into();
/// assert_eq!(unknown.verdict(), Verdict::Retry);
/// ```
pub struct HandlerError {
    verdict: Verdict,
    kind: FailureKind,
    type_name: &'static str,
    error: BoxError,
}

impl HandlerError {
    fn with(verdict: Verdict, error: impl Into<BoxError> + 'static) -> Self {
        Self { verdict, ..Self::from(error) }
    }

    /// Try again by the handler's policy, whatever the error says of itself.
    #[must_use]
    pub fn retry(error: impl Into<BoxError> + 'static) -> Self {
        Self::with(Verdict::Retry, error)
    }

    /// Try again, not before `delay` has passed.
    ///
    /// The delay goes in the rungs of the group's ladder and never fires early.
    #[must_use]
    pub fn retry_after(delay: Duration, error: impl Into<BoxError> + 'static) -> Self {
        Self::with(Verdict::RetryAfter(delay), error)
    }

    /// Dead-letter the event now.
    #[must_use]
    pub fn reject(error: impl Into<BoxError> + 'static) -> Self {
        Self::with(Verdict::Reject, error)
    }

    /// Forget the event for this handler; it is counted, not kept.
    #[must_use]
    pub fn drop_event(error: impl Into<BoxError> + 'static) -> Self {
        Self::with(Verdict::Drop, error)
    }

    /// The body is not what the event says it is: dead-lettered at once, bytes unchanged.
    #[must_use]
    pub fn undecodable(error: impl Into<BoxError> + 'static) -> Self {
        Self { verdict: Verdict::Reject, kind: FailureKind::Undecodable, ..Self::from(error) }
    }

    pub(crate) fn of_kind(kind: FailureKind, error: impl Into<BoxError> + 'static) -> Self {
        Self { kind, ..Self::retry(error) }
    }

    /// What a layer failed with: it may say for itself what it asks for, as a handler's error may.
    pub(crate) fn of_layer(error: BoxError) -> Self {
        Self { type_name: "LayerError", ..Self::from(error) }
    }

    /// What the failure asks for.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The name of the error's type, as the compiler gives it, without the path of its module.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            FailureKind::Error | FailureKind::Undecodable => self.type_name,
            FailureKind::Panic => "Panic",
            FailureKind::Timeout => "Timeout",
            FailureKind::Completion => "CompletionFailed",
        }
    }

    /// What is written of it, whatever its type does when it is asked.
    pub(crate) fn text(&self) -> String {
        catch_unwind(AssertUnwindSafe(|| self.to_string()))
            .unwrap_or_else(|_panic| format!("an error of type {} that cannot be written", self.type_name))
    }

    /// The error itself.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl<E: Into<BoxError> + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let type_name = short_type_name::<E>();
        let error = into_box(error);
        let verdict = verdict_in_chain(&*error).unwrap_or(Verdict::Retry);
        Self { verdict, kind: FailureKind::Error, type_name, error }
    }
}

/// The message, then each cause: `outer: inner: innermost`.
impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in chain(&*self.error).enumerate() {
            write!(f, "{}{error}", if depth == 0 { "" } else { ": " })?;
        }
        Ok(())
    }
}

/// An error and its causes. Bounded: one that gives itself as its source would go on for ever.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source()).take(64)
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("verdict", &self.verdict)
            .field("kind", &self.kind)
            .field("error", &format_args!("{self}"))
            .finish()
    }
}

/// Boxes an error so that its own type can still be found inside.
///
/// `anyhow::Error` without context turns into a box that hides the error it was made of; its
/// `reallocate_into_boxed_dyn_error_without_backtrace` gives the error itself.
fn into_box<E: Into<BoxError> + 'static>(error: E) -> BoxError {
    let mut slot = Some(error);
    if let Some(anyhow) = (&mut slot as &mut dyn Any).downcast_mut::<Option<anyhow::Error>>()
        && let Some(error) = anyhow.take()
    {
        return error.reallocate_into_boxed_dyn_error_without_backtrace();
    }
    slot.map_or_else(|| "the error is gone".into(), Into::into)
}

/// The last word of a type's path, without its parameters: `app::errors::Refused<T>` is `Refused`.
fn short_type_name<E>() -> &'static str {
    let full = std::any::type_name::<E>();
    let bare = full.split('<').next().unwrap_or(full);
    bare.rsplit("::").next().unwrap_or(bare)
}

/// Reads the verdict of an error, when the error is of the type that it looks for.
pub(crate) type VerdictOf = fn(&(dyn Error + 'static)) -> Option<Verdict>;

/// The verdict of the first error in the chain that derives `Failure`.
fn verdict_in_chain(error: &(dyn Error + 'static)) -> Option<Verdict> {
    chain(error).find_map(|error| crate::registry::failures().iter().find_map(|of| of(error)))
}

/// The verdict of an error that another wraps: that of the first in its chain that derives
/// `Failure`, else to retry.
#[must_use]
pub fn verdict_of_source(error: &(dyn Error + 'static)) -> Verdict {
    verdict_in_chain(error).unwrap_or(Verdict::Retry)
}

/// Sees an error as `dyn Error`, through a box or an `anyhow::Error` as well: the call goes
/// through `Deref` until it finds one of these.
pub trait AsDynError {
    /// The error.
    fn as_dyn_error(&self) -> &(dyn Error + 'static);
}

impl<E: Error + 'static> AsDynError for E {
    fn as_dyn_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsDynError for dyn Error + 'static {
    fn as_dyn_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsDynError for dyn Error + Send + 'static {
    fn as_dyn_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl AsDynError for dyn Error + Send + Sync + 'static {
    fn as_dyn_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not a handler result",
    note = "return `()`, or `Result<(), E>` with any error type: `std::error::Error`, `anyhow::Error`, `String`, `es_bus::HandlerError`",
    note = "to publish what follows from the event, return `Emit<T>` or `Result<Emit<T>, E>`"
)]
pub trait IntoOutcome {
    /// The events that such a value may publish: start-up declares their exchanges.
    fn emits(kinds: &mut Vec<&'static EventKind>) {
        let _ = kinds;
    }

    /// What the value says about the run, of which `invocation` is the one.
    fn into_outcome(self, invocation: &Invocation) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self, _: &Invocation) -> Outcome {
        Outcome::Done
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self, _: &Invocation) -> Outcome {
        self
    }
}

/// What can stand as `E` in a handler's `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a handler",
    label = "not an error type",
    note = "implement `std::error::Error` for `{Self}` (`#[derive(thiserror::Error)]` does), or return `anyhow::Error`, `String` or `es_bus::HandlerError`"
)]
pub trait IntoHandlerError {
    /// The error, with its verdict.
    fn into_handler_error(self) -> HandlerError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError> + 'static> IntoHandlerError for E {
    fn into_handler_error(self) -> HandlerError {
        HandlerError::from(self)
    }
}

impl IntoHandlerError for HandlerError {
    fn into_handler_error(self) -> HandlerError {
        self
    }
}

impl<E: IntoHandlerError> IntoOutcome for Result<(), E> {
    fn into_outcome(self, _: &Invocation) -> Outcome {
        match self {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.into_handler_error()),
        }
    }
}

/// What is to be done with an event for one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing more: the handler is done with it, or dropped it.
    Done {
        /// Whether it was dropped rather than handled.
        dropped: bool,
    },
    /// It comes back to this handler.
    Retry(Wait),
    /// It goes to the dead-letter queue.
    DeadLetter,
}

/// How long an event waits before its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For one of the policy's own delays.
    Policy(Duration),
    /// For at least this long, in the rungs of the group's ladder.
    AtLeast(Duration),
}

impl Decision {
    /// How long a handler rests that is tried again by this process; `None` where it is not.
    ///
    /// `chance` is uniform in 0..1, and asked for only where it counts.
    pub(crate) fn pause(self, jitter: f64, chance: impl FnOnce() -> f64) -> Option<Duration> {
        match self {
            Self::Retry(Wait::Policy(delay)) => Some(spread(delay, jitter, chance())),
            Self::Retry(Wait::AtLeast(delay)) => Some(delay),
            Self::Done { .. } | Self::DeadLetter => None,
        }
    }
}

/// What follows from an outcome, `attempt` failures (this one not counted) having gone before.
#[must_use]
pub(crate) fn decide(outcome: &Outcome, attempt: u32, policy: &RetryPolicy) -> Decision {
    match outcome {
        Outcome::Done => Decision::Done { dropped: false },
        Outcome::Failed(error) => match error.verdict {
            Verdict::Drop => Decision::Done { dropped: true },
            Verdict::Reject => Decision::DeadLetter,
            Verdict::Retry => policy
                .delay(attempt)
                .map_or(Decision::DeadLetter, |delay| Decision::Retry(Wait::Policy(delay))),
            Verdict::RetryAfter(delay) if policy.allows(attempt) => Decision::Retry(Wait::AtLeast(delay)),
            Verdict::RetryAfter(_) => Decision::DeadLetter,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::default()
    }

    #[test]
    fn decides_by_verdict_and_attempts() {
        let retry = |n| Decision::Retry(Wait::Policy(Duration::from_secs(n)));
        let later = Duration::from_secs(90);
        let table: [(HandlerError, u32, Decision); 8] = [
            (HandlerError::retry("e"), 0, retry(1)),
            (HandlerError::retry("e"), 2, retry(4)),
            (HandlerError::retry("e"), 3, Decision::DeadLetter),
            (HandlerError::retry_after(later, "e"), 0, Decision::Retry(Wait::AtLeast(later))),
            (HandlerError::retry_after(later, "e"), 3, Decision::DeadLetter),
            (HandlerError::reject("e"), 0, Decision::DeadLetter),
            (HandlerError::undecodable("e"), 0, Decision::DeadLetter),
            (HandlerError::drop_event("e"), 0, Decision::Done { dropped: true }),
        ];
        for (error, attempt, decision) in table {
            let outcome = Outcome::Failed(error);
            assert_eq!(decide(&outcome, attempt, &policy()), decision, "{outcome:?} after {attempt}");
        }
        assert_eq!(decide(&Outcome::Done, 0, &policy()), Decision::Done { dropped: false });
    }

    #[test]
    fn tells_the_whole_chain_of_an_error() {
        let error = anyhow::anyhow!("connection refused").context("reading the ledger");

        let error = HandlerError::from(error);

        assert_eq!(error.to_string(), "reading the ledger: connection refused");
        assert_eq!(error.verdict(), Verdict::Retry);
    }

    #[test]
    fn finds_the_error_inside_anyhow_without_context() {
        let boxed = into_box(anyhow::Error::from(std::io::Error::other("disk")));

        assert!(boxed.downcast_ref::<std::io::Error>().is_some());
    }

    #[test]
    fn names_the_type_of_the_error() {
        assert_eq!(HandlerError::from(fmt::Error).type_name(), "Error");
        assert_eq!(HandlerError::from("text").type_name(), "&str");
        assert_eq!(HandlerError::of_kind(FailureKind::Timeout, "late").type_name(), "Timeout");
    }
}
