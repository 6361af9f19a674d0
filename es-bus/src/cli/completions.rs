//! `completions`: for shells.

use super::{CommandError, Context, Exit, args::CompletionsArgs, described};

pub(super) fn completions(args: &CompletionsArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let mut command = described(&cx.program, cx.has_manifest);
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, cx.program.as_str(), &mut text);
    cx.say(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}
