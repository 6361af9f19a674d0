//! `dlq`: dead letters. Each of its commands has a file; what they share is here: whose, and which.

mod check;
mod count;
mod discard;
mod list;
mod replay;
mod show;

use super::{
    CommandError, Context, Exit,
    args::{Chosen, Dlq, Which, Whose},
    context::Program,
};
use crate::{
    bus::Handle,
    dead_letters::{DeadLetter, DeadLetterError, DeadLetters, Filter},
    suggest,
};

pub(super) async fn dlq(command: &Dlq, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    match command {
        Dlq::Count(args) => count::count(args, cx).await,
        Dlq::List(args) => list::list(args, cx).await,
        Dlq::Show(args) => show::show(args, cx).await,
        Dlq::Replay(args) => replay::replay(args, cx).await,
        Dlq::Drop(args) => discard::discard(args, cx).await,
        Dlq::Purge(args) => discard::purge(args, cx).await,
        Dlq::Check(args) => check::check(args, cx).await,
    }
}

/// A dead-letter queue as it was asked for.
enum Target {
    Group(String),
    Queue(String),
}

impl Target {
    fn open(&self, handle: &Handle) -> Result<DeadLetters, DeadLetterError> {
        match self {
            Self::Group(group) => handle.dead_letters(group),
            Self::Queue(queue) => handle.dead_letter_queue(queue),
        }
    }
}

/// What is said of one queue, where nothing is said it is that of the only group. Pure.
fn one(whose: &Whose, program: &Program) -> Result<Target, CommandError> {
    let mut all = all(whose, program)?;
    match (all.pop(), all.is_empty()) {
        (Some(target), true) => Ok(target),
        (Some(_), false) => Err(CommandError::WhichGroup {
            known: program.dead_letters.iter().map(|(group, _)| group.clone()).collect(),
        }),
        (None, _) => Err(CommandError::NoDeadLetters),
    }
}

/// What is said of one queue, or else those of all groups. Pure.
fn all(whose: &Whose, program: &Program) -> Result<Vec<Target>, CommandError> {
    let names = || program.dead_letters.iter().map(|(group, _)| group.as_str());
    match (&whose.group, &whose.queue) {
        (_, Some(queue)) => Ok(vec![Target::Queue(queue.clone())]),
        (Some(group), None) if names().any(|name| name == group) => Ok(vec![Target::Group(group.clone())]),
        (Some(group), None) => Err(CommandError::UnknownGroup {
            what: "of this program keeps dead letters",
            group: group.clone(),
            nearest: suggest::nearest(group, names()).map(str::to_owned),
            known: names().map(str::to_owned).collect(),
        }),
        (None, None) => Ok(names().map(|name| Target::Group(name.to_owned())).collect()),
    }
}

/// Connects, and opens the dead letters of one group or queue.
async fn open(whose: &Whose, cx: &mut Context<'_>) -> Result<DeadLetters, CommandError> {
    let bus = cx.operated()?;
    // Before anything is connected to.
    let target = one(whose, &Program::of(&bus))?;
    cx.open(bus).await?;
    Ok(target.open(cx.handle())?)
}

/// How many dead letters each group has.
struct Counted {
    /// The group; none where a queue was named.
    group: Option<String>,
    queue: String,
    /// None where there is no such queue.
    count: Option<u64>,
}

/// Connects, and counts. That a queue is not there is an error where it was asked for.
async fn counted(whose: &Whose, cx: &mut Context<'_>) -> Result<Vec<Counted>, CommandError> {
    let bus = cx.operated()?;
    let targets = all(whose, &Program::of(&bus))?;
    if targets.is_empty() {
        return Err(CommandError::NoDeadLetters);
    }
    cx.open(bus).await?;
    let mut all = Vec::new();
    for target in targets {
        let letters = target.open(cx.handle())?;
        let count = match letters.count().await {
            Ok(count) => Some(count),
            Err(DeadLetterError::NoQueue { .. }) if whose.group.is_none() && whose.queue.is_none() => None,
            Err(error) => return Err(error.into()),
        };
        let group = match target {
            Target::Group(group) => Some(group),
            Target::Queue(_) => None,
        };
        all.push(Counted { group, queue: letters.queue().to_string(), count });
    }
    Ok(all)
}

fn filter(which: &Which) -> Filter {
    let Which { id, event_id, event_type, reason, handler } = which;
    let filter = id.iter().fold(Filter::all(), |filter, id| filter.id(id));
    let filter = event_id.iter().fold(filter, |filter, id| filter.event_id(id));
    let filter = event_type.iter().fold(filter, |filter, name| filter.event_type(name));
    let filter = reason.iter().fold(filter, |filter, reason| filter.reason(reason));
    handler.iter().fold(filter, |filter, name| filter.handler(name))
}

/// Whether nothing narrows the choice.
fn is_everything(which: &Which) -> bool {
    filter(which) == Filter::all()
}

/// Sees that something is chosen where single ones are named.
fn see_chosen(chosen: &Chosen, matched: u64, letters: &DeadLetters) -> Result<(), CommandError> {
    let names_some = !chosen.which.id.is_empty() || !chosen.which.event_id.is_empty();
    match matched {
        0 if names_some => Err(CommandError::NoneChosen { queue: letters.queue().to_string() }),
        _ => Ok(()),
    }
}

/// How many dead letters a filter chooses.
async fn matched(letters: &DeadLetters, filter: &Filter) -> Result<u64, DeadLetterError> {
    let mut count = 0;
    letters
        .visit(|letter: DeadLetter| {
            count += u64::from(filter.matches(&letter));
            true
        })
        .await?;
    Ok(count)
}
