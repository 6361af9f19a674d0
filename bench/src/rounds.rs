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
    task::{Kind, Measured, Task, Work},
};

/// Everything that was measured, and what could not be.
pub(crate) fn run(scenarios: &[Scenario], rounds: usize, node: &Node) -> (Vec<Compared>, Vec<String>) {
    let mut compared: Vec<Compared> = scenarios.iter().map(nothing_yet).collect();
    let mut failures = Vec::new();
    let vhost = node.vhost("bench");
    let pairs: Vec<(usize, usize)> = scenarios
        .iter()
        .enumerate()
        .flat_map(|(scenario, it)| (0..it.entries.len()).map(move |entry| (scenario, entry)))
        .collect();
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
                Ok(measured) => compared[scenario].entries[entry].rounds.push(measured),
                Err(error) => failures.push(format!("{what}, round {}: {error}", round + 1)),
            }
        }
    }
    (compared, failures)
}

fn nothing_yet(scenario: &Scenario) -> Compared {
    let entry =
        |entry: &Entry| Rounds { name: entry.name.clone(), references: entry.references, rounds: Vec::new() };
    Compared {
        area: scenario.area,
        kind: scenario.kind,
        size: scenario.size,
        way: scenario.way.clone(),
        title: scenario.title(),
        entries: scenario.entries.iter().map(entry).collect(),
    }
}

/// Prepares the queue, where there is one, then measures.
fn measure(task: &Task, node: &Node, url: &str) -> Result<Measured> {
    if task.kind == Kind::Memory {
        return process(task);
    }
    // A start is measured where nothing has been declared yet.
    let fresh = matches!(task.work, Work::Start { .. }).then(|| node.vhost("start"));
    let url = fresh.as_ref().map_or_else(|| url.to_owned(), |vhost| vhost.url());
    let task = Task { url, broker: Some(node.pid()), ..task.clone() };
    let fill = match task.work {
        Work::Consume { .. } => task.warm_up() + task.events,
        _ => 0,
    };
    if fresh.is_none() {
        process(&Task { work: Work::Prepare { fill }, ..task.clone() })
            .map_err(|error| format!("preparing: {error}"))?;
    }
    process(&task)
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
