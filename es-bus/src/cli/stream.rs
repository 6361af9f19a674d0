//! `stream position`: say where a group goes on in its stream.

use serde_json::json;

use super::{
    args::{Stream, StreamPositionArgs},
    context::Context,
    error::CommandError,
    exit::Exit,
};

pub(super) async fn stream(command: &Stream, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    match command {
        Stream::Position(args) => position(args, cx).await,
    }
}

async fn position(args: &StreamPositionArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.operated_to_change()?;
    bus.set_stream_position(&args.group, args.to).await?;
    if cx.is_json() {
        cx.json(&json!({ "group": args.group, "to": args.to.to_string() }))?;
    } else {
        cx.say(&format!("group {:?} goes on at {} when its workers start", args.group, args.to))?;
    }
    Ok(Exit::Done)
}
