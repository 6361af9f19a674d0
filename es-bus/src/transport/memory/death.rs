//! What a message carries after it was dead-lettered: `x-death`, as RabbitMQ 3.x writes it, and the
//! rule that ends automatic cycles.

use crate::{
    message::{Headers, Message, Value},
    name::QueueName,
};

/// Why a queue does not keep a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Rejected,
    Expired,
    MaxLen,
    DeliveryLimit,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// One death of a message.
pub(super) struct Death<'a> {
    pub(super) queue: &'a QueueName,
    pub(super) reason: Reason,
    /// Where it was published to.
    pub(super) exchange: &'a str,
    /// With which key.
    pub(super) routing_key: &'a str,
    /// When, in seconds since the Unix epoch.
    pub(super) time: u64,
}

impl Death<'_> {
    /// Writes the death into the headers, and takes the expiration away.
    ///
    /// A second death in one queue for one reason counts on; the latest stands first.
    pub(super) fn record(&self, message: &mut Message) {
        let headers = &mut message.headers;
        let deaths = match headers.remove("x-death") {
            Some(Value::Array(deaths)) => deaths,
            _ => Vec::new(),
        };
        if deaths.is_empty() {
            headers.insert("x-first-death-reason", self.reason.as_str());
            headers.insert("x-first-death-queue", self.queue.as_str());
            headers.insert("x-first-death-exchange", self.exchange);
        }
        let (mut same, others): (Vec<_>, Vec<_>) = deaths.into_iter().partition(|death| self.is_again(death));
        let latest = match same.pop() {
            Some(Value::Table(mut death)) => {
                let count = death.get_int("count").unwrap_or(0);
                death.insert("count", Value::I64(count.saturating_add(1)));
                death
            }
            _ => self.table(message.headers.get("CC"), message.properties.expiration.as_deref()),
        };
        let all = std::iter::once(Value::Table(latest)).chain(others).collect();
        message.headers.insert("x-death", Value::Array(all));
        message.properties.expiration = None;
    }

    fn is_again(&self, death: &Value) -> bool {
        death.as_table().is_some_and(|death| {
            death.get_str("queue") == Some(self.queue.as_str())
                && death.get_str("reason") == Some(self.reason.as_str())
        })
    }

    fn table(&self, cc: Option<&Value>, expiration: Option<&str>) -> Headers {
        let mut keys = vec![Value::from(self.routing_key)];
        keys.extend(cc.and_then(Value::as_array).into_iter().flatten().cloned());
        let mut table = Headers::new();
        table.insert("count", Value::I64(1));
        table.insert("reason", self.reason.as_str());
        table.insert("queue", self.queue.as_str());
        table.insert("time", Value::Timestamp(self.time));
        table.insert("exchange", self.exchange);
        table.insert("routing-keys", keys);
        if let Some(expiration) = expiration {
            table.insert("original-expiration", expiration.to_owned());
        }
        table
    }
}

/// Whether a message that comes to a queue again went round without anybody having rejected it.
pub(super) fn is_cycle(queue: &QueueName, headers: &Headers) -> bool {
    let Some(deaths) = headers.get("x-death").and_then(Value::as_array) else { return false };
    let mut rejected = false;
    for death in deaths.iter().filter_map(Value::as_table) {
        rejected |= death.get_str("reason") == Some(Reason::Rejected.as_str());
        if death.get_str("queue") == Some(queue.as_str()) {
            return !rejected;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die(message: &mut Message, queue: &str, reason: Reason) {
        let queue = QueueName::new(queue).unwrap();
        Death { queue: &queue, reason, exchange: "events", routing_key: "Order.Placed", time: 7 }
            .record(message);
    }

    fn deaths(message: &Message) -> Vec<(String, i64)> {
        let deaths = message.headers.get("x-death").unwrap().as_array().unwrap();
        deaths
            .iter()
            .map(|death| {
                let death = death.as_table().unwrap();
                (death.get_str("queue").unwrap().to_owned(), death.get_int("count").unwrap())
            })
            .collect()
    }

    #[test]
    fn the_latest_death_stands_first_and_a_repeated_one_counts_on() {
        let mut message = Message::default();
        message.properties.expiration = Some("100".into());

        die(&mut message, "retry", Reason::Expired);
        die(&mut message, "work", Reason::Rejected);
        die(&mut message, "retry", Reason::Expired);

        assert_eq!(deaths(&message), [("retry".to_owned(), 2), ("work".to_owned(), 1)]);
        assert_eq!(message.headers.get_str("x-first-death-queue"), Some("retry"));
        assert_eq!(message.properties.expiration, None);
        let retry = message.headers.get("x-death").unwrap().as_array().unwrap()[0].as_table().unwrap();
        assert_eq!(retry.get_str("original-expiration"), Some("100"));
    }

    #[test]
    fn a_cycle_is_one_only_while_nobody_rejects() {
        let (work, retry) = (QueueName::new("work").unwrap(), QueueName::new("retry").unwrap());
        let mut message = Message::default();
        die(&mut message, "work", Reason::Expired);
        die(&mut message, "retry", Reason::Expired);
        assert!(is_cycle(&work, &message.headers) && is_cycle(&retry, &message.headers));

        die(&mut message, "dlq", Reason::Rejected);
        assert!(!is_cycle(&work, &message.headers));
        assert!(!is_cycle(&QueueName::new("other").unwrap(), &message.headers));
    }
}
