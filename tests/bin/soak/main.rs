//! Publishers and workers in processes of their own, a broker of their own, and faults by a schedule:
//! at the end, nothing that was confirmed may be missing.
//!
//! This program is also those processes: `soak worker`, `soak publisher`. Each writes what it did into
//! one ledger, which is compared, as sets, once the faults have stopped and the queues are empty. What is
//! left out on purpose: deleting a queue, since that loses what is in it.

mod accounts;
mod arguments;
mod cast;
mod chance;
mod explained;
mod fate;
mod faults;
mod ledger;
mod program;
mod report;
mod run;
mod schedule;

use std::{env, process::ExitCode};

use self::{
    arguments::{Arguments, USAGE},
    schedule::schedule,
};

fn main() -> ExitCode {
    let mut words = env::args().skip(1).peekable();
    match words.peek().map(String::as_str) {
        Some("worker") => process(program::work()),
        Some("publisher") => process(program::publish()),
        Some("--help" | "-h") => {
            report::say(USAGE);
            ExitCode::SUCCESS
        }
        _ => match Arguments::parse(words) {
            Ok(arguments) => soak(&arguments),
            Err(error) => {
                report::complain(&error);
                ExitCode::from(2)
            }
        },
    }
}

/// One of the processes of a run.
fn process(program: impl Future<Output = es_bus::Result<()>>) -> ExitCode {
    cast::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("the system gives threads").block_on(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

/// The run itself.
fn soak(arguments: &Arguments) -> ExitCode {
    let planned = schedule(arguments.seed, arguments.duration, arguments.every, arguments.cast());
    if !arguments.is_json {
        report::schedule(arguments, &planned);
    }
    if arguments.is_schedule_only {
        return ExitCode::SUCCESS;
    }
    let outcome = run::run(arguments, &planned);
    if arguments.is_json {
        report::say(&outcome.json());
    } else {
        report::say(&outcome.text());
    }
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
