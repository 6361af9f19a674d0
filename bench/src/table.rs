//! Tables of a run: plain ones for the terminal, and Markdown for the documentation.

use std::fmt::Write as _;

use crate::{
    arguments::Area,
    results::{Compared, Results, Rounds},
    task::Measured,
};

/// What the terminal gets.
pub(crate) fn text(results: &Results) -> String {
    let mut text = String::new();
    for scenario in &results.scenarios {
        let _ = writeln!(text, "\n{}: {}", scenario.area.as_str(), scenario.title);
        text.push_str(&aligned(&rows(scenario)));
    }
    text.push('\n');
    text.push_str(&aligned(&goals(results)));
    for failure in &results.failures {
        let _ = writeln!(text, "not measured: {failure}");
    }
    text
}

/// What `docs/performance.md` has below its introduction.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = format!("{}\n", circumstances(results));
    for area in Area::ALL {
        let mut scenarios = results.scenarios.iter().filter(|scenario| scenario.area == area).peekable();
        if scenarios.peek().is_some() {
            let _ = writeln!(text, "\n## {}", area.title());
        }
        for scenario in scenarios {
            let _ = writeln!(text, "\n**{}**\n\n{}", scenario.title, piped(&rows(scenario)).trim_end());
        }
    }
    let _ = writeln!(text, "\n## Goals\n\n{}", piped(&goals(results)).trim_end());
    for failure in &results.failures {
        let _ = writeln!(text, "\nNot measured: {failure}");
    }
    text
}

fn circumstances(results: &Results) -> String {
    let (machine, arguments) = (&results.machine, &results.arguments);
    format!(
        "{} cores, RabbitMQ {} on loopback, {} build; {} round{} of {} events; load {:.1} before and {:.1} after.",
        machine.cores,
        machine.rabbitmq,
        if machine.is_optimized { "release" } else { "DEBUG" },
        arguments.rounds,
        if arguments.rounds == 1 { "" } else { "s" },
        arguments.events,
        machine.load.0,
        machine.load.1,
    )
}

type Row = Vec<String>;

/// The head, and a row for each contender.
fn rows(scenario: &Compared) -> Vec<Row> {
    let is_start = scenario.area == Area::Start;
    let speed = if is_start { "seconds (min/median/max)" } else { "events/s (min/median/max)" };
    let per = if is_start { "group" } else { "event" };
    let head = vec![
        String::new(),
        speed.to_owned(),
        "compared".to_owned(),
        format!("client us/{per}"),
        format!("broker us/{per}"),
        "p50".to_owned(),
        "p99".to_owned(),
        "peak MB".to_owned(),
    ];
    let row = |entry: &Rounds| {
        if entry.rounds.iter().all(Option::is_none) {
            return vec![entry.name.clone(), "not measured".to_owned()];
        }
        let value: fn(&Measured) -> f64 = if is_start { |it| it.seconds } else { Measured::rate };
        let (least, most) = entry.bounds(value);
        let format = if is_start { seconds } else { thousands };
        vec![
            entry.name.clone(),
            [least, entry.median(value), most].map(format).join(" / "),
            compared(scenario, entry, value),
            format!("{:.1}", entry.median(Measured::client_cpu_per_event)),
            format!("{:.1}", entry.median(Measured::broker_cpu_per_event)),
            micros(entry.median(|it| it.p50_us)),
            micros(entry.median(|it| it.p99_us)),
            format!("{:.1}", entry.median(|it| it.peak_rss_kib as f64 / 1024.0)),
        ]
    };
    [head].into_iter().chain(scenario.entries.iter().map(row)).collect()
}

/// `1.31 x naive, 0.97 x tuned`.
fn compared(scenario: &Compared, entry: &Rounds, value: fn(&Measured) -> f64) -> String {
    let to = |reference: &&&str| {
        let ratio = scenario.paired(&entry.name, reference, value, |left, right| left / right)?;
        Some(format!("{ratio:.2} x {}", reference.trim_start_matches("lapin-")))
    };
    let references = entry.references.iter().filter(|reference| **reference != entry.name);
    references.filter_map(|reference| to(&reference)).collect::<Vec<_>>().join(", ")
}

fn goals(results: &Results) -> Vec<Row> {
    let head = ["goal", "scenario", "bound", "measured", ""].map(str::to_owned).to_vec();
    let row = |it: &crate::goals::Judgement| {
        vec![
            it.goal.to_owned(),
            it.scenario.clone(),
            format!("{}", it.bound),
            format!("{:.2}", it.measured),
            if it.is_met { "met" } else { "NOT MET" }.to_owned(),
        ]
    };
    [head].into_iter().chain(results.goals.iter().map(row)).collect()
}

fn aligned(rows: &[Row]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn piped(rows: &[Row]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|{}", " --- |".repeat(row.len()));
        }
    }
    text
}

/// `18.4k`.
pub(crate) fn thousands(value: f64) -> String {
    if value >= 100_000.0 {
        format!("{:.0}k", value / 1000.0)
    } else if value >= 10_000.0 {
        format!("{:.1}k", value / 1000.0)
    } else {
        format!("{value:.0}")
    }
}

pub(crate) fn seconds(value: f64) -> String {
    format!("{value:.3}")
}

fn micros(value: f64) -> String {
    match value {
        0.0 => "-".to_owned(),
        value if value >= 1000.0 => format!("{:.1} ms", value / 1000.0),
        value => format!("{value:.0} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([9_999.4, 18_420.0, 812_345.0].map(thousands), ["9999", "18.4k", "812k"]);
        assert_eq!([0.0, 485.2, 4_040.0].map(micros), ["-", "485 us", "4.0 ms"]);
    }

    #[test]
    fn rows_of_a_table_are_aligned() {
        let rows = [["", "events/s"], ["es-bus", "18.4k"]].map(|row| row.map(str::to_owned).to_vec());

        assert_eq!(aligned(&rows), "          events/s\n  es-bus  18.4k\n");
        assert_eq!(piped(&rows), "|  | events/s |\n| --- | --- |\n| es-bus | 18.4k |\n");
    }
}
