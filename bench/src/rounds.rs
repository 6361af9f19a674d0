//! Runs the plan: every round each contender of each scenario once, in a process of its own.
//!
//! Even rounds go forward and odd ones backward, so that what drifts is in everybody's favour in turn.

use std::{
    env,
    process::{Command, Stdio},
};

use es_bus_tests::Node;

use crate::{
    Result,
    plan::{Entry, Scenario},
    report::progress,
    results::{Compared, Rounds},
    task::{Contender, Kind, Measured, Task, Work},
};

/// Everything that was measured, and what could not be.
pub(crate) fn run(scenarios: &[Scenario], rounds: usize, node: &Node) -> (Vec<Compared>, Vec<String>) {
    let mut compared: Vec<Compared> =
        scenarios.iter().map(|scenario| nothing_yet(scenario, rounds)).collect();
    let mut failures = Vec::new();
    let vhost = node.vhost("bench");
    let pairs: Vec<(usize, usize)> = scenarios
        .iter()
        .enumerate()
        .flat_map(|(scenario, it)| (0..it.entries.len()).map(move |entry| (scenario, entry)))
        .collect();
    warm_up(scenarios, &vhost.url());
    for round in 0..rounds {
        let mut order = pairs.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        for (number, (scenario, entry)) in order.into_iter().enumerate() {
            let Scenario { area, entries, .. } = &scenarios[scenario];
            let Entry { name, task, .. } = &entries[entry];
            let what = format!("{}: {}: {name}", area.as_str(), scenarios[scenario].title());
            progress(&format!("round {}/{rounds}, {}/{}: {what}", round + 1, number + 1, pairs.len()));
            match measure(task, node, &vhost.url()) {
                Ok(measured) => compared[scenario].entries[entry].rounds[round] = Some(measured),
                Err(error) => failures.push(format!("{what}, round {}: {error}", round + 1)),
            }
        }
    }
    (compared, failures)
}

/// A broker that has just booted is slow for a while, which would be the first contender's bad luck.
fn warm_up(scenarios: &[Scenario], url: &str) {
    let mut kinds: Vec<Kind> = scenarios.iter().map(|it| it.kind).filter(|it| *it != Kind::Memory).collect();
    kinds.dedup();
    for kind in kinds {
        let task = &scenarios[0].entries[0].task;
        let url = url.to_owned();
        let work = Work::Publish { window: 100 };
        let contender = Contender::LapinTuned;
        let task = Task { contender, work, kind, handlers: 1, events: WARM_UP, url, ..task.clone() };
        // What does not work is told when it is measured.
        let _ = prepared(&task, 0);
    }
}

fn nothing_yet(scenario: &Scenario, rounds: usize) -> Compared {
    let entry = |entry: &Entry| Rounds {
        name: entry.name.clone(),
        references: entry.references,
        rounds: vec![None; rounds],
    };
    Compared {
        area: scenario.area,
        kind: scenario.kind,
        size: scenario.size,
        way: scenario.way.clone(),
        title: scenario.title(),
        entries: scenario.entries.iter().map(entry).collect(),
    }
}

/// Measures, on a queue that is as the task wants it.
fn measure(task: &Task, node: &Node, url: &str) -> Result<Measured> {
    let on = |url: String| Task { url, broker: Some(node.pid()), ..task.clone() };
    match task.work {
        _ if task.kind == Kind::Memory => process(task),
        // Where nothing has been declared yet.
        Work::Start { .. } => {
            let vhost = node.vhost("start");
            process(&on(vhost.url()))
        }
        Work::Beside { .. } => prepared(&on(url.to_owned()), task.warm_up() + task.events + 1),
        Work::Consume { .. } => prepared(&on(url.to_owned()), task.warm_up() + task.events),
        _ => prepared(&on(url.to_owned()), 0),
    }
}

/// Measures once the queue is there, with so many events in it.
fn prepared(task: &Task, fill: u64) -> Result<Measured> {
    process(&Task {
        work: Work::Prepare { fill, slow: matches!(task.work, Work::Beside { .. }) },
        ..task.clone()
    })
    .map_err(|error| format!("preparing: {error}"))?;
    process(task)
}

/// This program again, for one task.
fn process(task: &Task) -> Result<Measured> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["worker", &serde_json::to_string(task)?]).stdin(Stdio::null());
    let output = command.output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{}: {told}", output.status).into());
    }
    let answer = String::from_utf8(output.stdout)?;
    serde_json::from_str(answer.trim()).map_err(|error| format!("{answer:?} is no answer: {error}").into())
}

/// How many events a queue takes before anything is measured.
const WARM_UP: u64 = 2000;
