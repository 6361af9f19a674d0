//! Signals: the first asks the bus to stop, the second ends the process.

use std::io;

/// Waits for SIGTERM or SIGINT, and says which it was. On other systems than Unix: for Ctrl-C.
///
/// # Errors
///
/// What the system refuses when the signal is to be listened for.
pub(crate) async fn signal() -> io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        })
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await?;
        Ok("Ctrl-C")
    }
}

/// Ends the process as an interrupted one ends: with exit code 130.
///
/// Returning from `main` would wait for handlers that block their thread.
pub(crate) fn exit_now() -> ! {
    std::process::exit(130)
}
