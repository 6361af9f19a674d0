//! A RabbitMQ node of one's own: booted here, on free ports, with its own data and cookie.
//!
//! Three processes belong to a node, each in its own process group, so that a Ctrl-C at the
//! terminal reaches none of them: the server, its epmd, and a *janitor*. The janitor is a small
//! shell that reads from a pipe which only the test process holds. However that process ends
//! (drop, panic, `exit`, `SIGKILL`), the pipe closes, and the janitor kills the other two and
//! removes their directory. Nothing else cleans up, so there is one way for it to work.

use std::{
    env,
    fs::{self, DirBuilder},
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    management::{Api, COUNTS_INTERVAL, Vhost},
    mender::Mender,
};

/// A running RabbitMQ node with the management plugin; gone, with its data, when dropped.
///
/// All methods block the calling thread. What disturbs every user of the node takes `&mut self`,
/// so that it cannot be done to the [shared](Self::shared) one.
#[derive(Debug)]
pub struct Node {
    scripts: PathBuf,
    dir: PathBuf,
    ports: Ports,
    janitor: Child,
    /// Where the nodes of its cluster find each other.
    epmd_port: u16,
    /// Its own; `None` where it uses that of another node.
    epmd: Option<Child>,
    server: Option<Child>,
    boots: u32,
    vhosts: AtomicU32,
    /// What Erlang is told when it boots.
    erl_args: &'static str,
    mender: Option<Mender>,
    mends: Arc<AtomicU32>,
}

impl Node {
    /// Boots a node and waits until it serves, 4 to 6 s on two cores.
    ///
    /// # Panics
    ///
    /// When RabbitMQ is not installed, or does not come up within two minutes; the text then ends
    /// with the end of its log.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`start`](Self::start), with more lines for `rabbitmq.conf`.
    #[track_caller]
    pub fn start_with(conf: &str) -> Self {
        Self::try_start(conf, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`start_with`](Self::start_with), with listeners for TLS on 127.0.0.1 and 127.0.0.2, of the
    /// same [port](Self::tls_port), and logins by certificate.
    #[track_caller]
    pub fn start_secure(conf: &str) -> Self {
        let conf =
            format!("listeners.ssl.1 = 127.0.0.1:TLS_PORT\nlisteners.ssl.2 = 127.0.0.2:TLS_PORT\n{conf}");
        Self::try_start(&conf, &["rabbitmq_auth_mechanism_ssl"]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`start`](Self::start), with no plugin but the management.
    #[track_caller]
    pub fn start_bare() -> Self {
        let start = || {
            let mut node = Self::prepare("", &[], &new_cookie())?;
            fs::write(node.dir.join(ENABLED_PLUGINS), enabled(&["rabbitmq_management"]))
                .map_err(|error| error.to_string())?;
            node.start_epmd()?;
            node.boot()?;
            Ok(node)
        };
        start().unwrap_or_else(|error: String| panic!("{error}"))
    }

    /// Enables a plugin on the running node, as `rabbitmq-plugins enable` does.
    #[track_caller]
    pub fn enable_plugin(&mut self, plugin: &str) {
        let file = self.dir.join(ENABLED_PLUGINS);
        fs::write(&file, enabled(&["rabbitmq_management", plugin])).expect("the directory is the node's own");
        self.rabbitmqctl(&[
            "eval",
            &format!("{{ok, _, _}} = rabbit_plugins:ensure(\"{}\").", file.display()),
        ]);
    }

    /// As [`start`](Self::start), with a scheduler per core and the busy waiting of a server: for who
    /// measures, and has one node alone.
    #[track_caller]
    pub fn start_at_full_speed() -> Self {
        let start = || {
            let mut node = Self::prepare("", &[], &new_cookie())?;
            node.erl_args = FULL_SPEED_ERL_ARGS;
            node.start_epmd()?;
            node.boot()?;
            Ok(node)
        };
        start().unwrap_or_else(|error: String| panic!("{error}"))
    }

    /// The one node of this test binary, booted by whoever asks first.
    #[track_caller]
    pub fn shared() -> &'static Self {
        // The failure is kept too: with no RabbitMQ, only the first test waits for nothing.
        static SHARED: OnceLock<Result<Node, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::try_start("", &[])) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// `amqp://guest:guest@127.0.0.1:{port}/`, the default virtual host.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/", self.ports.amqp())
    }

