//! How a command ends.

use std::process::ExitCode;

use crate::topology::plan::Outcome;

/// What a command came to, as the code that the process ends with.
///
/// 2 and 3 belong to commands that compare what is wanted with what is there: changes are pending, and a conflict.
/// clap's own 2, for a command line that is wrong, would be taken for the former; so that is 64, `EX_USAGE` of
/// sysexits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Done,
    /// It failed, or a check found something.
    Failed,
    /// Something is to be changed.
    Pending,
    /// Something is in the way.
    Conflict,
    /// The command line is wrong.
    Usage,
    /// Ctrl-C or SIGTERM came first.
    Interrupted,
}

impl Exit {
    /// The code of the process.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Pending => Outcome::Changes.exit_code(),
            Self::Conflict => Outcome::Conflict.exit_code(),
            Self::Usage => 64,
            Self::Interrupted => 130,
        }
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Nothing => Self::Done,
            Outcome::Changes => Self::Pending,
            Outcome::Conflict => Self::Conflict,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
