//! The processes of a run, which are this program again: started, signalled, killed and watched.

use std::{
    env, fs, io,
    path::PathBuf,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use es_bus::duration;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Publisher,
}

impl Role {
    /// What the process is told that it is.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Publisher => "publisher",
        }
    }
}

/// What all processes of a run share.
pub(crate) struct Setting {
    /// Where the ledger is, and what the processes say.
    pub(crate) dir: PathBuf,
    /// The broker, as they see it.
    pub(crate) url: String,
    pub(crate) seed: u64,
    pub(crate) kinds: Vec<String>,
    pub(crate) rate: u32,
}

/// One place in the cast, with the process that has it at the moment.
pub(crate) struct Member {
    role: Role,
    number: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    starts: u32,
    /// The most memory that a process in this place had, in bytes.
    peak: u64,
    /// What went wrong that nobody had done to it.
    mishaps: Vec<String>,
}

/// For how long a publish is waited for.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process may take to end when it is told to: its own `shutdown_timeout`, and what it takes
/// to close connections on which nothing goes.
const TERM_PATIENCE: Duration = Duration::from_secs(30);

impl Member {
    pub(crate) fn new(role: Role, number: usize) -> Self {
        Self { role, number, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        format!("{} {}", self.role.word(), self.number)
    }

    fn stderr(&self, setting: &Setting) -> PathBuf {
        setting.dir.join(format!("{}-{}.log", self.role.word(), self.number))
    }

    /// Starts a process in this place.
    pub(crate) fn start(&self, setting: &Setting) {
        let mut state = self.lock();
        state.starts += 1;
        let name = format!("{}-{}-{}", setting.seed, self.number, state.starts);
        let log = fs::OpenOptions::new().append(true).create(true).open(self.stderr(setting));
        let mut command = Command::new(env::current_exe().expect("this program runs"));
        for (variable, _) in env::vars_os() {
            if ["ES_BUS_", "RABBITMQ_"].iter().any(|it| variable.to_string_lossy().starts_with(it)) {
                command.env_remove(variable);
            }
        }
        let child = command
            .arg(self.role.word())
            .current_dir(&setting.dir)
            .env("SOAK_LEDGER", setting.dir.join("ledger"))
            .env("SOAK_NAME", name)
            .env("SOAK_RATE", setting.rate.to_string())
            .env("RUST_LOG", env::var("SOAK_LOG").unwrap_or_else(|_| "warn".to_owned()))
            // Handlers panic on purpose, and a backtrace takes more memory than all else.
            .env("RUST_BACKTRACE", "0")
            .env("ES_BUS_URL", &setting.url)
            .env("ES_BUS_EXCHANGE", "soak")
            .env("ES_BUS_GROUPS", setting.kinds.join(","))
            // Processes are killed here for no event's fault.
            .env("ES_BUS_CRASH_LIMIT", "100")
            .env("ES_BUS_RECONNECT_MIN", "50ms")
            .env("ES_BUS_RECONNECT_MAX", "1s")
            .env("ES_BUS_HEARTBEAT", "2s")
            .env("ES_BUS_CONNECT_TIMEOUT", "5s")
            .env("ES_BUS_PUBLISH_TIMEOUT", duration::print(PUBLISH_TIMEOUT))
            .env("ES_BUS_SHUTDOWN_TIMEOUT", "5s")
            // Closed when this program ends, however it does: see `end_with_parent`.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.expect("the log opens"))
            .spawn();
        state.child = Some(child.expect("this program starts once more"));
    }

    /// Kills the process with `SIGKILL`, and starts another.
    pub(crate) fn kill(&self, setting: &Setting) {
        if let Some(mut child) = self.lock().child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
        self.start(setting);
    }

    /// Has the process do nothing for so long.
    pub(crate) fn freeze(&self, lasts: Duration) {
        let Some(id) = self.lock().child.as_ref().map(Child::id) else { return };
        // A process of its own does both, so that it goes on even when this one is killed meanwhile.
        let thawed = Command::new("sh")
            .args(["-c", r#"kill -s STOP "$1" && sleep "$2"; kill -s CONT "$1""#, "freeze"])
            .args([id.to_string(), format!("{:.3}", lasts.as_secs_f64())])
            .stderr(Stdio::null())
            .status();
        // One that has ended by itself is not frozen; `look_after` tells of it.
        drop(thawed);
    }

    /// Tells the process to end, and waits until it has. One that does not, or that ends with a failure,
    /// is a mishap.
    pub(crate) fn end(&self, setting: &Setting) {
        let Some(mut child) = self.lock().child.take() else { return };
        let told =
            Command::new("sh").args(["-c", r#"kill -s TERM "$1""#, "end", &child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "{} cannot be told to end", self.name());
        let deadline = Instant::now() + TERM_PATIENCE;
        let ended = loop {
            match child.try_wait().expect("our own child") {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => thread::sleep(POLL),
            }
        };
        if ended.is_none() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
        if ended.is_none_or(|status| !status.success()) {
            self.mishap(setting, ended, "after SIGTERM");
        }
    }

    /// Measures the process; one that has ended by itself is a mishap, and is started again.
    pub(crate) fn look_after(&self, setting: &Setting) {
        let ended = {
            let mut state = self.lock();
            let Some(child) = &mut state.child else { return };
            let (ended, id) = (child.try_wait().expect("our own child"), child.id());
            if ended.is_none() {
                state.peak = state.peak.max(peak_memory(id));
                return;
            }
            state.child = None;
            ended
        };
        self.mishap(setting, ended, "by itself");
        self.start(setting);
    }

    fn mishap(&self, setting: &Setting, ended: Option<ExitStatus>, when: &str) {
        let log = fs::read(self.stderr(setting)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let how = ended.map_or_else(|| "did not end".to_owned(), |status| format!("ended with {status}"));
        let tail = lines[lines.len().saturating_sub(10)..].join("\n    ");
        self.lock().mishaps.push(format!("{} {how} {when}; it had said:\n    {tail}", self.name()));
    }

    pub(crate) fn mishaps(&self) -> Vec<String> {
        self.lock().mishaps.clone()
    }

    pub(crate) fn starts(&self) -> u32 {
        self.lock().starts
    }

    /// The most memory that a process in this place had, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.lock().peak
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ends this process when the one that started it has ended.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(3);
    });
}

/// The most memory that a process had so far, in bytes: `VmHWM`. Zero where the system does not tell.
fn peak_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

const POLL: Duration = Duration::from_millis(20);
