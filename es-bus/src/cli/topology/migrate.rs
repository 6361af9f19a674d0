//! `topology migrate`: give queues other settings while events keep coming.

use std::time::Duration;

use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    cli::{CommandError, Context, Exit, args::MigrateArgs, bar::Bar},
    topology::migrate::{MigrateOptions, MigrationProgress, MigrationReport, MigrationStep},
};

/// How often it is told how many messages were moved.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn migrate(args: &MigrateArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    if !args.dry_run && !args.yes && !cx.io.asks {
        return Err(CommandError::NeedsYes {
            does: "changes queues of the broker",
            look: "`topology migrate --dry-run`",
        });
    }
    let bus = cx.operated_to_change()?;
    cx.remark_part(&bus)?;
    let mut options = MigrateOptions::new();
    if let Some(rate) = args.rate {
        options = options.rate(rate);
    }
    if args.dry_run || !args.yes {
        let report = bus.migrate(&options.clone().dry_run()).await?;
        if args.dry_run || report.queues.is_empty() {
            tell(&report, cx)?;
            return Ok(if report.queues.is_empty() { Exit::Done } else { Exit::Pending });
        }
        cx.remark(&report.to_string())?;
        cx.io.out.flush()?;
        if cx.ask("Migrate while events keep coming?").await? != Some(true) {
            cx.remark("nothing was done")?;
            return Ok(Exit::Failed);
        }
    }
    let (tx, mut rx) = mpsc::unbounded_channel();
    let options = options.on_progress(move |progress| drop(tx.send(progress.clone())));
    let mut last = Last { bar: cx.bar(), ..Last::default() };
    let mut migrating = Box::pin(bus.migrate(&options));
    let report = loop {
        tokio::select! {
            biased;
            Some(progress) = rx.recv() => last.tell(progress, cx)?,
            () = last.due() => last.tell_count(cx)?,
            report = &mut migrating => break report,
        }
    };
    while let Ok(progress) = rx.try_recv() {
        last.tell(progress, cx)?;
    }
    // The bar, with what it showed.
    drop(last);
    tell(&report?, cx)?;
    Ok(Exit::Done)
}

/// What was told last: a line for each step of each queue, and while messages are moved one a second, or a bar.
#[derive(Default)]
struct Last {
    bar: Option<Bar>,
    of: Option<(String, MigrationStep)>,
    untold: Option<MigrationProgress>,
    told: Option<Instant>,
}

impl Last {
    fn tell(&mut self, progress: MigrationProgress, cx: &mut Context<'_>) -> Result<(), CommandError> {
        let of = (progress.queue.clone(), progress.step);
        if self.of.as_ref() != Some(&of) {
            self.tell_count(cx)?;
            if let Some(bar) = &self.bar {
                bar.clear();
            }
            cx.remark(&format!("{}: {}", progress.queue, progress.step))?;
            self.told = Some(Instant::now());
            self.of = Some(of);
        }
        if let (Some(bar), Some(left)) = (&self.bar, progress.left) {
            bar.show(&progress.queue, (progress.moved, progress.moved + left), " moved");
            return Ok(());
        }
        if progress.moved > 0 || progress.left.is_some_and(|left| left > 0) {
            self.untold = Some(progress);
        }
        Ok(())
    }

    /// When there is something to be told of the messages.
    async fn due(&self) {
        match (&self.untold, self.told) {
            (Some(_), Some(told)) => sleep_until(told + EVERY).await,
            _ => std::future::pending().await,
        }
    }

    fn tell_count(&mut self, cx: &mut Context<'_>) -> Result<(), CommandError> {
        let Some(progress) = self.untold.take() else { return Ok(()) };
        self.told = Some(Instant::now());
        let left = progress.left.map_or_else(String::new, |left| format!(", {left} left"));
        cx.remark(&format!("{}:   {} moved{left}", progress.queue, progress.moved))
    }
}

fn tell(report: &MigrationReport, cx: &mut Context<'_>) -> Result<(), CommandError> {
    if !cx.is_json() {
        return cx.say(&report.to_string());
    }
    let queues = report.queues.iter().map(|it| {
        let steps: Vec<_> = it.steps.iter().map(|step| step.as_str()).collect();
        json!({ "queue": it.queue, "steps": steps, "moved": it.moved })
    });
    cx.json(&json!({ "dry_run": report.dry_run, "queues": queues.collect::<Vec<_>>() }))
}
