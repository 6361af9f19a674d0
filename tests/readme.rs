//! README shows code of the examples, and commands that exist; docs/guarantees.md names tests that
//! exist.

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| Some(block.strip_prefix(language)?.trim_matches('\n').to_owned()))
        .collect()
}

#[test]
fn every_block_of_rust_stands_in_an_example() {
    let examples: Vec<String> = ["service", "invoicing", "quickstart", "operations"]
        .map(|name| read(&format!("examples/src/bin/{name}.rs")))
        .into();
    let readme = read("README.md");
    let blocks = blocks(&readme, "rust");

    assert!(blocks.len() >= 4, "found {}", blocks.len());
    for block in blocks {
        assert!(
            examples.iter().any(|example| example.contains(&block)),
            "no example contains this block of README.md; change both together:\n{block}"
        );
    }
}

#[test]
fn every_command_names_something_that_is_there() {
    let commands = blocks(&read("README.md"), "sh").join("\n");

    for line in commands.lines() {
        if let Some((_, bin)) = line.split_once("--bin ") {
            read(&format!("examples/src/bin/{}.rs", bin.trim()));
        } else {
            assert_eq!(line, "tests/run");
            read("tests/run");
        }
    }
    assert!(commands.contains("--bin quickstart") && commands.contains("tests/run"));
}

#[test]
fn every_link_leads_to_a_file() {
    let readme = read("README.md");
    let links: Vec<&str> = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .collect();

    assert!(links.len() >= 10, "found {}", links.len());
    for link in links {
        read(link);
    }
}

/// The names of all functions in the sources below a directory.
fn functions(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("text");
            let names = source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

/// A proof is written as a test's path, `live::start::a_wrong_password_ends_it_with_a_report`: the
/// target, its modules, the function.
#[test]
fn every_proof_of_a_guarantee_is_a_test() {
    let guarantees = read("docs/guarantees.md");
    let named: Vec<&str> =
        guarantees.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    let mut known = BTreeSet::new();
    for room in ["tests", "es-bus/src", "es-bus/tests"] {
        functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room), &mut known);
    }

    assert!(named.len() >= 50, "found {}", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|path| !path.rsplit("::").next().is_some_and(|name| known.contains(name)))
        .collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that are not there: {missing:#?}");
}
