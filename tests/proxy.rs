//! A proxy of our own between client and node, for all that a network does to a connection.
//!
//! It knows where frames end and which method they are, and the name that a client gave its
//! connection. So a test can say *from the first confirm on, let nothing through*, and wait until it
//! came to that. It reads plain AMQP only.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{frames::Frame, node::Ports};

/// A port that leads to another, and what happens on the way.
///
/// It begins as an open door through which everything passes. All methods return at once, and what
/// they ask for holds from the next frame on, also for one that waits. A connection is chosen by a
/// part of its name: `"(consuming)"`, `"(publishing)"`, `""` for all.
#[derive(Debug)]
pub struct Proxy {
    ports: Ports,
    shared: Arc<Shared>,
    doors: Option<mpsc::UnboundedSender<(Door, std_mpsc::Sender<()>)>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Which half of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    ToClient,
}

/// What becomes of what goes one way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// It arrives.
    Pass,
    /// It waits, in order, until the mode changes; an end of the stream waits too. As a network that
    /// drops packets for a time, and delivers them again.
    Hold,
    /// It is gone. The connection is of no use afterwards, and nobody is told.
    Swallow,
    /// It arrives so much later.
    Delay(Duration),
    /// So many bytes arrive in a second.
    Slow(usize),
    /// The receiver is told that no more will come, and the other way goes on.
    HalfClose,
    /// Both sides lose the connection, and what waits is gone.
    Cut,
    /// As [`Cut`](Self::Cut), and both sides are told with a reset.
    Reset,
}

impl Mode {
    fn ends_it(self) -> bool {
        matches!(self, Self::Cut | Self::Reset)
    }
}

/// What a new connection finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The broker.
    Open,
    /// Nobody listens.
    Shut,
    /// It is accepted, and closed at once.
    Slammed,
}

/// A frame for which a test waits; see [`Proxy::at`].
#[derive(Debug, Clone)]
pub struct Trap(Arc<(Mutex<bool>, Condvar)>);

impl Proxy {
    /// Opens a port of its own that leads to this one, both on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When no port is free.
    #[track_caller]
    pub fn before(port: u16) -> Self {
        let ports = Ports::claim();
        let shared = Arc::new(Shared::default());
        let (doors, orders) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let host =
            Host { port: ports.amqp(), target: (Ipv4Addr::LOCALHOST, port).into(), shared: shared.clone() };
        let thread = thread::spawn(move || runtime.block_on(host.serve(orders)));
        let proxy = Self { ports, shared, doors: Some(doors), thread: Some(thread) };
        proxy.door(Door::Open);
        proxy
    }

    /// The URL of a node or a virtual host, with the port of this proxy in it.
    ///
    /// # Panics
    ///
    /// When the URL has no port.
    #[track_caller]
    pub fn url(&self, url: &str) -> String {
        let (login, rest) = url.rsplit_once('@').expect("a URL with a login");
        let (host, rest) = rest.split_once(':').expect("a URL with a port");
        let path = rest.find('/').map_or("", |slash| &rest[slash..]);
        format!("{login}@{host}:{}{path}", self.port())
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.ports.amqp()
    }

    /// Says what new connections find; those that there are stay as they are.
    #[track_caller]
    pub fn door(&self, door: Door) {
        let (done, wait) = std_mpsc::channel();
        let sent = self.doors.as_ref().expect("taken in drop").send((door, done));
        assert!(sent.is_ok() && wait.recv().is_ok(), "the proxy has ended: is its port taken?");
    }

    /// Does this with what goes that way, on the connections that there are and on later ones.
    ///
    /// What was set last counts.
    pub fn set(&self, name: &str, way: Way, mode: Mode) {
        let mut state = self.shared.lock();
        state.rules.push((name.to_owned(), way, mode));
        state.each(name, |connection| connection.set(way, mode));
    }

    /// As [`set`](Self::set), for both ways, on the connections that there are and on no other.
    pub fn once(&self, name: &str, mode: Mode) {
        self.shared.lock().each(name, |connection| {
            connection.set(Way::ToBroker, mode);
            connection.set(Way::ToClient, mode);
        });
    }

    /// Closes connections on both sides; what waited in them never arrives.
    pub fn cut(&self, name: &str) {
        self.once(name, Mode::Cut);
    }

