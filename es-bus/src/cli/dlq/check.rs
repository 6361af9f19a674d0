//! `dlq check`: fails when there are too many.

use serde_json::json;

use super::counted;
use crate::cli::{CommandError, Context, Exit, args::CheckDlqArgs, output::count};

pub(super) async fn check(args: &CheckDlqArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let all = counted(&args.whose, cx).await?;
    let is_over = |count: Option<u64>| count.is_some_and(|count| count > args.max);
    let ok = !all.iter().any(|one| is_over(one.count));
    let exit = if ok { Exit::Done } else { Exit::Failed };
    if cx.is_json() {
        let rows: Vec<_> = all
            .iter()
            .map(|one| {
                json!({ "group": one.group, "queue": one.queue, "count": one.count, "ok": !is_over(one.count) })
            })
            .collect();
        cx.json(&json!({ "ok": ok, "max": args.max, "queues": rows }))?;
        return Ok(exit);
    }
    let style = cx.io.style;
    for one in &all {
        let found = one.count.map_or_else(|| "not declared yet".to_owned(), |it| count(it, "dead letter"));
        let word = if is_over(one.count) { style.red("fail") } else { style.green("ok  ") };
        let more = if is_over(one.count) { format!(", more than {}", args.max) } else { String::new() };
        cx.say(&format!("{word}  {}: {found}{more}\n", one.queue))?;
    }
    if !ok {
        let program = &cx.program;
        let text =
            format!("look at them with `{program} dlq list`, and send them back with `{program} dlq replay`");
        cx.say(&format!("      help: {text}\n"))?;
    }
    Ok(exit)
}
