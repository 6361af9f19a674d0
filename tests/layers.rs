//! Keeps the rooms of es-bus in their layers: reads every file in `es-bus/src`, and finds who names
//! whom. The tables below are the law; `ARCHITECTURE.md` explains it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each room with its layer. A room may name rooms of its own layer and of lower ones.
const LAYERS: [(u8, &[&str]); 7] = [
    (
        0,
        &[
            "name",
            "topic",
            "message",
            "event",
            "exchange",
            "location",
            "metadata",
            "wire",
            "route",
            "retry",
            "duration",
            "percent",
            "suggest",
            "event_set",
            "telemetry",
        ],
    ),
    (1, &["model"]),
    (
        2,
        &[
            "outcome",
            "extract",
            "handler",
            "registry",
            "const_check",
            "blocking",
            "scope",
            "subscriber",
            "schema",
        ],
    ),
    (3, &["transport", "clock"]),
    (4, &["topology", "otel", "publish", "dead_letters", "worker"]),
    (
        5,
        &[
            "config",
            "shutdown",
            "error",
            "testing",
            "bus",
            "logging",
            "check_macro",
            "guide",
            "monitor",
            "lock",
            "asyncapi",
            "http",
        ],
    ),
    (6, &["cli"]),
];

/// What generated code calls. No room names it, and it names these layers at most.
const PRIVATE: &str = "private";
const PRIVATE_USES: u8 = 5;

/// A path, and the only modules that may name it; with none, nobody may.
const ONLY: [(&str, &[&str]); 14] = [
    ("lapin", &["transport::amqp"]),
    ("hyper", &["http", "transport::amqp::management"]),
    ("tokio_rustls", &["transport::amqp::management"]),
    ("opentelemetry", &["otel"]),
    ("regex_lite", &["model"]),
    ("std::env", &["config"]),
    ("inventory", &["registry", PRIVATE]),
    ("linkme", &["registry", PRIVATE]),
    ("tokio::signal", &["shutdown"]),
    ("std::process::exit", &["shutdown"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("anstream", &["cli"]),
    ("indicatif", &["cli"]),
];

/// A crate that layers up to this one do without: time and chance reach them as arguments.
const FROM_ABOVE: [(&str, u8); 3] = [("tokio", 1), ("lapin", 2), ("rand", 1)];

/// The library speaks through `tracing`.
const MUTE: [&str; 5] = ["println", "eprintln", "print", "eprint", "dbg"];

#[test]
fn rooms_name_only_rooms_of_their_own_layer_or_lower() {
    let breaches = check(&library());

    assert!(breaches.is_empty(), "\n\n{}\n", breaches.join("\n"));
}

#[test]
fn architecture_tells_the_layers_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("ARCHITECTURE.md");

    for (layer, rooms) in LAYERS {
        let row =
            text.lines().find(|line| line.starts_with(&format!("| {layer} "))).expect("a row per layer");
        let cell = row.split('|').nth(2).expect("a cell of rooms");
        let mut told: Vec<&str> = cell.split('`').skip(1).step_by(2).filter(|room| is_room(room)).collect();
        let mut held: Vec<&str> = rooms.iter().copied().filter(|room| is_room(room)).collect();
        told.sort_unstable();
        held.sort_unstable();
        assert_eq!(told, held, "layer {layer} of ARCHITECTURE.md, and of LAYERS");
    }
}

/// Whether there is a room of that name: LAYERS holds places for rooms to come.
fn is_room(name: &str) -> bool {
    let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).join("../es-bus/src");
    rooms.join(name).is_dir() || rooms.join(name).with_extension("rs").is_file()
}