    /// Lets everything pass, what waits first, and disarms every trap.
    pub fn pass(&self) {
        let mut state = self.shared.lock();
        state.rules.clear();
        state.traps.clear();
        state.each("", |connection| {
            connection.set(Way::ToBroker, Mode::Pass);
            connection.set(Way::ToClient, Mode::Pass);
        });
    }

    /// Waits for a frame, and sets the mode of its connection and way from this frame on.
    ///
    /// The frame itself is the first to meet the mode. It happens once. `is_it` is asked about every
    /// frame, of whatever connection that is so named, until it says yes; it may count.
    #[must_use]
    pub fn at(
        &self,
        name: &str,
        way: Way,
        mode: Mode,
        is_it: impl FnMut(&Frame) -> bool + Send + 'static,
    ) -> Trap {
        let trap = Trap(Arc::default());
        let armed = Armed { name: name.to_owned(), way, mode, is_it: Box::new(is_it), trap: trap.clone() };
        self.shared.lock().traps.push(armed);
        trap
    }

    /// How many connections were closed at once, behind a slammed door.
    pub fn slammed(&self) -> usize {
        self.shared.lock().slammed
    }

    /// The names of the connections that there are.
    pub fn names(&self) -> Vec<String> {
        let mut state = self.shared.lock();
        let mut names = Vec::new();
        state.each("", |connection| names.push(connection.name()));
        names
    }
}

impl Trap {
    /// Whether the frame came.
    pub fn is_sprung(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the thread until the frame has come.
    ///
    /// # Panics
    ///
    /// When it does not come within the patience.
    #[track_caller]
    pub fn until_sprung(&self, patience: Duration) {
        let sprung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sprung, _) = self
            .0
            .1
            .wait_timeout_while(sprung, patience, |sprung| !*sprung)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(*sprung, "the frame did not come within {patience:?}");
    }

    fn spring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.doors.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<(String, Way, Mode)>,
    traps: Vec<Armed>,
    connections: Vec<Arc<Connection>>,
    slammed: usize,
}

impl State {
    /// Does something to the connections whose name has this in it.
    fn each(&mut self, name: &str, mut act: impl FnMut(&Connection)) {
        self.connections.retain(|connection| !connection.modes.is_closed());
        for connection in self.connections.iter().filter(|connection| connection.name().contains(name)) {
            act(connection);
        }
    }

    /// Gives a connection its name, and what the rules say about that.
    fn named(&self, connection: &Connection, name: String) {
        for (_, way, mode) in self.rules.iter().filter(|rule| name.contains(&rule.0)) {
            connection.set(*way, *mode);
        }
        *connection.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Shows a frame to the traps.
    fn see(&mut self, connection: &Connection, way: Way, frame: &Frame) {
        let name = connection.name();
        self.traps.retain_mut(|armed| {
            let caught = armed.way == way && name.contains(&armed.name) && (armed.is_it)(frame);
            if caught {
                connection.set(way, armed.mode);
                armed.trap.spring();
            }
            !caught
        });
    }
}

struct Armed {
    name: String,
    way: Way,
    mode: Mode,
    is_it: Box<dyn FnMut(&Frame) -> bool + Send>,
    trap: Trap,
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Armed").field("name", &self.name).field("way", &self.way).finish_non_exhaustive()
    }
}

/// A client and its broker.
#[derive(Debug)]
struct Connection {
    name: Mutex<String>,
    modes: watch::Sender<[Mode; 2]>,
}

impl Connection {
    fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection that is cut stays so, also when its task has not come to it yet.
    fn set(&self, way: Way, mode: Mode) {
        self.modes.send_modify(|modes| {
            if !modes.iter().any(|mode| mode.ends_it()) {
                modes[way as usize] = mode;
            }
        });
    }
}

/// What runs on the thread of a proxy.
struct Host {
    port: u16,
    target: SocketAddr,
    shared: Arc<Shared>,
}

