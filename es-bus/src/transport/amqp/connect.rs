//! One connection, supervised: made, watched, and made again.
//!
//! Two of these feed one [`Board`], which the rooms above see as a [`Link`].

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties, Event,
    tcp::{AMQPUriTcpExt, RustlsConnector, TLSConfig},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{AmqpOptions, Host, Mechanism, classify, silence};
use crate::transport::{Link, LinkState, TransportError};

/// How long the broker has to agree that a connection ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a connection is looked at, beside the events it sends; lapin's are best effort.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publishing,
    Consuming,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Publishing => "publishing",
            Self::Consuming => "consuming",
        }
    }
}

/// A connection as long as it lasts.
pub(super) struct Session {
    /// lapin's handle.
    pub(super) connection: Connection,
    /// Tells this session from the ones before and after it.
    pub(super) generation: u64,
    /// Cancelled when the connection is gone.
    pub(super) lost: CancellationToken,
    reason: OnceLock<String>,
}

impl Session {
    /// Why it is gone.
    pub(super) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection ended".to_owned())
    }

    /// Whether the broker takes nothing from this connection at the moment.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// The largest frame that both sides agreed on.
    pub(super) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    fn end(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.lost.cancel();
    }
}

/// Where the session of a connection is found, while there is one.
#[derive(Clone)]
pub(super) struct Sessions(watch::Receiver<Result<Arc<Session>, Arc<str>>>);

impl Sessions {
    /// The session, or why there is none.
    pub(super) fn current(&self) -> Result<Arc<Session>, String> {
        match &*self.0.borrow() {
            Ok(session) if !session.lost.is_cancelled() => Ok(session.clone()),
            Ok(session) => Err(session.reason()),
            Err(reason) => Err(reason.to_string()),
        }
    }
}

