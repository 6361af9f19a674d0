//! The work of loading: checks each thing said, layers it, gathers what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Config, GroupConfig,
    builder::{EnvFile, FileChoice, Said},
    combinations, env_file,
    environment::{FILE_VARIABLE, Known, Variable, classify, folded},
    error::{Error, Finding, did_you_mean, group_remedy},
    field::GroupSelection,
    file,
    layers::{Entry, Layers},
    security,
    settings::{BusSettings, GroupSettings, Key, Policy, keys},
    source::{Scope, Setting, Source},
};
use crate::{duration, suggest::nearest};

/// The work of one [`ConfigBuilder::load`](super::ConfigBuilder::load).
pub(super) struct Loader {
    groups: BTreeSet<String>,
    layers: Layers,
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Loader {
    /// Nothing is said yet; two groups that variables cannot tell apart are noted.
    pub(super) fn new(groups: BTreeSet<String>) -> Self {
        let mut loader =
            Self { groups, layers: Layers::default(), findings: Vec::new(), warnings: Vec::new() };
        loader.check_group_names();
        loader
    }

    /// Two groups that variables cannot tell apart would share their settings.
    fn check_group_names(&mut self) {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in &self.groups {
            names.entry(folded(group)).or_default().push(format!("\"{group}\""));
        }
        for (name, groups) in names.iter().filter(|(_, groups)| groups.len() > 1) {
            let problem = format!("groups {} are both {name} in the environment", groups.join(" and "));
            self.findings.push(Finding::new("", problem).remedy("rename one of them"));
        }
    }

    pub(super) fn consumer_name(
        &mut self,
        given: Option<String>,
        environment: &BTreeMap<OsString, OsString>,
    ) {
        let name = given.unwrap_or_else(|| {
            let host = environment.get(&OsString::from("HOSTNAME")).and_then(|name| name.to_str());
            let host = host.map(str::to_owned).filter(|name| !name.is_empty()).or_else(system_host_name);
            let id = uuid::Uuid::new_v4().simple().to_string();
            format!("{}-{}", host.as_deref().unwrap_or("es-bus"), &id[..8])
        });
        let key = find("consumer_name").expect("stands in the table");
        self.set(Scope::Bus, key, name, Source::BuiltIn, || "the name of the host".to_owned());
    }

    pub(super) fn said(&mut self, said: Said) {
        let Said { scope, key, text, source } = said;
        let place = format!("{source}: {key} of {scope}");
        let Some(known) = find(&key) else {
            let near = nearest(&key, keys().filter(|key| key.level >= scope.level()).map(|key| key.name));
            self.findings.push(Finding::new(place, "unknown setting").maybe(near.map(did_you_mean)));
            return;
        };
        if known.level < scope.level() {
            self.findings.push(Finding::new(place, format!("is a setting of {}", known.level)));
            return;
        }
        if let Scope::Group(group) | Scope::Handler { group, .. } = &scope
            && !self.groups.contains(group)
        {
            self.findings
                .push(Finding::new(place, "no such group").remedy(group_remedy(group, &self.groups)));
            return;
        }
        self.set(scope, known, text, source, || place);
    }

    /// The variables of a file, where there is one.
    pub(super) fn env_file(&mut self, file: EnvFile) -> Option<(PathBuf, BTreeMap<OsString, OsString>)> {
        let (path, text) = match file {
            EnvFile::None => return None,
            EnvFile::Text { path, text } => (path, Ok(text)),
            EnvFile::Optional(path) => {
                let text = fs::read_to_string(&path);
                (path, text)
            }
        };
        let shown = path.display().to_string();
        let variables = match text {
            Ok(text) => env_file::read(&shown, &text, &mut self.findings),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.findings.push(Finding::new(shown, format!("cannot be read: {error}")));
                return None;
            }
        };
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Some((path, variables.collect()))
    }