#[test]
fn finds_every_kind_of_breach() {
    for (file, source, expected) in [
        ("retry.rs", "use crate::worker::Worker;", "`retry` (layer 0) names `worker` (layer 4)"),
        ("retry.rs", "use crate::{name::QueueName, bus::Bus as B};", "names `bus`"),
        ("retry.rs", "use crate::{\n    name::{self},\n    bus,\n};", "retry.rs:3: "),
        ("retry.rs", "fn f() { crate::bus::run() }", "names `bus`"),
        ("retry.rs", "fn f() -> Vec<crate::bus::Bus> { vec![] }", "names `bus`"),
        ("retry.rs", "fn f() { select! { a = crate::bus::run() => {} } }", "names `bus`"),
        ("retry.rs", "pub(in crate::bus) fn f() {}", "names `bus`"),
        ("retry.rs", "use super::bus;", "names `bus`"),
        ("retry.rs", "fn f() { for _ in 0..crate::bus::LIMIT {} }", "names `bus`"),
        ("retry.rs", "fn f() -> A { A { ..crate::bus::A } }", "names `bus`"),
        ("model/queue.rs", "use super::super::bus;", "names `bus`"),
        ("model/mod.rs", "use super::bus;", "names `bus`"),
        ("retry.rs", "use crate::Bus;", "`crate::Bus` hides its room"),
        ("retry.rs", "use crate::*;", "`crate::*` hides its room"),
        ("bus.rs", "use crate::__private::submit;", "names `private`"),
        ("cupboard.rs", "", "`cupboard` is not in LAYERS"),
        ("transport/memory/mod.rs", "use lapin::Channel;", "`lapin` only in `transport::amqp`"),
        ("transport/mod.rs", "fn f(_: lapin::Channel) {}", "`lapin` only in"),
        ("worker.rs", "use lapin;", "`lapin` only in"),
        ("bus.rs", "use std::{env, fs};", "`std::env` only in `config`"),
        ("bus.rs", "fn f() { ::std::env::var(\"A\"); }", "`std::env` only in"),
        ("handler.rs", "inventory::collect!(Handler);", "`inventory` only in `registry`, `private`"),
        ("handler.rs", "#[linkme::distributed_slice] static A: [u8];", "`linkme` only in"),
        ("bus.rs", "use tokio::{select, signal::unix};", "`tokio::signal` only in `shutdown`"),
        ("bus.rs", "fn f() { std::process::exit(1) }", "`std::process::exit` only in"),
        ("model/queue.rs", "use tokio::time::Instant;", "no `tokio` up to layer 1"),
        ("bus.rs", "fn f() { println!(\"on\"); }", "no `println!`"),
        ("bus.rs", "fn f() { matches!({ std::eprintln!() }, ()) }", "no `eprintln!`"),
        ("bus.rs", "fn f() { \" }", "does not parse"),
    ] {
        let breaches = check(&[(file.into(), source.into())]);
        assert!(
            breaches.iter().any(|breach| breach.contains(expected)),
            "{file}: {source}\nexpected: {expected}\nfound: {breaches:?}",
        );
    }
}

#[test]
fn lets_pass_what_is_allowed() {
    for (file, source) in [
        ("lib.rs", "pub use self::bus::Bus; use tokio::signal;"),
        ("bus.rs", "use crate::{bus::Bus, retry::RetryPolicy};"),
        (
            "retry.rs",
            "// use crate::bus;\n/* crate::bus /* crate::bus */ */\n/// [`crate::bus::Bus`]\npub struct A;",
        ),
        ("retry.rs", "const A: &str = \"crate::bus\"; const B: &str = r#\"lapin::\"#; const C: char = '\"';"),
        ("retry.rs", "pub(crate) fn f<'a>(a: &'a u8) {} use super::name;"),
        ("retry.rs", "#[cfg(test)]\nmod tests { use super::*; use crate::bus::Bus; }"),
        ("retry.rs", "#[cfg(test)]\nuse crate::bus::Bus;"),
        (
            "retry.rs",
            "#[cfg(all(test, feature = \"amqp\"))]\n#[path = \"a.rs\"]\nmod tests { use crate::bus; }",
        ),
        ("retry/tests.rs", "use crate::bus::Bus;"),
        ("retry/rule.rs", "use super::super::name; use super::bus;"),
        ("private.rs", "pub use crate::registry::Registry; pub use inventory;"),
        ("handler.rs", "macro_rules! m { () => { $crate::__private::inventory::submit! {} } }"),
        ("transport/amqp/connect.rs", "use lapin::Channel; use tokio::net;"),
        ("config.rs", "use std::env;"),
        (
            "bus.rs",
            "const A: &str = env!(\"A\"); fn f(a: A) { a.env(); a.inventory::<u8>(); my::lapin::f(); }",
        ),
        ("outcome.rs", "fn f() { crate::registry::failures(); }"),
    ] {
        assert_eq!(check(&[(file.into(), source.into())]), Vec::<String>::new(), "{file}: {source}");
    }
}

#[test]
fn knows_a_macro_by_the_room_that_defines_it() {
    let defined = ("worker.rs".to_owned(), "macro_rules! each { () => {} }".to_owned());

    let breaches = check(&[defined.clone(), ("retry.rs".into(), "use crate::each;".into())]);
    assert!(breaches.iter().any(|breach| breach.contains("names `worker`")), "{breaches:?}");

    assert_eq!(check(&[defined, ("bus.rs".into(), "crate::each!();".into())]), Vec::<String>::new());
}

