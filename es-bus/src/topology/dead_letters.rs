//! Where a group's dead letters go: a queue of its own, or one that groups share. Pure.

use std::collections::BTreeSet;

use super::{
    build::{Conflict, delivery_limit},
    group::GroupSpec,
};
use crate::{
    model::{Overflow, Queue, QueueKind, policy::DlxKind},
    topic,
};

/// The dead-letter queue of a group.
pub(super) fn queue(group: &GroupSpec) -> Queue {
    let settings = &group.settings;
    let untyped = group.is_shared_with_eventsource();
    let queue = Queue {
        durable: settings.durable,
        message_ttl: settings.dlq_ttl,
        max_length: settings.dlq_max_length,
        delivery_limit: delivery_limit(settings.dlq_kind),
        limits_in: settings.limits_in,
        untyped,
        ..Queue::durable(group.dlq.clone(), settings.dlq_kind)
    };
    if untyped {
        // eventsource-py says nothing of what happens to a message that does not fit.
        return queue;
    }
    // Dropping the oldest dead letter would lose it; a full queue keeps the event where it failed.
    Queue { overflow: settings.dlq_max_length.map(|_| Overflow::RejectPublish), ..queue }
}

/// What cannot be about the dead letters of several groups, or of one.
pub(super) fn check(groups: &[&GroupSpec], event_exchanges: &BTreeSet<String>) -> Vec<Conflict> {
    let groups: Vec<&GroupSpec> = groups.iter().copied().filter(|group| group.keeps_dead_letters()).collect();
    let mut conflicts = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if event_exchanges.contains(group.dlx.as_str()) {
            conflicts.push(Conflict::Among {
                group: group.name.as_str().to_owned(),
                exchange: group.dlx.as_str().to_owned(),
            });
        }
        if !takes(group, &group.dlq_key) {
            conflicts.push(nowhere(group));
        }
        for other in &groups[..index] {
            conflicts.extend(exchange_differs(other, group));
            conflicts.extend(queue_differs(other, group));
            conflicts.extend(leak(group, other));
            conflicts.extend(leak(other, group));
        }
    }
    conflicts
}

/// Whether what is published to the group's dead-letter exchange with this key ends in its queue.
fn takes(group: &GroupSpec, key: &str) -> bool {
    if group.dlx.as_str().is_empty() {
        return key == group.dlq.as_str();
    }
    match group.settings.dlx_kind {
        DlxKind::Direct => key == group.dlq_bind,
        DlxKind::Topic => topic::matches(&group.dlq_bind, key),
        DlxKind::Fanout => true,
    }
}

fn nowhere(group: &GroupSpec) -> Conflict {
    let by_name = !group.dlx.as_str().is_empty();
    Conflict::Nowhere {
        group: group.name.as_str().to_owned(),
        key: group.dlq_key.clone(),
        dlq: group.dlq.as_str().to_owned(),
        dlx: if by_name { format!("{:?}", group.dlx.as_str()) } else { "the default exchange".to_owned() },
        bind: if by_name { group.dlq_bind.clone() } else { group.dlq.as_str().to_owned() },
    }
}

fn exchange_differs(one: &GroupSpec, other: &GroupSpec) -> Option<Conflict> {
    let kinds = [one.settings.dlx_kind, other.settings.dlx_kind];
    (one.dlx == other.dlx && !one.dlx.as_str().is_empty() && kinds[0] != kinds[1]).then(|| {
        shared(
            "the dead-letter exchange",
            one.dlx.as_str(),
            [one, other],
            format!("dlx_kind ({}, {})", kinds[0], kinds[1]),
            "dlx",
        )
    })
}

fn queue_differs(one: &GroupSpec, other: &GroupSpec) -> Option<Conflict> {
    if one.dlq != other.dlq {
        return None;
    }
    let rows = |group: &GroupSpec| {
        let settings = &group.settings;
        let text = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        [
            ("dlq_kind", QueueKind::as_str(settings.dlq_kind).to_owned()),
            ("dlq_ttl", text(settings.dlq_ttl.map(|ttl| format!("{ttl:?}")))),
            ("dlq_max_length", text(settings.dlq_max_length.map(|length| length.to_string()))),
            ("durable", settings.durable.to_string()),
            ("compat", text(settings.compat.map(|compat| compat.to_string()))),
        ]
    };
    let differing: Vec<String> = rows(one)
        .into_iter()
        .zip(rows(other))
        .filter(|((_, one), (_, other))| one != other)
        .map(|((name, one), (_, other))| format!("{name} ({one}, {other})"))
        .collect();
    (!differing.is_empty())
        .then(|| shared("the dead-letter queue", one.dlq.as_str(), [one, other], differing.join(", "), "dlq"))
}

fn shared(
    what: &'static str,
    name: &str,
    [one, other]: [&GroupSpec; 2],
    differing: String,
    key: &'static str,
) -> Conflict {
    Conflict::Shared {
        what,
        name: name.to_owned(),
        one: one.name.as_str().to_owned(),
        other: other.name.as_str().to_owned(),
        differing,
        key,
    }
}

