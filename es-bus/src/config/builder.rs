//! Gathers what was said in code, in the file and in the environment into a [`Config`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    path::PathBuf,
};

use super::{
    Config,
    error::Error,
    field::Text,
    loader::Loader,
    source::{Scope, Source},
};

/// What an attribute says: keys with their values, and where it stands.
///
/// # Examples
/// ```
/// use es_bus::config::Attributes;
///
/// let group = Attributes::at(file!(), line!()).with("prefetch", 5).with("timeout", "30s");
/// ```
#[derive(Clone, Debug)]
pub struct Attributes {
    file: &'static str,
    line: u32,
    values: Vec<(&'static str, String)>,
}

impl Attributes {
    /// An attribute that says nothing yet, at `file!()` and `line!()`.
    #[must_use]
    pub fn at(file: &'static str, line: u32) -> Self {
        Self { file, line, values: Vec::new() }
    }

    /// Says a value, in the text form of the setting.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Text>) -> Self {
        self.values.push((key, value.into().0));
        self
    }

    /// Says everything that a definition says.
    #[must_use]
    pub fn with_all(mut self, settings: &[(&'static str, &str)]) -> Self {
        self.values.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        self
    }
}

/// Gathers settings; [`load`](Self::load) tells which count.
///
/// A new one knows nothing but the built-in defaults: it reads neither a file nor the environment
/// until it is told to.
#[derive(Default)]
pub struct ConfigBuilder {
    groups: BTreeSet<String>,
    handlers: BTreeSet<(String, String)>,
    said: Vec<Said>,
    file: FileChoice,
    /// The file that the command line names.
    named_file: Option<PathBuf>,
    env_file: EnvFile,
    environment: BTreeMap<OsString, OsString>,
    tls_given: bool,
    consumer_name: Option<String>,
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was said, and the environment, may be secrets.
        f.debug_struct("ConfigBuilder")
            .field("groups", &self.groups)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

/// A setting from code, not yet checked. No `Debug`: it may be a secret.
pub(super) struct Said {
    pub(super) scope: Scope,
    pub(super) key: String,
    pub(super) text: String,
    pub(super) source: Source,
}

/// The file to read when the environment names none.
#[derive(Default)]
pub(super) enum FileChoice {
    #[default]
    None,
    /// Read if it is there.
    Optional(PathBuf),
    Required(PathBuf),
    Text {
        path: PathBuf,
        text: String,
    },
}

/// The file of variables.
#[derive(Default)]
pub(super) enum EnvFile {
    #[default]
    None,
    /// Read if it is there.
    Optional(PathBuf),
    Text {
        path: PathBuf,
        text: String,
    },
}

impl ConfigBuilder {
    /// Knows the built-in defaults only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the environment of the process, and `es-bus.toml` and `.env` in the working directory if
    /// they are there.
    #[must_use]
    pub fn from_process() -> Self {
        let builder = Self { file: FileChoice::Optional(DEFAULT_FILE.into()), ..Self::default() };
        builder.env_file(DEFAULT_ENV_FILE).env(std::env::vars_os())
    }

    /// Reads this file of `NAME=value` lines if it is there, as if its lines were variables; those of
    /// the environment beat them. Only names that es-bus knows count.
    #[must_use]
    pub fn env_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.env_file = EnvFile::Optional(path.into());
        self
    }

    /// Takes this text as the file of variables of that name.
    #[must_use]
    pub fn env_file_text(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.env_file = EnvFile::Text { path: path.into(), text: text.into() };
        self
    }

    /// Leaves TLS to a configuration that the program gives: no file is read for it.
    #[must_use]
    pub fn tls_given(mut self) -> Self {
        self.tls_given = true;
        self
    }

    /// Adds variables to the environment; the last of one name counts.
    #[must_use]
    pub fn env<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Reads this file, which has to be there, unless `ES_BUS_CONFIG` names another one.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = FileChoice::Required(path.into());
        self
    }

    /// Reads this file, which has to be there, whatever else names one: what the command line says.
    #[must_use]
    pub fn file_from_command_line(mut self, path: impl Into<PathBuf>) -> Self {
        self.named_file = Some(path.into());
        self
    }

    /// Takes this text as the file of that name, unless `ES_BUS_CONFIG` names another one.
    #[must_use]
    pub fn file_text(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.file = FileChoice::Text { path: path.into(), text: text.into() };
        self
    }

    /// Declares a group, with what its attribute says.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, attributes: Attributes) -> Self {
        let name = name.into();
        self.groups.insert(name.clone());
        self.attributes(&Scope::Group(name), attributes);
        self
    }

