//! `dlq count`.

use serde_json::json;

use super::counted;
use crate::cli::{
    CommandError, Context, Exit,
    args::CountArgs,
    output::{Table, count as number_of},
};

pub(super) async fn count(args: &CountArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let all = counted(&args.whose, cx).await?;
    if cx.is_json() {
        let rows: Vec<_> = all
            .iter()
            .map(|one| json!({ "group": one.group, "queue": one.queue, "count": one.count }))
            .collect();
        cx.json(&rows)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["GROUP", "DEAD-LETTER QUEUE", "DEAD LETTERS"]);
    for one in &all {
        let count = one.count.map_or_else(|| "not declared yet".to_owned(), |count| count.to_string());
        table.row([one.group.clone().unwrap_or_default(), one.queue.clone(), count]);
    }
    cx.say(&table.render(cx.io.style))?;
    if all.len() > 1 {
        let total = all.iter().filter_map(|one| one.count).sum();
        cx.say(&format!("\n{} in all\n", number_of(total, "dead letter")))?;
    }
    Ok(Exit::Done)
}
