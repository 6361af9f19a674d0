//! `dlq replay`.

use std::fmt::Write;

use super::{filter, open, see_chosen};
use crate::{
    cli::{
        CommandError, Context, Exit,
        args::ReplayArgs,
        bar::watched,
        output::{count, line},
    },
    dead_letters::ReplayReport,
};

pub(super) async fn replay(args: &ReplayArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bar = cx.bar();
    let letters = watched(open(&args.whose, cx).await?, bar.as_ref(), "replayed");
    let mut replay = letters.replay(filter(&args.chosen.which));
    if let Some(limit) = args.limit {
        replay = replay.limit(limit);
    }
    if args.dry_run {
        replay = replay.dry_run();
    }
    if args.broadcast {
        replay = replay.broadcast();
    }
    let report = replay.await;
    if let Some(bar) = bar {
        bar.clear();
    }
    let report = report?;
    see_chosen(&args.chosen, report.matched, &letters)?;
    if cx.is_json() {
        cx.json(&report)?;
    } else {
        cx.say(&text(&report, letters.queue().as_str(), args.dry_run))?;
    }
    Ok(if report.failed == 0 { Exit::Done } else { Exit::Failed })
}

fn text(report: &ReplayReport, queue: &str, dry_run: bool) -> String {
    let left = format!("{} in {queue}", count(report.left, "dead letter"));
    if dry_run {
        return format!("would replay {} of {left}\n", report.matched);
    }
    let mut text = format!("replayed {}", count(report.replayed, "dead letter"));
    if report.failed > 0 {
        let _ = write!(text, ", {} could not be", report.failed);
    }
    let _ = writeln!(text, "; left: {left}");
    for failure in &report.failures {
        let _ = writeln!(text, "  {}: {}", line(&failure.id), line(&failure.reason));
    }
    let told = u64::try_from(report.failures.len()).unwrap_or(u64::MAX);
    if report.failed > told {
        let _ = writeln!(text, "  and {} more", report.failed - told);
    }
    text
}
