//! The answer in words, for a person.

use std::fmt;

use super::{
    BindingAnswer, DeadLetters, End, ExchangeAnswer, Explanation, GroupAnswer, HandlerAnswer, Nobody,
    OtherHandler, Retry, RetryPlace, Subject, Unknown, WhyAnswer,
};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        for hint in &self.hints {
            write!(f, "\n  {hint}")?;
        }
        for exchange in &self.exchanges {
            write!(f, "\n\n{exchange}")?;
        }
        for group in &self.groups {
            write!(f, "\n\n{group}")?;
        }
        if let Some(nobody) = self.nobody {
            write!(f, "\n\n{nobody}")?;
        }
        for (index, why) in self.why.iter().enumerate() {
            write!(f, "{}{why}", if index == 0 { "\n\n" } else { "\n" })?;
        }
        Ok(())
    }
}

/// ` (src/orders.rs:12)`, where it is known.
fn at(declared: Option<&String>) -> String {
    declared.map(|place| format!(" ({place})")).unwrap_or_default()
}

fn named(exchange: &str) -> String {
    if exchange.is_empty() { "the default exchange".to_owned() } else { format!("exchange {exchange:?}") }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.event, &self.aggregate) {
            (Some(event), Some(aggregate)) => write!(f, "{event} of {aggregate}")?,
            (Some(event), None) => f.write_str(event)?,
            (None, _) => f.write_str("a message that names no type")?,
        }
        f.write_str(&at(self.declared.as_ref()))?;
        if !self.emitted_by.is_empty() {
            write!(f, ", emitted by {}", self.emitted_by.join(", "))?;
        }
        write!(f, "\n  is published to {} with the key {:?}", named(&self.exchange), self.routing_key)
    }
}

impl fmt::Display for ExchangeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}{})",
            named(&self.exchange),
            self.kind,
            if self.internal { ", internal" } else { "" }
        )?;
        if self.bindings.is_empty() && self.onward.is_empty() {
            f.write_str("\n  has no binding that this program knows of")?;
        }
        if let Some(hashes) = &self.hashes {
            write!(f, "\n  gives it to one of these, by a hash over {hashes}")?;
        }
        let yes = if self.hashes.is_some() { "may" } else { "yes" };
        let width = |text: fn(&BindingAnswer) -> &str| {
            self.bindings.iter().map(|binding| text(binding).chars().count()).max().unwrap_or(0)
        };
        let onward = self.onward.iter().map(|onward| onward.asks.chars().count()).max().unwrap_or(0);
        let (asks, queue) = (width(|binding| &binding.asks).max(onward), width(|binding| &binding.queue));
        for binding in &self.bindings {
            let verdict = if binding.delivers { yes } else { "no " };
            let (left, right) = (&binding.asks, &binding.queue);
            let why = match &binding.because {
                Some(because) => because.clone(),
                None if binding.handlers.is_empty() => binding.whose.clone(),
                None => format!("for {}", binding.handlers.join(", ")),
            };
            write!(f, "\n  {verdict} {left:asks$} -> {right:queue$}  {why}")?;
        }
        for onward in &self.onward {
            let verdict = if onward.delivers { yes } else { "no " };
            let why = onward.because.as_ref().map_or_else(String::new, |because| format!("  {because}"));
            write!(f, "\n  {verdict} {:asks$} -> {}{why}", onward.asks, named(&onward.exchange))?;
        }
        if let Some(alternate) = &self.alternate
            && self.bindings.iter().all(|binding| !binding.delivers)
            && self.onward.iter().all(|onward| !onward.delivers)
        {
            write!(f, "\n  so it goes to its alternate exchange, {alternate:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for GroupAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elsewhere = if self.is_consumed { "" } else { ", which this process does not consume" };
        write!(f, "group {:?} (queue {}){elsewhere}", self.group, self.queue)?;
        for handler in &self.handlers {
            write!(f, "\n  {handler}")?;
        }
        if let Some(unknown) = &self.unknown {
            write!(f, "\n  {unknown}")?;
        }
        for other in &self.others {
            write!(f, "\n  {other}")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        match &self.dead_letters {
            Some(dead_letters) => write!(f, "\n  {dead_letters}"),
            None => f.write_str("\n  no dead letters are kept"),
        }
    }
}

impl fmt::Display for HandlerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runs {}{}, for {} at most; ", self.handler, at(self.declared.as_ref()), self.timeout)?;
        write!(f, "what fails is {}{}", self.retry, self.end)
    }
}

/// `tried again after 1s, 2s, 4s, then `; the end follows.
impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.delays.is_empty() {
            return f.write_str("not tried again: ");
        }
        let delays: Vec<String> = self
            .delays
            .iter()
            .map(|delay| match delay.times {
                1 => delay.after.clone(),
                times => format!("{times} × {}", delay.after),
            })
            .collect();
        let place = match self.place {
            RetryPlace::Queue => "",
            RetryPlace::InPlace => " where it is",
            RetryPlace::Memory => " from memory",
        };
        write!(f, "tried again{place} after {}, then ", delays.join(", "))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadLettered(queue) => f.write_str(queue),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no handler takes it: ")?;
        match self {
            Self::Skipped => f.write_str("it is acknowledged, and counted as skipped"),
            Self::Waits { delay, times, then } => {
                write!(f, "it waits {times} × {delay} for a replica that does, then {then}")
            }
            Self::Ends(End::DeadLettered(queue)) => write!(f, "it goes to {queue} at once"),
            Self::Ends(End::Dropped) => f.write_str("it is dropped at once"),
        }
    }
}

impl fmt::Display for OtherHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}{}: {}", self.handler, at(self.declared.as_ref()), self.because.join("; "))
    }
}

impl fmt::Display for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dead letters are kept in {}", self.queue)?;
        if let Some(ttl) = &self.ttl {
            write!(f, " for {ttl}")?;
        }
        if let Some(length) = self.max_length {
            write!(f, ", {length} at most")?;
        }
        write!(f, "; by {} with the key {:?}", named(&self.exchange), self.routing_key)
    }
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "nobody gets it: the exchange is internal, and the broker refuses the publish",
            Self::Counted => {
                "nobody in this program gets it: unless another service takes it, the event is gone, the publish is \
                 Ok, and it is counted as unroutable"
            }
            Self::Silent => {
                "nobody in this program gets it: unless another service takes it, the event is gone, the publish is \
                 Ok, and nothing is said (`optional`)"
            }
            Self::Mandatory => {
                "nobody in this program gets it: unless another service takes it, the publish is an error (`mandatory`)"
            }
            Self::Raw => {
                "nobody in this program gets it: unless another service takes it, the publish is an error, or the \
                 message is gone where that was `optional()`"
            }
        })
    }
}

impl fmt::Display for WhyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, handler, .. } = self;
        let place = at(self.declared.as_ref());
        if self.runs {
            return write!(f, "{group}/{handler}{place} gets it");
        }
        write!(f, "{group}/{handler}{place} does not get it:")?;
        match self.because.as_slice() {
            [because] => write!(f, " {because}")?,
            several => several.iter().try_for_each(|because| write!(f, "\n  {because}"))?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}
