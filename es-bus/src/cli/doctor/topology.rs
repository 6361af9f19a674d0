//! What the program declares: whether it is there, and as it is declared.

use super::Finding;
use crate::{
    cli::{context::Program, output::count},
    error::remedies,
    model::Topology,
    topology::compare,
    transport::{DeclareError, Transport},
};

pub(super) const CHECK: &str = "topology";

pub(super) async fn compared(transport: &dyn Transport, program: &Program, name: &str) -> Vec<Finding> {
    told(&compare(transport, &program.topology).await, &program.topology, name, false)
}

/// One finding for each exchange or queue; `sees_bindings` where they were looked at, which is told elsewhere. Pure.
pub(super) fn told(
    errors: &[DeclareError],
    topology: &Topology,
    program: &str,
    sees_bindings: bool,
) -> Vec<Finding> {
    let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let exchanges = count(number(topology.exchanges().count()), "exchange");
    let queues = topology.queues().filter(|queue| !queue.exclusive);
    let queues = count(number(queues.count()), "queue");
    if errors.is_empty() {
        let bindings = if sees_bindings { "" } else { "; bindings cannot be seen over AMQP" };
        return vec![Finding::ok(
            CHECK,
            format!("{exchanges} and {queues} are there, as declared{bindings}"),
        )];
    }
    let start = format!(
        "start the service, which declares what is missing: `{program} run`; where ES_BUS_DECLARE is passive or none, \
         have it declared by whoever may"
    );
    let missing: Vec<String> = errors
        .iter()
        .filter_map(|error| match error {
            DeclareError::Missing { what, name } => Some(format!("{what} {name}")),
            _ => None,
        })
        .collect();
    let mut findings = Vec::new();
    if !missing.is_empty() {
        // What was never declared at all need not be listed.
        let all = number(missing.len()) >= number(topology.exchanges().count() + topology.queues().count());
        let found = match all {
            true => "nothing of what the program declares is there: was it ever started on this broker?"
                .to_owned(),
            false => format!("missing: {}", missing.join(", ")),
        };
        findings.push(Finding::fail(CHECK, found, start));
    }
    let mut things: Vec<(String, Vec<&DeclareError>)> = Vec::new();
    for error in errors {
        let key = match error {
            DeclareError::Missing { .. } => continue,
            DeclareError::Mismatch { what, name, .. }
            | DeclareError::Forbidden { what, name, .. }
            | DeclareError::Refused { what, name, .. }
            | DeclareError::NoPlugin { what, name, .. }
            | DeclareError::Unmigrated { what, name, .. }
            | DeclareError::Down { what, name, .. }
            | DeclareError::Unanswered { what, name, .. }
            | DeclareError::Interrupted { what, name, .. } => format!("{what} {name}"),
        };
        match things.iter_mut().find(|(there, _)| *there == key) {
            Some((_, errors)) => errors.push(error),
            None => things.push((key, vec![error])),
        }
    }
    for (_, errors) in things {
        let found: Vec<String> = errors.iter().map(|error| difference(error)).collect();
        findings.push(Finding { remedies: remedies(&errors), ..Finding::fail(CHECK, found.join("\n"), "") });
    }
    findings
}

/// In the words of settings where the broker names one, else in the broker's own.
fn difference(error: &DeclareError) -> String {
    match error {
        DeclareError::Mismatch { what, name, field: Some(field), wanted, found, .. } => {
            let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
            format!("{what} {name}: {field} is {} here, and {} on the broker", or(wanted), or(found))
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::output::Style,
        model::{Exchange, ExchangeKind, Queue, QueueKind},
        name::{ExchangeName, QueueName},
    };

    fn topology() -> Topology {
        let mut topology = Topology::new();
        let exchange = ExchangeName::new("events").expect("a name");
        topology.add_exchange(Exchange::durable(exchange, ExchangeKind::Topic)).expect("the first");
        for name in ["events.audit", "events.projections"] {
            let queue = Queue::durable(QueueName::new(name).expect("a name"), QueueKind::Quorum);
            topology.add_queue(queue).expect("another one");
        }
        topology
    }

    fn missing(what: &'static str, name: &str) -> DeclareError {
        DeclareError::Missing { what, name: name.to_owned() }
    }

    fn mismatch(field: &str, wanted: Option<&str>, found: Option<&str>) -> DeclareError {
        DeclareError::Mismatch {
            what: "queue",
            name: "events.projections".to_owned(),
            field: Some(field.to_owned()),
            wanted: wanted.map(str::to_owned),
            found: found.map(str::to_owned),
            reason: "PRECONDITION_FAILED".to_owned(),
        }
    }

    #[test]
    fn says_what_is_missing_and_what_differs_thing_by_thing() {
        let cases = [
            vec![],
            vec![
                missing("queue", "events.audit"),
                mismatch("x-max-length", Some("500"), Some("1000")),
                mismatch("x-message-ttl", None, Some("60000")),
            ],
            vec![
                missing("exchange", "events"),
                missing("queue", "events.audit"),
                missing("queue", "events.projections"),
            ],
        ];
        let texts = cases.map(|errors| {
            let findings = told(&errors, &topology(), "shop", false);
            findings.iter().map(|finding| finding.text(Style::default())).collect::<String>()
        });

        insta::assert_snapshot!(texts.join("\n"));
    }
}
