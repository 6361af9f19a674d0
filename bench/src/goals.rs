//! What es-bus is meant to reach, and whether it does.

use serde::Serialize;

use crate::{arguments::Area, results::Compared, task::Measured};

/// A goal, held against one scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Judgement {
    pub(crate) scenario: String,
    pub(crate) goal: &'static str,
    pub(crate) bound: f64,
    pub(crate) measured: f64,
    pub(crate) is_met: bool,
}

/// Which goals a run can judge, and how it does.
pub(crate) fn judge(scenarios: &[Compared]) -> Vec<Judgement> {
    scenarios
        .iter()
        .flat_map(|scenario| goals_of(scenario).into_iter().filter_map(|goal| goal.judge(scenario)))
        .collect()
}

struct Goal {
    text: &'static str,
    contender: &'static str,
    reference: &'static str,
    value: fn(&Measured) -> f64,
    of: fn(f64, f64) -> f64,
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn judge(&self, scenario: &Compared) -> Option<Judgement> {
        let measured = scenario.paired(self.contender, self.reference, self.value, self.of)?;
        let (bound, is_met) = match self.bound {
            Bound::AtLeast(bound) => (bound, measured >= bound),
            Bound::AtMost(bound) => (bound, measured <= bound),
        };
        let scenario = format!("{}: {}", scenario.area.as_str(), scenario.title);
        Some(Judgement { scenario, goal: self.text, bound, measured, is_met })
    }
}

/// Larger events cost more to encode and to decode: 3.5 instead of 2 us a publish.
fn goals_of(scenario: &Compared) -> Vec<Goal> {
    let is_large = scenario.size > 1000;
    let is_one_at_a_time = matches!(scenario.way.as_str(), "one at a time" | "prefetch 1" | "prefetch 10");
    match scenario.area {
        Area::Publish if is_one_at_a_time => vec![
            at_most("p50 of a publish, x lapin", "lapin-tuned", p50, ratio, 1.05),
            at_most("client CPU over lapin, us/event", "lapin-tuned", cpu, difference, 3.0),
        ],
        Area::Publish => vec![
            at_least("events/s, x lapin-tuned", "lapin-tuned", rate, ratio, 0.95),
            at_least("events/s, x lapin-naive", "lapin-naive", rate, ratio, 1.2),
            at_most(
                "client CPU over lapin-tuned, us/event",
                "lapin-tuned",
                cpu,
                difference,
                if is_large { 3.5 } else { 2.0 },
            ),
            at_most("peak memory over lapin-tuned, MB", "lapin-tuned", memory, difference, 4.0),
        ],
        Area::Consume if scenario.way.ends_with("one slow event") => vec![Goal {
            contender: "one slow",
            ..at_least("events/s beside a slow event, x without one", "all quick", rate, ratio, 0.8)
        }],
        Area::Consume if is_one_at_a_time => vec![],
        Area::Consume => vec![
            at_least("events/s, x lapin-naive", "lapin-naive", rate, ratio, 2.5),
            at_least("events/s, x lapin-tuned", "lapin-tuned", rate, ratio, 0.9),
            at_most("client CPU over lapin-tuned, us/event", "lapin-tuned", cpu, difference, 2.5),
            at_most("peak memory over lapin-tuned, MB", "lapin-tuned", memory, difference, 4.0),
        ],
        Area::E2e => vec![at_most("p50 over lapin, us", "lapin-tuned", p50, difference, 20.0)],
        Area::Start => vec![at_most("seconds, x lapin", "lapin-tuned", seconds, ratio, 1.3)],
        Area::Growth => vec![Goal {
            contender: "1000 handlers",
            ..at_most("client CPU with 1000 handlers, x 10 handlers", "10 handlers", cpu, ratio, 1.1)
        }],
        Area::Memory => vec![at_least("events/s, x mpsc and JSON", "mpsc-json", rate, ratio, 0.6)],
    }
}

fn at_least(
    text: &'static str,
    reference: &'static str,
    value: fn(&Measured) -> f64,
    of: fn(f64, f64) -> f64,
    bound: f64,
) -> Goal {
    Goal { text, contender: "es-bus", reference, value, of, bound: Bound::AtLeast(bound) }
}