/// All breaches in the given files, each with its place.
fn check(sources: &[(String, String)]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut files = Vec::new();
    for (file, source) in sources {
        match source.parse::<TokenStream>() {
            Ok(tokens) => files.push((file, tokens)),
            Err(error) => breaches.push(format!("es-bus/src/{file}: does not parse: {error}")),
        }
    }

    let mut macros = BTreeMap::new();
    let mut found = Vec::new();
    for (file, tokens) in files {
        let module = module_of(file);
        // The front page wires the rooms together.
        let Some(room) = module.first() else { continue };
        if module.last().is_some_and(|last| last == "tests") {
            continue;
        }
        let mut names = Names::default();
        names.read(tokens);
        macros.extend(names.defined.iter().map(|name| (name.clone(), room.clone())));
        found.push((file, module, names));
    }

    for (file, module, names) in &found {
        let room = &*module[0];
        if rank(room).is_none() {
            breaches.push(format!(
                "es-bus/src/{file}: the room `{room}` is not in LAYERS: add it there, in the lowest layer that \
                 holds all it uses (tests/layers.rs), and to ARCHITECTURE.md"
            ));
            continue;
        }
        for (path, line) in &names.paths {
            let breach = match target(path, module) {
                Some(first) => inside(room, first, &macros),
                None => outside(module, path),
            };
            breaches.extend(breach.map(|breach| format!("es-bus/src/{file}:{line}: {breach}")));
        }
        for (name, line) in &names.called {
            if MUTE.contains(&&**name) {
                breaches.push(format!(
                    "es-bus/src/{file}:{line}: no `{name}!` in the library: it speaks through `tracing`"
                ));
            }
        }
    }
    breaches
}

/// What is wrong with `room` naming `crate::{first}`.
fn inside(room: &str, first: &str, macros: &BTreeMap<String, String>) -> Option<String> {
    let named = match first {
        "__private" => PRIVATE,
        _ if rank(first).is_some() => first,
        _ => match macros.get(first) {
            Some(home) => home,
            None => {
                return Some(format!(
                    "`crate::{first}` hides its room: name it as `crate::{{room}}::{first}`"
                ));
            }
        },
    };
    let (own, other) = (rank(room)?, rank(named)?);
    let highest = if room == PRIVATE { PRIVATE_USES } else { own };
    (room != named && other > highest).then(|| {
        format!("`{room}` (layer {own}) names `{named}` (layer {other}), and may go up to layer {highest}")
    })
}

/// What is wrong with a module naming something of another crate.
fn outside(module: &[String], path: &[String]) -> Option<String> {
    let own = rank(&module[0])?;
    let starts = |prefix: &str| {
        prefix.split("::").zip(path).filter(|(a, b)| a == b).count() == prefix.split("::").count()
    };
    for (name, layer) in FROM_ABOVE {
        if own <= layer && starts(name) {
            return Some(format!("no `{name}` up to layer {layer}, and `{}` is in layer {own}", module[0]));
        }
    }
    let module = module.join("::");
    let within = |home: &&str| module == *home || module.starts_with(&format!("{home}::"));
    let (name, homes) = ONLY.iter().find(|(name, homes)| starts(name) && !homes.iter().any(within))?;
    if homes.is_empty() {
        return Some(format!("`{name}` nowhere in the library"));
    }
    let homes: Vec<String> = homes.iter().map(|home| format!("`{home}`")).collect();
    Some(format!("`{name}` only in {}", homes.join(", ")))
}

/// The layer of a room; the private one is above all.
fn rank(room: &str) -> Option<u8> {
    if room == PRIVATE {
        return Some(u8::MAX);
    }
    LAYERS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(layer, _)| *layer)
}

/// The first segment after the crate's root, for a path that starts there, by `crate` or by enough
/// `super`.
fn target<'a>(path: &'a [String], module: &[String]) -> Option<&'a str> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    let start = match &*path[0] {
        "crate" => 1,
        "super" if ups == module.len() => ups,
        _ => return None,
    };
    path.get(start).map(String::as_str)
}

