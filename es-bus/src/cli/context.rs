//! What a command has at hand: its outputs, the program it belongs to, the broker once it is connected.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    args::Global,
    bar::Bar,
    error::{CommandError, contradiction},
    output::Style,
};
use crate::{
    bus::{Bus, BusBuilder, Handle},
    config::{self, BrokerUrl, Config, GroupSelection},
    error::Error,
    event::EventKind,
    lock::{Lock, Manifest, Misfits},
    model::Topology,
    name::QueueName,
    registry::Registry,
    suggest,
    topology::{Exchanges, GroupSpec},
    transport::Transport,
};

/// Where a command reads and writes.
pub(super) struct Io {
    /// What was asked for.
    pub(super) out: Box<dyn Write + Send>,
    /// Errors, questions and remarks.
    pub(super) err: Box<dyn Write + Send>,
    /// What is typed, or piped in.
    pub(super) input: Box<dyn Read + Send>,
    /// Whether a person types.
    pub(super) asks: bool,
    /// Whether a person looks at `err`, which is standard error.
    pub(super) is_watched: bool,
    /// Whether `out` takes colours.
    pub(super) style: Style,
    /// Whether `err` does.
    pub(super) err_style: Style,
}

/// Where the program is known from.
pub(super) enum Source<'a> {
    /// From its code: this process is the program.
    Code(Box<dyn FnOnce() -> BusBuilder + 'a>),
    /// From a file.
    Manifest {
        /// The one that is named; else one is looked for.
        named: Option<PathBuf>,
        /// A bus of nothing, under the settings that hold here.
        empty: fn() -> BusBuilder,
    },
}

/// The manifest that is found when none is named.
pub(super) const MANIFEST: &str = "es-bus.lock";

/// What a command has at hand.
pub(super) struct Context<'a> {
    /// What every command takes.
    pub(super) global: Global,
    /// How the program is called.
    pub(super) program: String,
    pub(super) io: Io,
    /// Until the one bus of the command is built.
    source: Option<Source<'a>>,
    /// Whether there is a manifest in place of code.
    pub(super) has_manifest: bool,
    /// What was read of it, and where.
    manifest: Option<(PathBuf, Manifest)>,
    /// The bus, from when a command connects until [`close`](Self::close).
    handle: Option<Handle>,
}

/// What the program declares, beside a bus that does nothing by itself.
pub(super) struct Program {
    pub(super) topology: Topology,
    /// The groups that would be consumed.
    pub(super) groups: Vec<Arc<GroupSpec>>,
    pub(super) exchanges: Exchanges,
    pub(super) registry: Registry,
    /// The groups that keep dead letters, and where.
    pub(super) dead_letters: Vec<(String, QueueName)>,
}

impl Program {
    pub(super) fn of(bus: &Bus) -> Self {
        let dead_letters = bus.dead_letter_queues();
        Self {
            topology: bus.topology().clone(),
            groups: bus.groups().to_vec(),
            exchanges: bus.exchanges().clone(),
            registry: bus.registry().clone(),
            dead_letters: dead_letters.map(|(group, queue)| (group.to_owned(), queue.clone())).collect(),
        }
    }

