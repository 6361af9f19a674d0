//! `dlq list`.

use std::{collections::BTreeSet, fmt};

use super::{filter, is_everything, open};
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::ListArgs,
        output::{Table, count, line, moment_of, short},
    },
    dead_letters::DeadLetter,
};

/// How much of an error is shown, in characters.
const ERROR: usize = 70;

pub(super) async fn list(args: &ListArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let letters = open(&args.whose, cx).await?;
    let filter = filter(&args.which);
    let (mut listed, mut is_more) = (Vec::new(), false);
    let mut others = Others::default();
    letters
        .visit(|letter| {
            if !filter.matches(&letter) {
                others.add(&letter);
            } else {
                is_more = listed.len() >= args.limit;
                if !is_more {
                    listed.push(letter);
                }
            }
            !is_more
        })
        .await?;
    if cx.is_json() {
        cx.json(&listed)?;
        return Ok(Exit::Done);
    }
    let queue = letters.queue();
    if listed.is_empty() && !is_more {
        match is_everything(&args.which) {
            true => cx.say(&format!("no dead letters in {queue}\n"))?,
            false => cx.say(&format!("no such dead letter in {queue}{others}\n"))?,
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["ID", "DEAD SINCE (UTC)", "EVENT", "HANDLER", "REASON", "RETRIES", "ERROR"]);
    for letter in &listed {
        table.row(row(letter));
    }
    cx.say(&table.render(cx.io.style))?;
    let shown = count(u64::try_from(listed.len()).unwrap_or(u64::MAX), "dead letter");
    let more = if is_more { ", and there are more: --limit says how many are listed" } else { "" };
    cx.say(&format!("\n{shown} of {queue}{more}\n"))?;
    Ok(Exit::Done)
}

/// What is there instead of what was asked for.
#[derive(Default)]
struct Others {
    count: u64,
    events: BTreeSet<String>,
    reasons: BTreeSet<String>,
    handlers: BTreeSet<String>,
}

impl Others {
    fn add(&mut self, letter: &DeadLetter) {
        self.count += 1;
        self.events.extend(letter.event_type.clone());
        self.reasons.insert(letter.reason.clone());
        self.handlers.extend(letter.handlers.iter().cloned());
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        match self.count {
            1 => f.write_str("; 1 other is there:")?,
            count => write!(f, "; {count} others are there:")?,
        }
        for (what, all) in [("type", &self.events), ("reason", &self.reasons), ("handler", &self.handlers)] {
            if all.is_empty() {
                continue;
            }
            let more = if all.len() > NAMED { ", …" } else { "" };
            let named: Vec<String> = all.iter().take(NAMED).map(|name| line(name)).collect();
            write!(f, "\n  {what:7}  {}{more}", named.join(", "))?;
        }
        Ok(())
    }
}

/// How many names are told of each sort.
const NAMED: usize = 10;

fn row(letter: &DeadLetter) -> [String; 7] {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        letter.id.clone(),
        letter.dead_lettered_at.as_deref().map_or_else(|| "-".to_owned(), moment_of),
        letter.event_type.clone().unwrap_or_else(|| letter.routing_key.clone()),
        if letter.handlers.is_empty() { "-".to_owned() } else { letter.handlers.join(", ") },
        letter.reason.clone(),
        letter.retries.map_or_else(|| "-".to_owned(), |retries| retries.to_string()),
        short(&or(&letter.error), ERROR),
    ]
}
