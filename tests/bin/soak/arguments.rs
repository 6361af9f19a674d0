//! What the command line asks for.

use std::{str::FromStr, time::Duration};

use es_bus::duration;

use crate::schedule::Cast;

pub(crate) const USAGE: &str = "\
Publishers and workers, a broker of their own, and faults by a schedule that the seed decides. At the
end every event that was confirmed has to be handled or dead-lettered, or the exit code is 1.

    soak [--duration 30s] [--every 2s] [--seed 7] [--kinds quorum,classic] [--processes 3]
         [--publishers 2] [--rate 100] [--drain 2m] [--json] [--schedule]

    --duration    for how long events are published and faults come
    --every       the time from one fault to the next
    --seed        decides the schedule, and which events fail
    --kinds       the kinds of queues, each with a group of its own
    --processes   how many workers, each consuming every group
    --publishers  how many publishers
    --rate        how many events a publisher publishes in a second, when nothing is wrong
    --drain       how long the queues may take to empty, once the faults have stopped
    --json        prints the report as JSON
    --schedule    prints the schedule, and ends
";

/// A run, as it was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) duration: Duration,
    pub(crate) every: Duration,
    pub(crate) seed: u64,
    pub(crate) kinds: Vec<String>,
    pub(crate) processes: usize,
    pub(crate) publishers: usize,
    pub(crate) rate: u32,
    pub(crate) drain: Duration,
    pub(crate) is_json: bool,
    pub(crate) is_schedule_only: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(30),
            every: Duration::from_secs(2),
            seed: 7,
            kinds: KINDS.map(str::to_owned).to_vec(),
            processes: 3,
            publishers: 2,
            rate: 100,
            drain: Duration::from_secs(120),
            is_json: false,
            is_schedule_only: false,
        }
    }
}

/// The groups of the workers, each named after the kind of its queue.
pub(crate) const KINDS: [&str; 2] = ["quorum", "classic"];

impl Arguments {
    /// Reads the words after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            // `--seed=9` is `--seed 9`.
            let (word, mut rest) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut next = || rest.take().or_else(|| words.next());
            match word.as_str() {
                "--json" => arguments.is_json = true,
                "--schedule" => arguments.is_schedule_only = true,
                "--duration" => arguments.duration = time(&word, next())?,
                "--every" => arguments.every = time(&word, next())?,
                "--drain" => arguments.drain = time(&word, next())?,
                "--seed" => arguments.seed = number(&word, next())?,
                "--rate" => arguments.rate = number(&word, next())?,
                "--processes" => arguments.processes = number(&word, next())?,
                "--publishers" => arguments.publishers = number(&word, next())?,
                "--kinds" => arguments.kinds = kinds(&value(&word, next())?)?,
                _ => return Err(format!("{word:?} is not known\n\n{USAGE}")),
            }
            if let Some(value) = rest {
                return Err(format!("{word} takes no value, so not {value:?}"));
            }
        }
        let least = [arguments.processes, arguments.publishers, arguments.rate as usize];
        if least.contains(&0) || arguments.every.is_zero() {
            return Err("--processes, --publishers, --rate and --every have to be more than 0".to_owned());
        }
        if arguments.duration <= arguments.every {
            let Self { duration, every, .. } = arguments;
            return Err(format!(
                "no fault would come: --duration {duration:?} ends before --every {every:?} is over"
            ));
        }
        Ok(arguments)
    }

    pub(crate) fn cast(&self) -> Cast {
        Cast { workers: self.processes, publishers: self.publishers, kinds: self.kinds.len() }
    }
}

fn value(name: &str, value: Option<String>) -> Result<String, String> {
    value.ok_or_else(|| format!("{name} wants a value\n\n{USAGE}"))
}

fn time(name: &str, given: Option<String>) -> Result<Duration, String> {
    duration::parse(&value(name, given)?).map_err(|error| format!("{name}: {error}"))
}

fn number<T: FromStr>(name: &str, given: Option<String>) -> Result<T, String> {
    let text = value(name, given)?;
    text.parse().map_err(|_| format!("{name} wants a whole number, not {text:?}"))
}

fn kinds(text: &str) -> Result<Vec<String>, String> {
    let mut kinds: Vec<String> = text.split(',').map(|kind| kind.trim().to_owned()).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(format!("--kinds: {unknown:?} is none of {KINDS:?}"));
    }
    kinds.dedup();
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn says_what_is_asked_for() {
        let asked = parse("--duration 10m --seed 9 --every 1500ms --kinds=classic --processes=5 --json");

        let expected = Arguments {
            duration: Duration::from_secs(600),
            seed: 9,
            every: Duration::from_millis(1500),
            kinds: vec!["classic".to_owned()],
            processes: 5,
            is_json: true,
            ..Arguments::default()
        };
        assert_eq!(asked, Ok(expected));
        assert_eq!(parse(""), Ok(Arguments::default()));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in ["--fast", "--seed", "--seed x", "--kinds stream", "--duration soon", "--processes 0"]
            .into_iter()
            .chain(["--duration 0s", "--duration 1m --every 5m", "--json=no", "--seed="])
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