/// A connection and the task that keeps it.
pub(super) struct Line {
    sessions: Sessions,
    stop: CancellationToken,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Line {
    /// Starts to connect.
    pub(super) fn open(side: Side, options: Arc<AmqpOptions>, board: Arc<Board>) -> Self {
        let (session, sessions) = watch::channel(Err("still connecting".into()));
        let stop = CancellationToken::new();
        let supervisor = Supervisor { side, options, board, session, stop: stop.clone() };
        Self {
            sessions: Sessions(sessions),
            stop,
            task: tokio::sync::Mutex::new(Some(tokio::spawn(supervisor.run()))),
        }
    }

    /// Where its session is found.
    pub(super) fn watch(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Ends the connection, and waits until it has.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            // A supervisor that panicked is as closed as one that ended.
            let _ = task.await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Supervisor {
    side: Side,
    options: Arc<AmqpOptions>,
    board: Arc<Board>,
    session: watch::Sender<Result<Arc<Session>, Arc<str>>>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let state = tokio::select! {
            biased;
            () = self.stop.cancelled() => LinkState::Closed,
            error = self.supervise() => {
                tracing::error!(side = self.side.as_str(), "{error}");
                LinkState::Fatal(Arc::new(error))
            }
        };
        let session = self.session.send_replace(Err(match &state {
            LinkState::Fatal(error) => error.to_string().into(),
            _ => "closed by this program".into(),
        }));
        if let Ok(session) = session {
            // A blocked connection never writes the farewell.
            let farewell = session.connection.close(200, "OK".into());
            let _ = timeout(CLOSE_TIMEOUT, farewell).await;
            session.end("closed by this program".to_owned());
        }
        self.board.set(self.side, state);
    }

    /// Connects, watches, and connects again, until that makes no sense.
    async fn supervise(&self) -> TransportError {
        let mut generation = 0;
        let mut course = Course::default();
        loop {
            let Some(host) = course.host(&self.options.hosts) else {
                return TransportError::Unreachable {
                    address: self.options.describe(),
                    reason: "no host is configured".to_owned(),
                };
            };
            let address = self.options.address(host);
            let attempt = course.failures + 1;
            tracing::debug!(side = self.side.as_str(), %address, attempt, "connecting");
            let mut lasted = Duration::ZERO;
            let reason = match self.connect(host, &address).await {
                Ok(connection) => {
                    generation += 1;
                    let since = Instant::now();
                    let session = Arc::new(Session {
                        connection,
                        generation,
                        lost: CancellationToken::new(),
                        reason: OnceLock::new(),
                    });
                    tracing::info!(side = self.side.as_str(), %address, generation, attempt, "connected");
                    let reason = self.watch(session).await;
                    lasted = since.elapsed();
                    reason
                }
                Err(classify::Failure::Passing(reason)) => reason,
                Err(classify::Failure::Fatal(error)) => return error,
            };
            let retry_in = match course.failed(lasted, self.options.reconnect_max, self.options.hosts.len()) {
                Next::Host => Duration::ZERO,
                Next::Pause(round) => backoff(&self.options, round, rand::random()),
            };
            tracing::warn!(side = self.side.as_str(), %address, attempt, ?retry_in, "no connection: {reason}");
            self.show(Err(reason.as_str().into()));
            self.board.fails(self.side, course.failures);
            self.board.set(self.side, LinkState::Backoff { reason, retry_in });
            tokio::select! {
                () = sleep(retry_in) => {}
                // What the other side has found is there for this one as well.
                () = self.board.other_is_up(self.side) => course.is_found(),
            }
            self.board.set(self.side, LinkState::Connecting);
        }
    }

    fn show(&self, session: Result<Arc<Session>, Arc<str>>) {
        self.session.send_modify(|shown| *shown = session);
    }

    async fn connect(&self, host: &Host, address: &str) -> Result<Connection, classify::Failure> {
        let uri = uri(self.side, &self.options, host, address)?;
        let name = format!("{} ({})", self.options.connection_name, self.side.as_str());
        let properties = ConnectionProperties::default()
            .with_connection_name(name.into())
            .with_client_property("product".into(), "es-bus".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let failure = |error| classify::connect(&error, &self.options, address);
        let runtime = lapin::runtime::default_runtime().map_err(failure)?;
        let tls = match self.options.tls.clone() {
            None => None,
            // Reads files.
            Some(tls) => Some(
                tokio::task::spawn_blocking(move || tls.current())
                    .await
                    .map_err(|error| classify::Failure::Passing(error.to_string()))?,
            ),
        };
        let attempt = Connection::connector(
            uri,
            runtime,
            // lapin runs this on the thread that it has for the connection.
            async move |uri: AMQPUri, runtime| {
                silence::this_thread();
                let stream = uri.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                let Some(tls) = &tls else { return Ok(stream) };
                let connector = RustlsConnector::from(tls.clone());
                Ok(stream.into_rustls(&connector, &uri.authority.host).await?)
            },
            properties,
        );
        match timeout(self.options.connect_timeout, Box::pin(attempt)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => Err(classify::no_answer(&self.options)),
        }
    }

    /// Shows the session, and waits for its end.
    async fn watch(&self, session: Arc<Session>) -> String {
        let mut events = Box::pin(session.connection.events_listener());
        self.show(Ok(session.clone()));
        self.board.set(self.side, LinkState::Up);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut blocked = None;
        let mut error = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => blocked = Some(reason),
                    Some(Event::Error(cause)) => error = Some(classify::text(&cause)),
                    _ => {}
                },
                _ = look.tick() => {}
            }
            let status = session.connection.status();
            if !status.connected() {
                break;
            }
            // An error so far was one of a channel.
            error = None;
            if !status.blocked() {
                blocked = None;
            } else if blocked.is_none() {
                blocked = Some("the broker does not say why".to_owned());
            }
            if self.side == Side::Publishing && self.board.set_blocked(blocked.clone()) {
                tell_blocked(self.side, blocked.as_deref());
            }
        }
        // The state changes before the error is told.
        while error.is_none() {
            match timeout(LOOK_INTERVAL, events.next()).await {
                Ok(Some(Event::Error(cause))) => error = Some(classify::text(&cause)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => error = Some("the connection ended".to_owned()),
            }
        }
        let reason = error.unwrap_or_default();
        session.end(reason.clone());
        if self.side == Side::Publishing {
            self.board.set_blocked(None);
        }
        reason
    }
}

/// Logs that the broker takes no publishes, and why, or that it does again.
fn tell_blocked(side: Side, blocked: Option<&str>) {
    let side = side.as_str();
    match blocked {
        Some(reason) => {
            tracing::warn!(side, reason, "blocked: the broker takes no publishes, which wait until it does");
        }
        None => tracing::info!(side, "unblocked: the broker takes publishes again"),
    }
}

/// The address in lapin's terms; made field by field, so that no character needs escaping.
fn uri(side: Side, options: &AmqpOptions, host: &Host, address: &str) -> Result<AMQPUri, classify::Failure> {
    // lapin panics at a longer one.
    if options.vhost.len() > 255 {
        return Err(classify::Failure::Fatal(TransportError::VirtualHost {
            address: address.to_owned(),
            vhost: options.vhost.clone(),
            reason: "a name has at most 255 bytes".to_owned(),
        }));
    }
    let frame_max = match side {
        Side::Publishing => options.frame_max.max(4096),
        // As large as the broker has it: RabbitMQ sends a header that somebody else published
        // whatever was agreed on here, and lapin answers one that is too large by ending the
        // connection, again at each redelivery (measured).
        Side::Consuming => 0,
    };
    Ok(AMQPUri {
        // Of the TCP connection; TLS is made on it by ourselves.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: options.user.clone(), password: options.password.clone() },
            host: host.host.clone(),
            port: host.port,
        },
        vhost: options.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(frame_max),
            channel_max: None,
            heartbeat: Some(heartbeat_seconds(options.heartbeat)),
            connection_timeout: Some(u64::try_from(options.connect_timeout.as_millis()).unwrap_or(u64::MAX)),
            auth_mechanism: Some(match options.mechanism {
                Mechanism::Plain => SASLMechanism::Plain,
                Mechanism::External => SASLMechanism::External,
            }),
        },
    })
}