    /// Reads all variables; gives the file that they name.
    pub(super) fn environment(
        &mut self,
        variables: &BTreeMap<OsString, OsString>,
        source: impl Fn(String) -> Source,
    ) -> Option<PathBuf> {
        let mut file = None;
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let source = source(name.to_owned());
            let place = source.to_string();
            let text = value.to_str();
            let groups = self.groups.iter().map(String::as_str);
            let variable = match classify(name, text.unwrap_or_default(), groups) {
                Variable::Foreign => continue,
                Variable::Unknown { nearest } => {
                    let finding = Finding::new(&place, "es-bus knows no such variable and ignores it");
                    self.warnings.push(finding.maybe(nearest.as_deref().map(did_you_mean)));
                    continue;
                }
                Variable::Known(known) => known,
            };
            let Some(text) = text else {
                self.findings.push(Finding::new(&place, "is no UTF-8").remedy("write it in UTF-8"));
                continue;
            };
            if text.is_empty() {
                self.findings.push(Finding::new(&place, "is empty").remedy("unset it, or give it a value"));
                continue;
            }
            match variable {
                Known::Sets(scope, key) => {
                    self.set(scope, key, text.to_owned(), source, || place);
                }
                Known::NamesFile if holds_url(text) => {
                    self.findings.push(Finding::new(&place, MISPLACED_URL));
                }
                Known::NamesFile => file = Some(PathBuf::from(text)),
                Known::Alias(key) => self.alias(name, text, key, variables, source),
            }
        }
        file
    }

    fn alias(
        &mut self,
        name: &str,
        text: &str,
        key: &'static Key,
        variables: &BTreeMap<OsString, OsString>,
        source: Source,
    ) {
        let place = source.to_string();
        let own = key.variable();
        match variables.get(&OsString::from(&own)) {
            None => self.set(Scope::Bus, key, text.to_owned(), source, || place),
            Some(value) if value.to_str() == Some(text) => {}
            Some(_) => {
                let finding = Finding::new(place, format!("differs from {own}, which counts"));
                self.warnings.push(finding.remedy(format!("unset {name}")));
            }
        }
    }

    pub(super) fn file(&mut self, choice: FileChoice) {
        let (path, text) = match choice {
            FileChoice::None => return,
            FileChoice::Text { path, text } => (path, Ok(text)),
            FileChoice::Required(path) => {
                let text = fs::read_to_string(&path);
                (path, text)
            }
            FileChoice::Optional(path) => match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                text => (path, text),
            },
        };
        match text {
            Ok(text) => self.file_text(&path, &text),
            Err(error) => {
                let finding = Finding::new(path.display(), format!("cannot be read: {error}"));
                self.findings.push(
                    finding.remedy(format!(
                        "create it, or name another file in {FILE_VARIABLE} or on the builder"
                    )),
                );
            }
        }
    }

    fn file_text(&mut self, path: &Path, text: &str) {
        let shown = path.display().to_string();
        for line in file::read(&shown, text, &self.groups, &mut self.findings) {
            let source = Source::File { path: path.to_owned() };
            self.set(line.scope, line.key, line.text, source, || line.place);
        }
    }

    /// Checks a value and lets it count in its layer.
    fn set(
        &mut self,
        scope: Scope,
        key: &'static Key,
        text: String,
        source: Source,
        place: impl FnOnce() -> String,
    ) {
        let checked =
            if !matches!(key.name, "url" | "management_url" | "identity_password") && holds_url(&text) {
                // A check may quote the value, and a URL may hold a password.
                Err(MISPLACED_URL.to_owned())
            } else {
                (key.check)(&text)
            };
        match checked {
            Ok(()) => self.layers.push(Entry { scope, key: key.name, text, source }),
            Err(problem) => self.findings.push(Finding::new(place(), problem)),
        }
    }

    pub(super) fn finish(
        mut self,
        handlers: &BTreeSet<(String, String)>,
        tls_given: bool,
    ) -> Result<Config, Error> {
        let mut bus = BusSettings::resolve(&self.layers, &Scope::Bus);
        self.check_selection(&bus.groups);
        self.check_pair(("reconnect_min", &mut bus.reconnect_min), ("reconnect_max", &bus.reconnect_max), "");
        self.findings.extend(security::check(&bus, tls_given));
        self.warnings.extend(security::warning(&bus));
        let mut groups = BTreeMap::new();
        for name in self.groups.clone() {
            groups.insert(name.clone(), self.group(&name, handlers));
        }
        let told = self.warnings.len();
        let others = self.group_of(&Scope::Bus, "", &BTreeSet::new());
        // About a group that there may never be.
        self.warnings.truncate(told);
        if !self.findings.is_empty() {
            return Err(Error::new(self.findings));
        }
        Ok(Config { bus, groups, others, warnings: self.warnings })
    }

    fn group(&mut self, name: &str, handlers: &BTreeSet<(String, String)>) -> GroupConfig {
        self.group_of(&Scope::group(name), name, handlers)
    }

    fn group_of(&mut self, scope: &Scope, name: &str, handlers: &BTreeSet<(String, String)>) -> GroupConfig {
        let mut settings = GroupSettings::resolve(&self.layers, scope);
        if settings.concurrency.value > settings.prefetch.value {
            if !settings.concurrency.is_built_in() {
                let finding = Finding::new(
                    &settings.concurrency.source,
                    format!(
                        "concurrency {} of group \"{name}\" is more than its prefetch {} ({}), which counts",
                        settings.concurrency.value, settings.prefetch.value, settings.prefetch.source
                    ),
                );
                self.warnings.push(finding.remedy("raise prefetch or lower concurrency"));
            }
            settings.concurrency.value = settings.prefetch.value;
        }
        let is_own = |key: &str| self.layers.is_said_of(scope, key);
        // Groups that come at run time are told when they come.
        let mut untold = Vec::new();
        let findings = if name.is_empty() { &mut untold } else { &mut self.findings };
        combinations::check(name, &mut settings, is_own, findings);
        let policy = self.policy(scope);
        let handlers = handlers
            .iter()
            .filter(|(group, _)| group == name)
            .map(|(group, handler)| (handler.clone(), self.policy(&Scope::handler(group, handler))))
            .collect();
        GroupConfig { settings, policy, handlers }
    }

    fn policy(&mut self, scope: &Scope) -> Policy {
        let mut policy = Policy::resolve(&self.layers, scope);
        self.check_pair(
            ("backoff_base", &mut policy.backoff_base),
            ("backoff_max", &policy.backoff_max),
            &format!(" of {scope}"),
        );
        policy
    }

    /// A floor above its ceiling: es-bus's own floor gives way, any other is a mistake.
    fn check_pair(
        &mut self,
        (low_name, low): (&str, &mut Setting<Duration>),
        (high_name, high): (&str, &Setting<Duration>),
        whose: &str,
    ) {
        if low.value <= high.value {
            return;
        }
        if low.is_built_in() {
            low.value = high.value;
            return;
        }
        let [floor, ceiling] = [low.value, high.value].map(duration::print);
        let finding = Finding::new(
            &low.source,
            format!("{low_name} {floor}{whose} is longer than {high_name} {ceiling} ({})", high.source),
        );
        let finding = finding.remedy(format!("set {high_name} to {floor} or more"));
        // Each handler of a group inherits the mistake of its group; it is told once.
        if !self.findings.iter().any(|known| known.place == finding.place && known.remedy == finding.remedy) {
            self.findings.push(finding);
        }
    }

    fn check_selection(&mut self, selection: &Setting<GroupSelection>) {
        let GroupSelection::Only(names) = &selection.value else {
            return;
        };
        for name in names.iter().filter(|name| !self.groups.contains(*name)) {
            let problem = format!("selects \"{name}\", no such group");
            let finding = Finding::new(&selection.source, problem).remedy(group_remedy(name, &self.groups));
            // A process that only publishes may share its environment with those that consume.
            if self.groups.is_empty() {
                self.warnings.push(finding);
            } else {
                self.findings.push(finding);
            }
        }
    }
}

fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

fn holds_url(text: &str) -> bool {
    text.contains("://")
}

/// What Linux and most Unix systems keep as the name of the host; shells do not export `HOSTNAME`.
fn system_host_name() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
}

const MISPLACED_URL: &str = "holds a URL, which only `url` (ES_BUS_URL) takes";
