//! Who gets an event, and why somebody does not: told of a checked program, without a broker.
//!
//! In comes a [`Question`], an event of the program or a message by its key; out goes an [`Explanation`], a value
//! that serializes and that prints itself for a person. The way of the message is found by the rules that the
//! broker and the worker go by, which are asked here and not written down anew: `model::delivers` for bindings,
//! `Takers` for handlers, [`RetryPolicy`](crate::RetryPolicy) for what follows a failure.
//! What other programs have bound is not known here, and not told.

mod answer;
mod error;
mod failure;
mod group;
mod message;
mod print;
mod question;
#[cfg(test)]
mod tests;
mod way;
mod why;

pub use self::{
    answer::{
        BindingAnswer, DeadLetters, Delay, End, ExchangeAnswer, Explanation, GroupAnswer, HandlerAnswer,
        Nobody, OnwardAnswer, OtherHandler, Retry, RetryPlace, Subject, Unknown, WhyAnswer,
    },
    error::ExplainError,
    question::Question,
};

use super::{GroupSpec, Program};

/// Answers a question about a program.
///
/// # Errors
///
/// [`ExplainError`] for what the program does not know.
pub(crate) fn explain(program: &Program<'_>, question: &Question) -> Result<Explanation, ExplainError> {
    let message = message::message(program, question)?;
    let asked = question.why.as_deref().map(|name| why::handlers(program, name)).transpose()?;
    let way = way::way(program, &message);
    let groups = way.groups.iter().map(|group| group::answer(program, group, &message, &way)).collect();
    let why = asked.unwrap_or_default();
    Ok(Explanation {
        exchanges: way.told(program, &message),
        groups,
        nobody: way::nobody(program, &message, &way),
        why: why
            .into_iter()
            .map(|(group, handler)| why::answer(program, group, handler, &message, &way))
            .collect(),
        hints: message::hints(program, &message),
        subject: message.subject,
    })
}

/// Where a handler stands, for one that is declared.
fn place(program: &Program<'_>, group: &str, handler: &str) -> Option<String> {
    program.handler_place(group, handler).map(|place| place.location.to_string())
}

/// What stands for the process in the name of a queue that each process has for itself.
const PROCESS: &str = "{process}";

/// The name of a group's queue, without what differs from one process to the next.
fn queue_name(group: &GroupSpec) -> String {
    match group.settings.exclusive.as_deref().and_then(|process| group.queue.as_str().strip_suffix(process)) {
        Some(stem) => format!("{stem}{PROCESS}"),
        None => group.queue.as_str().to_owned(),
    }
}
