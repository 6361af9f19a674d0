//! `config`: the effective configuration.

use serde_json::json;

use super::{CommandError, Context, Exit, args::ConfigArgs};

pub(super) fn config(_args: &ConfigArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    // Also of a program whose declarations do not fit together.
    let config = cx.builder()?.configuration()?;
    if cx.is_json() {
        let sections = config.sections().into_iter().map(
            |section| json!({ "group": section.group, "handler": section.handler, "settings": section.rows }),
        );
        let sections: Vec<_> = sections.collect();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        cx.json(&json!({ "sections": sections, "warnings": warnings }))?;
        return Ok(Exit::Done);
    }
    cx.say(&config.to_string())?;
    for warning in &config.warnings {
        let word = cx.io.err_style.yellow("warning");
        cx.remark(&format!("{word}: {warning}"))?;
    }
    Ok(Exit::Done)
}
