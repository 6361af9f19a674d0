//! The orders domain, a broker to look into, and programs to start and to kill.

use std::{
    env, fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use es_bus::{
    Bus, BusBuilder, Handle, Registry, event,
    message::Received,
    name::QueueName,
    transport::{
        Admin, Consume, ConsumeRequest, LinkState, Settlement, Transport,
        amqp::{Amqp, AmqpOptions, Host},
    },
};
use es_bus_tests::{Node, Vhost};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle as Runtime,
    sync::{Mutex, MutexGuard, watch},
    task::block_in_place,
    time::{sleep, timeout},
};

/// How long anything may take that should come at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: String,
    pub(crate) total: u32,
}

/// An order was shipped.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderShipped {
    pub(crate) order_id: String,
}

/// An invoice was sent, by another department on an exchange of its own.
#[event(aggregate = "Invoice", exchange = "billing")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InvoiceSent {
    pub(crate) number: u32,
}

pub(crate) fn placed(order_id: impl Into<String>, total: u32) -> OrderPlaced {
    OrderPlaced { order_id: order_id.into(), total }
}

pub(crate) fn shipped(order_id: impl Into<String>) -> OrderShipped {
    OrderShipped { order_id: order_id.into() }
}

/// What handlers wrote down, in order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<watch::Sender<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.send_modify(|lines| lines.push(line.into()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The lines that begin with a word.
    pub(crate) fn of(&self, word: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.split(' ').next() == Some(word)).collect()
    }

    /// Waits until what was written satisfies the condition.
    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&Vec<String>) -> bool) -> Vec<String> {
        let mut lines = self.0.subscribe();
        match timeout(PATIENCE, lines.wait_for(condition)).await {
            Ok(lines) => lines.expect("the journal is kept").clone(),
            Err(_) => panic!("waited in vain for {what}: {:#?}", self.lines()),
        }
    }

    /// Waits for so many lines.
    pub(crate) async fn until_len(&self, count: usize) -> Vec<String> {
        self.until(&format!("{count} lines"), |lines| lines.len() >= count).await
    }
}

/// A bus on a virtual host; reads neither file nor environment, and reconnects at once.
pub(crate) fn builder(url: impl Into<String>, registry: Registry) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .url(url.into())
        .registry(registry)
        .set("reconnect_min", Duration::from_millis(50))
        .set("reconnect_max", Duration::from_millis(500))
        .set("retry_ladder", "none")
}

/// A running bus, consuming.
pub(crate) async fn start(vhost: &Vhost, registry: Registry, journal: &Journal) -> Handle {
    run(builder(vhost.url(), registry).state(journal.clone())).await
}

