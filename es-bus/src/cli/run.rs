//! `run`: the service itself.

use super::{CommandError, Context, Exit, args::RunArgs};

pub(super) async fn run(args: &RunArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let mut builder = cx.code()?;
    if !args.group.is_empty() {
        builder = builder.said("groups", args.group.join(","));
    }
    builder.build()?.run().await?;
    Ok(Exit::Done)
}
