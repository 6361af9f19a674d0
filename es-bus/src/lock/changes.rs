//! What changed between two locks, and what of it a running system does not stand. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Arguments, Lock, LockFinding, LockedBinding, LockedExchange, LockedGroup, LockedQueue, Settings, events,
    finding::Findings, text::inline,
};

impl Lock {
    /// What changed from this lock, which somebody agreed to, to what a program declares now. What would break a
    /// running system comes first; nothing at all when both are the same.
    ///
    /// What breaks: another kind, setting or argument of an exchange or a queue that is there; a binding that is
    /// dropped and not retired; a group or a handler that is gone and is nobody's `formerly`; a group whose queue is
    /// another one; an event that is gone while a queue is still bound to it, or goes elsewhere; and a schema
    /// that one side cannot read:
    ///
    /// | a field | new readers, old messages | old readers, new messages |
    /// | --- | --- | --- |
    /// | comes, required | break | read on, unless the event was closed to unknown fields |
    /// | comes, optional | read on | read on, unless the event was closed to unknown fields |
    /// | goes, was required | read on, unless the event is closed | break |
    /// | goes, was optional | read on, unless the event is closed | read on |
    /// | becomes required | break | read on |
    /// | becomes optional | read on | read on, while it is still written |
    /// | has another type | break | break |
    #[must_use]
    pub fn check(&self, now: &Self) -> Vec<LockFinding> {
        let mut findings = Findings::default();
        each(
            &self.exchanges,
            &now.exchanges,
            "exchange",
            &mut findings,
            exchange,
            |name, findings, subject| {
                // It goes with the queue, of which the group tells.
                if !self.is_migrated(now, |queue| {
                    *name == format!("{queue}.in") || *name == format!("{queue}.retry")
                }) {
                    findings.harmless(
                        subject,
                        "not declared any more; it stays on the broker until it is deleted there",
                    );
                }
            },
        );
        each(&self.queues, &now.queues, "queue", &mut findings, queue, |name, findings, subject| {
            if self.queues.get(name).is_some_and(is_stream) {
                findings.breaks(
                    subject,
                    "is gone; it is a stream, which stays bound and goes on to keep what comes",
                    "delete it when the last replica of the old version has brought on what is in it",
                );
                return;
            }
            let belongs = |queue: &str| {
                *name == format!("{queue}.suspects") || name.starts_with(&format!("{queue}.retry."))
            };
            // Of the queue that a group works on, the group tells.
            if !self.is_migrated(now, belongs)
                && !self.groups.values().any(|group| group.queue == *name || group.dlq.as_ref() == Some(name))
            {
                findings.harmless(
                    subject,
                    "not declared any more; what waits in it still comes back, and it can be deleted when it is empty",
                );
            }
        });
        self.check_groups(now, &mut findings);
        events::check(&self.events, now, &mut findings);
        if self.format >= SAYS_SETTINGS {
            self.check_settings(now, &mut findings);
            events::messages(&self.events, &now.events, &mut findings);
        }
        findings.into_vec()
    }

    /// What a lock says besides, for who knows the program by it alone. What it leads to is told above.
    fn check_settings(&self, now: &Self, findings: &mut Findings) {
        said_otherwise(&self.settings, &now.settings, "", "settings", findings);
        for (name, was) in &self.exchanges {
            let Some(is) = now.exchanges.get(name).filter(|is| is.declared != was.declared) else { continue };
            let found =
                if is.declared { "is declared by itself now" } else { "is not declared by itself any more" };
            findings.harmless(&format!("exchange {name:?}"), found);
        }
        for (name, was) in &self.groups {
            let Some(is) = now.groups.get(name) else { continue };
            let subject = format!("group {name:?}");
            said_otherwise(&was.settings, &is.settings, "", &subject, findings);
            for old in &was.handlers {
                let Some(new) = is.handlers.iter().find(|new| new.name == old.name) else { continue };
                let handler = format!("handler {:?}: ", old.name);
                said_otherwise(&old.settings, &new.settings, &handler, &subject, findings);
                if old.emits != new.emits {
                    let shown = |names: &[String]| match names {
                        [] => "nothing".to_owned(),
                        names => names.join(", "),
                    };
                    let (was, is) = (shown(&old.emits), shown(&new.emits));
                    findings.harmless(&subject, format!("{handler}it published {was}, publishes {is}"));
                }
                if (&old.binds, old.foreign) != (&new.binds, new.foreign) {
                    let shown = |binds: &Option<Vec<toml::Value>>| match binds {
                        Some(binds) => binds.iter().map(inline).collect::<Vec<_>>().join(", "),
                        None => "the events that it takes".to_owned(),
                    };
                    let foreign =
                        if old.foreign == new.foreign { "" } else { ", and whose the events are differs" };
                    let found = format!(
                        "{handler}it asked for {}, asks for {}{foreign}",
                        shown(&old.binds),
                        shown(&new.binds)
                    );
                    findings.harmless(&subject, found);
                }
            }
        }
    }