    /// Declares a handler of a group, with what its attribute says; declares the group too.
    #[must_use]
    pub fn handler(
        mut self,
        group: impl Into<String>,
        name: impl Into<String>,
        attributes: Attributes,
    ) -> Self {
        let (group, handler) = (group.into(), name.into());
        self.groups.insert(group.clone());
        self.handlers.insert((group.clone(), handler.clone()));
        self.attributes(&Scope::Handler { group, handler }, attributes);
        self
    }

    /// Says something about the bus where an attribute would say it, if the bus had one.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn bus(mut self, attributes: Attributes) -> Self {
        self.attributes(&Scope::Bus, attributes);
        self
    }

    /// Sets a default of the program: it beats attributes, and yields to file and environment.
    #[must_use]
    pub fn set_default(self, scope: Scope, key: &str, value: impl Into<Text>) -> Self {
        self.say(scope, key, value.into().0, Source::Builder)
    }

    /// Sets a value from the command line: it beats file and environment.
    #[must_use]
    pub fn set_from_command_line(self, scope: Scope, key: &str, value: impl Into<Text>) -> Self {
        self.say(scope, key, value.into().0, Source::CommandLine)
    }

    /// Sets a value that beats everything, what is more specific too.
    #[must_use]
    pub fn force(self, scope: Scope, key: &str, value: impl Into<Text>) -> Self {
        self.say(scope, key, value.into().0, Source::Forced)
    }

    /// Replaces the name of this process that is made of its host's name and eight random digits.
    #[cfg(test)]
    pub(super) fn consumer_name(mut self, name: &str) -> Self {
        self.consumer_name = Some(name.to_owned());
        self
    }

    /// Reads everything and tells which values count.
    ///
    /// # Errors
    ///
    /// All mistakes at once: files that cannot be read, unknown keys in code or in the file, values
    /// that do not parse or are out of bounds, values that contradict each other. A value is
    /// checked also where another one counts. Unknown variables are no error, but
    /// [warnings](Config::warnings).
    pub fn load(self) -> Result<Config, Error> {
        let mut loader = Loader::new(self.groups);
        loader.consumer_name(self.consumer_name, &self.environment);
        for said in self.said {
            loader.said(said);
        }
        let from_file = loader.env_file(self.env_file);
        let named_there = from_file.as_ref().and_then(|(path, variables)| {
            loader.environment(variables, |variable| Source::EnvFile { path: path.clone(), variable })
        });
        let named = loader.environment(&self.environment, |variable| Source::Environment { variable });
        loader.file(self.named_file.or(named).or(named_there).map_or(self.file, FileChoice::Required));
        loader.finish(&self.handlers, self.tls_given)
    }

    fn attributes(&mut self, scope: &Scope, attributes: Attributes) {
        let source = Source::Attribute { file: attributes.file, line: attributes.line };
        self.said.extend(attributes.values.into_iter().map(|(key, text)| Said {
            scope: scope.clone(),
            key: key.to_owned(),
            text,
            source: source.clone(),
        }));
    }

    fn say(mut self, scope: Scope, key: &str, text: String, source: Source) -> Self {
        self.said.push(Said { scope, key: key.to_owned(), text, source });
        self
    }
}

/// What the environment says of the manifest: the variable, and the file that it names. An empty one names none.
#[cfg(feature = "cli")]
pub(crate) fn named_manifest() -> Option<(&'static str, PathBuf)> {
    let file = std::env::var_os(super::environment::MANIFEST_VARIABLE).filter(|file| !file.is_empty());
    Some((super::environment::MANIFEST_VARIABLE, file?.into()))
}

/// Read from the working directory when it is there.
const DEFAULT_FILE: &str = "es-bus.toml";
/// As [`DEFAULT_FILE`].
const DEFAULT_ENV_FILE: &str = ".env";
