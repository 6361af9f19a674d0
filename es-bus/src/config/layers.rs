//! Everything that was said, and which of it counts.

use super::{
    field::Field,
    source::{Scope, Setting, Source},
};

/// One thing that was said. Its text passed the check of its key. No `Debug`: it may be a secret.
pub(super) struct Entry {
    pub(super) scope: Scope,
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) source: Source,
}

/// All things said, in the order in which they were said.
#[derive(Default)]
pub(super) struct Layers {
    entries: Vec<Entry>,
}

impl Layers {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The value that counts for `scope`; see the module documentation of [`config`](super) for the
    /// rule.
    pub(super) fn resolve<T: Field>(&self, scope: &Scope, key: &str, default: &str) -> Setting<T> {
        let winner = self
            .entries
            .iter()
            .filter(|entry| entry.key == key && entry.scope.covers(scope))
            // The last of equals wins: what was said later.
            .max_by_key(|entry| precedence(entry));
        let (text, source) = match winner {
            Some(entry) => (entry.text.as_str(), entry.source.clone()),
            None => (default, Source::BuiltIn),
        };
        Setting::new(T::parse(text).expect("checked before it became an entry"), source)
    }

    /// Whether somebody said it about this very scope, and not only about all at once.
    pub(super) fn is_said_of(&self, scope: &Scope, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key && entry.scope == *scope)
    }
}

/// Forced before anything else; then the specific before the general; then the later layer.
fn precedence(entry: &Entry) -> impl Ord + use<> {
    (entry.source == Source::Forced, entry.scope.level(), entry.source.rank())
}
