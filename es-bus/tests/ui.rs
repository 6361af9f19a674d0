//! Every mistake that the attributes refuse, with what rustc says about it.
//!
//! Each file under `tests/ui` is a program. What the compiler finds wrong with it stands in the
//! file, under the line it is found in:
//!
//! ```text
//! #[handler(group = "g", bind = "Ordr.*")]
//! //~^ error[E0080] 31 «"Ordr.*"» evaluation panicked: binding `Ordr.*` never receives ...
//! ```
//!
//! that is: level and code, the column where the underlined text begins, that text, the message.
//! There must be these and no others, warnings included; a file without such a line has to compile.
//! Notes, labels and layout are the compiler's own and are not compared.
//!
//! All files are the binaries of one throw-away crate, so that cargo runs once. `UI_BLESS=1`
//! writes what was found into the files, to be read before it is committed.
#![cfg(feature = "macros")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// One thing that the compiler said, at the line where it said it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    line: usize,
    column: usize,
    level: String,
    text: String,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} «{}» {}", self.level, self.column, self.text, self.message)
    }
}

struct Case {
    name: String,
    path: PathBuf,
    source: String,
    expected: Vec<Finding>,
}

#[test]
fn every_mistake_has_its_message_where_it_stands() {
    let cases = read_cases();
    assert!(cases.len() > 45, "there are only {} cases", cases.len());

    let found = compile(&cases);

    if env::var_os("UI_BLESS").is_some() {
        for case in &cases {
            bless(case, found.get(&case.name).map_or(&[], Vec::as_slice));
        }
        return;
    }
    let mut report = String::new();
    for case in &cases {
        let found = found.get(&case.name).cloned().unwrap_or_default();
        for missing in case.expected.iter().filter(|expected| !found.contains(expected)) {
            report.push_str(&format!("{}:{}: missing  {missing}\n", case.path.display(), missing.line));
        }
        for surplus in found.iter().filter(|found| !case.expected.contains(found)) {
            report.push_str(&format!("{}:{}: found    {surplus}\n", case.path.display(), surplus.line));
        }
    }
    assert!(report.is_empty(), "\n{report}\nUI_BLESS=1 writes what was found into the files");
}

fn read_cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut cases = Vec::new();
    for folder in
        fs::read_dir(root).expect("the folder of cases").map(|entry| entry.expect("an entry").path())
    {
        let room = folder.file_name().expect("a name").to_string_lossy().into_owned();
        for file in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let source = fs::read_to_string(&file).expect("a case");
            let expected = expectations(&source);
            cases.push(Case { name: format!("{room}-{stem}"), path: file, source, expected });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// The expectations of a file; `^` stands for one line up.
fn expectations(source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, line) in source.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("//~") else { continue };
        let ups = rest.chars().take_while(|c| *c == '^').count();
        let parse = || -> Option<Finding> {
            let (level, rest) = rest[ups..].trim().split_once(' ')?;
            let (column, rest) = rest.split_once(" «")?;
            let (text, message) = rest.split_once("» ")?;
            Some(Finding {
                line: i + 1 - ups,
                column: column.parse().ok()?,
                level: level.to_owned(),
                text: text.to_owned(),
                message: message.to_owned(),
            })
        };
        findings.push(parse().unwrap_or_else(|| panic!("cannot read the expectation {line:?}")));
    }
    findings
}

/// Compiles all cases and gives what was found, by the name of the case.
fn compile(cases: &[Case]) -> BTreeMap<String, Vec<Finding>> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Two features, two crates: they may be tested at once.
    let root = tmp.join(if cfg!(feature = "linkme") { "ui-linkme" } else { "ui" });
    write_workspace(&root, cases);
    let output = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args([
            "check",
            "--workspace",
            "--bins",
            "--keep-going",
            "--offline",
            "--quiet",
            "--message-format=json",
        ])
        .arg("--target-dir")
        .arg(tmp.parent().expect("the target directory").join("ui"))
        .output()
        .expect("cargo runs");
    let lines = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let mut finished = false;
    for line in lines.lines() {
        let message: Value = serde_json::from_str(line).expect("cargo speaks JSON");
        finished |= message["reason"] == "build-finished";
        let name = message["target"]["name"].as_str().unwrap_or_default();
        // What rustc says twice in the same words, cargo shows once.
        let mut is_new = || shown.insert(format!("{name} {}", message["message"]["rendered"]));
        if message["reason"] == "compiler-message" && cases.iter().any(|case| case.name == name) && is_new() {
            found.entry(name.to_owned()).or_default().extend(finding(&message["message"]));
        }
    }
    assert!(finished, "cargo did not get to the cases:\n{}", String::from_utf8_lossy(&output.stderr));
    let clean = cases.iter().filter(|case| !found.contains_key(&case.name)).count();
    assert!(clean < cases.len(), "nothing was compiled:\n{}", String::from_utf8_lossy(&output.stderr));
    for findings in found.values_mut() {
        findings.sort();
    }
    found
}