    /// The process id of its Erlang machine.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.dir.join("pid")).expect("a running node has a pid file");
        text.trim().parse().expect("the file holds a process id")
    }

    /// The port without TLS, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.amqp()
    }

    /// The port with TLS of a node that was [started with it](Self::start_secure).
    pub fn tls_port(&self) -> u16 {
        self.ports.tls()
    }

    /// `http://guest:guest@127.0.0.1:{port}`, the root of the management API.
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.ports.management())
    }

    /// Makes a virtual host that nobody else has, named after `name`.
    #[track_caller]
    pub fn vhost(&self, name: &str) -> Vhost {
        self.mend();
        let number = self.vhosts.fetch_add(1, Ordering::Relaxed);
        Vhost::create(format!("{name}-{number}"), vec![self.ports.amqp()], self.api())
    }

    /// Has what dead-letters at least once brought back now, where it gave up: see [`Mender`]. A node does it
    /// by itself a moment later.
    pub(crate) fn mend(&self) {
        if let Some(mender) = &self.mender {
            mender.look();
        }
    }

    /// How often dead-lettering had to be brought back.
    pub fn mends(&self) -> u32 {
        self.mends.load(Ordering::Relaxed)
    }

    /// Runs `rabbitmqctl` on the node and returns what it prints; about 0.5 s a call.
    ///
    /// # Panics
    ///
    /// When the command fails, with all that it said.
    #[track_caller]
    pub fn rabbitmqctl(&self, args: &[&str]) -> String {
        let output = self
            .command(self.scripts.join("rabbitmqctl"))
            .arg("-q")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("rabbitmqctl does not run: {error}"));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {args:?}: {}\n{stdout}{stderr}", output.status);
        stdout
    }

    /// Has the broker close every connection, of all virtual hosts, with the given reason (320).
    #[track_caller]
    pub fn close_all_connections(&mut self, reason: &str) {
        self.rabbitmqctl(&["close_all_connections", "--global", reason]);
    }

    /// Kills the node with `SIGKILL`, as a power cut would, and waits until its ports are free.
    ///
    /// RabbitMQ writes down which quorum queues a node has up to some seconds after they were declared, and
    /// a queue that is killed before is gone with all that was confirmed (3.10 and 4.0). No client can cure
    /// that, so the node is asked to write it down first.
    #[track_caller]
    pub fn kill9(&mut self) {
        // A node that does not answer, or is no more, is killed as it is.
        let asked = ["-q", "--timeout", "10", "eval", "[dets:sync(T) || T <- dets:all()]."];
        let _ = self.command(self.scripts.join("rabbitmqctl")).args(asked).stdin(Stdio::null()).output();
        self.signal("KILL");
        self.reap();
    }

    /// Shuts the node down in order, and waits until its ports are free.
    #[track_caller]
    pub fn stop(&mut self) {
        kill("TERM", &self.pid().to_string());
        self.reap();
    }

    /// Boots the node again, on the same data and ports; one that still runs is stopped first.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[track_caller]
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
        self.boot().unwrap_or_else(|error| panic!("{error}"));
        self.mend();
    }

    /// Freezes the node (`SIGSTOP`): its sockets stay open, and nothing answers. Returns when all of its
    /// threads have stopped, which on a busy machine takes a moment.
    #[track_caller]
    pub fn sigstop(&mut self) {
        self.signal("STOP");
        let group = self.server.as_ref().expect("the node runs").id();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !is_frozen(group) {
            assert!(Instant::now() < deadline, "the node goes on although it is stopped");
            thread::sleep(POLL / 10);
        }
    }

    /// Lets a frozen node go on (`SIGCONT`).
    #[track_caller]
    pub fn sigcont(&mut self) {
        self.signal("CONT");
    }

    /// What the node has logged since it was last booted.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the log, for who reports a failure.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("the end of its log:\n{}", lines[lines.len().saturating_sub(100)..].join("\n"))
    }

    fn try_start(conf: &str, plugins: &[&str]) -> Result<Self, String> {
        let mut node = Self::prepare(conf, plugins, &new_cookie())?;
        node.start_epmd()?;
        node.boot()?;
        Ok(node)
    }

    /// So many nodes that can find each other, and are not one cluster yet; booted side by side.
    pub(crate) fn try_start_together(count: usize, conf: &str) -> Result<Vec<Self>, String> {
        let cookie = new_cookie();
        let mut nodes: Vec<Self> =
            (0..count).map(|_| Self::prepare(conf, &[], &cookie)).collect::<Result<_, _>>()?;
        let (first, others) = nodes.split_first_mut().ok_or("a cluster has a node")?;
        first.start_epmd()?;
        for node in others {
            node.epmd_port = first.epmd_port;
        }
        Self::boot_together(nodes.iter_mut())?;
        Ok(nodes)
    }

    /// Boots nodes side by side, on what they have.
    pub(crate) fn boot_together<'a>(nodes: impl Iterator<Item = &'a mut Self>) -> Result<(), String> {
        thread::scope(|scope| {
            let boots: Vec<_> = nodes.map(|node| scope.spawn(|| node.boot())).collect();
            boots.into_iter().try_for_each(|boot| boot.join().expect("`boot` does not panic"))
        })
    }

    /// Its files and its janitor; nothing runs.
    fn prepare(conf: &str, plugins: &[&str], cookie: &str) -> Result<Self, String> {
        let scripts = find_scripts()?;
        let ports = Ports::claim();
        let dir = env::temp_dir().join(format!("es-bus-node-{}-{}", process::id(), ports.base));
        write_files(&dir, &ports, conf, plugins, cookie)
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        let janitor = spawn(
            Command::new("sh").args(["-c", JANITOR, "janitor"]).arg(&dir).stdin(Stdio::piped()),
            &dir.join("janitor.log"),
        )?;
        Ok(Self {
            scripts,
            dir,
            epmd_port: ports.epmd(),
            ports,
            janitor,
            epmd: None,
            server: None,
            boots: 0,
            vhosts: AtomicU32::new(0),
            erl_args: ERL_ARGS,
            mender: None,
            mends: Arc::default(),
        })
    }

    /// Starts epmd and waits until it listens: a server that finds none starts one of its own, of
    /// which the janitor would not know.
    fn start_epmd(&mut self) -> Result<(), String> {
        let log = self.dir.join("epmd.log");
        let port = self.ports.epmd();
        let command = ["epmd", "-address", "127.0.0.1", "-port", &port.to_string()];
        let epmd = self.epmd.insert(self.spawn_member("epmd", &command, &log)?);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Ok(Some(status)) = epmd.try_wait() {
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("epmd, a part of Erlang, ended with {status}: {log}"));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Starts the server and waits until it serves.
    fn boot(&mut self) -> Result<(), String> {
        self.boots += 1;
        let server = self.scripts.join("rabbitmq-server");
        let server = server.to_str().expect("checked in find_scripts");
        self.server = Some(self.spawn_member("server", &[server], &self.log_path())?);

        let deadline = Instant::now() + BOOT_TIMEOUT;
        while !self.is_ready() {
            let server = self.server.as_mut().expect("started above");
            let found = match server.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(POLL);
                    continue;
                }
                Ok(None) => format!("is not ready after {} s", BOOT_TIMEOUT.as_secs()),
                Ok(Some(status)) => format!("ended with {status}"),
                Err(error) => format!("cannot be waited for: {error}"),
            };
            return Err(format!("the RabbitMQ node {found}; {}", self.log_tail()));
        }
        let rabbitmqctl = self.command(self.scripts.join("rabbitmqctl"));
        self.mender = Some(Mender::watch(self.log_path(), rabbitmqctl, Arc::clone(&self.mends)));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        // The log line comes when all plugins are up; a port alone may open earlier.
        self.log().contains("Server startup complete")
            && TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.amqp())).is_ok()
            && self.api().is_up()
    }

    /// Starts a process of the node in a group of its own, of which the janitor knows.
    fn spawn_member(&self, name: &str, command: &[&str], log: &Path) -> Result<Child, String> {
        let mut shell = self.command("sh");
        shell.args(["-c", MEMBER]).arg(self.dir.join(name)).args(command).stdin(Stdio::null());
        spawn(&mut shell, log)
    }

    /// A command that finds this node, and nothing of another one's environment.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if ["RABBITMQ_", "ERL_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let in_dir = |name: &str| self.dir.join(name);
        command
            .current_dir(&self.dir)
            .env("LC_ALL", "C.UTF-8")
            // The cookie is read from there.
            .env("HOME", in_dir("home"))
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.ports.distribution().to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_MNESIA_BASE", in_dir("mnesia"))
            .env("RABBITMQ_LOG_BASE", in_dir("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", in_dir(ENABLED_PLUGINS))
            .env("RABBITMQ_CONFIG_FILE", in_dir("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", in_dir("advanced.config"))
            .env("RABBITMQ_PID_FILE", in_dir("pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", self.erl_args);
        command
    }

    /// Its name among Erlang's nodes.
    pub(crate) fn name(&self) -> String {
        format!("n{}@localhost", self.ports.base)
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        let server = self.server.as_ref().expect("the node runs");
        kill(signal, &format!("-{}", server.id()));
    }

    /// Waits for the end of the server, which has been told to end.
    #[track_caller]
    fn reap(&mut self) {
        self.mender = None;
        let mut server = self.server.take().expect("the node runs");
        server.wait().expect("the server is our own child");
        // Its number may soon be another's.
        let _ = fs::remove_file(self.dir.join("server.group"));
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.ports.are_free() {
            assert!(Instant::now() < deadline, "the killed node still holds its ports");
            thread::sleep(POLL);
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("console-{}.log", self.boots))
    }

    pub(crate) fn api(&self) -> Api {
        Api { port: self.ports.management() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        for child in [Some(&mut self.janitor), self.server.as_mut(), self.epmd.as_mut()] {
            let _ = child.map(Child::wait);
        }
    }
}

/// Eight neighbouring ports, held against other test processes.
///
/// They lie below the range from which the kernel takes ports for outgoing connections. Within
/// it, a client that reconnects to a dead node can be given that node's port as its own, connect
/// to itself, and so keep the node from coming back.
#[derive(Debug)]
pub(crate) struct Ports {
    base: u16,
    /// A bound UDP port is the claim; the kernel gives it up with the process.
    _claim: UdpSocket,
}

impl Ports {
    const BLOCK: u16 = 8;
    /// Ends below 25672, the distribution port of a default node.
    const RANGE: std::ops::Range<u16> = 20_000..25_600;

    pub(crate) fn claim() -> Self {
        let blocks = u32::from((Self::RANGE.end - Self::RANGE.start) / Self::BLOCK);
        (0..blocks)
            .map(|step| u16::try_from((process::id() + step) % blocks).expect("fewer blocks than ports"))
            .map(|block| Self::RANGE.start + block * Self::BLOCK)
            .filter_map(|base| {
                Some(Self { base, _claim: UdpSocket::bind((Ipv4Addr::LOCALHOST, base)).ok()? })
            })
            .find(Self::are_free)
            .expect("seven hundred blocks of ports are not all taken")
    }

    fn are_free(&self) -> bool {
        let needed = [self.amqp(), self.management(), self.distribution(), self.tls()];
        needed.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
    }

    pub(crate) fn amqp(&self) -> u16 {
        self.base
    }

    fn management(&self) -> u16 {
        self.base + 1
    }

    fn distribution(&self) -> u16 {
        self.base + 2
    }

    fn epmd(&self) -> u16 {
        self.base + 3
    }

    fn tls(&self) -> u16 {
        self.base + 4
    }
}

/// The directory of RabbitMQ's own scripts.
///
/// Not the ones in `sbin` that Debian puts before them: those change user and directory.
fn find_scripts() -> Result<PathBuf, String> {
    let named = env::var_os("ES_BUS_TEST_RABBITMQ_HOME").map(PathBuf::from);
    let known = SCRIPTS.iter().map(PathBuf::from);
    let mut candidates: Vec<PathBuf> = named.map_or_else(|| known.collect(), |dir| vec![dir]);
    candidates.retain(|dir| dir.join("rabbitmq-server").is_file() && dir.to_str().is_some());
    candidates.into_iter().next().ok_or_else(|| MISSING.to_owned())
}

/// Who knows it may join a node, and tell it what to do.
fn new_cookie() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The file of RabbitMQ that says which plugins run.
const ENABLED_PLUGINS: &str = "enabled_plugins";
/// What has consistent-hash exchanges; there on every node that says nothing else.
const HASH_PLUGIN: &str = "rabbitmq_consistent_hash_exchange";

fn enabled(plugins: &[&str]) -> String {
    format!("[{}].\n", plugins.join(","))
}

fn write_files(dir: &Path, ports: &Ports, conf: &str, plugins: &[&str], cookie: &str) -> std::io::Result<()> {
    let mut private = DirBuilder::new();
    private.mode(0o700).create(dir)?;
    for name in ["home", "mnesia", "log"] {
        private.create(dir.join(name))?;
    }
    // Erlang takes a cookie that is its owner's alone; the directory is private already.
    let file = dir.join("home/.erlang.cookie");
    fs::write(&file, cookie)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o400))?;
    fs::write(
        dir.join(ENABLED_PLUGINS),
        enabled(&[&["rabbitmq_management", HASH_PLUGIN], plugins].concat()),
    )?;
    let interval = COUNTS_INTERVAL.as_millis().to_string();
    fs::write(dir.join("advanced.config"), ADVANCED_CONFIG.replace("COUNTS_INTERVAL", &interval))?;
    let mut file = fs::File::create(dir.join("rabbitmq.conf"))?;
    writeln!(file, "listeners.tcp.1 = 127.0.0.1:{}", ports.amqp())?;
    writeln!(file, "management.tcp.ip = 127.0.0.1")?;
    writeln!(file, "management.tcp.port = {}", ports.management())?;
    writeln!(file, "{RABBITMQ_CONF}{}", conf.replace("TLS_PORT", &ports.tls().to_string()))
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child, String> {
    let log = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let also = log.try_clone().map_err(|error| error.to_string())?;
    command
        .process_group(0)
        .stdout(log)
        .stderr(also)
        .spawn()
        .map_err(|error| format!("`sh` does not run: {error}"))
}

/// Sends a signal to a process, or to a group when `target` begins with a minus.
#[track_caller]
fn kill(signal: &str, target: &str) {
    let sent = Command::new("sh").args(["-c", r#"kill -s "$1" -- "$2""#, "kill", signal, target]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal} {target} failed");
}

/// Whether every thread of every process of a group is stopped. Where `/proc` does not tell, it is.
fn is_frozen(group: u32) -> bool {
    let directories = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir())
    };
    directories(Path::new("/proc"))
        .filter(|process| fields(&process.join("stat")).is_some_and(|(_, of)| of == group.to_string()))
        .flat_map(|process| directories(&process.join("task")))
        .filter_map(|thread| fields(&thread.join("stat")))
        .all(|(state, _)| matches!(&*state, "T" | "t" | "Z" | "X"))
}

/// The state and the process group that a `stat` of `/proc` tells.
fn fields(stat: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(stat).ok()?;
    // The name before them may have spaces and parentheses.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
}

/// Waits for the end of the test process, then removes all that belongs to the node.
///
/// The directory is moved first: a member that starts at that moment no longer finds it, and ends.
const JANITOR: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
mv "$1" "$1.gone" || exit 1
for group in "$1.gone"/*.group; do
    if [ -f "$group" ]; then kill -s KILL -- "-$(cat "$group")"; fi
done
# A process that is being killed may still write, and the server makes its directory again when
# it misses it.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$1.gone" "$1" && exit 0
    sleep 0.2
done
"#;

/// Tells the janitor its group, then becomes the given command.
///
/// Each quorum queue reserves three files: at the usual limit of 1024, about 300 queues fill a
/// node, and new connections hang in the handshake without a line in the log.
const MEMBER: &str = r#"
set -e
echo $$ > "$0.group"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec "$@"
"#;

const RABBITMQ_CONF: &str = "\
loopback_users = none
log.console = true
log.file = false
";

/// Ticks that a test waits for, otherwise 60, 180 and 5 s: a channel's (its consumer timeout), a
/// dead-lettering that the target queue refuses, a quorum queue's (its counts).
const ADVANCED_CONFIG: &str = "\
[{rabbit, [{channel_tick_interval, 1000},
           {dead_letter_worker_publisher_confirm_timeout, 2000},
           {quorum_tick_interval, COUNTS_INTERVAL},
           {collect_statistics_interval, COUNTS_INTERVAL}]}].
";

/// One scheduler that never spins: several nodes share a small machine with their tests.
const ERL_ARGS: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none";

/// As many schedulers as there are cores, which is Erlang's default.
const FULL_SPEED_ERL_ARGS: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

/// Where packages put the scripts: Debian and Ubuntu, the official image, Homebrew on both kinds of Mac.
const SCRIPTS: [&str; 4] = [
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
];

const MISSING: &str = "\
RabbitMQ is not installed, and no test is skipped for that. Type:

    tests/run

which installs it on Debian and Ubuntu, or set ES_BUS_TEST_RABBITMQ_HOME to the directory of the
script `rabbitmq-server`.";

const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