/// Whole seconds, rounded up: less than one is not none.
fn heartbeat_seconds(heartbeat: Duration) -> u16 {
    u16::try_from(heartbeat.as_millis().div_ceil(1000)).unwrap_or(u16::MAX)
}

/// How long to wait before the next attempt: somewhere between the least wait and a ceiling that
/// doubles with each attempt. `chance` is between 0 and 1.
fn backoff(options: &AmqpOptions, attempt: u32, chance: f64) -> Duration {
    let least = options.reconnect_min.min(options.reconnect_max);
    let factor = 2_u32.saturating_pow(attempt.saturating_add(1).min(31));
    let ceiling = least.saturating_mul(factor).min(options.reconnect_max);
    let pause = least + (ceiling - least).mul_f64(chance.clamp(0.0, 1.0));
    // Whole milliseconds: it is printed.
    Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

/// Where a supervisor is: how often it failed, and whose turn it is. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Course {
    /// Failures since the last connection that lasted.
    failures: u32,
    /// Failures since the start: each gives the turn to the next host.
    turns: usize,
    /// Hosts that were tried since the last pause.
    tried: usize,
    /// Pauses since the last connection that lasted.
    pauses: u32,
}

/// What a failure is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next host, at once.
    Host,
    /// A pause, after so many others in a row.
    Pause(u32),
}

impl Course {
    /// The host whose turn it is; `None` when there is none at all.
    fn host<'a>(&self, hosts: &'a [Host]) -> Option<&'a Host> {
        hosts.get(self.turns.checked_rem(hosts.len())?)
    }

    /// An attempt failed, or a connection was lost that had `lasted` so long. All hosts are tried between two
    /// pauses. A connection that is lost as soon as it is made makes the pauses ever longer, as one that is
    /// not made does.
    fn failed(&mut self, lasted: Duration, long: Duration, hosts: usize) -> Next {
        if lasted >= long {
            (self.failures, self.pauses) = (0, 0);
        }
        self.failures = self.failures.saturating_add(1);
        self.turns = self.turns.wrapping_add(1);
        self.tried += 1;
        if lasted.is_zero() && self.tried < hosts {
            return Next::Host;
        }
        self.tried = 0;
        self.pauses = self.pauses.saturating_add(1);
        Next::Pause(self.pauses - 1)
    }

    /// A broker is there, after all.
    fn is_found(&mut self) {
        (self.tried, self.pauses) = (0, 0);
    }
}

/// Both connections as one [`Link`].
pub(super) struct Board {
    sides: Mutex<[LinkState; 2]>,
    failures: Mutex<[u32; 2]>,
    /// Told when a side is connected.
    up: [Notify; 2],
    link: watch::Sender<Link>,
}

impl Board {
    pub(super) fn new() -> (Arc<Self>, watch::Receiver<Link>) {
        let (link, seen) =
            watch::channel(Link { state: LinkState::Connecting, generation: 0, failures: 0, blocked: None });
        let sides = Mutex::new([LinkState::Connecting, LinkState::Connecting]);
        (Arc::new(Self { sides, failures: Mutex::default(), up: Default::default(), link }), seen)
    }

    /// Waits until the other side connects, from now on.
    async fn other_is_up(&self, side: Side) {
        self.up[1 - side as usize].notified().await;
    }

    /// Notes how often a side failed; it is told with its next state.
    fn fails(&self, side: Side, failures: u32) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)[side as usize] = failures;
    }

    fn set(&self, side: Side, state: LinkState) {
        let failures = *self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        let before = &sides[side as usize];
        debug_assert!(before.may_become(&state), "{side:?}: {before:?} -> {state:?}");
        if matches!(state, LinkState::Up) {
            self.up[side as usize].notify_waiters();
        }
        sides[side as usize] = state;
        let merged = merge(&sides[0], &sides[1]).clone();
        let failures = failures.into_iter().max().unwrap_or_default();
        // Under the lock, so that the last word on the link is the last one said.
        self.link.send_if_modified(|link| {
            if link.failures == failures && is_same(&link.state, &merged) {
                return false;
            }
            let was_up = matches!(link.state, LinkState::Up);
            if matches!(merged, LinkState::Up) && !was_up {
                link.generation += 1;
            }
            link.failures = failures;
            link.state = merged;
            true
        });
    }

    /// Says whether that is a change.
    fn set_blocked(&self, blocked: Option<String>) -> bool {
        self.link.send_if_modified(|link| {
            let changed = link.blocked != blocked;
            link.blocked = blocked;
            changed
        })
    }
}

