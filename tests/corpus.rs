//! The targets of `fuzz`, over the inputs that are kept in `fuzz/corpus` and over variations of those: the
//! same ones in every run.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

/// How many variations each input has.
const VARIATIONS: usize = 40;

/// Runs a target over its inputs.
fn holds_for(target: &str, run: fn(&[u8])) {
    let directory = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{directory}: {error}"))
        .map(|entry| entry.expect("the directory stays"))
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file"))
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{directory} has {} inputs", inputs.len());
    let mut chance = Chance(1);
    let check = |name: &str, input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
            panic!("{target} does not hold for {name}: {}", input.escape_ascii());
        }
    };
    for (name, input) in &inputs {
        check(name, input);
    }
    for (name, input) in &inputs {
        for number in 0..VARIATIONS {
            let other = &inputs[chance.below(inputs.len())].1;
            check(&format!("variation {number} of {name}"), &varied(input, other, &mut chance));
        }
    }
}

/// An input with a few of its bytes changed, taken out or put in, or with a part of another.
fn varied(input: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"{}[]\\:,.*#=@/%\n -+9eEn";
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let byte = match chance.below(2) {
            0 => TELLING[chance.below(TELLING.len())],
            _ => u8::try_from(chance.below(256)).expect("below 256"),
        };
        match chance.below(5) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let (from, to) = (chance.below(other.len() + 1), chance.below(other.len() + 1));
                bytes.splice(at..at, other[from.min(to)..from.max(to)].iter().copied());
            }
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

#[test]
fn bodies_are_read_and_written_again_alike() {
    holds_for("wire", targets::wire);
}

#[test]
fn headers_go_through_every_copy() {
    holds_for("headers", targets::headers);
}

#[test]
fn patterns_match_as_they_are_defined() {
    holds_for("patterns", targets::patterns);
}

#[test]
fn configuration_is_read_or_refused_and_shows_no_password() {
    holds_for("configuration", targets::configuration);
}

#[test]
fn dead_letters_are_read_whoever_wrote_them() {
    holds_for("dead_letters", targets::dead_letters);
}

#[test]
fn attributes_let_pass_what_start_up_takes() {
    holds_for("attributes", targets::attributes);
}

#[test]
fn a_file_of_variables_is_read_as_it_was_meant_and_shows_no_secret() {
    holds_for("env_file", targets::env_file);
}
