//! The command line of a program: to run it, and to operate it.
//!
//! In come the arguments and the program's own builder; out go texts on standard output, what is wrong on standard
//! error, and an exit code. `args` has what can be typed, each command has a file of its own, which decides what
//! to do by what the rooms below tell, and prints it. A command that looks at the program builds its bus and asks
//! no broker. One that works on a broker connects with a bus that consumes nothing and declares nothing, and only
//! to a broker that somebody has named: never to memory because nothing else was said.
//!
//! [`run`] and [`run_with`] are the front, and [`run_manifest`] is that of the binary `es-bus`, which knows a service by
//! its `es-bus.lock` alone. A command does not see which of them it was called by: `context` gives it the same bus.
//!
//! # Exit codes
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done, and nothing to complain of |
//! | 1 | failed; a check found something (`check`, `dlq check`, `doctor`), or a part was refused (`topology apply`, `prune`) |
//! | 2 | changes are pending (`topology plan`, `verify`) |
//! | 3 | a conflict: something is in the way (`topology plan`, `verify`, `apply`, `prune`), or a manifest and the settings that hold here contradict each other (`apply`, `prune`, `migrate`) |
//! | 64 | the command line is wrong, or names something that there is not |
//! | 130 | interrupted by Ctrl-C or SIGTERM; nothing is lost by that |
//!
//! `run` ends with 0 when it is told to stop, and `tail`, which has no other end, with 0 at Ctrl-C.

mod args;
mod bar;
mod check;
mod completions;
mod config;
mod context;
mod dlq;
mod doctor;
mod error;
mod exit;
mod explain;
mod handlers;
mod init;
mod lock;
mod output;
mod publish;
mod run;
mod stream;
mod tail;
mod topology;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anstream::{AutoStream, ColorChoice};
use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use self::{
    args::{Cli, Color, Command},
    context::{Context, Io, Source},
    error::CommandError,
    exit::Exit,
    output::{Style, masked},
};
use crate::{
    bus::{Bus, BusBuilder},
    config::arguments,
    error::Error,
    logging,
    shutdown::Signals,
};

/// Runs the command that stands on the command line, for all that the program declares.
///
/// `{program} run` is what [`es_bus::run`](crate::run) does; `{program} --help` lists the others. Without a command it
/// prints that help and ends with 64: whoever types the name of a service in a shell is not to start one more of
/// its workers.
///
/// A program whose handlers need a [`State`](crate::State), or that sets anything on its builder, calls [`run_with`].
///
/// # Exit codes
///
/// 0, 1, 2, 3, 64 or 130, as the [module](self) says.
///
/// # Examples
///
/// ```no_run
/// use std::process::ExitCode;
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     es_bus::cli::run().await
/// }
/// ```
pub async fn run() -> ExitCode {
    run_with(Bus::builder).await
}

/// As [`run`], with the program's own builder: the function that [`check!`](crate::check) takes, too.
///
/// What the command line says beats what file and environment say, and those beat what the builder sets;
/// only its `force` methods beat the command line.
///
/// # Examples
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use es_bus::{Bus, BusBuilder};
///
/// #[derive(Clone)]
/// struct Ledger;
///
/// fn bus() -> BusBuilder {
///     Bus::builder().state(Ledger)
/// }
///
/// es_bus::check!(bus());
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     es_bus::cli::run_with(bus).await
/// }
/// ```
pub async fn run_with(builder: impl FnOnce() -> BusBuilder) -> ExitCode {
    execute(arguments(), Source::Code(Box::new(builder)), Io::of_process(), true).await.into()
}

/// The binary `es-bus`: the same commands for a service that is known by its `es-bus.lock` alone.
///
/// The file is the one that `--manifest` names, or ES_BUS_MANIFEST, or else `es-bus.lock` in the working directory. What
/// it declares is assembled as code is, under the same `es-bus.toml` and environment. There is nothing to run.
///
/// # Exit codes
///
/// As [`run`]; 3 also where the manifest contradicts the settings that hold here and something would be changed.
///
/// # Examples
///
/// All of `es-bus`'s own `main`:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     es_bus::cli::run_manifest().await
/// }
/// ```
pub async fn run_manifest() -> ExitCode {
    execute(arguments(), Source::Manifest { named: None, empty: Bus::builder }, Io::of_process(), true)
        .await
        .into()
}

