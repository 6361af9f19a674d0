//! Counts the instructions that the pure parts of es-bus take, and compares them with those of the
//! last time: a clock on a busy machine cannot tell a few percent, a count can.
//!
//! ```text
//! instructions            compares with bench/instructions.json; more than 5 % more is an error
//! instructions --bless    writes bench/instructions.json
//! instructions NAME ..    counts these cases, and compares nothing
//! ```
//!
//! It runs itself under `valgrind --tool=callgrind`, once: collection is switched on in [`measured`]
//! alone, and each return from it dumps what one case took. iai-callgrind does not compare with a file
//! that can be committed, and wants a runner of its own to be installed.

mod callgrind;
mod cases;
mod counts;

use std::process::ExitCode;

use crate::counts::Counts;

/// Given by [`callgrind`] to the process that is counted.
const UNDER_VALGRIND: &str = "--under-valgrind";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [UNDER_VALGRIND, ref names @ ..] => {
            cases::run(names);
            ExitCode::SUCCESS
        }
        [] => report(compare()),
        ["--bless"] => report(bless()),
        ref names => report(callgrind::count(names).map(|counts| show(&counts))),
    }
}

fn report(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|error| {
        say(&format!("instructions: {error}"));
        ExitCode::FAILURE
    })
}

fn show(counts: &Counts) -> ExitCode {
    for (name, count) in &counts.counts {
        say(&format!("{name:32} {count:>9}"));
    }
    ExitCode::SUCCESS
}

fn bless() -> Result<ExitCode, String> {
    let counts = callgrind::count(&[])?;
    counts.write()?;
    Ok(show(&counts))
}

fn compare() -> Result<ExitCode, String> {
    let before = Counts::read()?;
    let now = counts::toolchain()?;
    if before.toolchain != now {
        say(&format!(
            "instructions: NOT COMPARED, as the counts of bench/instructions.json are of another toolchain\n  \
             theirs: {}\n  here:   {now}\n\
             Where this is the toolchain to stay, check out the last commit that passed, `--bless` there, \
             come back and compare; then commit the file.",
            before.toolchain
        ));
        return Ok(ExitCode::from(OTHER_TOOLCHAIN));
    }
    let after = callgrind::count(&[])?;
    let mut worse = false;
    for (name, verdict) in counts::compare(&before, &after) {
        worse |= verdict.is_failure();
        say(&format!("{name:32} {verdict}"));
    }
    if worse {
        say(
            "instructions: a case takes more than it did. `--bless` writes the counts anew, where that is meant.",
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit code that `.ci/run` tells apart.
const OTHER_TOOLCHAIN: u8 = 2;

#[expect(clippy::print_stdout, reason = "this is a program")]
fn say(line: &str) {
    println!("{line}");
}
