//! Runs the cases under callgrind, and reads what it wrote.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    UNDER_VALGRIND,
    cases::{self, RUNS},
    counts::{Counts, toolchain},
};

/// Counts these cases, or all.
pub(crate) fn count(names: &[&str]) -> Result<Counts, String> {
    let names = cases::named(names)?;
    let dir = scratch()?;
    let counts = run(&names, &dir).and_then(|()| {
        names
            .iter()
            .enumerate()
            .map(|(index, name)| Ok(((*name).to_owned(), total(&dir, index + 1)? / RUNS)))
            .collect::<Result<BTreeMap<_, _>, String>>()
    });
    let _ = fs::remove_dir_all(&dir);
    Ok(Counts { toolchain: toolchain()?, counts: counts? })
}

fn scratch() -> Result<PathBuf, String> {
    let dir = std::env::temp_dir().join(format!("es-bus-instructions-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

fn run(names: &[&str], dir: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*cases::measured", "--dump-after=*cases::measured"])
        .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
        .arg(program)
        .arg(UNDER_VALGRIND)
        .args(names)
        .output()
        .map_err(|error| format!("valgrind cannot be run: {error}; it is in the package `valgrind`"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// The instructions of the dump of this number.
fn total(dir: &Path, number: usize) -> Result<u64, String> {
    let path = dir.join(format!("out.{number}"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:"));
    totals
        .and_then(|totals| totals.trim().parse().ok())
        .ok_or_else(|| format!("{} has no totals", path.display()))
}
