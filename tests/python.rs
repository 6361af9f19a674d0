//! Python with eventsource-py, for tests beside real workers of it.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The interpreter of the environment that `tests/run` made.
///
/// # Panics
///
/// When there is none, with the line to type: nothing is skipped for that.
#[track_caller]
pub fn python() -> PathBuf {
    match env::var_os("ES_BUS_TEST_PYTHON").map(PathBuf::from) {
        Some(python) if python.is_file() => python,
        Some(python) => panic!("ES_BUS_TEST_PYTHON names {}, and there is no such file", python.display()),
        None => panic!("{MISSING}"),
    }
}

/// A script of `tests/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

const MISSING: &str = "\
There is no Python with eventsource-py, and no test is skipped for that. Type:

    tests/run

which makes one, in ~/.cache/es-bus-tests, or set ES_BUS_TEST_PYTHON to an interpreter that has what
tests/python/requirements.txt lists.";
