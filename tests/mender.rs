//! Keeps dead-lettering at least once alive on a node that runs.
//!
//! One supervisor on a node has all workers of quorum queues that dead-letter at least once. It gives up
//! for good when a hundred of them fail within a second, as the one of a queue does that is deleted in the
//! moment in which it starts (the end of a test does that), or those of a node that boots, while its queues
//! elect their leaders. From then on every such queue that elects a leader crashes, and takes nothing
//! (`RabbitMQ` issue 16652: 3.10 to 4.2 at least). No client can cure that, so a thread watches the log.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// What the log has when the supervisor gives up.
const FAILED: &str = "{id,rabbit_fifo_dlx_worker},";
/// Starts the supervisor, and the queues that went down with it.
const MEND: &str = "
    case whereis(rabbit_fifo_dlx_sup) of
        undefined -> supervisor:restart_child(rabbit_sup, rabbit_fifo_dlx_sup);
        _ -> ok
    end,
    [ra:restart_server(quorum_queues, {element(1, amqqueue:get_pid(Q)), node()})
     || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue,
        whereis(element(1, amqqueue:get_pid(Q))) =:= undefined].
";

/// Watches one run of a node, from its boot to its end; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Mender {
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    is_over: AtomicBool,
    mends: Arc<AtomicU32>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    log: PathBuf,
    /// How much of the log was looked at.
    bytes: u64,
    command: Command,
}

impl Mender {
    /// Watches the node that writes this log, which this `rabbitmqctl` reaches; counts there how often there
    /// was something to mend.
    pub(crate) fn watch(log: PathBuf, mut rabbitmqctl: Command, mends: Arc<AtomicU32>) -> Self {
        rabbitmqctl.args(["-q", "--timeout", "10", "eval", MEND]);
        let seen = Mutex::new(Seen { log, bytes: 0, command: rabbitmqctl });
        let watch = Arc::new(Watch { is_over: AtomicBool::new(false), mends, seen });
        thread::spawn({
            let watch = Arc::clone(&watch);
            move || {
                while !watch.is_over.load(Ordering::Relaxed) {
                    thread::sleep(EVERY);
                    watch.look();
                }
            }
        });
        Self { watch }
    }

    /// Mends now what there is to mend.
    pub(crate) fn look(&self) {
        self.watch.look();
    }
}

impl Drop for Mender {
    fn drop(&mut self) {
        self.watch.is_over.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(lines) = seen.new_lines() else { return };
        let whole = lines.len() as u64;
        if !lines.contains(FAILED) || self.is_over.load(Ordering::Relaxed) {
            seen.bytes += whole;
            return;
        }
        // A node that does not answer, or is being killed, is asked again.
        let did = seen.command.output();
        if did.is_ok_and(|did| did.status.success()) {
            seen.bytes += whole;
            self.mends.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Seen {
    /// The lines that came since, without one that is still written.
    fn new_lines(&self) -> io::Result<String> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.bytes))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(end);
        // Its length is counted in bytes: nothing may be replaced.
        Ok(bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect())
    }
}
