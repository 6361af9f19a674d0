//! A picture of a run: a panel for each area, a group of bars for each scenario.
//!
//! It has a background of its own, so that it reads the same on light pages and on dark ones.

use std::fmt::Write as _;

use crate::{
    arguments::Area,
    results::{Compared, Results, Rounds},
    table::{seconds, thousands},
    task::Measured,
};

/// Draws it.
pub(crate) fn draw(results: &Results) -> String {
    let mut body = String::new();
    let machine = format!(
        "{} cores, RabbitMQ {} on loopback; rounds: {}, of which each bar is the median",
        results.machine.cores, results.machine.rabbitmq, results.arguments.rounds
    );
    label(&mut body, MARGIN, 36, 20, INK, "es-bus beside hand-written lapin");
    label(&mut body, MARGIN, 58, 12, FAINT, &machine);
    let mut top = 78;
    for area in Area::ALL {
        let scenarios: Vec<&Compared> =
            results.scenarios.iter().filter(|scenario| scenario.area == area).collect();
        if !scenarios.is_empty() {
            top = panel(&mut body, top, area, &scenarios);
        }
    }
    let height = top + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" role=\"img\">\n\
         <title>es-bus beside hand-written lapin</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"{PAPER}\"/>\n{body}</svg>\n"
    )
}

/// Draws the scenarios of one area, and says where the next one may begin.
fn panel(body: &mut String, top: u32, area: Area, scenarios: &[&Compared]) -> u32 {
    let (unit, value, format) = figure(area);
    let medians = scenarios.iter().flat_map(|it| &it.entries).map(|entry| median(entry, value));
    let longest = medians.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut y = top + 24;
    label(body, MARGIN, y, 15, INK, area.title());
    label(body, BARS + 20, y, 12, FAINT, unit);
    y += 10;
    for scenario in scenarios {
        y += GAP;
        label(body, MARGIN, y + BAR, 12, INK, &scenario.title);
        for entry in &scenario.entries {
            let median = median(entry, value);
            let width = (median / longest * f64::from(LONGEST)).max(1.0);
            let _ = writeln!(
                body,
                "<rect x=\"{BARS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\"/>",
                colour(&entry.name)
            );
            let text = if median > 0.0 { format(median) } else { "not measured".to_owned() };
            let text = format!("{text} {}", entry.name);
            label(body, BARS + width as u32 + 6, y + BAR - 3, 11, FAINT, &text);
            y += BAR + 2;
        }
    }
    y + GAP
}

type Figure = (&'static str, fn(&Measured) -> f64, fn(f64) -> String);

fn figure(area: Area) -> Figure {
    match area {
        Area::E2e => ("median latency in us, shorter is better", |it| it.p50_us, thousands),
        Area::Start => ("seconds, shorter is better", |it| it.seconds, seconds),
        Area::Publish | Area::Consume | Area::Growth | Area::Memory => {
            ("events/s, longer is better", Measured::rate, thousands)
        }
    }
}

/// 0 where nothing was measured.
fn median(entry: &Rounds, value: fn(&Measured) -> f64) -> f64 {
    let median = entry.median(value);
    if median.is_finite() { median } else { 0.0 }
}

fn colour(name: &str) -> &'static str {
    match name {
        "lapin-naive" => "#c3c8d1",
        "lapin-alike" => "#5f6878",
        "lapin-tuned" | "mpsc-json" | "10 handlers" | "all quick" => "#8a93a3",
        "es-bus-list" => "#7fb2e5",
        _ => "#2f6fb5",
    }
}

fn label(body: &mut String, x: u32, y: u32, size: u32, fill: &str, text: &str) {
    let text = escape(text);
    let _ = writeln!(body, "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{fill}\">{text}</text>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const WIDTH: u32 = 960;
const MARGIN: u32 = 24;
/// Where bars begin, and how long one can be: names stand behind them.
const BARS: u32 = 300;
const LONGEST: u32 = 480;
const BAR: u32 = 13;
const GAP: u32 = 10;
const PAPER: &str = "#ffffff";
const INK: &str = "#1c2330";
const FAINT: &str = "#596273";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{arguments::Arguments, results::Machine, task::Kind};

    fn results(title: &str) -> Results {
        let rounds = |name: &str, seconds| Rounds {
            name: name.to_owned(),
            references: &[],
            rounds: vec![Some(Measured { events: 1000, seconds, ..Measured::default() })],
        };
        let nothing = Rounds { name: "es-bus-list".to_owned(), references: &[], rounds: vec![None] };
        let scenario = Compared {
            area: Area::Publish,
            kind: Kind::Quorum,
            size: 200,
            way: String::new(),
            title: title.to_owned(),
            entries: vec![rounds("lapin-tuned", 0.5), rounds("es-bus", 1.0), nothing],
        };
        Results {
            machine: Machine {
                cores: 2,
                rabbitmq: "3.10.8".to_owned(),
                load: (0.0, 0.0),
                is_optimized: true,
            },
            arguments: Arguments::default(),
            scenarios: vec![scenario],
            goals: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let svg = draw(&results("quorum"));

        assert!(svg.contains("width=\"480.0\"") && svg.contains("width=\"240.0\""), "{svg}");
        assert!(svg.contains("2000 lapin-tuned") && svg.contains("not measured es-bus-list"), "{svg}");
    }

    #[test]
    fn texts_are_escaped() {
        let svg = draw(&results("<b> & co"));

        assert!(svg.contains("&lt;b&gt; &amp; co") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn every_element_is_closed() {
        let svg = draw(&results("quorum"));

        let (mut open, mut rest) = (Vec::new(), svg.as_str());
        while let Some((_, from)) = rest.split_once('<') {
            let (tag, after) = from.split_once('>').expect("a tag ends");
            rest = after;
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed)),
                None if tag.ends_with('/') => assert_eq!(tag.matches('"').count() % 2, 0, "{tag}"),
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
