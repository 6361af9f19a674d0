//! From what is asked for to scenarios: what is measured, and who is compared.

use crate::{
    arguments::{Area, Arguments},
    task::{Contender, Kind, Task, Work},
    work::start::LEAN,
};

/// Contenders that do the same in each round.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) area: Area,
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    /// What else sets it apart: `window 100`.
    pub(crate) way: String,
    pub(crate) entries: Vec<Entry>,
}

/// One of them. The names of those that others are compared with are in `references`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) references: &'static [&'static str],
    pub(crate) task: Task,
}

impl Scenario {
    pub(crate) fn title(&self) -> String {
        match self.area {
            Area::Start | Area::Memory => format!("{}, {}", self.kind.as_str(), self.way),
            _ => format!("{}, {} B, {}", self.kind.as_str(), self.size, self.way),
        }
    }
}

/// All scenarios, in the order of the report.
pub(crate) fn plan(arguments: &Arguments) -> Vec<Scenario> {
    let planner = Planner(arguments);
    arguments
        .only
        .iter()
        .flat_map(|area| match area {
            Area::Publish => planner.publish(),
            Area::Consume => [planner.consume(), planner.beside()].concat(),
            Area::E2e => planner.end_to_end(),
            Area::Start => planner.start(),
            Area::Growth => planner.growth(),
            Area::Memory => planner.memory(),
        })
        .filter(|scenario| arguments.with.as_ref().is_none_or(|text| scenario.title().contains(text)))
        .collect()
}

struct Planner<'a>(&'a Arguments);

const BOTH: &[&str] = &["lapin-naive", "lapin-tuned"];
const ALL_THREE: &[&str] = &["lapin-naive", "lapin-tuned", "lapin-alike"];