impl Host {
    async fn serve(self, mut orders: mpsc::UnboundedReceiver<(Door, std_mpsc::Sender<()>)>) {
        let mut connections = JoinSet::new();
        let mut listener: Option<TcpListener> = None;
        let mut door = Door::Shut;
        loop {
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => {
                    let Some((wanted, done)) = order else { return };
                    door = wanted;
                    match door {
                        Door::Shut => listener = None,
                        Door::Open | Door::Slammed if listener.is_some() => {}
                        Door::Open | Door::Slammed => {
                            let Ok(bound) = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await else {
                                return;
                            };
                            listener = Some(bound);
                        }
                    }
                    let _ = done.send(());
                }
                accepted = accept => {
                    match (accepted, door) {
                        (Ok((client, _)), Door::Open) => {
                            connections.spawn(join(client, self.target, self.shared.clone()));
                        }
                        _ => self.shared.lock().slammed += 1,
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Connects a client to the broker, until both are through or the connection is cut.
async fn join(mut client: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    let (modes, changes) = watch::channel([Mode::Pass; 2]);
    let connection = Arc::new(Connection { name: Mutex::default(), modes });
    {
        let mut state = shared.lock();
        // The rules for all hold before it has a name, and whatever is set from now on.
        state.named(&connection, String::new());
        state.connections.push(connection.clone());
    }
    // A client whose broker is gone finds its connection closed.
    let Ok(mut broker) = TcpStream::connect(target).await else { return };
    for stream in [&client, &broker] {
        let _ = stream.set_nodelay(true);
    }
    let mut ending = changes.clone();
    let pump = |way| Pump { way, connection: &connection, shared: &shared, changes: changes.clone() };
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let there = pump(Way::ToBroker).run(from_client, to_broker);
        let back = pump(Way::ToClient).run(from_broker, to_client);
        tokio::select! {
            end = ending.wait_for(|modes| modes.iter().any(|mode| mode.ends_it())) => {
                end.is_ok_and(|modes| modes.contains(&Mode::Reset))
            }
            _ = async { tokio::join!(there, back) } => false,
        }
    };
    if reset {
        for stream in [&client, &broker] {
            let _ = stream.set_zero_linger();
        }
    }
}

/// One way of a connection.
struct Pump<'a> {
    way: Way,
    connection: &'a Connection,
    shared: &'a Shared,
    changes: watch::Receiver<[Mode; 2]>,
}

impl Pump<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
        // A delayed frame must not keep the next one from being taken. What is more than this stays
        // with the sender.
        let (sender, mut frames) = mpsc::channel(1024);
        let read = async move {
            while let Ok(Some(frame)) = Frame::read(&mut from).await {
                if sender.send((Instant::now(), frame)).await.is_err() {
                    return;
                }
            }
        };
        let write = async {
            let mut open = true;
            loop {
                let (came, frame) = tokio::select! {
                    next = frames.recv() => match next {
                        Some(next) => next,
                        None => break,
                    },
                    () = self.until_half_closed(), if open => {
                        open = false;
                        let _ = to.shutdown().await;
                        continue;
                    }
                };
                self.see(&frame);
                if self.arrives(came).await && open && self.write(&mut to, frame.bytes()).await.is_err() {
                    return;
                }
            }
            // The end of the stream can be kept back, too.
            if self.arrives(Instant::now()).await {
                let _ = to.shutdown().await;
            }
        };
        tokio::join!(read, write);
    }

    fn see(&self, frame: &Frame) {
        let mut state = self.shared.lock();
        if let Some(name) = frame.connection_name() {
            state.named(self.connection, name);
        }
        state.see(self.connection, self.way, frame);
    }

    /// Waits until what came then is due; false when it never is.
    async fn arrives(&mut self, came: Instant) -> bool {
        loop {
            match self.mode() {
                Mode::Pass | Mode::Slow(_) => return true,
                Mode::Swallow | Mode::HalfClose => return false,
                Mode::Hold => self.changed().await,
                Mode::Delay(delay) => tokio::select! {
                    () = sleep_until(came + delay) => return true,
                    () = self.changed() => {}
                },
                // Who joined the two ends this.
                Mode::Cut | Mode::Reset => std::future::pending().await,
            }
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while let Mode::Slow(rate) = self.mode() {
            let Some((first, rest)) = bytes.split_at_checked((rate / SLICES).max(1)) else { break };
            to.write_all(first).await?;
            bytes = rest;
            tokio::select! {
                () = sleep(Duration::from_secs(1) / SLICES as u32) => {}
                () = self.changed() => {}
            }
        }
        to.write_all(bytes).await
    }

    async fn until_half_closed(&mut self) {
        while self.mode() != Mode::HalfClose {
            self.changed().await;
        }
    }

    async fn changed(&mut self) {
        // The sender is in the connection, which outlives this.
        let _ = self.changes.changed().await;
    }

    fn mode(&mut self) -> Mode {
        self.changes.borrow_and_update()[self.way as usize]
    }
}

/// In how many pieces a slow way passes what it passes in a second.
const SLICES: usize = 20;
