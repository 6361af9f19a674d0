//! What a program writes down that may be killed at any moment.

use std::{fs::OpenOptions, io::Write as _, path::Path};

/// Adds a line to a file, in one write: a kill leaves it whole or out.
///
/// # Panics
///
/// When the file cannot be written.
pub fn note(file: &Path, line: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the file opens");
    file.write_all(format!("{line}\n").as_bytes()).expect("the file takes a line");
}
