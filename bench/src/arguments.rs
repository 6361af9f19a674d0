//! What the command line asks for.

use std::{path::PathBuf, str::FromStr};

use serde::Serialize;

use crate::task::Kind;

pub(crate) const USAGE: &str = "\
Measures es-bus beside hand-written lapin: on one broker, which it boots for itself, in rounds that
alternate. Prints medians of what each round says, and whether the goals are met.

    bench [--rounds 5] [--events 20000] [--only publish,consume,e2e,start,growth,memory]
          [--with TEXT] [--kinds quorum,classic] [--sizes 200,2048] [--json FILE] [--markdown FILE]
          [--svg FILE] [--quick]

    --rounds    how often everything is measured; every other round goes backward
    --events    how many events a measurement has; slow ones have fewer
    --only      what is measured
    --with      of that only what has these words in its title, such as `one slow event`
    --kinds     the kinds of queues
    --sizes     the bytes of an event's own JSON, 128 at least
    --json      writes all that was measured
    --markdown  writes the tables; in docs/performance.md, below what is said of them
    --svg       draws them
    --quick     one round, few events, and of each only what shows that it works

Run it alone: `cargo run --release -p es-bus-bench`. The exit code is 1 when something could not be
measured, and 0 otherwise, whether goals are met or not.
";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    Publish,
    Consume,
    E2e,
    Start,
    Growth,
    Memory,
}

impl Area {
    pub(crate) const ALL: [Self; 6] =
        [Self::Publish, Self::Consume, Self::E2e, Self::Start, Self::Growth, Self::Memory];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::E2e => "e2e",
            Self::Start => "start",
            Self::Growth => "growth",
            Self::Memory => "memory",
        }
    }

    /// What a table or a picture of it is called.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Publish => "Publish with confirms",
            Self::Consume => "Consume and acknowledge",
            Self::E2e => "End to end at a fixed rate",
            Self::Start => "Start of groups",
            Self::Growth => "Many handlers, many bindings",
            Self::Memory => "In-process broker",
        }
    }
}

/// A run, as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Arguments {
    pub(crate) rounds: usize,
    pub(crate) events: u64,
    pub(crate) only: Vec<Area>,
    pub(crate) with: Option<String>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) sizes: Vec<usize>,
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) markdown: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) svg: Option<PathBuf>,
    pub(crate) is_quick: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            rounds: 5,
            events: 20_000,
            only: Area::ALL.to_vec(),
            with: None,
            kinds: vec![Kind::Quorum, Kind::Classic],
            sizes: vec![200, 2048],
            json: None,
            markdown: None,
            svg: None,
            is_quick: false,
        }
    }
}

impl Arguments {
    /// Reads the words after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        let (mut rounds, mut events, mut sizes) = (None, None, None);
        while let Some(word) = words.next() {
            // `--rounds=9` is `--rounds 9`.
            let (word, mut rest) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut next = || {
                let value = rest.take().or_else(|| words.next());
                value
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| format!("{word} wants a value\n\n{USAGE}"))
            };
            match word.as_str() {
                "--quick" => arguments.is_quick = true,
                "--rounds" => rounds = Some(number(&word, &next()?, 1)?),
                "--events" => events = Some(number(&word, &next()?, 50)?),
                "--only" => arguments.only = list(&word, &next()?, &Area::ALL, Area::as_str)?,
                "--with" => arguments.with = Some(next()?),
                "--kinds" => arguments.kinds = list(&word, &next()?, &KINDS, Kind::as_str)?,
                "--sizes" => sizes = Some(numbers(&word, &next()?, LEAST_SIZE)?),
                "--json" => arguments.json = Some(next()?.into()),
                "--markdown" => arguments.markdown = Some(next()?.into()),
                "--svg" => arguments.svg = Some(next()?.into()),
                _ => return Err(format!("{word:?} is not known\n\n{USAGE}")),
            }
            if let Some(value) = rest {
                return Err(format!("{word} takes no value, so not {value:?}"));
            }
        }
        if arguments.is_quick {
            (arguments.rounds, arguments.events, arguments.sizes) = (1, 500, vec![200]);
        }
        arguments.rounds = rounds.unwrap_or(arguments.rounds);
        arguments.events = events.unwrap_or(arguments.events);
        arguments.sizes = sizes.unwrap_or(arguments.sizes);
        Ok(arguments)
    }
}

const KINDS: [Kind; 2] = [Kind::Quorum, Kind::Classic];
/// The names and an id are in every event.
const LEAST_SIZE: usize = 128;

fn number<T: Copy + FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    text: &str,
    least: T,
) -> Result<T, String> {
    let number = text.trim().parse().map_err(|_| format!("{name} wants a whole number, not {text:?}"))?;
    if number < least { Err(format!("{name} wants {least} at least, not {text}")) } else { Ok(number) }
}

fn numbers(name: &str, text: &str, least: usize) -> Result<Vec<usize>, String> {
    text.split(',').map(|word| number(name, word, least)).collect()
}

fn list<T: Copy + PartialEq>(
    name: &str,
    text: &str,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for word in text.split(',').map(str::trim) {
        let known = all.iter().copied().find(|it| as_str(*it) == word).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|it| as_str(*it)).collect();
            format!("{name}: {word:?} is none of {}", names.join(", "))
        })?;
        if !found.contains(&known) {
            found.push(known);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn says_what_is_asked_for() {
        let asked =
            parse("--rounds 3 --events=900 --only e2e,publish --kinds classic --sizes 300,200 --svg a.svg");

        let expected = Arguments {
            rounds: 3,
            events: 900,
            only: vec![Area::E2e, Area::Publish],
            kinds: vec![Kind::Classic],
            sizes: vec![300, 200],
            svg: Some("a.svg".into()),
            ..Arguments::default()
        };
        assert_eq!(asked, Ok(expected));
        assert_eq!(parse(""), Ok(Arguments::default()));
    }

    #[test]
    fn quick_is_a_default_that_may_be_changed() {
        let quick = parse("--events 300 --quick").unwrap();

        assert_eq!((quick.rounds, quick.events, quick.sizes), (1, 300, vec![200]));
    }

    #[test]
    fn says_what_is_wrong_and_what_would_do() {
        for (line, told) in [
            ("--fast", "\"--fast\" is not known"),
            ("--rounds", "--rounds wants a value"),
            ("--json=", "--json wants a value"),
            ("--rounds many", "--rounds wants a whole number, not \"many\""),
            ("--rounds 0", "--rounds wants 1 at least, not 0"),
            ("--only publish,eat", "--only: \"eat\" is none of publish, consume, e2e"),
            ("--kinds stream", "--kinds: \"stream\" is none of quorum, classic"),
            ("--sizes 200,20", "--sizes wants 128 at least, not 20"),
            ("--quick=yes", "--quick takes no value, so not \"yes\""),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(told), "{line}: {error}");
        }
    }
}
