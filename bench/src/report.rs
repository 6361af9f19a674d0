//! Says what goes on, and what came out, to whoever reads it: the terminal and files.

use std::{fs, path::Path};

use crate::{Result, arguments::Arguments, results::Results, svg, table};

/// Prints the tables and writes the files that were asked for.
pub(crate) fn report(arguments: &Arguments, results: &Results) -> Result<()> {
    say(&table::text(results));
    if let Some(path) = &arguments.json {
        write(path, &format!("{}\n", serde_json::to_string_pretty(results)?))?;
    }
    if let Some(path) = &arguments.markdown {
        let page = fs::read_to_string(path).unwrap_or_default();
        write(path, &below_the_mark(&page, &table::markdown(results)))?;
    }
    if let Some(path) = &arguments.svg {
        write(path, &svg::draw(results))?;
    }
    Ok(())
}

/// A page whose end is written anew: what a person wrote above the mark stays.
fn below_the_mark(page: &str, tables: &str) -> String {
    match page.split_once(MARK) {
        Some((above, _)) => format!("{above}{MARK}\n\n{tables}"),
        None => tables.to_owned(),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[expect(clippy::print_stdout, reason = "a program says what it found")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// What goes on, beside what comes out.
#[expect(clippy::print_stderr, reason = "a long run says where it is")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

const MARK: &str = "<!-- Below, `bench --markdown` writes. -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_replace_those_below_the_mark() {
        let page = format!("# Performance\n\n{MARK}\n\nold");

        assert_eq!(below_the_mark(&page, "new\n"), format!("# Performance\n\n{MARK}\n\nnew\n"));
        assert_eq!(below_the_mark("something else", "new\n"), "new\n");
    }
}
