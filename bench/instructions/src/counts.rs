//! The counts that are committed, and how new ones stand beside them.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

/// What a case may take more than last time, in percent: hash maps have random seeds.
const TOLERANCE: u64 = 5;

/// Instructions for one run of each case.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// What they were counted with; another compiler or libc makes other code.
    pub(crate) toolchain: String,
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn read() -> Result<Self, String> {
        let path = path();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let path = path();
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())? + "\n";
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json"))
}

/// The compiler, the machine and the libc.
pub(crate) fn toolchain() -> Result<String, String> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| rustc.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim();
    let libc = output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_default();
    Ok(format!("rustc {} {} {}", field("release:"), field("host:"), libc.trim()))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How a case stands.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// As before, or a little more or less.
    Same {
        before: u64,
        after: u64,
    },
    /// Worth a `--bless`.
    Better {
        before: u64,
        after: u64,
    },
    Worse {
        before: u64,
        after: u64,
    },
    /// Not in the file.
    New {
        after: u64,
    },
    /// Only in the file.
    Gone,
}

impl Verdict {
    fn of(before: Option<u64>, after: Option<u64>) -> Self {
        match (before, after) {
            (None, after) => Self::New { after: after.unwrap_or_default() },
            (_, None) => Self::Gone,
            (Some(before), Some(after)) if after * 100 > before * (100 + TOLERANCE) => {
                Self::Worse { before, after }
            }
            (Some(before), Some(after)) if after * 100 < before * (100 - TOLERANCE) => {
                Self::Better { before, after }
            }
            (Some(before), Some(after)) => Self::Same { before, after },
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Worse { .. } | Self::New { .. } | Self::Gone)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { before, after } => write!(f, "{before:>9} -> {after:>9}"),
            Self::Better { before, after } => {
                write!(
                    f,
                    "{before:>9} -> {after:>9}  better by more than {TOLERANCE} %: bless it, so that it stays"
                )
            }
            Self::Worse { before, after } => {
                let percent = (after - before) * 100 / before.max(&1);
                write!(f, "{before:>9} -> {after:>9}  WORSE by {percent} %")
            }
            Self::New { after } => write!(f, "        - -> {after:>9}  NOT IN THE FILE: bless it"),
            Self::Gone => write!(f, "no longer counted: BLESS, which takes it out of the file"),
        }
    }
}

/// Every case of either, by name.
pub(crate) fn compare(before: &Counts, after: &Counts) -> BTreeMap<String, Verdict> {
    let names = before.counts.keys().chain(after.counts.keys());
    let of = |counts: &Counts, name: &String| counts.counts.get(name).copied();
    names.map(|name| (name.clone(), Verdict::of(of(before, name), of(after, name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { toolchain: String::new(), counts }
    }

    #[test]
    fn more_than_five_percent_more_fails_and_so_does_a_case_that_only_one_has() {
        let before = counts(&[("decode", 1000), ("encode", 1000), ("gone", 1), ("id", 1000)]);
        let after = counts(&[("decode", 1050), ("encode", 1051), ("id", 900), ("new", 1)]);

        let failures: Vec<_> = compare(&before, &after)
            .into_iter()
            .filter(|(_, verdict)| verdict.is_failure())
            .map(|(name, _)| name)
            .collect();

        assert_eq!(failures, ["encode", "gone", "new"]);
    }
}