impl Io {
    fn of_process() -> Self {
        // A terminal, unless NO_COLOR, CLICOLOR or CLICOLOR_FORCE say otherwise.
        let style = |choice| Style { colours: choice != ColorChoice::Never };
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            style: style(AutoStream::choice(&out)),
            err_style: style(AutoStream::choice(&err)),
            asks: io::stdin().is_terminal() && err.is_terminal(),
            is_watched: err.is_terminal(),
            input: Box::new(io::stdin()),
            out: Box::new(out),
            err: Box::new(err),
        }
    }
}

/// What a command came to that ran within a test.
#[doc(hidden)]
#[derive(Debug)]
pub struct Captured {
    /// The exit code.
    pub code: u8,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

/// Runs a command within a test: with these arguments after the program's name `shop`, this input, and a person at
/// it or none.
#[doc(hidden)]
pub async fn captured(
    arguments: &[&str],
    input: &str,
    asks: bool,
    builder: impl FnOnce() -> BusBuilder,
) -> Captured {
    capture("/usr/bin/shop", arguments, (input, asks), Source::Code(Box::new(builder))).await
}

/// As [`captured`], for the binary `es-bus`; the manifest is named among the arguments, and no environment is read.
#[doc(hidden)]
pub async fn captured_manifest(arguments: &[&str], input: &str, asks: bool) -> Captured {
    let source = Source::Manifest { named: None, empty: || Bus::builder().without_environment() };
    capture("/usr/bin/es-bus", arguments, (input, asks), source).await
}

async fn capture(
    program: &str,
    arguments: &[&str],
    (input, asks): (&str, bool),
    source: Source<'_>,
) -> Captured {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
        }
    }

    let (out, err) = (Kept::default(), Kept::default());
    let io = Io {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Box::new(io::Cursor::new(input.to_owned())),
        asks,
        is_watched: false,
        style: Style::default(),
        err_style: Style::default(),
    };
    let arguments = std::iter::once(program).chain(arguments.iter().copied()).map(OsString::from);
    let exit = execute(arguments.collect(), source, io, false).await;
    Captured { code: exit.code(), out: out.text(), err: err.text() }
}

/// Parses, runs and prints what went wrong. `is_process` when it may listen for signals and set a log up.
async fn execute(arguments: Vec<OsString>, mut source: Source<'_>, mut io: Io, is_process: bool) -> Exit {
    let (cli, program) = match parse(arguments, &mut source, is_process) {
        Ok(parsed) => parsed,
        Err(error) => return print_usage(&error, &mut io),
    };
    io.style = chosen(cli.global.color, io.style);
    io.err_style = chosen(cli.global.color, io.err_style);
    if is_process {
        logging::install_with(log_filter(&cli.command, cli.global.verbose), io.err_style.colours);
    }
    let mut cx = Context::new(cli.global, program, io, source);
    let result = with_signals(&cli.command, &mut cx, is_process).await;
    // What the command is through with is done; the connection ends in any case.
    let closed = cx.close().await;
    let result = result.and_then(|exit| closed.map(|()| exit).map_err(CommandError::from));
    let result = result.and_then(|exit| cx.io.out.flush().map(|()| exit).map_err(CommandError::from));
    match result {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Done {
                // There is nobody else to tell.
                let _ = writeln!(cx.io.err, "{}: {}", cx.io.err_style.red("Error"), error.report());
            }
            exit
        }
    }
}

/// Runs a command until it ends, or until a signal comes.
async fn with_signals(
    command: &Command,
    cx: &mut Context<'_>,
    is_process: bool,
) -> Result<Exit, CommandError> {
    // A run listens by itself, and stops in order.
    if !is_process || matches!(command, Command::Run(_)) {
        return Box::pin(dispatch(command, cx)).await;
    }
    let listening = Signals::listen().await;
    let mut signals =
        listening.map_err(|error| Error::Internal(format!("signals cannot be listened for: {error}")))?;
    tokio::select! {
        result = Box::pin(dispatch(command, cx)) => result,
        _ = signals.first() => match command {
            Command::Tail(_) => Ok(Exit::Done),
            _ => Ok(Exit::Interrupted),
        },
    }
}

