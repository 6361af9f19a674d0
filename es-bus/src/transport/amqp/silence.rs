//! Keeps lapin's own log from telling secrets: at its trace level it writes out every frame, the login
//! with its password too.

use std::cell::RefCell;

use tracing::{
    Dispatch,
    dispatcher::{self, DefaultGuard},
};

thread_local! {
    static SILENT: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Logs nothing more from the current thread, one that lapin has made for a connection.
///
/// What is worth knowing of a connection is told by its supervisor, from another thread.
pub(super) fn this_thread() {
    SILENT.with_borrow_mut(|guard| {
        guard.get_or_insert_with(|| dispatcher::set_default(&Dispatch::none()));
    });
}