impl Planner<'_> {
    fn publish(&self) -> Vec<Scenario> {
        let windows: &[usize] = if self.0.is_quick { &[1, 100] } else { &[1, 100, 1000] };
        self.for_each_queue(windows, |kind, size, window| {
            let mut contenders =
                vec![Contender::LapinNaive, Contender::LapinTuned, Contender::EsBus, Contender::LapinAlike];
            if window > 1 {
                contenders.push(Contender::EsBusList);
            }
            let way = if window == 1 { "one at a time".to_owned() } else { format!("window {window}") };
            let events = if window == 1 { self.part(5) } else { self.0.events };
            let task = |contender| task(contender, Work::Publish { window }, kind, size, events);
            compare(Area::Publish, kind, size, way, ALL_THREE, contenders.into_iter().map(task))
        })
    }

    fn consume(&self) -> Vec<Scenario> {
        let prefetches: &[u16] = if self.0.is_quick { &[100] } else { &[1, 10, 100, 250] };
        self.for_each_queue(prefetches, |kind, size, prefetch| {
            let events = if prefetch == 1 { self.part(4) } else { self.0.events };
            let contenders = [Contender::LapinNaive, Contender::LapinTuned, Contender::EsBus];
            let tasks =
                contenders.map(|contender| task(contender, Work::Consume { prefetch }, kind, size, events));
            compare(Area::Consume, kind, size, format!("prefetch {prefetch}"), BOTH, tasks)
        })
    }

    /// With a prefetch that one event would hold, if nothing behind it were acknowledged.
    fn beside(&self) -> Vec<Scenario> {
        const REFERENCE: &[&str] = &["all quick"];
        self.for_each_queue(&[10], |kind, size, prefetch| {
            let works = [("all quick", Work::Consume { prefetch }), ("one slow", Work::Beside { prefetch })];
            let entries = works.map(|(name, work)| Entry {
                name: name.to_owned(),
                references: REFERENCE,
                task: task(Contender::EsBus, work, kind, size, self.0.events),
            });
            let (area, way) = (Area::Consume, format!("prefetch {prefetch}, one slow event"));
            Scenario { area, kind, size, way, entries: entries.into() }
        })
    }

    fn end_to_end(&self) -> Vec<Scenario> {
        let rates: &[u64] = if self.0.is_quick { &[500] } else { &[500, 2000] };
        self.for_each_queue(rates, |kind, size, rate| {
            // As long as the events last at 4000 a second.
            let events = (self.0.events * rate / 4000).max(50);
            let contenders = [Contender::LapinTuned, Contender::EsBus, Contender::LapinAlike];
            let tasks =
                contenders.map(|contender| task(contender, Work::EndToEnd { rate }, kind, size, events));
            compare(Area::E2e, kind, size, format!("{rate}/s"), &["lapin-tuned", "lapin-alike"], tasks)
        })
    }

    fn start(&self) -> Vec<Scenario> {
        let mut all = Vec::new();
        let counts = |kind| -> &[usize] {
            match kind {
                _ if self.0.is_quick => &[10],
                Kind::Quorum => &[10, 100],
                Kind::Classic => &[10, 100, 1000],
                Kind::Memory => &[10, 100, 1000],
            }
        };
        for kind in self.0.kinds.iter().copied().chain([Kind::Memory]) {
            for groups in counts(kind).iter().copied() {
                let contenders: &[Contender] = match kind {
                    Kind::Memory => &[Contender::EsBus],
                    _ => &[Contender::LapinTuned, Contender::EsBus],
                };
                let tasks = contenders
                    .iter()
                    .map(|contender| task(*contender, Work::Start { groups }, kind, 200, groups as u64));
                let way = format!("{groups} groups{}", if groups >= LEAN { " without retries" } else { "" });
                all.push(compare(Area::Start, kind, 200, way, &["lapin-tuned"], tasks));
            }
        }
        all
    }

    fn growth(&self) -> Vec<Scenario> {
        const REFERENCE: &[&str] = &["10 handlers"];
        self.for_each_queue(&[100], |kind, size, prefetch| {
            let entries = [10, 1000].map(|handlers| {
                let task = task(Contender::EsBus, Work::Consume { prefetch }, kind, size, self.0.events);
                let task = Task { handlers, ..task };
                Entry { name: format!("{handlers} handlers"), references: REFERENCE, task }
            });
            let (area, way) = (Area::Growth, format!("prefetch {prefetch}"));
            Scenario { area, kind, size, way, entries: entries.into() }
        })
    }

    fn memory(&self) -> Vec<Scenario> {
        let scenario = |size: &usize| {
            let tasks = [Contender::Floor, Contender::EsBus]
                .map(|contender| task(contender, Work::Memory, Kind::Memory, *size, self.0.events * 5));
            compare(Area::Memory, Kind::Memory, *size, format!("{size} B"), &["mpsc-json"], tasks)
        };
        self.0.sizes.iter().map(scenario).collect()
    }

    fn for_each_queue<T: Copy>(
        &self,
        ways: &[T],
        scenario: impl Fn(Kind, usize, T) -> Scenario,
    ) -> Vec<Scenario> {
        let mut all = Vec::new();
        for kind in &self.0.kinds {
            for size in &self.0.sizes {
                all.extend(ways.iter().map(|way| scenario(*kind, *size, *way)));
            }
        }
        all
    }

    /// Fewer events, for what is slow.
    fn part(&self, divisor: u64) -> u64 {
        (self.0.events / divisor).max(50)
    }
}

fn task(contender: Contender, work: Work, kind: Kind, size: usize, events: u64) -> Task {
    let url = "memory://".to_owned();
    Task { contender, work, kind, size, events, handlers: 1, url, broker: None }
}

fn compare(
    area: Area,
    kind: Kind,
    size: usize,
    way: String,
    references: &'static [&'static str],
    tasks: impl IntoIterator<Item = Task>,
) -> Scenario {
    let entry = |task: Task| Entry { name: task.contender.as_str().to_owned(), references, task };
    Scenario { area, kind, size, way, entries: tasks.into_iter().map(entry).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_all_that_can_be_asked_for() {
        let scenarios = plan(&Arguments::default());

        let count = |area| scenarios.iter().filter(|scenario| scenario.area == area).count();
        assert_eq!(Area::ALL.map(count), [12, 20, 8, 8, 4, 2]);
        assert_eq!(scenarios[1].title(), "quorum, 200 B, window 100");
        let names: Vec<&str> = scenarios[1].entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["lapin-naive", "lapin-tuned", "es-bus", "lapin-alike", "es-bus-list"]);
    }

    #[test]
    fn plans_only_what_is_asked_for() {
        let arguments = Arguments {
            only: vec![Area::Growth],
            kinds: vec![Kind::Classic],
            sizes: vec![200],
            ..Arguments::default()
        };

        let scenarios = plan(&arguments);

        assert_eq!(scenarios.len(), 1);
        assert_eq!(scenarios[0].entries[1].task.handlers, 1000);
    }
}
