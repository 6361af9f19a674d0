//! `dlq list`.

use super::{filter, is_everything, open};
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::ListArgs,
        output::{Table, count, moment_of, short},
    },
    dead_letters::DeadLetter,
};

/// How much of an error is shown, in characters.
const ERROR: usize = 70;

pub(super) async fn list(args: &ListArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let letters = open(&args.whose, cx).await?;
    let filter = filter(&args.which);
    let (mut listed, mut is_more) = (Vec::new(), false);
    letters
        .visit(|letter| {
            if filter.matches(&letter) {
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
            false => cx.say(&format!("no such dead letter in {queue}\n"))?,
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
