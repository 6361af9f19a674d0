//! Signals: the first asks the bus to stop, the second ends the process.
//!
//! They are waited for on a thread of their own: handlers that block every thread of the program's
//! runtime would keep it from ever noticing a signal, and once `main` has returned, nobody but that
//! thread is left to notice one while the runtime waits for such handlers.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

/// Within which another signal is the same one: `timeout` and shells signal a program and its process group, so
/// that it comes twice.
const ECHO: Duration = Duration::from_millis(100);

/// The signals that end a program, listened for from now on, by a thread that lives as long as the
/// process does.
///
/// Dropped, it takes the next signal for the second one: the bus is through.
pub(crate) struct Signals {
    first: watch::Receiver<Option<&'static str>>,
    is_next_last: Arc<AtomicBool>,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// What the system refuses: the thread, or the signals.
    pub(crate) async fn listen() -> io::Result<Self> {
        let (told, first) = watch::channel(None);
        let (ready, is_ready) = oneshot::channel();
        let is_next_last = Arc::new(AtomicBool::new(false));
        let last = Arc::clone(&is_next_last);
        thread::Builder::new().name("es-bus-signals".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(watch_signals(ready, &told, &last)),
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        is_ready.await.map_err(|_ended| io::Error::other("the thread that listens ended"))??;
        Ok(Self { first, is_next_last })
    }

    /// Waits for the first signal, and says which it was.
    ///
    /// # Cancel safety
    ///
    /// A dropped call loses no signal.
    pub(crate) async fn first(&mut self) -> &'static str {
        match self.first.wait_for(Option::is_some).await {
            Ok(signal) => signal.unwrap_or("unknown"),
            // The thread listens for ever.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_next_last.store(true, Ordering::Release);
    }
}

/// The last signal that was no echo of one before. Pure.
#[derive(Default)]
struct Heard(Option<Instant>);

impl Heard {
    fn is_new(&mut self, now: Instant) -> bool {
        let is_echo = self.0.is_some_and(|last| now.duration_since(last) < ECHO);
        if !is_echo {
            self.0 = Some(now);
        }
        !is_echo
    }
}

/// Tells of the first signal, and ends the process at the second.
async fn watch_signals(
    ready: oneshot::Sender<io::Result<()>>,
    told: &watch::Sender<Option<&'static str>>,
    is_next_last: &AtomicBool,
) {
    let mut stream = match Stream::new() {
        Ok(stream) => stream,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let mut heard = Heard::default();
    loop {
        let signal = stream.next().await;
        if !heard.is_new(Instant::now()) {
            continue;
        }
        if is_next_last.swap(true, Ordering::AcqRel) {
            tracing::warn!(signal, "second signal: ending now; what is in hand goes back to the queues");
            exit_now();
        }
        told.send_replace(Some(signal));
    }
}

/// SIGTERM and SIGINT.
#[cfg(unix)]
struct Stream {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stream {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Ctrl-C, where there are no signals.
#[cfg(windows)]
struct Stream(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Stream {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "Ctrl-C"
    }
}

/// Ends the process as an interrupted one ends: with exit code 130.
///
/// Returning from `main` would wait for handlers that block their thread.
fn exit_now() -> ! {
    std::process::exit(130)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one() {
        let start = Instant::now();
        let mut heard = Heard::default();

        let new = [0, 20, 90, 110, 150, 300].map(|ms| heard.is_new(start + Duration::from_millis(ms)));

        assert_eq!(new, [true, false, false, true, false, true]);
    }
}
