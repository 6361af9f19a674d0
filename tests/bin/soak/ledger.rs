//! What the processes of a run wrote down: one file, a line for whatever happened, in one write each, so
//! that a kill leaves a line whole or out.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A publish begins.
    Sent { id: String },
    /// The broker has confirmed it.
    Confirmed { id: String },
    /// It ended with an error; it goes on under the same id.
    Refused { id: String, error: String },
    /// A handler has done it.
    Done { group: String, id: String },
    /// A handler fails on purpose.
    Failed { group: String, id: String },
    /// What follows from an event was handled.
    Answered { group: String, answers: String },
}

impl Entry {
    fn line(&self, at_ms: u64) -> String {
        match self {
            Self::Sent { id } => format!("{at_ms} sent {id}\n"),
            Self::Confirmed { id } => format!("{at_ms} confirmed {id}\n"),
            Self::Refused { id, error } => {
                format!("{at_ms} refused {id} {}\n", error.replace(['\n', '\r'], " "))
            }
            Self::Done { group, id } => format!("{at_ms} done {group} {id}\n"),
            Self::Failed { group, id } => format!("{at_ms} failed {group} {id}\n"),
            Self::Answered { group, answers } => format!("{at_ms} answered {group} {answers}\n"),
        }
    }

    fn parse(line: &str) -> Option<(u64, Self)> {
        let mut words = line.splitn(4, ' ').map(str::to_owned);
        let at_ms = words.next()?.parse().ok()?;
        let (kind, first) = (words.next()?, words.next()?);
        let mut second = || words.next();
        let entry = match kind.as_str() {
            "sent" => Self::Sent { id: first },
            "confirmed" => Self::Confirmed { id: first },
            "refused" => Self::Refused { id: first, error: second()? },
            "done" => Self::Done { group: first, id: second()? },
            "failed" => Self::Failed { group: first, id: second()? },
            "answered" => Self::Answered { group: first, answers: second()? },
            _ => return None,
        };
        Some((at_ms, entry))
    }
}

/// The writing end.
pub(crate) struct Ledger(File);

impl Ledger {
    /// The one that `SOAK_LEDGER` names.
    ///
    /// # Panics
    ///
    /// When it cannot be opened: without it a run proves nothing.
    pub(crate) fn here() -> &'static Self {
        static HERE: OnceLock<Ledger> = OnceLock::new();
        HERE.get_or_init(|| {
            let path = env::var_os("SOAK_LEDGER").expect("SOAK_LEDGER names the file");
            let file = OpenOptions::new().append(true).create(true).open(path);
            Self(file.expect("the ledger opens"))
        })
    }

    /// Adds a line.
    ///
    /// # Panics
    ///
    /// When the disk takes none.
    pub(crate) fn note(&self, entry: &Entry) {
        (&self.0).write_all(entry.line(now_ms()).as_bytes()).expect("the ledger takes a line");
    }
}

/// Reads what was written, in its order.
///
/// # Errors
///
/// What reading the file gives, and a line that is not one of ours.
pub(crate) fn read(path: &Path) -> io::Result<Vec<(u64, Entry)>> {
    let text = std::fs::read_to_string(path)?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| {
            let what = || format!("{}: {line:?} is no line of a ledger", path.display());
            Entry::parse(line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, what()))
        })
        .collect()
}

/// The time as the ledger has it.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let (id, group) = (|| "a-1".to_owned(), || "quorum".to_owned());
        for entry in [
            Entry::Sent { id: id() },
            Entry::Confirmed { id: id() },
            Entry::Refused { id: id(), error: "no answer within 5s".to_owned() },
            Entry::Done { group: group(), id: id() },
            Entry::Failed { group: group(), id: id() },
            Entry::Answered { group: group(), answers: "classic:a-1".to_owned() },
        ] {
            let line = entry.line(17);

            assert_eq!(Entry::parse(line.trim_end()), Some((17, entry)), "{line}");
        }
    }

    #[test]
    fn a_text_of_several_lines_stays_one() {
        let entry = Entry::Refused { id: "a".to_owned(), error: "one\ntwo".to_owned() };

        assert_eq!(entry.line(1), "1 refused a one two\n");
    }
}
