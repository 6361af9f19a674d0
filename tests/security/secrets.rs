//! Nothing that this library prints holds a password, whatever goes wrong.

use std::{
    fmt::Debug,
    io::Write as _,
    net::{TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use es_bus::{Bus, Error};
use tokio::{task::block_in_place, time::timeout};

use crate::support::{Log, PATIENCE, Secure, builder, path};

/// Parts that no other text holds, around what URLs trip over.
const PASSWORD: &str = "Zq9xA@b%c/d:e?Kw7vB";
const ENCODED: &str = "Zq9xA%40b%25c%2Fd%3Ae%3FKw7vB";
/// What a URL takes of it without encoding.
const RAW: &str = "Zq9xA@bKw7vB";
const MARKS: [&str; 2] = ["Zq9xA", "Kw7vB"];

/// A text that may hold a password in any spelling, its bytes as numbers too.
fn assert_silent(what: &str, text: &str) {
    let numbers = MARKS.map(|mark| format!("{:?}", mark.as_bytes()));
    let numbers = numbers.iter().map(|bytes| bytes.trim_matches(['[', ']']));
    for mark in MARKS.into_iter().chain(numbers) {
        let told = text.lines().find(|line| line.contains(mark));
        assert!(told.is_none(), "{what} tells the password: {told:?}");
    }
}

fn shown(error: &Error) -> String {
    use std::error::Error as _;

    let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("{error}\n{error:?}\n");
        cause = error.source();
    }
    text
}

/// Answers every client with a text, and hangs up.
fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let serve = |mut client: TcpStream| client.write_all(answer.as_bytes());
        while let Ok((client, _)) = listener.accept() {
            let _ = serve(client);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failing_connection_tells_its_password() {
    let log = Log::install();
    let secure = Secure::shared();
    let (port, tls_port) = (secure.node.port(), secure.node.tls_port());
    block_in_place(|| {
        secure.node.rabbitmqctl(&["add_user", "Mallory", PASSWORD]);
        secure.node.rabbitmqctl(&["add_user", "Alice", PASSWORD]);
        secure.node.rabbitmqctl(&["set_permissions", "Alice", "", "", ""]);
    });
    let (http, silent) = (server("HTTP/1.1 400 Bad Request\r\n\r\n"), server(""));
    let with_ca = |url: String| builder(url).set("ca_file", path(&secure.authority.ca()));
    let mut outputs = Vec::new();
    let mut note = |what: &str, text: String| outputs.push((what.to_owned(), text));

    for (what, url, is_fatal) in [
        ("wrong password", format!("amqp://guest:{ENCODED}@127.0.0.1:{port}/"), true),
        ("wrong password, raw", format!("amqp://guest:{RAW}@127.0.0.1:{port}/"), true),
        ("no right to the virtual host", format!("amqp://Mallory:{ENCODED}@127.0.0.1:{port}/"), true),
        ("no right to declare", format!("amqp://Alice:{ENCODED}@127.0.0.1:{port}/"), true),
        ("missing virtual host", format!("amqp://Alice:{ENCODED}@127.0.0.1:{port}/none"), true),
        ("plain to TLS", format!("amqp://Alice:{ENCODED}@127.0.0.1:{tls_port}/"), true),
        ("no AMQP", format!("amqp://Alice:{ENCODED}@127.0.0.1:{http}/"), true),
        ("hangs up", format!("amqp://Alice:{ENCODED}@127.0.0.1:{silent}/"), false),
        ("nobody listens", format!("amqp://Alice:{ENCODED}@127.0.0.1:1/"), false),
        ("no such host", format!("amqp://Alice:{ENCODED}@no-such-host.invalid/"), false),
        ("TLS to plain", format!("amqps://Alice:{ENCODED}@127.0.0.1:{port}/"), true),
        ("unknown authority", format!("amqps://Alice:{ENCODED}@127.0.0.1:{tls_port}/"), true),
        ("another host", format!("amqps://Alice:{ENCODED}@127.0.0.2:{tls_port}/"), true),
    ] {
        // The system's authorities do not know the node.
        let builder = match what {
            "another host" | "TLS to plain" => with_ca(url),
            _ => builder(url),
        };
        note(what, format!("{builder:?}"));
        let bus = block_in_place(|| builder.build()).unwrap_or_else(|error| panic!("{what}: {error}"));
        note(what, format!("{bus:?} {bus:#?} {} {:?}", bus.config(), bus.config()));
        // Waits for what may pass; three seconds hold many attempts.
        let patience = if is_fatal { PATIENCE } else { Duration::from_secs(3) };
        match timeout(patience, bus.start()).await {
            Ok(Ok(_)) => assert_eq!(what, "no right to declare", "{what}: it starts"),
            Ok(Err(error)) => {
                assert!(is_fatal, "{what}: {error}");
                note(what, shown(&error));
            }
            Err(_) => assert!(!is_fatal, "{what}: it neither starts nor ends"),
        }
    }
    for (what, settings) in [
        ("raw slash", vec![("url", "amqp://app:Zq9xA/Kw7vB@broker")]),
        ("raw percent", vec![("url", "amqp://app:Zq9xA%Kw7vB@broker")]),
        ("unknown scheme", vec![("url", "Zq9xA://Kw7vB@broker")]),
        ("wrong key", vec![("exchange", "amqp://app:Zq9xA@broker"), ("prefetch", "amqp://app:Kw7vB@broker")]),
        ("unknown key", vec![("ulr", "amqp://app:Zq9xA@broker")]),
        ("no number", vec![("identity_password", "Zq9xA"), ("url", "amqps://app:Kw7vB@broker")]),
    ] {
        let builder = settings.into_iter().fold(builder("memory://"), |all, (key, text)| all.set(key, text));
        note(what, shown(&builder.build().expect_err("it is wrong")));
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let error: Result<Bus, Error> = builder(format!("amqp://app:{PASSWORD}@broker")).build();
        error.unwrap()
    }));
    let panicked = *panicked.expect_err("the URL is wrong").downcast::<String>().expect("a message");
    note("panic", panicked);

    for (what, text) in &outputs {
        assert_silent(what, text);
    }
    let text = log.text();
    assert!(text.contains("Alice@127.0.0.1"), "the log shows the attempts");
    assert_silent("the log", &text);
}

#[test]
fn a_password_is_found_in_every_spelling() {
    fn told(value: impl Debug) -> bool {
        let text = format!("{value:?}");
        catch_unwind(AssertUnwindSafe(|| assert_silent("a text", &text))).is_err()
    }
    assert!(told(PASSWORD) && told(ENCODED) && told(RAW) && told(PASSWORD.as_bytes()) && told("xKw7vB"));
    assert!(!told("*** and ZqKw"));
}