    /// What stands here of exchanges, queues and groups that the same program does not come to under other settings.
    #[cfg(feature = "cli")]
    pub(super) fn contradictions(&self, now: &Self) -> Vec<String> {
        let mut findings = Findings::default();
        let gone = |subject: &str, findings: &mut Findings| findings.breaks(subject, "is not declared", "");
        for (name, was) in &self.exchanges {
            let subject = format!("exchange {name:?}");
            match now.exchanges.get(name) {
                Some(is) => exchange(was, is, &subject, &mut findings),
                None => gone(&subject, &mut findings),
            }
        }
        for (name, was) in &self.queues {
            let subject = format!("queue {name:?}");
            match now.queues.get(name) {
                Some(is) => queue(was, is, &subject, &mut findings),
                None => gone(&subject, &mut findings),
            }
        }
        for (name, was) in &self.groups {
            let Some(is) = now.groups.get(name) else { continue };
            let subject = format!("group {name:?}");
            if !was.queue.is_empty() && was.queue != is.queue {
                findings.breaks(&subject, format!("its queue was {:?}, is {:?}", was.queue, is.queue), "");
            }
            if was.dlq.is_some() && was.dlq != is.dlq {
                let shown = |dlq: &Option<String>| dlq.clone().unwrap_or_else(|| "none".to_owned());
                let (was, is) = (shown(&was.dlq), shown(&is.dlq));
                findings.breaks(&subject, format!("its dead-letter queue was {was:?}, is {is:?}"), "");
            }
        }
        findings.into_vec().into_iter().map(|it| format!("{}: {}", it.subject, it.found)).collect()
    }

    /// Whether something belongs to the queue of a group that has another name and another queue now.
    fn is_migrated(&self, now: &Self, belongs: impl Fn(&str) -> bool) -> bool {
        self.groups.iter().filter(|(_, was)| belongs(&was.queue)).any(|(name, was)| {
            !now.groups.contains_key(name)
                && now.groups.values().any(|is| is.formerly.contains(name) && is.queue != was.queue)
        })
    }

    fn check_groups(&self, now: &Self, findings: &mut Findings) {
        let gone = |name: &String, findings: &mut Findings, subject: &str| {
            let Some(was) = self.groups.get(name) else { return };
            let heir = |is: &dyn Fn(&LockedGroup) -> bool| now.groups.iter().find(|(_, group)| is(group));
            let same_queue = heir(&|group| group.queue == was.queue);
            match same_queue.or_else(|| heir(&|group| group.formerly.contains(name))) {
                Some((heir, group)) if group.queue == was.queue => {
                    findings.harmless(subject, format!("is group {heir:?} now, with the same queue"));
                    handlers(was, group, subject, findings);
                }
                Some((heir, group)) => {
                    findings.harmless(
                        subject,
                        format!(
                            "is group {heir:?} now: `topology migrate` moves what is in {:?} to {:?}, before this \
                             version starts and once more when the last replica of the old one is gone",
                            was.queue, group.queue
                        ),
                    );
                    handlers(was, group, subject, findings);
                }
                None => findings.breaks(
                    subject,
                    format!("is gone, and its queue {:?} stays bound and fills", was.queue),
                    format!(
                        "renamed, say so (`#[group(formerly = {name:?})]`) and let `topology migrate` move what is in \
                         it, or keep the queue (`queue = {:?}`); given up, let a version run that retires its events and \
                         works off what is left, then delete the queue",
                        was.queue
                    ),
                ),
            }
        };
        each(&self.groups, &now.groups, "group", findings, group, gone);
    }
}

/// The first format that has settings.
const SAYS_SETTINGS: i64 = 2;

/// Tells settings that were said otherwise.
fn said_otherwise(was: &Settings, is: &Settings, before: &str, subject: &str, findings: &mut Findings) {
    for (name, was, is) in differing(was, is) {
        findings.harmless(subject, format!("{before}{name} was {was}, is {is}"));
    }
}

