//! Where in a text of TOML something stands, and what stands there that nobody knows.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::suggest;

/// A text that was read, with the place of each of its keys.
pub(super) struct Lines<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

/// A step on the way to something in a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list.
    Item(usize),
}

/// What may stand somewhere.
pub(super) enum Known {
    /// These keys, each with what may stand in it.
    Keys(&'static [(&'static str, Known)]),
    /// Any keys, each with this in it.
    Each(&'static Known),
    /// A list of this.
    List(&'static Known),
    /// Whatever it is, it is looked at elsewhere.
    Any,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, toml::de::Error> {
        Ok(Self { text, table: DeTable::parse(text)? })
    }

    /// The line, from 1, in which something stands; where it is not there, that of what it would be in.
    pub(super) fn line(&self, way: &[Step<'_>]) -> u32 {
        let (first, rest) = match way {
            [Step::Key(first), rest @ ..] => (*first, rest),
            _ => return 1,
        };
        let Some((mut at, mut value)) = entry(self.table.get_ref(), first) else { return 1 };
        for step in rest {
            let found = match (step, value.get_ref()) {
                (Step::Key(name), DeValue::Table(table)) => entry(table, name),
                (Step::Item(index), DeValue::Array(list)) => list.get(*index).map(|it| (it.span().start, it)),
                _ => None,
            };
            let Some(found) = found else { break };
            (at, value) = found;
        }
        line_of(self.text, at)
    }

    /// The keys that nobody knows: the line of each, and what to say of it.
    pub(super) fn unknown(&self, known: &'static [(&'static str, Known)]) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        self.unknown_in(self.table.get_ref(), known, &mut found);
        found
    }

    fn unknown_in(
        &self,
        table: &DeTable<'_>,
        known: &'static [(&'static str, Known)],
        found: &mut Vec<(u32, String)>,
    ) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, known)) => self.unknown_below(value.get_ref(), known, found),
                None => {
                    let names = || known.iter().map(|(name, _)| *name);
                    let hint = match suggest::nearest(name, names()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("there is {}", names().collect::<Vec<_>>().join(", ")),
                    };
                    found.push((
                        line_of(self.text, key.span().start),
                        format!("unknown key `{name}`; {hint}"),
                    ));
                }
            }
        }
    }

    fn unknown_below(&self, value: &DeValue<'_>, known: &'static Known, found: &mut Vec<(u32, String)>) {
        match (known, value) {
            (Known::Keys(known), DeValue::Table(table)) => self.unknown_in(table, known, found),
            (Known::Each(known), DeValue::Table(table)) => {
                table.iter().for_each(|(_, value)| self.unknown_below(value.get_ref(), known, found));
            }
            (Known::List(known), DeValue::Array(list)) => {
                list.iter().for_each(|value| self.unknown_below(value.get_ref(), known, found));
            }
            // Of another type than it has to be is told where it is read.
            (Known::Any | Known::Keys(_) | Known::Each(_) | Known::List(_), _) => {}
        }
    }
}

/// An entry of a table, with the place of its key.
fn entry<'t, 'a>(table: &'t DeTable<'a>, name: &str) -> Option<(usize, &'t Spanned<DeValue<'a>>)> {
    let found = table.iter().find(|(key, _)| key.get_ref() == name);
    found.map(|(key, value)| (key.span().start, value))
}

/// The line, from 1, of a place in a text.
pub(super) fn line_of(text: &str, at: usize) -> u32 {
    let before = &text.as_bytes()[..at.min(text.len())];
    u32::try_from(1 + before.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX)
}