/// Whether another group's dead-letter queue takes this group's dead letters too.
fn leak(group: &GroupSpec, other: &GroupSpec) -> Option<Conflict> {
    let apart = group.dlx == other.dlx && !group.dlx.as_str().is_empty() && group.dlq != other.dlq;
    (apart && takes(other, &group.dlq_key)).then(|| Conflict::Leak {
        group: group.name.as_str().to_owned(),
        key: group.dlq_key.clone(),
        dlx: group.dlx.as_str().to_owned(),
        other: other.name.as_str().to_owned(),
        other_dlq: other.dlq.as_str().to_owned(),
        bind: other.dlq_bind.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::policy::OnExhausted,
        topology::{
            GroupSettings,
            fixtures::{PLACED, handler, named_with},
        },
    };

    fn group(name: &str, change: impl FnOnce(&mut GroupSettings)) -> GroupSpec {
        named_with(name, vec![handler("project", &["Order.*"], Some(&[PLACED]))], change)
    }

    /// As the ERP's services have it: one exchange and one queue for all dead letters.
    fn erp(settings: &mut GroupSettings) {
        settings.dlx = "dlx.events".parse().unwrap();
        settings.dlx_kind = DlxKind::Topic;
        settings.dlq = "dlq.events".parse().unwrap();
        settings.dlq_bind = Some("#".parse().unwrap());
        settings.dlq_key = Some("{queue}.dead".parse().unwrap());
    }

    fn conflicts(groups: &[GroupSpec], events: &BTreeSet<String>) -> Vec<Conflict> {
        check(&groups.iter().collect::<Vec<_>>(), events)
    }

    fn texts(groups: &[GroupSpec]) -> Vec<String> {
        let events = BTreeSet::from(["events".to_owned()]);
        conflicts(groups, &events).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn groups_that_agree_share_one_dead_letter_queue() {
        let groups = [group("stock", erp), group("billing", erp)];

        assert_eq!(texts(&groups), Vec::<String>::new());
        assert_eq!(groups[1].dlq_key, "events.billing.dead");
    }

    #[test]
    fn groups_that_share_and_differ_are_both_named() {
        let billing = group("billing", |settings| {
            erp(settings);
            settings.dlq_max_length = Some(10);
            settings.dlq_kind = QueueKind::Classic;
            settings.dlx_kind = DlxKind::Fanout;
        });

        let texts = texts(&[group("stock", erp), billing]);

        assert_eq!(
            texts,
            [
                "groups \"stock\" and \"billing\" share the dead-letter exchange \"dlx.events\" and differ in \
                 dlx_kind (topic, fanout); let both say the same, or give one of them a name of its own (`dlx`)",
                "groups \"stock\" and \"billing\" share the dead-letter queue \"dlq.events\" and differ in \
                 dlq_kind (quorum, classic), dlq_max_length (none, 10); let both say the same, or give one of \
                 them a name of its own (`dlq`)",
            ]
        );
    }

    #[test]
    fn a_dead_letter_has_somewhere_to_go() {
        let lost = group("stock", |settings| {
            settings.dlq_key = Some("{queue}.dead".parse().unwrap());
            settings.dlq_bind = Some("{queue}".parse().unwrap());
        });
        let by_default = group("stock", |settings| settings.dlx = "amq.default".parse().unwrap());
        let by_wrong_key = group("stock", |settings| {
            settings.dlx = "amq.default".parse().unwrap();
            settings.dlq_key = Some("failed".parse().unwrap());
        });

        assert!(matches!(&conflicts(&[lost], &BTreeSet::new())[..], [Conflict::Nowhere { .. }]));
        assert_eq!(by_default.dlq_key, "events.stock.dlq");
        assert_eq!(conflicts(&[by_default], &BTreeSet::new()), []);
        assert!(matches!(&conflicts(&[by_wrong_key], &BTreeSet::new())[..], [Conflict::Nowhere { .. }]));
    }

    #[test]
    fn dead_letters_stay_with_their_group_and_out_of_the_events() {
        let wide = group("audit", |settings| {
            erp(settings);
            settings.dlq = "dlq.audit".parse().unwrap();
        });
        let narrow = group("stock", |settings| {
            erp(settings);
            settings.dlq = "dlq.stock".parse().unwrap();
            settings.dlq_bind = None;
        });
        let among = group("among", |settings| {
            erp(settings);
            settings.dlx = "events".parse().unwrap();
        });

        assert!(
            matches!(&conflicts(&[wide, narrow], &BTreeSet::new())[..], [Conflict::Leak { group, .. }] if group == "stock")
        );
        assert!(texts(&[among])[0].contains("name another `dlx`"));
    }

    #[test]
    fn a_group_that_drops_what_it_gives_up_has_no_part_in_it() {
        let dropping = group("stock", |settings| {
            settings.on_exhausted = OnExhausted::Drop;
            settings.dlx = "events".parse().unwrap();
        });

        assert_eq!(texts(&[dropping]), Vec::<String>::new());
    }
}
