//! The groups' queues: whether anybody consumes them.

use super::Finding;
use crate::{
    cli::{context::Program, output::count},
    name::QueueName,
    transport::{QueueStatus, Transport},
};

const CHECK: &str = "consumers";

pub(super) async fn consumed(transport: &dyn Transport, program: &Program, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in program.groups.iter().filter(|group| !group.is_exclusive()) {
        // One that is missing or does not answer is told of with the topology.
        if let Ok(Some(status)) = transport.queue_status(&group.queue).await {
            findings.push(told(&group.queue, status, group.name.as_str(), name));
        }
    }
    findings
}

/// Pure.
fn told(queue: &QueueName, status: QueueStatus, group: &str, program: &str) -> Finding {
    let QueueStatus { messages, consumers } = status;
    let remedy = format!(
        "start the service, or one more of it: `{program} run --group {group}`; if it runs, its log says why it does \
         not consume, and ES_BUS_GROUPS may leave the group out"
    );
    match (messages, consumers) {
        (0, 0) => Finding::warn(CHECK, format!("nobody consumes {queue}, which is empty"), remedy),
        (1, 0) => Finding::fail(CHECK, format!("nobody consumes {queue}, and 1 event waits in it"), remedy),
        (_, 0) => {
            Finding::fail(CHECK, format!("nobody consumes {queue}, and {messages} events wait in it"), remedy)
        }
        (_, _) => {
            Finding::ok(CHECK, format!("{queue} has {}; {messages} ready", count(consumers, "consumer")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{doctor::Status, output::Style};

    #[test]
    fn a_queue_that_fills_up_unread_is_a_failure_and_an_empty_one_a_warning() {
        let queue = QueueName::new("events.projections").expect("a name");
        let at =
            |messages, consumers| told(&queue, QueueStatus { messages, consumers }, "projections", "shop");

        assert_eq!(at(0, 0).status, Status::Warn);
        assert_eq!(
            at(5, 2).text(Style::default()),
            "ok    consumers     events.projections has 2 consumers; 5 ready\n"
        );
        insta::assert_snapshot!(at(5, 0).text(Style::default()));
    }
}