fn finding(message: &Value) -> Option<Finding> {
    let level = message["level"].as_str()?;
    let text = message["message"].as_str()?.to_owned();
    // How many there were, and how to learn more of them.
    if level == "failure-note" || text.starts_with("aborting due to") || text.ends_with("emitted") {
        return None;
    }
    let level = match message["code"]["code"].as_str() {
        Some(code) => format!("{level}[{code}]"),
        None => level.to_owned(),
    };
    let spans = message["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true);
    let number = |key: &str| {
        span.and_then(|span| span[key].as_u64()).and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
    };
    let underlined = span.map_or_else(String::new, |span| {
        let lines = span["text"].as_array().cloned().unwrap_or_default();
        let Some(first) = lines.first() else { return String::new() };
        let from = first["highlight_start"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1) - 1;
        let to = first["highlight_end"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1) - 1;
        let line: Vec<char> = first["text"].as_str().unwrap_or_default().chars().collect();
        let mut text: String = line[from.min(line.len())..to.min(line.len())].iter().collect();
        if lines.len() > 1 {
            text.push('…');
        }
        text
    });
    Some(Finding {
        line: number("line_start"),
        column: number("column_start"),
        level,
        text: underlined,
        message: text.replace('\n', " ⏎ "),
    })
}

/// A workspace of two crates: one that knows es-bus by its name, one that has renamed it.
fn write_workspace(root: &Path, cases: &[Case]) {
    let es_bus = env!("CARGO_MANIFEST_DIR");
    let features = if cfg!(feature = "linkme") { r#""macros", "linkme""# } else { r#""macros""# };
    let dependency = |name: &str| {
        format!(
            "{name} = {{ package = \"es-bus\", path = {es_bus:?}, default-features = false, features = [{features}] }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\nthiserror = \"2\"\nanyhow = \"1\"\n"
        )
    };
    for (member, name) in [("plain", "es-bus"), ("renamed", "my_bus")] {
        let mut manifest = format!(
            "[package]\nname = \"ui-{member}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\nautobins = false\n\n\
             [dependencies]\n{}\n[features]\non = []\n\n",
            dependency(name)
        );
        for case in cases.iter().filter(|case| case.name.starts_with("renamed-") == (member == "renamed")) {
            let edition =
                case.source.lines().find_map(|line| line.strip_prefix("// edition: ")).unwrap_or("2024");
            manifest.push_str(&format!(
                "[[bin]]\nname = {:?}\npath = {:?}\nedition = {edition:?}\n\n",
                case.name, case.path
            ));
        }
        write_if_changed(&root.join(member).join("Cargo.toml"), &manifest);
    }
    write_if_changed(
        &root.join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"plain\", \"renamed\"]\n",
    );
    let lock = fs::read_to_string(Path::new(es_bus).join("../Cargo.lock")).expect("the lock file");
    // Cargo takes out of the copy what the two crates do not need; so what it was copied from is
    // kept beside it, to see when that changes.
    let origin = root.join("Cargo.lock.origin");
    if !fs::read_to_string(&origin).is_ok_and(|old| old == lock) {
        fs::write(root.join("Cargo.lock"), &lock).expect("written");
        fs::write(origin, lock).expect("written");
    }
}

fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("written");
}

/// Writes what was found into the file.
fn bless(case: &Case, found: &[Finding]) {
    // The lines as they were compiled: old expectations are lines too.
    let mut out = String::new();
    for (i, line) in case.source.lines().enumerate() {
        if !line.trim_start().starts_with("//~") {
            out.push_str(line);
            out.push('\n');
        }
        for (ups, finding) in found.iter().filter(|finding| finding.line == i + 1).enumerate() {
            out.push_str(&format!("//~{} {finding}\n", "^".repeat(ups + 1)));
        }
    }
    if out != case.source {
        fs::write(&case.path, out).expect("written");
    }
}
