//! What a run found, as it is written to the file of `--json`.

use serde::Serialize;

use crate::{
    arguments::{Area, Arguments},
    goals::Judgement,
    statistics::{bounds, median},
    task::{Kind, Measured},
};

/// A run, with all of its measurements.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// What it ran on.
    pub(crate) machine: Machine,
    pub(crate) arguments: Arguments,
    pub(crate) scenarios: Vec<Compared>,
    pub(crate) goals: Vec<Judgement>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) rabbitmq: String,
    /// The mean number of processes that wanted to run in the last minute: before and after the run.
    pub(crate) load: (f64, f64),
    pub(crate) is_optimized: bool,
}

/// A scenario, measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) area: Area,
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    pub(crate) way: String,
    pub(crate) title: String,
    pub(crate) entries: Vec<Rounds>,
}

/// What one contender needed, round by round: rounds of the same place are of the same time, so one in which
/// it could not be measured keeps its place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rounds {
    pub(crate) name: String,
    pub(crate) references: &'static [&'static str],
    pub(crate) rounds: Vec<Option<Measured>>,
}

impl Compared {
    pub(crate) fn entry(&self, name: &str) -> Option<&Rounds> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The median of what each round says of two contenders; `None` where no round has both. Values of one
    /// round are nearest in time, so that what else the machine did then is in both.
    pub(crate) fn paired(
        &self,
        name: &str,
        reference: &str,
        value: impl Fn(&Measured) -> f64,
        of: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let (left, right) = (self.entry(name)?, self.entry(reference)?);
        let both = left.rounds.iter().zip(&right.rounds);
        let both = both.filter_map(|(left, right)| Some((value(left.as_ref()?), value(right.as_ref()?))));
        let found = median(both.map(|(left, right)| of(left, right)));
        found.is_finite().then_some(found)
    }
}

impl Rounds {
    pub(crate) fn values(&self, value: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.rounds.iter().flatten().map(value).collect()
    }

    pub(crate) fn median(&self, value: impl Fn(&Measured) -> f64) -> f64 {
        median(self.values(value))
    }

    pub(crate) fn bounds(&self, value: impl Fn(&Measured) -> f64) -> (f64, f64) {
        bounds(&self.values(value))
    }
}
