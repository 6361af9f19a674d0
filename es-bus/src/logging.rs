//! A readable log on standard error, for programs that have not chosen one.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

/// Installs a subscriber that writes to standard error, unless the program has set one.
///
/// `RUST_LOG` filters; without it, `info` and above are shown, and nothing of lapin: what it reports is
/// reported by the transport, in the words of this program.
pub(crate) fn install() {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    // A subscriber that another thread has set meanwhile is as good.
    let _ = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