/// `transport/amqp/connect.rs` is `[transport, amqp, connect]`; the front page is `[]`.
fn module_of(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// Every source file of es-bus, by its path below `src`.
fn library() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../es-bus/src");
    let files: Vec<(String, String)> = rust_files(&root)
        .into_iter()
        .map(|path| {
            let source = fs::read_to_string(&path).expect("a readable file");
            let inside = path.strip_prefix(&root).expect("found below it");
            (inside.to_str().expect("named in UTF-8").to_owned(), source)
        })
        .collect();
    assert!(files.iter().any(|(file, _)| file == "lib.rs"), "{} is not es-bus", root.display());
    files
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What a file names, each with its line; comments and texts are no names, tests are left out.
#[derive(Default)]
struct Names {
    /// Paths of two segments or more, and what a `use` brings in; braces are multiplied out.
    paths: Vec<(Vec<String>, usize)>,
    /// Macros that are called.
    called: Vec<(String, usize)>,
    /// Macros that are defined.
    defined: Vec<String>,
}

impl Names {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    at + 1
                }
                TokenTree::Ident(_) => self.path(&[], &tokens, at),
                // `$crate` is written here and read elsewhere.
                TokenTree::Punct(punct) if punct.as_char() == '$' => skip_path(&tokens, at + 1),
                TokenTree::Punct(punct) if punct.as_char() == '#' && is_for_tests(tokens.get(at + 1)) => {
                    skip_item(&tokens, at + 2)
                }
                // A range, then a field or a method.
                TokenTree::Punct(punct) if punct.as_char() == '.' => {
                    match is_punct(tokens.get(at + 1), '.') {
                        true => at + 2,
                        false => skip_path(&tokens, at + 1),
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    /// Reads the path that starts at `at`, below `prefix`, and returns where it ends.
    fn path(&mut self, prefix: &[String], tokens: &[TokenTree], mut at: usize) -> usize {
        let line = tokens[at].span().start().line;
        let imported =
            !prefix.is_empty() || at.checked_sub(1).is_some_and(|before| is_ident(&tokens[before], "use"));
        let mut path = prefix.to_vec();
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(ident)) => path.push(ident.to_string()),
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && !path.is_empty() => {
                    path.push("*".into())
                }
                Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Brace && !path.is_empty() =>
                {
                    self.branches(&path, group.stream());
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
            if !is_colons(tokens, at) {
                break;
            }
            at += 2;
        }
        if is_punct(tokens.get(at), '!') && !is_punct(tokens.get(at + 1), '=') {
            let name = path.last().cloned().unwrap_or_default();
            match (&*name, tokens.get(at + 1)) {
                ("macro_rules", Some(TokenTree::Ident(defined))) => self.defined.push(defined.to_string()),
                _ => self.called.push((name, line)),
            }
        }
        if path.len() > 1 || imported {
            self.paths.push((path, line));
        }
        at
    }

    /// Reads what stands between the braces of a `use`.
    fn branches(&mut self, prefix: &[String], tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for branch in tokens.split(|token| is_punct(Some(token), ',')) {
            if !branch.is_empty() {
                self.path(prefix, branch, 0);
            }
        }
    }
}

/// Whether this is the group of `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn is_for_tests(attribute: Option<&TokenTree>) -> bool {
    let text: String = attribute.map(ToString::to_string).unwrap_or_default().split_whitespace().collect();
    text == "[cfg(test)]" || text.starts_with("[cfg(all(test,")
}

/// Where the item ends that starts at `at`: after its `;` or its braces.
fn skip_item(tokens: &[TokenTree], at: usize) -> usize {
    let import = tokens.get(at).is_some_and(|token| is_ident(token, "use"));
    let ends = |token: &TokenTree| {
        let braces = matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        is_punct(Some(token), ';') || (braces && !import)
    };
    tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1)
}

fn skip_path(tokens: &[TokenTree], mut at: usize) -> usize {
    while matches!(tokens.get(at), Some(TokenTree::Ident(_))) {
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    at
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_ident(token: &TokenTree, wanted: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == wanted)
}

/// The macro crate cannot use es-bus, so that both have the table of the arguments that no group sets.
#[test]
fn both_crates_know_the_same_arguments_as_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let [of_macros, of_library] = ["es-bus-macros/src/settings/queue.rs", "es-bus/src/model/arguments.rs"]
        .map(|file| {
            let text = fs::read_to_string(root.join(file)).expect(file);
            let (_, table) = text.split_once("const OWNED").expect("a table");
            table.split_once("];").expect("its end").0.to_owned()
        });

    assert_eq!(of_macros, of_library);
}
