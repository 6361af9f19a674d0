//! `doctor`: what is wrong with the service on its broker, and what to do.
//!
//! Each file looks at one thing, in the order in which one rests on the other, and gives [`Finding`]s; what they
//! mean is decided by pure functions of what the broker said. It is asked over AMQP, so that any service can ask it;
//! what only the management API knows (rights, versions, alarms, bindings) is for `management`, where that feature is on
//! and the API is there.

mod broker;
mod dead_letters;
mod finding;
#[cfg(feature = "management")]
mod management;
mod program;
mod queues;
mod topology;

use std::time::Duration;

use serde_json::json;

use self::finding::{Finding, Status};
use super::{CommandError, Context, Exit, args::DoctorArgs, context::Program, output::count};
#[cfg(feature = "management")]
use crate::error::Error;

pub(super) async fn doctor(args: &DoctorArgs, cx: &mut Context<'_>) -> Result<Exit, CommandError> {
    let findings = examine(args.watch, cx).await?;
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    if cx.is_json() {
        cx.json(&json!({ "ok": !failed, "findings": findings }))?;
    } else {
        let style = cx.io.style;
        let lines: Vec<String> = findings.iter().map(|finding| finding.text(style)).collect();
        cx.say(&lines.concat())?;
        cx.say(&format!("\n{}\n", summary(&findings)))?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

async fn examine(watch: Duration, cx: &mut Context<'_>) -> Result<Vec<Finding>, CommandError> {
    let bus = match cx.operated() {
        Ok(bus) => bus,
        Err(CommandError::Bus(error)) => return Ok(program::refused(&error)),
        Err(CommandError::Manifest(error)) => return Ok(program::unread(&error)),
        Err(error) => return Err(error),
    };
    cx.remark_part(&bus)?;
    let mut findings = program::checked(&bus);
    let program = Program::of(&bus);
    #[cfg(feature = "management")]
    let looked = match management::looked(&bus, &cx.program).await {
        Ok(looked) => looked,
        Err(error @ Error::Transport(_)) => {
            findings.extend(broker::refused(&error));
            return Ok(findings);
        }
        // What AMQP is asked below tells it in its own words.
        Err(_) => management::Looked::default(),
    };
    match cx.open(bus).await {
        Ok(()) => {}
        Err(CommandError::Bus(error)) => {
            findings.extend(broker::refused(&error));
            return Ok(findings);
        }
        Err(error) => return Err(error),
    }
    let transport = cx.transport();
    let before = dead_letters::counted(&*transport, &program).await;
    findings.push(broker::connected(&transport.describe()));
    findings.push(broker::probed(&*transport).await);
    #[cfg(feature = "management")]
    let has_compared = looked.has_compared;
    #[cfg(not(feature = "management"))]
    let has_compared = false;
    #[cfg(feature = "management")]
    findings.extend(looked.findings);
    if !has_compared {
        findings.extend(topology::compared(&*transport, &program, &cx.program).await);
    }
    findings.extend(queues::consumed(&*transport, &program, &cx.program).await);
    if !before.is_empty() {
        tokio::time::sleep(watch).await;
    }
    let after = dead_letters::counted(&*transport, &program).await;
    findings.extend(dead_letters::watched(&before, &after, watch, &cx.program));
    Ok(findings)
}

fn summary(findings: &[Finding]) -> String {
    let of = |status| findings.iter().filter(|finding| finding.status == status).count();
    let [ok, warnings, failures] =
        [Status::Ok, Status::Warn, Status::Fail].map(|status| u64::try_from(of(status)).unwrap_or(u64::MAX));
    format!("{ok} ok, {}, {}", count(warnings, "warning"), count(failures, "failure"))
}