pub(crate) async fn run(builder: BusBuilder) -> Handle {
    let bus = builder.build().unwrap_or_else(|error| panic!("{error:?}"));
    let started = timeout(PATIENCE, bus.start()).await.expect("the bus starts in time");
    started.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A bus that only publishes what is in the registry.
pub(crate) async fn publisher(url: impl Into<String>, registry: Registry) -> Handle {
    run(builder(url, registry).publish_only()).await
}

pub(crate) async fn stop(handle: Handle) {
    let stopped = timeout(PATIENCE, handle.stop()).await.expect("the bus stops in time");
    stopped.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Asks again until `probe` gives a value; may be called where tasks have to go on meanwhile.
#[track_caller]
pub(crate) fn soon<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = block_in_place(&mut probe) {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        block_in_place(|| thread::sleep(Duration::from_millis(50)));
    }
}

/// A connection that knows nothing of events.
pub(crate) async fn connect(vhost: &Vhost) -> Arc<Amqp> {
    connect_as(vhost, "guest", "guest").await
}

/// A connection of some user.
pub(crate) async fn connect_as(vhost: &Vhost, user: &str, password: &str) -> Arc<Amqp> {
    let url = vhost.url();
    let port = url.rsplit_once('/').and_then(|(rest, _)| rest.rsplit_once(':')).expect("a port").1;
    let amqp = Amqp::connect(AmqpOptions {
        hosts: vec![Host { host: "127.0.0.1".to_owned(), port: port.parse().expect("a number") }],
        vhost: vhost.name().to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        ..AmqpOptions::default()
    });
    let mut link = amqp.link();
    let up = timeout(PATIENCE, link.wait_for(|link| matches!(link.state, LinkState::Up))).await;
    up.expect("the node answers").expect("the link is kept");
    amqp
}

/// Takes so many messages out of a queue, waiting for them.
pub(crate) async fn take(vhost: &Vhost, queue: &str, count: usize) -> Vec<Received> {
    let amqp = connect(vhost).await;
    let request = ConsumeRequest {
        queue: QueueName::new(queue).expect("a name"),
        tag: "look".to_owned(),
        prefetch: 1000,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = amqp.consume(request).await.expect("the queue is there");
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = timeout(PATIENCE, consumer.next()).await;
        let Ok(next) = next else { panic!("{queue} has {} messages only, {count} wanted", taken.len()) };
        let delivery = next.expect("the consumer lasts").expect("the broker lives");
        taken.push(delivery.received.clone());
        delivery.settle(Settlement::Ack);
    }
    consumer.close().await;
    amqp.close().await;
    taken
}

/// What AMQP tells of queues. The management API knows too, but only by a quorum queue's own tick,
/// which comes every five seconds.
pub(crate) struct Look(Arc<Amqp>);

impl Look {
    pub(crate) async fn at(vhost: &Vhost) -> Self {
        Self(connect(vhost).await)
    }

    /// How many messages wait, and how many consumers there are.
    pub(crate) async fn queue(&self, name: &str) -> (u64, u64) {
        let name = QueueName::new(name).expect("a name");
        let status = self.0.queue_status(&name).await.expect("the broker answers");
        status.map_or((0, 0), |status| (status.messages, status.consumers))
    }

    /// Waits until a queue has so many waiting messages and consumers.
    pub(crate) async fn until(&self, queue: &str, messages: u64, consumers: u64) {
        let mut seen = (0, 0);
        let came = timeout(PATIENCE, async {
            loop {
                seen = self.queue(queue).await;
                if seen == (messages, consumers) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        if came.await.is_err() {
            panic!("{queue} has {seen:?}, not {messages} messages and {consumers} consumers");
        }
    }

    /// The messages that wait in any queue, once there have been none for a while, or for too long
    /// some.
    pub(crate) async fn left_over(&self, vhost: &Vhost) -> Vec<(String, u64)> {
        self.left_over_but(vhost, &[]).await
    }

    /// As [`left_over`](Self::left_over), but for the queues of these names, where something is meant to be.
    pub(crate) async fn left_over_but(&self, vhost: &Vhost, but: &[&str]) -> Vec<(String, u64)> {
        let queues = block_in_place(|| vhost.queues()).into_iter().map(|queue| queue.name);
        let names: Vec<String> = queues.filter(|name| !but.contains(&name.as_str())).collect();
        let deadline = Instant::now() + PATIENCE;
        let mut empty_since = Instant::now();
        loop {
            let mut left = Vec::new();
            for name in &names {
                let (messages, _) = self.queue(name).await;
                if messages > 0 {
                    left.push((name.clone(), messages));
                }
            }
            if !left.is_empty() {
                empty_since = Instant::now();
            }
            // Longer than a message is on its way from one queue to another, or in hand.
            if empty_since.elapsed() > Duration::from_millis(700) || Instant::now() > deadline {
                return left;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// As [`Look::left_over`].
pub(crate) async fn left_over(vhost: &Vhost) -> Vec<(String, u64)> {
    Look::at(vhost).await.left_over(vhost).await
}

/// A node for tests that hurt their broker, one after another.
pub(crate) struct Victim(MutexGuard<'static, Option<Node>>);

static VICTIM: Mutex<Option<Node>> = Mutex::const_new(None);

impl Victim {
    /// The node, once no other test has it; booted for the first.
    pub(crate) async fn get() -> Self {
        Self::boot(VICTIM.lock().await)
    }

    /// As [`get`](Self::get), outside of a runtime.
    pub(crate) fn get_blocking() -> Self {
        Self::boot(VICTIM.blocking_lock())
    }

    fn boot(mut node: MutexGuard<'static, Option<Node>>) -> Self {
        if node.is_none() {
            let mut start = || *node = Some(Node::start());
            match Runtime::try_current() {
                Ok(_) => block_in_place(start),
                Err(_) => start(),
            }
        }
        Self(node)
    }
}

impl Deref for Victim {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.0.as_ref().expect("booted")
    }
}

impl DerefMut for Victim {
    fn deref_mut(&mut self) -> &mut Node {
        self.0.as_mut().expect("booted")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if thread::panicking() {
            // Nobody knows what state it is in; the log may tell.
            if let Some(node) = self.0.take() {
                #[expect(clippy::print_stderr, reason = "beside the panic of a test")]
                {
                    eprintln!("{}", node.log_tail());
                }
            }
        }
    }
}

/// A directory that is gone when the test is.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("es-bus-live-{}-{number}", process::id()));
        fs::create_dir(&dir).expect("the name is new");
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The lines of a file; none when it is not there yet, and only those that are complete.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(str::to_owned).collect()
    }

    /// Waits until the file has a line that satisfies the condition.
    #[track_caller]
    pub(crate) fn until(
        &self,
        name: &str,
        what: &str,
        mut condition: impl FnMut(&[String]) -> bool,
    ) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines(name);
            if condition(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what} in {name}: {lines:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child program with its output in files; killed when dropped.
pub(crate) struct Program {
    child: Child,
    dir: Arc<TempDir>,
    run: u32,
}

/// How a program ended, and what it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that is to be started, with its environment: of the caller's it sees nothing that is
/// about es-bus.
pub(crate) struct Launch {
    command: Command,
    dir: Arc<TempDir>,
}

impl Launch {
    pub(crate) fn new(exe: &str, dir: &Arc<TempDir>) -> Self {
        let mut command = Command::new(exe);
        for (name, _) in env::vars_os() {
            let shown = name.to_string_lossy();
            if ["ES_BUS_", "RABBITMQ_", "RUST_LOG"].iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.current_dir(&dir.0).stdin(Stdio::null());
        command.env("ES_BUS_RECONNECT_MIN", "50ms").env("ES_BUS_RECONNECT_MAX", "500ms");
        Self { command, dir: Arc::clone(dir) }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn start(mut self) -> Program {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let run = NEXT.fetch_add(1, Ordering::Relaxed);
        let file =
            |name: &str| fs::File::create(self.dir.path(&format!("{name}-{run}"))).expect("a new file");
        let child = self.command.stdout(file("stdout")).stderr(file("stderr")).spawn();
        Program { child: child.expect("cargo has built it"), dir: self.dir, run }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.start().wait(PATIENCE)
    }
}

impl Program {
    pub(crate) fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, name: &str) -> String {
        let path = self.dir.path(&format!("{name}-{}", self.run));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// What it has printed, line by line.
    pub(crate) fn printed(&self) -> Vec<String> {
        self.output("stdout").lines().map(str::to_owned).collect()
    }

    /// Waits until it has said something on standard error.
    #[track_caller]
    pub(crate) fn until_says(&mut self, text: &str) {
        self.until(text, |program| program.stderr().contains(text));
    }

    /// Waits until it has printed a line on standard output.
    #[track_caller]
    pub(crate) fn until_prints(&mut self, line: &str) {
        self.until(line, |program| program.printed().iter().any(|printed| printed == line));
    }

    #[track_caller]
    fn until(&mut self, text: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "it ended with {ended:?} before it said {text:?}:\n{}", self.stderr());
            assert!(Instant::now() < deadline, "it never said {text:?}:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal} {id} failed");
    }

    /// Kills it with `SIGKILL`, and waits until it is dead.
    pub(crate) fn kill9(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Signals again and again: what follows the last signal at once is taken for an echo of it.
    #[track_caller]
    pub(crate) fn signal_until_it_ends(mut self, signal: &str) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("our own child").is_none() && Instant::now() < deadline {
            self.signal(signal);
        }
        self.wait(Duration::ZERO)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                None => panic!("it goes on after {patience:?}:\n{}", self.stderr()),
            }
        };
        Ended { status, stdout: self.output("stdout"), stderr: self.stderr() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "it helps whoever reads the failure")]
            {
                eprintln!("run {} of the program had said:\n{}", self.run, self.stderr());
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Makes a file.
pub(crate) fn touch(path: &Path) {
    fs::write(path, "").expect("the directory is there");
}
