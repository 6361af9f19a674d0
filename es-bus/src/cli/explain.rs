//! `explain`: who gets an event, and why somebody does not.

use super::{CommandError, Context, Exit, args::ExplainArgs, output::lines};
use crate::topology::explain::Question;

pub(super) fn explain(args: &ExplainArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let bus = cx.look()?;
    let explanation = bus.explain(&question(args)).map_err(CommandError::Explain)?;
    if cx.is_json() {
        cx.json(&explanation)?;
    } else {
        cx.say(&format!("{}\n", lines(explanation.to_string().trim_end())))?;
    }
    Ok(Exit::Done)
}

fn question(args: &ExplainArgs) -> Question {
    let mut question = match (&args.about.event, &args.about.key) {
        (Some(event), _) => Question::event(event),
        // One of the two is there: the parser sees to it.
        (None, key) => Question::key(key.clone().unwrap_or_default()),
    };
    if let Some(exchange) = &args.exchange {
        question = question.exchange(exchange);
    }
    for (name, value) in &args.header {
        question = question.header(name, value.as_str());
    }
    match &args.why {
        Some(why) => question.why(why),
        None => question,
    }
}
