//! The examples print the same on both brokers, however often.

use std::sync::Arc;

use es_bus_tests::Node;
use insta::assert_snapshot;

use crate::support::{Launch, TempDir};

#[test]
fn quickstart() {
    let text = same_everywhere("quickstart", env!("CARGO_BIN_EXE_quickstart-as-tested"), |line| {
        line.starts_with("  [")
    });

    assert_snapshot!(text);
}

#[test]
fn order_aggregate() {
    let text = same_everywhere("order-aggregate", env!("CARGO_BIN_EXE_order-aggregate-as-tested"), |_| false);

    assert_snapshot!(text);
}

#[test]
fn limits() {
    let text = same_everywhere("limits", env!("CARGO_BIN_EXE_limits-as-tested"), |_| false);

    assert_snapshot!(text);
}

#[test]
fn tutorial() {
    let text = same_everywhere("tutorial", env!("CARGO_BIN_EXE_tutorial-as-tested"), |line| {
        is_chance(line) || line.starts_with("  [Stats]")
    });

    // Which worker takes which event is chance; that all ten are taken is not.
    let (workers, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| is_chance(line));
    assert_eq!(workers.iter().filter(|line| line.ends_with("processed: ID")).count(), 10, "{workers:#?}");
    assert_snapshot!(others.join("\n"));
}

/// What an example prints: on memory, and twice on one RabbitMQ, where it leaves queues behind.
///
/// Ids are taken out, and each run of lines that may come in any order is sorted.
fn same_everywhere(name: &str, program: &str, in_any_order: fn(&str) -> bool) -> String {
    let vhost = Node::shared().vhost(name);
    let dir = Arc::new(TempDir::new());
    let [on_memory, on_rabbitmq, once_more] = [None, Some(vhost.url()), Some(vhost.url())].map(|url| {
        let mut launch = Launch::new(program, &dir);
        if let Some(url) = url {
            launch = launch.env("ES_BUS_URL", url);
        }
        let ended = launch.run();
        ended.assert_code(0);
        without_chance(&ended.stdout, in_any_order)
    });

    let whole = |text: &str| text.lines().filter(|line| !is_chance(line)).collect::<Vec<_>>().join("\n");
    assert_eq!(whole(&on_rabbitmq), whole(&on_memory));
    assert_eq!(whole(&once_more), whole(&on_memory));
    on_memory
}

fn without_chance(stdout: &str, in_any_order: fn(&str) -> bool) -> String {
    let lines: Vec<String> = stdout.lines().map(without_ids).collect();
    let mut text = Vec::new();
    for run in lines.chunk_by(|one, next| in_any_order(one) && in_any_order(next)) {
        let mut run = run.to_vec();
        run.sort_unstable();
        text.append(&mut run);
    }
    text.join("\n")
}

/// Whether it says which of two workers took what.
fn is_chance(line: &str) -> bool {
    line.starts_with("  Worker")
}

/// A line with `ID` for each of its UUIDs.
fn without_ids(line: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && uuid::Uuid::try_parse(word).is_ok();
    let words: Vec<_> = line.split(' ').map(|word| if is_id(word) { "ID" } else { word }).collect();
    words.join(" ")
}
