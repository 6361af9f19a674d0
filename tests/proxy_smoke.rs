//! The proxy does to a connection what it says, seen from both of its ends.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use es_bus_tests::{Door, Frame, Method, Mode, Proxy, Way, eventually};

/// How long something may take that should come at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing comes where nothing should.
const SILENCE: Duration = Duration::from_millis(200);

/// A client and a broker, both of which are this test, and the proxy between.
struct Ends {
    proxy: Proxy,
    broker: TcpListener,
}

impl Ends {
    fn new() -> Self {
        let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Proxy::before(broker.local_addr().expect("bound").port());
        Self { proxy, broker }
    }

    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.proxy.port())).expect("the door is open");
        let (broker, _) = self.broker.accept().expect("the proxy connects");
        for end in [&client, &broker] {
            end.set_read_timeout(Some(PATIENCE)).expect("not zero");
            end.set_nodelay(true).expect("a socket");
        }
        (client, broker)
    }

    /// A connection whose client has given a name.
    fn named(&self, name: &str) -> (TcpStream, TcpStream) {
        let (mut client, mut broker) = self.connect();
        let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0, 15];
        start_ok.extend_from_slice(b"connection_nameS");
        start_ok.extend_from_slice(&u32::try_from(name.len()).expect("short").to_be_bytes());
        start_ok.extend_from_slice(name.as_bytes());
        let start_ok = frame(1, &start_ok);
        client.write_all(b"AMQP\0\0\x09\x01").expect("connected");
        client.write_all(&start_ok).expect("connected");
        assert_eq!(read(&mut broker, 8), b"AMQP\0\0\x09\x01");
        assert_eq!(read(&mut broker, start_ok.len()), start_ok);
        (client, broker)
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[kind, 0, 1][..], &size, payload, &[0xce]].concat()
}

/// A body of so many bytes, which is as good a frame as any.
fn body(fill: u8, length: usize) -> Vec<u8> {
    frame(3, &vec![fill; length])
}

fn ack() -> Vec<u8> {
    frame(1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0])
}

fn publish(exchange: &str) -> Vec<u8> {
    let length = u8::try_from(exchange.len()).expect("short");
    frame(1, &[&[0, 60, 0, 40, 0, 0, length][..], exchange.as_bytes(), b"\x01k\0"].concat())
}

fn read(from: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).expect("it arrives");
    bytes
}

#[track_caller]
fn assert_silent(end: &mut TcpStream) {
    end.set_read_timeout(Some(SILENCE)).expect("not zero");
    let error = end.read(&mut [0]).expect_err("nothing comes");
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
    end.set_read_timeout(Some(PATIENCE)).expect("not zero");
}

/// In order, or by the reset that the kernel sends when something had not been read.
#[track_caller]
fn assert_ended(end: &mut TcpStream) {
    let read = end.read(&mut [0]);
    let reset = read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
    assert!(reset || matches!(read, Ok(0)), "{read:?}");
}

#[test]
fn passes_everything_both_ways_and_the_end_too() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    client.write_all(&body(1, 100_000)).expect("open");
    assert_eq!(read(&mut broker, 100_008), body(1, 100_000));
    broker.write_all(&ack()).expect("open");
    assert_eq!(read(&mut client, ack().len()), ack());
    drop(client);

    assert_eq!(broker.read(&mut [0]).expect("an end in order"), 0);
    drop(broker);
    eventually("it is forgotten", || ends.proxy.names().is_empty().then_some(()));
}

#[test]
fn what_is_held_arrives_in_order_once_it_may_and_the_other_way_goes_on() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.set("", Way::ToBroker, Mode::Hold);
    client.write_all(&body(1, 3)).expect("open");
    client.write_all(&body(2, 3)).expect("open");
    assert_silent(&mut broker);
    broker.write_all(&body(9, 3)).expect("open");
    assert_eq!(read(&mut client, 11), body(9, 3));
    ends.proxy.pass();

    assert_eq!(read(&mut broker, 22), [body(1, 3), body(2, 3)].concat());
}

#[test]
fn what_is_swallowed_is_gone_and_nobody_is_told() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.set("", Way::ToBroker, Mode::Swallow);
    client.write_all(&body(1, 3)).expect("open");
    assert_silent(&mut broker);
    ends.proxy.pass();
    client.write_all(&body(2, 3)).expect("open");

    assert_eq!(read(&mut broker, 11), body(2, 3));
}

#[test]
fn a_delay_is_the_time_on_the_way_and_not_between_frames() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();
    let delay = Duration::from_millis(150);

    ends.proxy.set("", Way::ToBroker, Mode::Delay(delay));
    let started = Instant::now();
    for _ in 0..20 {
        client.write_all(&body(1, 3)).expect("open");
    }
    read(&mut broker, 20 * 11);
    let took = started.elapsed();

    assert!(took >= delay && took < 10 * delay, "{took:?}");
}