/// Compares what has the same name, and tells what came and what went.
fn each<T: PartialEq>(
    was: &BTreeMap<String, T>,
    is: &BTreeMap<String, T>,
    what: &str,
    findings: &mut Findings,
    changed: impl Fn(&T, &T, &str, &mut Findings),
    gone: impl Fn(&String, &mut Findings, &str),
) {
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for name in names {
        let subject = format!("{what} {name:?}");
        match (was.get(name), is.get(name)) {
            (Some(was), Some(is)) if was != is => changed(was, is, &subject, findings),
            (Some(_), Some(_)) | (None, None) => {}
            (Some(_), None) => gone(name, findings, &subject),
            (None, Some(_)) => findings.harmless(&subject, "is new"),
        }
    }
}

fn exchange(was: &LockedExchange, is: &LockedExchange, subject: &str, findings: &mut Findings) {
    let remedy = "an exchange cannot be changed: declare one of another name, publish and bind to both for a while, or \
                  delete this one while nothing is published";
    let mut differs = vec![("kind", was.kind.clone(), is.kind.clone())];
    let flag = |name, was: bool, is: bool| (name, was.to_string(), is.to_string());
    differs.push(flag("durable", was.durable, is.durable));
    differs.push(flag("auto_delete", was.auto_delete, is.auto_delete));
    differs.push(flag("internal", was.internal, is.internal));
    settings(differs, &was.arguments, &is.arguments, subject, findings, remedy);
    for binding in was.from.iter().filter(|binding| !is.from.contains(binding)) {
        findings.breaks(
            subject,
            format!(
                "{} is dropped; it stays on the broker, and goes on to bring what whoever is bound here asks for",
                shown(binding)
            ),
            "prune it when the last replica of the old version is gone",
        );
    }
    for binding in is.from.iter().filter(|binding| !was.from.contains(binding)) {
        findings.harmless(subject, format!("{} is new", shown(binding)));
    }
}

fn shown(binding: &LockedBinding) -> String {
    let by: Vec<String> =
        binding.arguments.iter().map(|(name, value)| format!("{name} = {}", inline(value))).collect();
    let by = if by.is_empty() { format!("{:?}", binding.key) } else { by.join(", ") };
    format!("the binding to exchange {:?} by {by}", binding.exchange)
}

fn is_stream(queue: &LockedQueue) -> bool {
    queue.arguments.get("x-queue-type").and_then(toml::Value::as_str) == Some("stream")
}

fn queue(was: &LockedQueue, is: &LockedQueue, subject: &str, findings: &mut Findings) {
    let remedy = if is_stream(was) {
        "the broker refuses to declare it so (406), and a stream is not migrated: keep what it has, and let a policy set \
         another limit"
    } else {
        "the broker refuses to declare it so (406): keep what it has, let `topology migrate` change the queue \
         before this version starts, or give it another name"
    };
    let flag = |name, was: bool, is: bool| (name, was.to_string(), is.to_string());
    let flags = vec![
        flag("durable", was.durable, is.durable),
        flag("exclusive", was.exclusive, is.exclusive),
        flag("auto_delete", was.auto_delete, is.auto_delete),
    ];
    settings(flags, &was.arguments, &is.arguments, subject, findings, remedy);
    for (name, was, is) in differing(&was.policy, &is.policy) {
        findings.harmless(
            subject,
            format!("{name} in its policy was {was}, is {is}: a plan or a start changes it in place"),
        );
    }
    for binding in was.bindings.iter().filter(|binding| !is.bindings.contains(binding)) {
        if is.retired.contains(binding) {
            findings.harmless(subject, format!("{} is retired", shown(binding)));
        } else {
            findings.breaks(
                subject,
                format!(
                    "{} is dropped; it stays on the broker, and goes on to bring events that nothing here asks for",
                    shown(binding)
                ),
                "retire it (`retired = [..]` of the group), or prune it when the last replica of the old version is gone",
            );
        }
    }
    for binding in is.bindings.iter().filter(|binding| !was.bindings.contains(binding)) {
        findings.harmless(subject, format!("{} is new", shown(binding)));
    }
    let retired = is.retired.iter().filter(|binding| !was.retired.contains(binding));
    for binding in retired.filter(|binding| !was.bindings.contains(binding)) {
        findings.harmless(subject, format!("{} is retired", shown(binding)));
    }
    for binding in was.retired.iter().filter(|it| !is.retired.contains(it) && !is.bindings.contains(it)) {
        findings.harmless(subject, format!("{} is not taken back any more", shown(binding)));
    }
}

