//! Why a command did not come to its end.

use std::{
    error::Error as _,
    fmt::Write,
    io,
    path::{Path, PathBuf},
};

use super::Exit;
use crate::{
    dead_letters::DeadLetterError,
    error::Error,
    lock::{LockError, ManifestError},
    model::NotInDefinitions,
    publish::PublishError,
    topology::explain::ExplainError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CommandError {
    /// The bus could not be built, started or used.
    #[error(transparent)]
    Bus(#[from] Error),
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// A file cannot be read or written.
    #[error("{} cannot be {what}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Several groups have dead letters, and none was named.
    #[error("whose dead letters? name one of the groups: {}", options(known))]
    WhichGroup {
        /// The groups that there are.
        known: Vec<String>,
    },
    /// No group keeps dead letters.
    #[error("no group of this program keeps dead letters; `--queue` names the queue of another program")]
    NoDeadLetters,
    /// The program has no such group.
    #[error("no group {group:?} {what}; {}", hint(nearest.as_deref(), known))]
    UnknownGroup {
        /// What it would have to be: `is consumed here`.
        what: &'static str,
        /// What was asked for.
        group: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// The groups that there are.
        known: Vec<String>,
    },
    /// The program has no such event.
    #[error("there is no event {event:?} in this program; {}", hint(nearest.as_deref(), known))]
    UnknownEvent {
        /// What was asked for.
        event: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// The events that there are.
        known: Vec<String>,
    },
    /// Several events have that name.
    #[error("several events are named {event:?}; name one of them by its key: {}", options(keys))]
    SeveralEvents {
        /// The name.
        event: String,
        /// Their routing keys.
        keys: Vec<String>,
    },
    /// What was given as data is not that event.
    #[error("the data are no {event}: {reason}")]
    Data {
        /// The event.
        event: String,
        /// Why not.
        reason: String,
    },
    /// The key of an event takes words from its fields, and nobody here knows from which.
    #[error(
        "words of the key of {event} are fields, {pattern:?}, and which ones is known to its code only: say the key, --key"
    )]
    NoKey {
        /// The event.
        event: String,
        /// Its key.
        pattern: String,
    },
    /// No dead letter is chosen by what was asked for.
    #[error(
        "no dead letter in {queue:?} is chosen; `dlq list` shows what is there: one that was replayed and failed \
         again has a new id"
    )]
    NoneChosen {
        /// The dead-letter queue.
        queue: String,
    },
    /// Nobody can be asked.
    #[error("this {does}, and there is no terminal to ask at: add --yes, or {look} to look first")]
    NeedsYes {
        /// `throws dead letters away`.
        does: &'static str,
        /// What looks without doing: `--dry-run`.
        look: &'static str,
    },
    /// The program does not know what is asked about.
    #[error("{}", explained(.0))]
    Explain(ExplainError),
    /// The exchange picks queues by no pattern.
    #[error("exchange {exchange:?} is a {kind} exchange, which does not go by patterns; leave --key out")]
    NoPatterns {
        /// The exchange.
        exchange: String,
        /// Its kind.
        kind: &'static str,
    },
    /// Looking on would take events away from those who handle them.
    #[error(
        "exchange {exchange:?} is a consistent-hash exchange, which gives each event to one queue: tail would take a share \
         of them from the groups; look at an exchange that it gets them from (--exchange), if there is one"
    )]
    TakesShare {
        /// The exchange.
        exchange: String,
    },
    /// A lock of a part of the program was asked for.
    #[error(
        "a lock holds all groups, and {said} selects some of them: what the others need would be missing from it; leave \
         the selection out"
    )]
    PartOfProgram {
        /// What selects them.
        said: String,
    },
    /// A file is no lock.
    #[error("{}: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: LockError,
    },
    /// There is no lock yet.
    #[error("there is no {0}: write it first, `{program} lock {0}`, and commit it", path.display())]
    NoLock {
        /// The file.
        path: PathBuf,
        /// How the program is called.
        program: String,
    },
    /// There is no manifest.
    #[error("{}", no_manifest(path, *said))]
    NoManifest {
        /// The file.
        path: PathBuf,
        /// What names it.
        said: Option<&'static str>,
    },
    /// A manifest is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What a manifest says does not follow from its groups under the settings that hold here.
    #[error(
        "{}\nnothing is changed while they contradict each other: see `config` for where each value comes from, or have the \
         program write the file anew (`lock`)",
        contradiction(file, found)
    )]
    Contradicted {
        /// The manifest.
        file: PathBuf,
        /// What differs.
        found: Vec<String>,
    },
    /// There is nothing to run.
    #[error(
        "a manifest has no code that could handle events: the service itself runs, by its own program; what is here \
         operates it"
    )]
    NoCode,
    /// A topology holds something that definitions cannot.
    #[error(transparent)]
    Definitions(#[from] NotInDefinitions),
    /// The events cannot be listened to.
    #[error("events cannot be listened to: {reason}")]
    Tail {
        /// Why not.
        reason: String,
    },
}

