//! `lock`, and what `check` says of a lock.
//!
//! A lock holds the whole program. So it is made and compared only where no group is selected: what the other groups
//! need would be missing from it, or be told to be gone.

use std::{fs, io, path::Path};

use serde_json::{Value as Json, json};

use super::{
    CommandError, Context, Exit,
    args::LockArgs,
    context::read_file,
    output::{Style, count, line},
};
use crate::{
    bus::Bus,
    config::GroupSelection,
    lock::{Lock, LockFinding},
};

pub(super) fn lock(args: &LockArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    if !args.group.is_empty() {
        return Err(CommandError::PartOfProgram { said: "`--group`".to_owned() });
    }
    let bus = cx.look()?;
    let now = of(&bus, cx)?;
    let file = &args.file;
    let written = match Compared::with(file, &now) {
        Ok(compared) if cx.is_json() => {
            let written = compared.rewrite(file, &now)?;
            let mut told = compared.json(file);
            told["written"] = written.into();
            cx.json(&told)?;
            return Ok(Exit::Done);
        }
        Ok(compared) => {
            let text = compared.text(file, cx.io.style);
            cx.say(&text)?;
            compared.rewrite(file, &now)?
        }
        Err(CommandError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            write(file, &now)?;
            true
        }
        // Asked to be written anew.
        Err(error @ CommandError::Lock { .. }) => {
            cx.remark(&format!("note: {error}"))?;
            write(file, &now)?;
            true
        }
        Err(error) => return Err(error),
    };
    if cx.is_json() {
        cx.json(&json!({ "file": file, "breaks": false, "changes": [], "written": written }))?;
        return Ok(Exit::Done);
    }
    say_written(file, written, cx)
}

pub(super) fn say_written(file: &Path, written: bool, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let file = file.display();
    match written {
        true => cx.remark(&format!("written to {file}: commit it"))?,
        false => cx.remark(&format!("{file} says this already"))?,
    }
    Ok(Exit::Done)
}

/// What the program declares now; refused of a part of it.
pub(super) fn of(bus: &Bus, cx: &Context<'_>) -> Result<Lock, CommandError> {
    let groups = &bus.config().bus.groups;
    match groups.value {
        GroupSelection::All => Ok(cx.lock_of(bus)),
        GroupSelection::Only(_) => {
            Err(CommandError::PartOfProgram { said: format!("`groups` ({})", groups.source) })
        }
    }
}

/// A lock that was compared with the program.
pub(super) struct Compared {
    /// What is different, what breaks first.
    pub(super) findings: Vec<LockFinding>,
    /// Whether the file is what would be written.
    is_same: bool,
}

impl Compared {
    /// Reads a lock, and compares it.
    pub(super) fn with(file: &Path, now: &Lock) -> Result<Self, CommandError> {
        let text = read_file(file)?;
        let text = String::from_utf8_lossy(&text);
        let was: Lock =
            text.parse().map_err(|source| CommandError::Lock { path: file.to_owned(), source })?;
        Ok(Self { findings: was.check(now), is_same: text == now.to_string() })
    }

    pub(super) fn breaks(&self) -> bool {
        self.findings.iter().any(LockFinding::breaks)
    }

    /// Writes the lock anew, where it would say something else; whether it did.
    pub(super) fn rewrite(&self, file: &Path, now: &Lock) -> Result<bool, CommandError> {
        if !self.is_same {
            write(file, now)?;
        }
        Ok(!self.is_same)
    }

    /// Every change with its remedy, and what they come to.
    pub(super) fn text(&self, file: &Path, style: Style) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let risk = if finding.breaks() { style.red("breaks  ") } else { style.green("harmless") };
            text += &format!("{risk}  {}: {}\n", line(&finding.subject), line(&finding.found));
            if let Some(remedy) = &finding.remedy {
                text += &format!("{:10}help: {}\n", "", line(remedy));
            }
        }
        let number = |breaks| self.findings.iter().filter(|it| it.breaks() == breaks).count();
        let [breaking, harmless] =
            [true, false].map(|breaks| u64::try_from(number(breaks)).unwrap_or(u64::MAX));
        let file = file.display();
        text + &match (breaking, harmless) {
            (0, 0) => format!("{file}: nothing changed\n"),
            (0, harmless) => format!("{file}: {}, harmless to a running system\n", count(harmless, "change")),
            (breaking, 0) => format!("{file}: {} would break a running system\n", count(breaking, "change")),
            (breaking, harmless) => format!(
                "{file}: {} would break a running system, {harmless} more would not\n",
                count(breaking, "change")
            ),
        }
    }

    pub(super) fn json(&self, file: &Path) -> Json {
        let changes = self.findings.iter().map(|it| {
            json!({ "breaks": it.breaks(), "subject": it.subject, "found": it.found, "help": it.remedy })
        });
        json!({ "file": file, "breaks": self.breaks(), "changes": changes.collect::<Vec<_>>() })
    }
}

fn write(file: &Path, now: &Lock) -> Result<(), CommandError> {
    fs::write(file, now.to_string()).map_err(|source| CommandError::File {
        path: file.to_owned(),
        what: "written",
        source,
    })
}
