//! The benchmark works: it runs on a real node, and every contender does what it is asked for.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command, Output},
};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().expect("the program starts")
}

/// A file that is gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("es-bus-bench-{}-{name}", process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.0).expect("the program wrote it")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_contender_delivers_what_it_is_asked_for() {
    let [json, markdown, svg] = ["results.json", "tables.md", "picture.svg"].map(File::new);

    let args = ["--quick", "--events", "200", "--kinds", "classic", "--json", json.path()];
    let output = bench(&[&args[..], &["--markdown", markdown.path(), "--svg", svg.path()]].concat());

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Value = serde_json::from_str(&json.read()).expect("it is JSON");
    let scenarios = results["scenarios"].as_array().expect("a list");
    let mut measured = Vec::new();
    for scenario in scenarios {
        for entry in scenario["entries"].as_array().expect("a list") {
            let asked = match (scenario["area"].as_str(), scenario["way"].as_str()) {
                (Some("publish"), Some("one at a time")) => 50,
                (Some("e2e"), _) => 50,
                (Some("start"), _) => 10,
                (Some("memory"), _) => 1000,
                _ => 200,
            };
            assert_eq!(entry["rounds"].as_array().map(Vec::len), Some(1), "{scenario}");
            assert_eq!(entry["rounds"][0]["events"], asked, "{scenario}");
            measured.push(format!(
                "{} {}",
                scenario["area"].as_str().unwrap(),
                entry["name"].as_str().unwrap()
            ));
        }
    }
    measured.dedup();
    assert_eq!(measured, CONTENDERS);
    assert_eq!(results["failures"], Value::Array(Vec::new()));
    assert!(markdown.read().contains("## Goals") && svg.read().starts_with("<svg"));
}

const CONTENDERS: [&str; 23] = [
    "publish lapin-naive",
    "publish lapin-tuned",
    "publish es-bus",
    "publish lapin-alike",
    "publish lapin-naive",
    "publish lapin-tuned",
    "publish es-bus",
    "publish lapin-alike",
    "publish es-bus-list",
    "consume lapin-naive",
    "consume lapin-tuned",
    "consume es-bus",
    "consume all quick",
    "consume one slow",
    "e2e lapin-tuned",
    "e2e es-bus",
    "e2e lapin-alike",
    "start lapin-tuned",
    "start es-bus",
    "growth 10 handlers",
    "growth 1000 handlers",
    "memory mpsc-json",
    "memory es-bus",
];

#[test]
fn a_wrong_argument_is_told_before_anything_runs() {
    let output = bench(&["--rounds", "many"]);

    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("--rounds wants a whole number, not \"many\""), "{told}");
}
