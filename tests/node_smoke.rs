//! The throw-away node does what the other tests rely on.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    panic,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use es_bus_tests::{Node, eventually};
use serde_json::json;

#[test]
fn comes_back_with_its_data_after_sigkill_and_after_a_stop() {
    let mut node = Node::start();
    let before = address(&node);
    let vhost = node.vhost("orders");
    vhost.define(&orders());

    node.kill9();
    TcpStream::connect(address(&node)).expect_err("a killed node does not listen");
    node.restart();
    assert_eq!(vhost.queue("orders").map(|queue| queue.kind), Some("quorum".into()));
    node.restart();

    assert_eq!(vhost.queue("orders").map(|queue| queue.kind), Some("quorum".into()));
    assert_eq!(address(&node), before);
}

#[test]
fn does_not_answer_while_frozen() {
    let mut node = Node::start();

    node.sigstop();
    let mut stream = TcpStream::connect(address(&node)).expect("the kernel accepts");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    stream.write_all(b"AMQP\0\0\x09\x01").expect("the kernel buffers");
    stream.read_exact(&mut [0]).expect_err("a frozen node is silent");
    node.sigcont();

    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    stream.read_exact(&mut [0]).expect("the node sends connection.start");
}

#[test]
fn shows_what_a_virtual_host_holds() {
    let vhost = Node::shared().vhost("a/b c%");

    vhost.define(&orders());

    let queue = vhost.queue("orders").expect("just declared");
    assert_eq!((queue.durable, &queue.arguments["x-queue-type"]), (true, &json!("quorum")));
    assert_eq!(vhost.queue("invoices"), None);
    assert_eq!(vhost.queues().len(), 1);
    assert_eq!(vhost.exchanges()[0].kind, "topic");
    let binding = &vhost.bindings()[0];
    assert_eq!(
        (&*binding.source, &*binding.destination, &*binding.routing_key),
        ("events", "orders", "Order.*")
    );
    assert_eq!(vhost.settled_queue("orders").map(|queue| queue.messages), Some(0));
    vhost.delete_queue("orders");
    assert_eq!(vhost.queue("orders"), None);
}

/// As the deletion of a queue does that is just starting: a worker that fails again and again.
#[test]
fn brings_back_dead_lettering_that_gave_up() {
    let node = Node::start();
    let supervisor = || node.rabbitmqctl(&["eval", "whereis(rabbit_fifo_dlx_sup)."]);
    let first = supervisor();
    assert!(first.contains('<'), "{first}");

    node.rabbitmqctl(&[
        "eval",
        r#"supervisor:start_child(rabbit_fifo_dlx_sup, [{resource, <<"/">>, queue, <<"gone">>}])."#,
    ]);

    eventually("another supervisor is there", || {
        let now = supervisor();
        (now.contains('<') && now != first).then_some(())
    });
    assert!(node.mends() > 0);
}

#[test]
fn drops_a_virtual_host_with_its_value() {
    let node = Node::shared();
    let vhost = node.vhost("orders");
    let name = vhost.name().to_owned();
    assert!(node.rabbitmqctl(&["list_vhosts"]).contains(&name));

    drop(vhost);

    assert!(!node.rabbitmqctl(&["list_vhosts"]).contains(&name));
}

#[test]
fn panics_with_the_end_of_the_log_when_it_does_not_boot() {
    let panic = panic::catch_unwind(|| Node::start_with("no_such_key = 1")).expect_err("the key is unknown");

    let text = panic.downcast_ref::<String>().expect("a formatted message");
    assert!(text.contains("no_such_key"), "{text}");
}

/// Runs itself as a second process, which boots a node and is then killed without a chance to
/// clean up.
#[test]
#[expect(clippy::print_stdout, reason = "the first process reads it")]
fn leaves_nothing_behind_when_the_test_process_is_killed() {
    const ORPHAN: &str = "ES_BUS_TEST_ORPHAN";
    if env::var_os(ORPHAN).is_some() {
        let node = Node::start();
        println!("\n{}", address(&node));
        loop {
            thread::park();
        }
    }
    let mut process = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "leaves_nothing_behind_when_the_test_process_is_killed"])
        .env(ORPHAN, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let node =
        lines.map_while(Result::ok).find(|line| line.starts_with("127.0.0.1:")).expect("the node's address");
    let port: u16 = node.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let dir = env::temp_dir().join(format!("es-bus-node-{}-{port}", process.id()));
    assert!(dir.is_dir(), "{}", dir.display());

    process.kill().expect("our own child");
    process.wait().expect("our own child");

    eventually("its server and epmd are gone", || {
        (port..port + 4).all(|port| TcpStream::connect(("127.0.0.1", port)).is_err()).then_some(())
    });
    eventually("its directory is gone", || {
        (!dir.exists() && !Path::new(&format!("{}.gone", dir.display())).exists()).then_some(())
    });
}

/// `127.0.0.1:{port}`.
fn address(node: &Node) -> String {
    node.url().trim_start_matches("amqp://guest:guest@").trim_end_matches('/').to_owned()
}

/// An exchange, a quorum queue, and a binding between them.
fn orders() -> serde_json::Value {
    json!({
        "exchanges": [{"name": "events", "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {}}],
        "queues": [{"name": "orders", "durable": true, "auto_delete": false, "arguments": {"x-queue-type": "quorum"}}],
        "bindings": [{"source": "events", "destination": "orders", "destination_type": "queue", "routing_key": "Order.*", "arguments": {}}],
    })
}
