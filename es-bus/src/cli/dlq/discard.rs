//! `dlq drop` and `dlq purge`: the two that lose something, and ask first.

use serde_json::json;
use tokio::fs;

use super::{filter, matched, open, see_chosen};
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::{DropArgs, PurgeArgs},
        bar::{Bar, watched},
        output::count,
    },
    dead_letters::{DeadLetters, Filter},
};

pub(super) async fn discard(args: &DropArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    see_allowed(args.yes, args.dry_run, cx)?;
    let letters = open(&args.whose, cx).await?;
    let filter = filter(&args.chosen.which);
    let bar = cx.bar();
    let watched = watched(letters.clone(), bar.as_ref(), GONE);
    if args.dry_run || !args.yes {
        let matched = matched(&watched, &filter).await;
        clear(bar.as_ref());
        let matched = matched?;
        see_chosen(&args.chosen, matched, &letters)?;
        if args.dry_run {
            return report(&letters, matched, None, cx);
        }
        if !confirmed(&letters, matched, cx).await? {
            return Ok(Exit::Failed);
        }
    }
    let dropped = watched.discard(filter).await;
    clear(bar.as_ref());
    let dropped = dropped?;
    see_chosen(&args.chosen, dropped, &letters)?;
    report(&letters, dropped, Some(dropped), cx)
}

pub(super) async fn purge(args: &PurgeArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    see_allowed(args.yes, args.dry_run, cx)?;
    let letters = open(&args.whose, cx).await?;
    if args.dry_run || !args.yes {
        let count = letters.count().await?;
        if args.dry_run {
            return report(&letters, count, None, cx);
        }
        if !confirmed(&letters, count, cx).await? {
            return Ok(Exit::Failed);
        }
    }
    let bar = cx.bar();
    let watched = watched(letters.clone(), bar.as_ref(), GONE);
    let dropped = match &args.export {
        None => watched.purge().await,
        Some(path) => {
            let failed = |source| CommandError::File { path: path.clone(), what: "written", source };
            // Never over an earlier export.
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).open(path).await.map_err(failed)?;
            let dropped = watched.export_and_purge(Filter::all(), &mut file).await;
            clear(bar.as_ref());
            if dropped.is_ok() {
                file.sync_all().await.map_err(failed)?;
                cx.remark(&format!("exported to {}", path.display()))?;
            }
            dropped
        }
    };
    clear(bar.as_ref());
    let dropped = dropped?;
    report(&letters, dropped, Some(dropped), cx)
}

/// What the bar says of those that are through.
const GONE: &str = "thrown away";

fn clear(bar: Option<&Bar>) {
    if let Some(bar) = bar {
        bar.clear();
    }
}

/// Sees, before anything is connected to, that somebody can be asked.
fn see_allowed(yes: bool, dry_run: bool, cx: &Context<'_>) -> Result<(), CommandError> {
    if yes || dry_run || cx.io.asks {
        return Ok(());
    }
    Err(CommandError::NeedsYes { does: "throws dead letters away", look: "--dry-run" })
}

async fn confirmed(letters: &DeadLetters, matched: u64, cx: &mut Context<'_>) -> Result<bool, CommandError> {
    let question = format!("Throw {} of {} away for good?", count(matched, "dead letter"), letters.queue());
    if cx.ask(&question).await? == Some(true) {
        return Ok(true);
    }
    cx.remark("nothing was thrown away")?;
    Ok(false)
}

/// `dropped` is none in a dry run.
fn report(
    letters: &DeadLetters,
    matched: u64,
    dropped: Option<u64>,
    cx: &mut Context<'_>,
) -> Result<Exit, CommandError> {
    let queue = letters.queue();
    if cx.is_json() {
        cx.json(&json!({ "queue": queue.as_str(), "matched": matched, "dropped": dropped.unwrap_or(0) }))?;
    } else {
        let what = if dropped.is_none() { "would throw" } else { "threw" };
        cx.say(&format!("{what} {} of {queue} away\n", count(matched, "dead letter")))?;
    }
    Ok(Exit::Done)
}