    /// The group of a name.
    pub(super) fn group(&self, name: &str) -> Result<&Arc<GroupSpec>, CommandError> {
        let names = || self.groups.iter().map(|group| group.name.as_str());
        self.groups.iter().find(|group| group.name.as_str() == name).ok_or_else(|| {
            CommandError::UnknownGroup {
                what: "is consumed by this program, as it is configured here",
                group: name.to_owned(),
                nearest: suggest::nearest(name, names()).map(str::to_owned),
                known: names().map(str::to_owned).collect(),
            }
        })
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(global: Global, program: String, io: Io, source: Source<'a>) -> Self {
        let has_manifest = matches!(source, Source::Manifest { .. });
        Self { global, program, io, source: Some(source), has_manifest, manifest: None, handle: None }
    }

    /// The program's builder, with what the command line says.
    pub(super) fn builder(&mut self) -> Result<BusBuilder, CommandError> {
        let builder = match self.source.take().expect("a command builds one bus") {
            Source::Code(builder) => builder(),
            Source::Manifest { named, empty } => self.read_manifest(named, empty())?,
        };
        let builder = match self.global.config.take() {
            Some(file) => builder.said_file(file),
            None => builder,
        };
        Ok(match self.global.url.take() {
            Some(url) => builder.said("url", url),
            None => builder,
        })
    }

    /// The builder of a program whose code is here.
    pub(super) fn code(&mut self) -> Result<BusBuilder, CommandError> {
        if self.has_manifest {
            return Err(CommandError::NoCode);
        }
        self.builder()
    }

    /// The program as it was checked, without a broker.
    pub(super) fn look(&mut self) -> Result<Bus, CommandError> {
        let bus = self.builder()?.for_looking().build()?;
        self.warn_of_contradictions(&bus)?;
        Ok(bus)
    }

    /// The program as it was checked, for a broker that has to be named.
    pub(super) fn operated(&mut self) -> Result<Bus, CommandError> {
        let bus = self.builder()?.for_operating().build()?;
        self.warn_of_contradictions(&bus)?;
        Ok(bus)
    }

    /// As [`operated`](Self::operated), to change what is on the broker.
    pub(super) fn operated_to_change(&mut self) -> Result<Bus, CommandError> {
        let bus = self.builder()?.for_operating().build()?;
        match self.contradictions(&bus) {
            Some((file, found)) => Err(CommandError::Contradicted { file, found }),
            None => Ok(bus),
        }
    }

    fn read_manifest(
        &mut self,
        named: Option<PathBuf>,
        empty: BusBuilder,
    ) -> Result<BusBuilder, CommandError> {
        let (said, path) = match (named, config::named_manifest()) {
            (Some(path), _) => (Some("--manifest"), path),
            (None, Some((variable, path))) => (Some(variable), path),
            (None, None) => (None, PathBuf::from(MANIFEST)),
        };
        let text = read_file(&path).map_err(|error| match error {
            CommandError::File { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                CommandError::NoManifest { path, said }
            }
            error => error,
        })?;
        let manifest = Manifest::read(&path, &String::from_utf8_lossy(&text))?;
        let builder = manifest.builder(empty);
        self.manifest = Some((path, manifest));
        Ok(builder)
    }

    /// What the manifest says otherwise than what it comes to under the settings that hold here.
    fn contradictions(&self, bus: &Bus) -> Option<(PathBuf, Vec<String>)> {
        let (file, manifest) = self.manifest.as_ref()?;
        // Of a part of the program the rest would be missing.
        let found = match bus.config().bus.groups.value {
            GroupSelection::All => manifest.contradictions(bus),
            GroupSelection::Only(_) => Vec::new(),
        };
        (!found.is_empty()).then(|| (file.clone(), found))
    }

    fn warn_of_contradictions(&mut self, bus: &Bus) -> Result<(), CommandError> {
        let Some((file, found)) = self.contradictions(bus) else { return Ok(()) };
        let word = self.io.err_style.yellow("warning");
        let contradicted = contradiction(&file, &found);
        self.remark(&format!("{word}: {contradicted}\n  the settings that hold here count"))
    }

    /// What the program declares, to be written down.
    pub(super) fn lock_of(&self, bus: &Bus) -> Lock {
        let lock = Lock::of(bus);
        match &self.manifest {
            Some((_, manifest)) => manifest.with_schemas(lock),
            None => lock,
        }
    }

    /// How data fit an event that nobody here can read; `None` where nothing tells.
    pub(super) fn misfits(&self, kind: &EventKind, data: &serde_json::Value) -> Option<Misfits> {
        self.manifest.as_ref()?.1.misfits(kind, data)
    }

    /// Remarks that a part of the program is looked at only.
    pub(super) fn remark_part(&mut self, bus: &Bus) -> Result<(), CommandError> {
        let groups = &bus.config().bus.groups;
        let GroupSelection::Only(selected) = &groups.value else { return Ok(()) };
        let others: Vec<&str> = bus
            .registry()
            .group_names()
            .into_iter()
            .filter(|name| !selected.iter().any(|it| it == name))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let (source, others) = (&groups.source, others.join(", "));
        self.remark(&match selected.is_empty() {
            true => format!("note: this is about no group, as `groups` ({source}) says: not about {others}"),
            false => {
                let selected = selected.join(", ");
                format!(
                    "note: this is about {selected} only, as `groups` ({source}) says: not about {others}"
                )
            }
        })
    }

    /// Remarks on a broker that nobody else can be at.
    pub(super) fn remark_private(&mut self, bus: &Bus) -> Result<(), CommandError> {
        if !is_private(bus.config()) {
            return Ok(());
        }
        self.remark(
            "note: memory:// without a name is the broker of this command alone, and empty; memory://name is shared \
             within a process",
        )
    }

    /// Connects to the broker of a bus that was built to operate; it has to be there.
    pub(super) async fn open(&mut self, bus: Bus) -> Result<(), CommandError> {
        self.remark_private(&bus)?;
        self.handle = Some(bus.at_rest().start().await?);
        Ok(())
    }

    /// The bus, once it is connected.
    pub(super) fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("the command has connected")
    }