async fn dispatch(command: &Command, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => run::run(args, cx).await,
        Command::Check(args) => check::check(args, cx),
        Command::Handlers(args) => handlers::handlers(args, cx),
        Command::Topology(command) => topology::topology(command, cx).await,
        Command::Stream(command) => stream::stream(command, cx).await,
        Command::Explain(args) => explain::explain(args, cx),
        Command::Lock(args) => lock::lock(args, cx),
        Command::Dlq(command) => dlq::dlq(command, cx).await,
        Command::Publish(args) => publish::publish(args, cx).await,
        Command::Tail(args) => tail::tail(args, cx).await,
        Command::Doctor(args) => doctor::doctor(args, cx).await,
        Command::Config(args) => config::config(args, cx),
        Command::Init(args) => init::init(args, cx),
        Command::Completions(args) => completions::completions(args, cx),
    }
}

/// Reads the arguments, and which manifest they name; gives the name of the program too.
fn parse(
    arguments: Vec<OsString>,
    source: &mut Source<'_>,
    is_process: bool,
) -> Result<(Cli, String), clap::Error> {
    let name = arguments.first().and_then(|path| Path::new(path).file_stem()?.to_str());
    let program = name.unwrap_or("service").to_owned();
    let command = described(&program, matches!(source, Source::Manifest { .. }));
    // Help is as wide as the terminal, where there is one.
    let command = if is_process { command.max_term_width(WIDTH) } else { command.term_width(WIDTH) };
    let matches = command.try_get_matches_from(arguments)?;
    if let Source::Manifest { named, .. } = source {
        *named = matches.get_one::<PathBuf>(args::MANIFEST).cloned();
    }
    Ok((Cli::from_arg_matches(&matches)?, program))
}

/// How wide a help is at most, in characters.
const WIDTH: usize = 100;

/// The commands, with the name of the program in their examples; those over a manifest, or those of the program itself.
fn described(program: &str, has_manifest: bool) -> clap::Command {
    fn named(command: clap::Command, program: &str) -> clap::Command {
        let help = command.get_after_help().map(|help| help.to_string().replace("{bin}", program));
        let command = match help {
            Some(help) => command.after_help(help),
            None => command,
        };
        command.mut_subcommands(|command| named(command, program))
    }
    let command = Cli::command().bin_name(program.to_owned());
    let command = if has_manifest { args::over_a_manifest(command) } else { command };
    named(command, program)
}

/// Help that was asked for, or what is wrong with the command line.
fn print_usage(error: &clap::Error, io: &mut Io) -> Exit {
    let (writer, style, exit) = match error.use_stderr() {
        true => (&mut io.err, io.err_style, Exit::Usage),
        false => (&mut io.out, io.style, Exit::Done),
    };
    let text = error.render();
    let text = if style.colours { text.ansi().to_string() } else { text.to_string() };
    // What was typed is quoted; the help has an example of a password.
    let text = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => text,
        _ => masked(&text),
    };
    // There is nobody else to tell.
    let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    exit
}

fn chosen(color: Color, automatic: Style) -> Style {
    match color {
        Color::Auto => automatic,
        Color::Always => Style { colours: true },
        Color::Never => Style { colours: false },
    }
}

/// What is logged: of a service what it does, of a command what is wrong and it does not print itself.
fn log_filter(command: &Command, verbose: u8) -> &'static str {
    match (command, verbose) {
        (Command::Run(_), 0) => "info,lapin=off",
        (Command::Run(_), 1) => "info,es_bus=debug,lapin=off",
        (_, 0) => "warn,lapin=off,es_bus::publish=error,es_bus::dead_letters=error,es_bus::transport=off",
        (_, 1) => "info,lapin=off",
        (_, _) => "debug,lapin=off",
    }
}
