//! A bar on standard error while something takes its time, for who waits at a terminal. Where nobody does there is none,
//! and nothing is told that was not told before.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::{Style, line};
use crate::dead_letters::{DeadLetterProgress, DeadLetters};

/// A bar, which is gone again when its last clone is.
#[derive(Clone)]
pub(super) struct Bar {
    look: ProgressStyle,
    target: fn() -> ProgressDrawTarget,
    /// Of what, where something is shown.
    shown: Arc<Mutex<Option<(String, ProgressBar)>>>,
}

impl Bar {
    /// A bar on the terminal that standard error is; none on one that cannot go back in a line.
    pub(super) fn on_terminal(style: Style) -> Option<Self> {
        let target = ProgressDrawTarget::stderr;
        (!target().is_hidden()).then(|| Self::on(target, style))
    }

    fn on(target: fn() -> ProgressDrawTarget, style: Style) -> Self {
        let colour = if style.colours { ".green" } else { "" };
        let template =
            format!("{{prefix}} [{{bar:30{colour}}}] {{pos}}/{{len}}{{msg}}  {{rate}}  {{eta}} left");
        let look = ProgressStyle::with_template(&template).expect("is a template");
        let rate = |state: &ProgressState, to: &mut dyn Write| {
            // There is nobody else to tell.
            let _ = write!(to, "{:.0}/s", state.per_sec());
        };
        let look = look.with_key("rate", rate).progress_chars("=> ");
        Self { look, target, shown: Arc::default() }
    }

    /// Shows how much of what is done, and something beside it.
    pub(super) fn show(&self, what: &str, (done, all): (u64, u64), beside: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shown {
            Some((of, bar)) if of == what => {
                bar.set_length(all);
                if bar.message() != beside {
                    bar.set_message(beside.to_owned());
                }
                bar.set_position(done);
            }
            _ => {
                let bar = ProgressBar::with_draw_target(Some(all), (self.target)())
                    .with_style(self.look.clone())
                    .with_prefix(line(what))
                    .with_message(beside.to_owned())
                    .with_position(done);
                bar.tick();
                *shown = Some((what.to_owned(), bar));
            }
        }
    }

    /// Takes the bar away; what is shown after that begins anew.
    pub(super) fn clear(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, bar)) = shown {
            bar.finish_and_clear();
        }
    }

    #[cfg(test)]
    fn text(&self) -> Option<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, bar) = shown.as_ref()?;
        let all = bar.length().unwrap_or_default();
        Some(format!("{} {}/{all}{}", bar.prefix(), bar.position(), bar.message()))
    }
}

/// Has calls to dead letters shown on a bar, where there is one: `{what}`, how many are seen, and how many of those are
/// `{done}`.
pub(super) fn watched(letters: DeadLetters, bar: Option<&Bar>, done: &'static str) -> DeadLetters {
    let Some(bar) = bar.cloned() else { return letters };
    let queue = letters.queue().to_string();
    letters.on_progress(move |progress| show(&bar, &queue, progress, done))
}

fn show(bar: &Bar, queue: &str, progress: DeadLetterProgress, done: &str) {
    let beside = if progress.done > 0 { format!(", {} {done}", progress.done) } else { String::new() };
    bar.show(queue, (progress.seen, progress.total), &beside);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_how_much_of_what_is_done_and_begins_anew_with_something_else() {
        let bar = Bar::on(ProgressDrawTarget::hidden, Style::default());
        let shown = |what: &str, done: (u64, u64), beside: &str| {
            bar.show(what, done, beside);
            bar.text().unwrap_or_default()
        };

        assert_eq!(bar.text(), None);
        assert_eq!(shown("shop.a", (1, 10), ""), "shop.a 1/10");
        assert_eq!(shown("shop.a", (7, 12), ", 3 replayed"), "shop.a 7/12, 3 replayed");
        assert_eq!(shown("shop.b", (0, 5), ""), "shop.b 0/5");
        bar.clear();
        assert_eq!(bar.text(), None);
    }
}