/// Whether nobody needs to be told that one state follows another.
fn is_same(before: &LinkState, now: &LinkState) -> bool {
    match (before, now) {
        (
            LinkState::Backoff { reason, retry_in },
            LinkState::Backoff { reason: new_reason, retry_in: new_retry_in },
        ) => reason == new_reason && retry_in == new_retry_in,
        _ => std::mem::discriminant(before) == std::mem::discriminant(now),
    }
}

/// The worse of two states.
fn merge<'a>(a: &'a LinkState, b: &'a LinkState) -> &'a LinkState {
    let rank = |state: &LinkState| match state {
        LinkState::Up => 0,
        LinkState::Connecting => 1,
        LinkState::Backoff { .. } => 2,
        LinkState::Closed => 3,
        LinkState::Fatal(_) => 4,
    };
    if rank(a) >= rank(b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_between_the_least_and_a_ceiling_that_doubles() {
        let options = AmqpOptions {
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(30),
            ..AmqpOptions::default()
        };
        for (attempt, chance, seconds) in
            [(0, 0.0, 1), (0, 1.0, 2), (3, 0.0, 1), (3, 1.0, 16), (4, 1.0, 30), (4_000_000_000, 1.0, 30)]
        {
            assert_eq!(backoff(&options, attempt, chance), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_heartbeat_is_rounded_up_and_none_stays_none() {
        for (ms, seconds) in [(0, 0), (1, 1), (1000, 1), (1500, 2), (u64::MAX, u16::MAX)] {
            assert_eq!(heartbeat_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
    }

    #[test]
    fn a_least_wait_above_the_longest_is_no_panic() {
        let options = AmqpOptions {
            reconnect_min: Duration::from_secs(9),
            reconnect_max: Duration::from_secs(3),
            ..AmqpOptions::default()
        };

        assert_eq!(backoff(&options, 7, 0.5), Duration::from_secs(3));
    }

    #[test]
    fn all_hosts_have_a_turn_between_two_pauses_and_a_connection_that_lasted_starts_anew() {
        let long = Duration::from_secs(30);
        let hosts: Vec<Host> = (0..3).map(|n| Host { host: format!("rabbit-{n}"), port: 5672 }).collect();
        let mut course = Course::default();

        let s = Duration::from_secs;
        for (lasted, failures, host, next) in [
            (s(0), 1, 1, Next::Host),
            (s(0), 2, 2, Next::Host),
            (s(0), 3, 0, Next::Pause(0)),
            (s(0), 4, 1, Next::Host),
            // Lost, and not for the first time: all hosts have another turn after the pause.
            (s(29), 5, 2, Next::Pause(1)),
            (s(0), 6, 0, Next::Host),
            (s(0), 7, 1, Next::Host),
            (s(0), 8, 2, Next::Pause(2)),
            (s(30), 1, 0, Next::Pause(0)),
            (s(0), 2, 1, Next::Host),
        ] {
            assert_eq!(course.failed(lasted, long, 3), next, "{lasted:?} {failures}");
            assert_eq!((course.failures, course.host(&hosts)), (failures, hosts.get(host)), "{lasted:?}");
        }
        course.is_found();
        assert_eq!(course.failed(s(0), long, 1), Next::Pause(0));
        assert_eq!(course.failed(s(0), long, 1), Next::Pause(1), "with one host, a pause after each failure");
        assert_eq!(course.host(&[]), None);
        assert_eq!(course.host(&hosts[..1]), hosts.first());
    }

    #[test]
    fn the_link_is_up_when_both_are_and_its_generation_counts_how_often() {
        let (board, link) = Board::new();
        let generation = |board: &Board, side, state| {
            board.set(side, state);
            (link.borrow().generation, matches!(link.borrow().state, LinkState::Up))
        };
        let lost = || LinkState::Backoff { reason: String::new(), retry_in: Duration::ZERO };

        assert_eq!(generation(&board, Side::Publishing, LinkState::Up), (0, false));
        assert_eq!(generation(&board, Side::Consuming, LinkState::Up), (1, true));
        assert_eq!(generation(&board, Side::Consuming, lost()), (1, false));
        assert_eq!(generation(&board, Side::Publishing, lost()), (1, false));
        for side in [Side::Publishing, Side::Consuming] {
            assert_eq!(generation(&board, side, LinkState::Connecting), (1, false));
        }
        assert_eq!(generation(&board, Side::Publishing, LinkState::Up), (1, false));
        assert_eq!(generation(&board, Side::Consuming, LinkState::Up), (2, true));
    }
}
