//! What es-bus costs, beside hand-written lapin.
//!
//! The arguments become a plan of scenarios, each a few contenders that do the same; rounds run them, every
//! measurement in a process of its own, which is this program again: `bench worker {task}`. What they
//! measure becomes tables, a picture, and a judgement of the goals.

mod arguments;
mod goals;
mod meter;
mod parcel;
mod plan;
mod report;
mod results;
mod rounds;
mod statistics;
mod svg;
mod table;
mod tally;
mod task;
mod work;

use std::{env, error::Error, fs, process::ExitCode, thread};

use es_bus_tests::Node;

use self::{
    arguments::{Arguments, USAGE},
    report::{progress, report, say},
    results::{Machine, Results},
};

/// An error is told, and nobody asks what it was.
type Fault = Box<dyn Error + Send + Sync>;
type Result<T, E = Fault> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let mut words = env::args().skip(1).peekable();
    let done = match words.peek().map(String::as_str) {
        Some("worker") => worker(words.nth(1)),
        Some("--help" | "-h") => {
            say(USAGE);
            Ok(ExitCode::SUCCESS)
        }
        _ => match Arguments::parse(words) {
            Ok(arguments) => bench(&arguments),
            Err(error) => {
                progress(&error);
                return ExitCode::from(2);
            }
        },
    };
    done.unwrap_or_else(|error| {
        progress(&error.to_string());
        ExitCode::FAILURE
    })
}

/// One measurement.
fn worker(task: Option<String>) -> Result<ExitCode> {
    let task = serde_json::from_str(&task.ok_or("a worker wants a task")?)?;
    say(&serde_json::to_string(&work::measure(&task)?)?);
    Ok(ExitCode::SUCCESS)
}

/// The run itself.
fn bench(arguments: &Arguments) -> Result<ExitCode> {
    let before = load();
    let plan = plan::plan(arguments);
    let node = Node::start_at_full_speed();
    let rabbitmq = node.rabbitmqctl(&["version"]).trim().to_owned();
    let (scenarios, failures) = rounds::run(&plan, arguments.rounds, &node);
    let machine = Machine {
        cores: thread::available_parallelism()?.get(),
        rabbitmq,
        load: (before, load()),
        is_optimized: !cfg!(debug_assertions),
    };
    let goals = goals::judge(&scenarios);
    let results = Results { machine, arguments: arguments.clone(), scenarios, goals, failures };
    report(arguments, &results)?;
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 0 where the system does not tell.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