    /// The broker, once it is connected.
    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(self.handle().transport())
    }

    /// Ends the connection, where there is one.
    pub(super) async fn close(&mut self) -> Result<(), Error> {
        match self.handle.take() {
            Some(handle) => handle.stop().await,
            None => Ok(()),
        }
    }

    /// Whether output is for a program.
    pub(super) fn is_json(&self) -> bool {
        self.global.json
    }

    /// Writes a text.
    pub(super) fn say(&mut self, text: &str) -> Result<(), CommandError> {
        Ok(self.io.out.write_all(text.as_bytes())?)
    }

    /// Writes a value as JSON over several lines.
    pub(super) fn json(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        Ok(writeln!(self.io.out, "{text}")?)
    }

    /// A bar, where somebody watches.
    pub(super) fn bar(&self) -> Option<Bar> {
        (self.io.is_watched && !self.is_json()).then(|| Bar::on_terminal(self.io.err_style)).flatten()
    }

    /// Writes a remark, beside the output.
    pub(super) fn remark(&mut self, text: &str) -> Result<(), CommandError> {
        Ok(writeln!(self.io.err, "{text}")?)
    }

    /// Asks; whether the answer was yes. `None` where nobody can be asked.
    pub(super) async fn ask(&mut self, question: &str) -> Result<Option<bool>, CommandError> {
        if !self.io.asks {
            return Ok(None);
        }
        write!(self.io.err, "{question} [y/N] ")?;
        self.io.err.flush()?;
        let answer = self.read(|input| {
            let mut line = String::new();
            BufReader::new(input).read_line(&mut line)?;
            Ok(line.into_bytes())
        });
        let answer = answer.await?;
        Ok(Some(matches!(answer.trim_ascii(), b"y" | b"Y" | b"yes" | b"Yes" | b"YES")))
    }

    /// All that is piped in.
    pub(super) async fn piped(&mut self) -> Result<Vec<u8>, CommandError> {
        let read = self.read(|mut input| {
            let mut all = Vec::new();
            input.read_to_end(&mut all)?;
            Ok(all)
        });
        Ok(read.await?)
    }

    /// Reads on a thread of its own, which nobody waits for when the command is interrupted.
    async fn read(
        &mut self,
        how: impl FnOnce(Box<dyn Read + Send>) -> io::Result<Vec<u8>> + Send + 'static,
    ) -> io::Result<Vec<u8>> {
        let input = std::mem::replace(&mut self.io.input, Box::new(io::empty()));
        let (send, receive) = oneshot::channel();
        thread::Builder::new().name("es-bus-input".to_owned()).spawn(move || {
            let _ = send.send(how(input));
        })?;
        receive.await.unwrap_or_else(|_ended| Err(io::Error::other("the thread that reads ended")))
    }
}

/// Whether the broker is one that nobody else can be at.
fn is_private(config: &Config) -> bool {
    matches!(config.bus.url.value, Some(BrokerUrl::Memory { name: None }))
}

/// The content of a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|source| CommandError::File { path: path.to_owned(), what: "read", source })
}