#[test]
fn a_slow_way_takes_its_time() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.set("", Way::ToBroker, Mode::Slow(10_000));
    let started = Instant::now();
    client.write_all(&body(1, 4000)).expect("open");
    read(&mut broker, 4008);
    let took = started.elapsed();

    assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn one_half_can_be_closed() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.set("", Way::ToBroker, Mode::HalfClose);
    assert_eq!(broker.read(&mut [0]).expect("an end in order"), 0);
    broker.write_all(&ack()).expect("this way is open");

    assert_eq!(read(&mut client, ack().len()), ack());
}

#[test]
fn a_cut_loses_what_was_held_and_later_connections_are_whole() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.set("", Way::ToBroker, Mode::Hold);
    client.write_all(&body(1, 3)).expect("open");
    assert_silent(&mut broker);
    ends.proxy.pass();
    assert_eq!(read(&mut broker, 11), body(1, 3));
    ends.proxy.set("", Way::ToBroker, Mode::Hold);
    client.write_all(&body(2, 3)).expect("open");
    ends.proxy.cut("");
    ends.proxy.pass();

    assert_ended(&mut broker);
    assert_ended(&mut client);
    let (mut client, mut broker) = ends.connect();
    client.write_all(&body(3, 3)).expect("open");
    assert_eq!(read(&mut broker, 11), body(3, 3));
}

#[test]
fn a_reset_is_told_as_one() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();

    ends.proxy.once("", Mode::Reset);

    for end in [&mut client, &mut broker] {
        let error = end.read(&mut [0]).expect_err("no end in order");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_shut_door_refuses_and_a_slammed_one_closes_at_once() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.connect();
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, ends.proxy.port()));

    ends.proxy.door(Door::Shut);
    let refused = connect().expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    ends.proxy.door(Door::Slammed);
    let mut slammed = connect().expect("it is accepted");
    // Nothing was sent, so it is an end in order.
    assert_eq!(slammed.read(&mut [0]).expect("closed"), 0);
    assert_eq!(ends.proxy.slammed(), 1);
    client.write_all(&body(1, 3)).expect("the old one stays");
    assert_eq!(read(&mut broker, 11), body(1, 3));
    ends.proxy.door(Door::Open);

    ends.connect();
}

#[test]
fn connections_are_told_apart_by_their_names() {
    let ends = Ends::new();
    let (mut consuming, mut consumed) = ends.named("shop (consuming)");
    let (mut publishing, mut published) = ends.named("shop (publishing)");

    ends.proxy.set("(consuming)", Way::ToBroker, Mode::Hold);
    consuming.write_all(&body(1, 3)).expect("open");
    publishing.write_all(&body(2, 3)).expect("open");

    assert_eq!(read(&mut published, 11), body(2, 3));
    assert_silent(&mut consumed);
    let mut names = ends.proxy.names();
    names.sort();
    assert_eq!(names, ["shop (consuming)", "shop (publishing)"]);
    ends.proxy.cut("(publishing)");
    assert_eq!(published.read(&mut [0]).expect("an end in order"), 0);
    ends.proxy.pass();
    assert_eq!(read(&mut consumed, 11), body(1, 3));
}

#[test]
fn a_trap_holds_everything_from_its_frame_on() {
    let ends = Ends::new();
    let (mut client, mut broker) = ends.named("shop (publishing)");
    let mut acks = 0;
    let trap = ends.proxy.at("(publishing)", Way::ToClient, Mode::Hold, move |frame: &Frame| {
        acks += u32::from(frame.is(Method::Ack));
        acks == 2
    });
    let retry = ends.proxy.at("", Way::ToBroker, Mode::Pass, |frame| frame.publishes_to("events.shop.retry"));

    broker.write_all(&[ack(), body(1, 3)].concat()).expect("open");
    assert_eq!(read(&mut client, ack().len() + 11), [ack(), body(1, 3)].concat());
    assert!(!trap.is_sprung());
    broker.write_all(&[ack(), body(2, 3)].concat()).expect("open");
    trap.until_sprung(PATIENCE);
    assert_silent(&mut client);
    client.write_all(&publish("events")).expect("open");
    assert_eq!(read(&mut broker, publish("events").len()), publish("events"));
    assert!(!retry.is_sprung());
    client.write_all(&publish("events.shop.retry")).expect("open");
    retry.until_sprung(PATIENCE);
    ends.proxy.pass();

    assert_eq!(read(&mut client, ack().len() + 11), [ack(), body(2, 3)].concat());
}

#[test]
fn a_url_gets_the_port_of_the_proxy() {
    let proxy = Proxy::before(1);
    let port = proxy.port();

    assert_eq!(
        proxy.url("amqp://guest:guest@127.0.0.1:5672/a%2Fb"),
        format!("amqp://guest:guest@127.0.0.1:{port}/a%2Fb")
    );
    assert_eq!(proxy.url("amqp://guest:p%40@h:1"), format!("amqp://guest:p%40@h:{port}"));
}
