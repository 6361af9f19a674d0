//! Settings of a group that lose events, each with what it loses.

use crate::{
    duration,
    model::{Overflow, policy::OnExhausted},
    topology::GroupSpec,
};

/// What is lost, and what would keep it.
pub(super) type Loss = (String, &'static str);

/// One for each setting.
pub(super) fn of(group: &GroupSpec) -> Vec<Loss> {
    let settings = &group.settings;
    let name = group.name.as_str();
    let kept = group.keeps_dead_letters();
    let mut cautions = Vec::new();
    if let Some(ttl) = settings.message_ttl {
        let ttl = duration::print(ttl);
        let end = if kept { format!("are dead-lettered to {}", group.dlq) } else { "are lost".to_owned() };
        cautions.push((format!(
            "group {name:?} has message_ttl {ttl}: events that no worker took within {ttl}, after an outage say, {end}"
        ), "leave `message_ttl` out to keep them"));
    }
    if settings.on_exhausted == OnExhausted::Drop && !group.is_exclusive() {
        cautions.push((format!(
            "group {name:?} has on_exhausted \"drop\": events that its handlers give up are lost, and counted as dropped"
        ), "set it to \"dead_letter\" to keep them"));
    }
    if group.is_exclusive() {
        cautions.push((format!(
            "group {name:?} is exclusive: it misses what is published while this process is away, and drops what its \
             handlers give up"
        ), "leave `exclusive` out for a queue that stays"));
    }
    if let Some(expires) = settings.expires {
        let expires = duration::print(expires);
        cautions.push((format!(
            "group {name:?} has expires {expires}: without a worker for that long its queue is deleted, with the \
             events in it"
        ), "leave `expires` out to keep them"));
    }
    let has_limit = settings.max_length.is_some() || settings.max_length_bytes.is_some();
    if has_limit && settings.overflow == Overflow::DropHead {
        let end =
            if kept { "dead-letters its oldest events, at most once" } else { "loses its oldest events" };
        cautions.push((
            format!("group {name:?} has overflow \"drop-head\": a full queue {end}"),
            "leave `overflow` out, and a full queue refuses publishes",
        ));
    }
    if let Some(ttl) = settings.dlq_ttl.filter(|_| kept) {
        let ttl = duration::print(ttl);
        cautions.push((
            format!("group {name:?} has dlq_ttl {ttl}: dead letters are lost after {ttl}"),
            "leave `dlq_ttl` out to keep them",
        ));
    }
    if settings.dlq_max_length.is_some() && group.is_shared_with_eventsource() {
        cautions.push((format!(
            "group {name:?} has dlq_max_length, and its dead-letter queue is eventsource-py's: a full one loses the \
             oldest dead letters"
        ), "leave `dlq_max_length` out to keep them"));
    }
    if !settings.durable {
        cautions.push((
            format!("group {name:?} has durable = false: a restart of the broker loses its events"),
            "leave `durable` out to keep them",
        ));
    }
    if settings.auto_delete {
        cautions.push((format!(
            "group {name:?} has auto_delete: its queue is deleted, with the events in it, when its last worker stops"
        ), "leave `auto_delete` out to keep them"));
    }
    cautions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology::{
        GroupSettings,
        fixtures::{group_with, handler},
    };

    fn cautions(change: impl FnOnce(&mut GroupSettings)) -> Vec<String> {
        let losses = of(&group_with(vec![handler("project", &["Order.*"], None)], change));
        losses.into_iter().map(|(lost, help)| format!("{lost}; {help}")).collect()
    }

    #[test]
    fn a_group_that_loses_nothing_needs_no_warning() {
        assert_eq!(cautions(|_| {}), Vec::<String>::new());
        assert_eq!(cautions(|settings| settings.dlq_max_length = Some(10)), Vec::<String>::new());
    }

    #[test]
    fn says_what_each_setting_loses() {
        let hour = Some(Duration::from_secs(3600));

        let all = cautions(|settings| {
            settings.message_ttl = hour;
            settings.on_exhausted = OnExhausted::Drop;
            settings.expires = hour;
            settings.max_length = Some(10);
            settings.overflow = Overflow::DropHead;
            settings.durable = false;
            settings.auto_delete = true;
        });

        insta::assert_snapshot!(all.join("\n"));
    }
}