impl CommandError {
    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        match self {
            // Whoever reads has seen enough: `| head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::WhichGroup { .. }
            | Self::UnknownGroup { .. }
            | Self::UnknownEvent { .. }
            | Self::SeveralEvents { .. }
            | Self::NeedsYes { .. }
            | Self::Explain(_)
            | Self::PartOfProgram { .. }
            | Self::NoManifest { .. }
            | Self::NoCode
            | Self::NoKey { .. }
            | Self::NoPatterns { .. }
            | Self::TakesShare { .. } => Exit::Usage,
            Self::Contradicted { .. } => Exit::Conflict,
            _ => Exit::Failed,
        }
    }

    /// For the person who reads it: as `main` prints an error of es-bus.
    pub(super) fn report(&self) -> String {
        if let Self::Bus(error) = self {
            return format!("{error:?}");
        }
        let mut text = self.to_string();
        let mut cause = match self {
            // Their text tells the cause.
            Self::File { .. } | Self::Output(_) | Self::Lock { .. } => None,
            _ => self.source(),
        };
        while let Some(error) = cause {
            let _ = write!(text, "\n  caused by: {error}");
            cause = error.source();
        }
        text
    }
}

impl From<DeadLetterError> for CommandError {
    fn from(error: DeadLetterError) -> Self {
        Self::Bus(error.into())
    }
}

impl From<PublishError> for CommandError {
    fn from(error: PublishError) -> Self {
        Self::Bus(error.into())
    }
}

/// What a manifest says otherwise than what it comes to.
pub(super) fn contradiction(file: &Path, found: &[String]) -> String {
    format!(
        "{} was written under other settings than those that hold here, or with another version of es-bus:\n  {}",
        file.display(),
        found.join("\n  ")
    )
}

fn no_manifest(path: &Path, said: Option<&'static str>) -> String {
    let path = path.display();
    match said {
        Some(said) => format!("{said} names {path}, and there is no such file"),
        None => format!(
            "there is no {path} here, by which the service would be known: run this where its {path} is committed, or name \
             the file with --manifest or in ES_BUS_MANIFEST; the service's own program writes it, by its command `lock`"
        ),
    }
}

/// What an explanation wants, in the words of the command line.
fn explained(error: &ExplainError) -> String {
    match error {
        ExplainError::Fields { event, pattern, example } => format!(
            "words of the key of {event} are fields, {pattern:?}, and who gets it depends on them: ask by a key, `--key \
             {example}`"
        ),
        error => error.to_string(),
    }
}

fn options(names: &[String]) -> String {
    names.join(", ")
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match (nearest, known) {
        (Some(nearest), _) => format!("did you mean {nearest:?}?"),
        (None, []) => "there is none".to_owned(),
        (None, known) => format!("there is {}", options(known)),
    }
}
