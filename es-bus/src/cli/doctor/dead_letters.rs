//! Dead letters: whether there are some, whether they grow, whether there is room for more.

use std::time::Duration;

use super::Finding;
use crate::{
    cli::{context::Program, output::count},
    duration,
    name::QueueName,
    transport::Transport,
};

const CHECK: &str = "dead letters";

/// A dead-letter queue as it was found.
pub(super) struct Found {
    group: String,
    queue: QueueName,
    count: u64,
    /// How many it may hold.
    most: Option<u64>,
}

/// How many there are, of the queues that are there; each once.
pub(super) async fn counted(transport: &dyn Transport, program: &Program) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (group, queue) in &program.dead_letters {
        if found.iter().any(|other| other.queue == *queue) {
            continue;
        }
        let Ok(Some(status)) = transport.queue_status(queue).await else { continue };
        let declared = program.topology.queue(queue.as_str());
        let most = declared.and_then(|queue| queue.max_length);
        found.push(Found { group: group.clone(), queue: queue.clone(), count: status.messages, most });
    }
    found
}

pub(super) fn watched(before: &[Found], after: &[Found], watch: Duration, program: &str) -> Vec<Finding> {
    let was = |queue: &QueueName| before.iter().find(|it| it.queue == *queue).map(|it| it.count);
    after.iter().map(|now| told(now, was(&now.queue).unwrap_or(now.count), watch, program)).collect()
}

/// Pure.
fn told(now: &Found, was: u64, watch: Duration, program: &str) -> Finding {
    let Found { group, queue, count: number, most } = now;
    let look = format!(
        "see what they failed of: `{program} dlq list --group {group}`; when it is mended: `{program} dlq replay --group \
         {group} --all`"
    );
    let there = count(*number, "dead letter");
    match *most {
        Some(most) if *number >= most => Finding::fail(
            CHECK,
            format!("{queue} is full ({number} of {most}): events that fail now stay in the group's queue"),
            look,
        ),
        _ if *number > was => {
            let watched = duration::print(watch);
            Finding::fail(CHECK, format!("{queue} grows: {was} to {number} within {watched}"), look)
        }
        Some(most) if *number > most / 5 * 4 => {
            Finding::warn(CHECK, format!("{queue} is nearly full: {number} of {most}"), look)
        }
        _ if *number > 0 => Finding::warn(CHECK, format!("{queue} has {there}"), look),
        _ => Finding::ok(CHECK, format!("{queue} has none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{doctor::Status, output::Style};

    #[test]
    fn what_grows_or_is_full_is_a_failure_what_is_there_a_warning() {
        let at = |was, count, most| {
            let queue = QueueName::new("events.projections.dlq").expect("a name");
            told(
                &Found { group: "projections".to_owned(), queue, count, most },
                was,
                Duration::from_secs(2),
                "shop",
            )
        };
        let cases = [
            (at(0, 0, None), Status::Ok),
            (at(3, 3, None), Status::Warn),
            (at(3, 2, None), Status::Warn),
            (at(3, 5, None), Status::Fail),
            (at(9, 9, Some(10)), Status::Warn),
            (at(10, 10, Some(10)), Status::Fail),
        ];

        for (finding, status) in &cases {
            assert_eq!(finding.status, *status, "{finding:?}");
        }
        insta::assert_snapshot!(cases.map(|(finding, _)| finding.text(Style::default())).concat());
    }
}