fn at_most(
    text: &'static str,
    reference: &'static str,
    value: fn(&Measured) -> f64,
    of: fn(f64, f64) -> f64,
    bound: f64,
) -> Goal {
    Goal { bound: Bound::AtMost(bound), ..at_least(text, reference, value, of, bound) }
}

fn rate(measured: &Measured) -> f64 {
    measured.rate()
}

fn cpu(measured: &Measured) -> f64 {
    measured.client_cpu_per_event()
}

fn p50(measured: &Measured) -> f64 {
    measured.p50_us
}

fn seconds(measured: &Measured) -> f64 {
    measured.seconds
}

fn memory(measured: &Measured) -> f64 {
    measured.peak_rss_kib as f64 / 1024.0
}

fn ratio(left: f64, right: f64) -> f64 {
    left / right
}

fn difference(left: f64, right: f64) -> f64 {
    left - right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{results::Rounds, task::Kind};

    fn rounds(name: &str, of: &[(f64, f64)]) -> Rounds {
        let measured = |(rate, cpu): &(f64, f64)| {
            let (seconds, client_cpu_us) = (1000.0 / rate, cpu * 1000.0);
            let measured = Measured { events: 1000, seconds, client_cpu_us, ..Measured::default() };
            (*rate > 0.0).then_some(measured)
        };
        Rounds { name: name.to_owned(), references: &[], rounds: of.iter().map(measured).collect() }
    }

    fn scenario(area: Area, way: &str, entries: Vec<Rounds>) -> Compared {
        let (kind, size) = (Kind::Quorum, 200);
        Compared { area, kind, size, way: way.to_owned(), title: format!("quorum, {way}"), entries }
    }

    #[test]
    fn judges_the_median_of_what_rounds_say() {
        let scenario = scenario(
            Area::Publish,
            "window 100",
            vec![
                rounds("lapin-naive", &[(700.0, 24.0), (400.0, 24.0), (700.0, 24.0)]),
                rounds("lapin-tuned", &[(1000.0, 7.0), (500.0, 7.0), (1000.0, 7.0)]),
                rounds("es-bus", &[(960.0, 8.0), (480.0, 10.0), (100.0, 10.0)]),
            ],
        );

        let judged = judge(&[scenario]);

        let verdicts: Vec<(&str, f64, bool)> =
            judged.iter().map(|it| (it.goal, (it.measured * 100.0).round() / 100.0, it.is_met)).collect();
        assert_eq!(
            verdicts,
            [
                ("events/s, x lapin-tuned", 0.96, true),
                ("events/s, x lapin-naive", 1.2, true),
                ("client CPU over lapin-tuned, us/event", 3.0, false),
                ("peak memory over lapin-tuned, MB", 0.0, true),
            ]
        );
        assert_eq!(judged[0].scenario, "publish: quorum, window 100");
    }

    #[test]
    fn judges_nothing_that_was_not_measured() {
        let alone = scenario(Area::Consume, "prefetch 100", vec![rounds("es-bus", &[(1.0, 1.0)])]);
        let never = scenario(Area::Memory, "200 B", vec![rounds("es-bus", &[]), rounds("mpsc-json", &[])]);
        let without_goals = scenario(
            Area::Consume,
            "prefetch 10",
            vec![rounds("es-bus", &[(1.0, 1.0)]), rounds("lapin-naive", &[(1.0, 1.0)])],
        );

        assert_eq!(judge(&[alone, never, without_goals]), []);
    }

    #[test]
    fn a_round_that_has_one_of_a_pair_says_nothing() {
        let entries = vec![
            rounds("lapin-tuned", &[(0.0, 0.0), (500.0, 7.0), (1000.0, 7.0)]),
            rounds("es-bus", &[(9.0, 8.0), (500.0, 8.0), (1000.0, 8.0)]),
        ];

        let judged = judge(&[scenario(Area::Publish, "window 100", entries)]);

        assert_eq!((judged[0].goal, judged[0].measured), ("events/s, x lapin-tuned", 1.0));
    }

    #[test]
    fn growth_compares_handlers_with_handlers() {
        let scenario = scenario(
            Area::Growth,
            "prefetch 100",
            vec![rounds("10 handlers", &[(1.0, 10.0)]), rounds("1000 handlers", &[(1.0, 12.0)])],
        );

        let judged = judge(&[scenario]);

        assert_eq!((judged[0].measured, judged[0].is_met), (1.2, false));
    }
}
