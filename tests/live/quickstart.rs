//! The README's first program prints the same on both brokers.

use std::sync::Arc;

use es_bus_tests::Node;
use insta::assert_snapshot;

use crate::support::{Launch, TempDir};

#[test]
fn prints_the_same_on_memory_and_on_rabbitmq_however_often() {
    let vhost = Node::shared().vhost("quickstart");
    let dir = Arc::new(TempDir::new());
    let quickstart = || Launch::new(env!("CARGO_BIN_EXE_quickstart-as-tested"), &dir);

    let on_memory = quickstart().run();
    let on_rabbitmq = quickstart().env("ES_BUS_URL", vhost.url()).run();
    let once_more = quickstart().env("ES_BUS_URL", vhost.url()).run();

    for ended in [&on_memory, &on_rabbitmq, &once_more] {
        ended.assert_code(0);
    }
    let [on_memory, on_rabbitmq, once_more] =
        [&on_memory, &on_rabbitmq, &once_more].map(|ended| without_chance(&ended.stdout));
    assert_snapshot!(on_memory);
    assert_eq!(on_rabbitmq, on_memory);
    assert_eq!(once_more, on_memory);
}

/// What is printed, without the order's id, and with the handlers' lines, which come in any order,
/// sorted.
fn without_chance(stdout: &str) -> String {
    let (handlers, others): (Vec<_>, Vec<_>) = stdout.lines().partition(|line| line.starts_with("  ["));
    let mut handlers = handlers;
    handlers.sort_unstable();
    let mut text = String::new();
    for line in others {
        match line.strip_prefix("Order ") {
            Some(_) => {
                text.push_str("Order ID\n");
                handlers.iter().for_each(|line| text.extend([line, "\n"]));
            }
            None => text.extend([line, "\n"]),
        }
    }
    text
}
