//! `init`: the files that a new service wants.
//!
//! Copies of those at the root of the repository, so that the packaged crate has them; `tests/config_files.rs` holds them equal.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde_json::json;

use super::{CommandError, Context, Exit, args::InitArgs};

/// Each file by the name it is written under.
const FILES: [(&str, &str); 4] = [
    ("es-bus.toml", include_str!("es-bus.toml")),
    (".env.example", include_str!("env.example")),
    ("compose.yaml", include_str!("compose.yaml")),
    ("compose.cluster.yaml", include_str!("compose.cluster.yaml")),
];

pub(super) fn init(args: &InitArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let not_written =
        |path: &Path, source| CommandError::File { path: path.to_owned(), what: "written", source };
    fs::create_dir_all(&args.dir).map_err(|source| not_written(&args.dir, source))?;
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (name, text) in FILES {
        let path = args.dir.join(name);
        match write(&path, text, args.force) {
            Ok(()) => written.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                kept.push(path.display().to_string())
            }
            Err(error) => return Err(not_written(&path, error)),
        }
    }
    if cx.is_json() {
        cx.json(&json!({ "written": written, "kept": kept }))?;
        return Ok(Exit::Done);
    }
    for path in &written {
        cx.say(&format!("written  {path}\n"))?;
    }
    for path in &kept {
        cx.say(&format!("kept     {path}  (there already; --force overwrites it)\n"))?;
    }
    if !written.is_empty() {
        cx.say(&format!(
            "\nNext: cp .env.example .env, choose user and password in it, docker compose up --wait, then {} doctor\n",
            cx.program
        ))?;
    }
    Ok(Exit::Done)
}

/// Writes a file that is not there, or, when told to, one that is.
fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true);
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    options.open(path)?.write_all(text.as_bytes())
}