/// Settings and arguments, none of which the broker lets be changed.
fn settings(
    flags: Vec<(&str, String, String)>,
    was: &Arguments,
    is: &Arguments,
    subject: &str,
    findings: &mut Findings,
    remedy: &str,
) {
    let flags = flags.into_iter().filter(|(_, was, is)| was != is);
    for (name, was, is) in flags.chain(differing(was, is)) {
        findings.breaks(subject, format!("{name} was {was}, is {is}"), remedy);
    }
}

/// What has another value, with both.
fn differing<'a>(was: &'a Arguments, is: &'a Arguments) -> impl Iterator<Item = (&'a str, String, String)> {
    let shown = |value: Option<&toml::Value>| value.map_or_else(|| "not set".to_owned(), inline);
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let all = names.into_iter().map(move |name| (name.as_str(), shown(was.get(name)), shown(is.get(name))));
    all.filter(|(_, was, is)| was != is)
}

fn group(was: &LockedGroup, is: &LockedGroup, subject: &str, findings: &mut Findings) {
    if was.queue != is.queue {
        findings.breaks(
            subject,
            format!("its queue was {:?}, is {:?}: the old one stays bound and fills", was.queue, is.queue),
            format!("keep it (`queue = {:?}`), or migrate what is in it", was.queue),
        );
    }
    match (&was.dlq, &is.dlq) {
        (Some(was), Some(is)) if was == is => {}
        (Some(was), is) => findings.breaks(
            subject,
            match is {
                Some(is) => format!(
                    "its dead letters went to {was:?}, go to {is:?}: what is in the old one is forgotten"
                ),
                None => format!("its dead letters went to {was:?}, and are dropped now"),
            },
            format!("keep it, or replay or export what is in {was:?} before"),
        ),
        (None, Some(is)) => findings.harmless(subject, format!("its dead letters go to {is:?}")),
        (None, None) => {}
    }
    for name in was.formerly.iter().filter(|name| !is.formerly.contains(name)) {
        findings.breaks(
            subject,
            format!("is not known as {name:?} any more"),
            format!(
                "leave it in `formerly` until `topology plan` shows nothing of {name:?} on any broker; then write the lock \
                 anew"
            ),
        );
    }
    for name in is.formerly.iter().filter(|name| !was.formerly.contains(name)) {
        findings.harmless(subject, format!("was {name:?}"));
    }
    handlers(was, is, subject, findings);
}

fn handlers(was: &LockedGroup, is: &LockedGroup, subject: &str, findings: &mut Findings) {
    for old in &was.handlers {
        if is.handlers.iter().any(|new| new.name == old.name) {
            continue;
        }
        match is.handlers.iter().find(|new| new.formerly.contains(&old.name)) {
            Some(heir) => {
                findings.harmless(subject, format!("handler {:?} is {:?} now", old.name, heir.name))
            }
            None => findings.breaks(
                subject,
                format!(
                    "handler {:?} is gone: its retries that still wait end as dead letters (handler_gone)",
                    old.name
                ),
                format!(
                    "renamed, say so (`formerly = [{:?}]`); given up, let its retries run out before it goes",
                    old.name
                ),
            ),
        }
    }
    for new in &is.handlers {
        let Some(old) = was.handlers.iter().find(|old| old.name == new.name) else {
            if !new.formerly.iter().any(|name| was.handlers.iter().any(|old| old.name == *name)) {
                findings.harmless(subject, format!("handler {:?} is new", new.name));
            }
            continue;
        };
        if old.takes != new.takes {
            let shown = |takes: &Option<Vec<String>>| {
                takes.as_ref().map_or_else(|| "raw events".to_owned(), |takes| takes.join(", "))
            };
            findings.harmless(
                subject,
                format!("handler {:?} took {}, takes {}", new.name, shown(&old.takes), shown(&new.takes)),
            );
        }
        for name in old.formerly.iter().filter(|name| !new.formerly.contains(name)) {
            findings.breaks(
                subject,
                format!("handler {:?} is not known as {name:?} any more", new.name),
                format!("leave it in `formerly` until no retry and no dead letter names {name:?}"),
            );
        }
        for name in new.formerly.iter().filter(|name| !old.formerly.contains(name)) {
            findings.harmless(subject, format!("handler {:?} was {name:?}", new.name));
        }
    }
}
