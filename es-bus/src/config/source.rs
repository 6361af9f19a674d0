//! Where a value comes from, and which of two values counts.

use std::{fmt, ops::Deref, path::PathBuf};

/// Where a value was said. Later variants win over earlier ones, at the same [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// es-bus's own default.
    BuiltIn,
    /// A `#[group(..)]` or `#[handler(..)]` attribute.
    Attribute {
        /// The source file, as `file!()` gives it.
        file: &'static str,
        /// The line of the attribute.
        line: u32,
    },
    /// A default that the program set on its builder.
    Builder,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
    },
    /// A line of the file `.env`.
    EnvFile {
        /// The file as it was named.
        path: PathBuf,
        /// The variable that it sets.
        variable: String,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An argument of the command line.
    CommandLine,
    /// A `force_…` call of the builder.
    Forced,
}

impl Source {
    /// The height of the layer: built-in lowest, forced highest.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::BuiltIn => 0,
            Self::Attribute { .. } => 1,
            Self::Builder => 2,
            Self::File { .. } => 3,
            Self::EnvFile { .. } => 4,
            Self::Environment { .. } => 5,
            Self::CommandLine => 6,
            Self::Forced => 7,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::Attribute { file, line } => write!(f, "{file}:{line}"),
            Self::Builder => f.write_str("builder"),
            Self::File { path } => write!(f, "{}", path.display()),
            Self::EnvFile { path, variable } => write!(f, "{}: {variable}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::CommandLine => f.write_str("command line"),
            Self::Forced => f.write_str("forced by the builder"),
        }
    }
}

/// A value and where it was said. Dereferences to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting<T> {
    /// What counts.
    pub value: T,
    /// Where it was said.
    pub source: Source,
}

impl<T> Setting<T> {
    pub(super) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    /// Whether nobody but es-bus said it.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.source == Source::BuiltIn
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What a value is said about, from the general to the specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The bus, and every group and handler that says nothing of its own.
    Bus,
    /// One group, and every handler of it that says nothing of its own.
    Group(String),
    /// One handler.
    Handler {
        /// The group it belongs to.
        group: String,
        /// Its name.
        handler: String,
    },
}

impl Scope {
    /// The scope of a group.
    #[must_use]
    pub fn group(name: impl Into<String>) -> Self {
        Self::Group(name.into())
    }

    /// The scope of a handler.
    #[must_use]
    pub fn handler(group: impl Into<String>, handler: impl Into<String>) -> Self {
        Self::Handler { group: group.into(), handler: handler.into() }
    }

    /// Whether what is said about `self` holds for `other`.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bus, _) => true,
            (Self::Group(own), Self::Group(group) | Self::Handler { group, .. }) => own == group,
            (Self::Handler { .. }, Self::Handler { .. }) => self == other,
            (Self::Group(_) | Self::Handler { .. }, _) => false,
        }
    }

    pub(super) fn level(&self) -> Level {
        match self {
            Self::Bus => Level::Bus,
            Self::Group(_) => Level::Group,
            Self::Handler { .. } => Level::Handler,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus => f.write_str("the bus"),
            Self::Group(group) => write!(f, "group \"{group}\""),
            Self::Handler { group, handler } => {
                write!(f, "handler \"{handler}\" of group \"{group}\"")
            }
        }
    }
}

/// The most specific thing that a setting can be said about; anything more general can say it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The bus alone.
    Bus,
    /// A group, or all of them.
    Group,
    /// A handler, all of a group, or all of them.
    Handler,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "the bus",
            Self::Group => "a group",
            Self::Handler => "a handler",
        })
    }
}
