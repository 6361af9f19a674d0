//! A readable log on standard error, for programs that have not chosen one.

use std::{
    error::Error as _,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// Installs a subscriber that writes to standard error, unless the program has set one.
///
/// `RUST_LOG` filters; without it, `info` and above are shown, and nothing of lapin: what it reports is
/// reported by the transport, in the words of this program.
pub(crate) fn install() {
    install_with(DEFAULT, io::stderr().is_terminal());
}

/// The same, with another filter than the usual one where `RUST_LOG` says nothing, with colours or without.
pub(crate) fn install_with(default: &str, colours: bool) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let (filter, mistake) = match EnvFilter::try_from_default_env() {
        Ok(filter) => (filter, None),
        // Not set, or not understood.
        Err(error) => {
            let is_mistake = error.source().is_some_and(|source| source.is::<ParseError>());
            (EnvFilter::new(default), is_mistake.then_some(error))
        }
    };
    // A subscriber that another thread has set meanwhile is as good.
    let _ = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .try_init();
    if let Some(mistake) = mistake {
        tracing::warn!(
            "RUST_LOG is not understood and ignored ({mistake}); write `info`, or `info,es_bus=debug`"
        );
    }
}

/// What is shown unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info,lapin=off";
