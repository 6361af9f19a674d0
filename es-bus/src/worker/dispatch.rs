//! Which handlers a delivery goes to. Pure.

use crate::{
    event::EventKind,
    exchange::ExchangeKind,
    message::Headers,
    model::policy::OnUnknown,
    topology::{Claims, GroupSpec, HandlerSpec},
    wire::{HandlerAttempt, Origin},
};

/// What is to be done with a delivery.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Some handlers are concerned.
    Handlers(Concerned),
    /// Nobody in this group takes it, and that is meant.
    Skip,
    /// Nobody in this group knows it.
    Unknown(OnUnknown),
}

/// The handlers that a delivery concerns.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Concerned {
    /// Those that run now, by their place in the group, with the attempts that failed before.
    pub(super) run: Vec<(usize, u32)>,
    /// Those whose time has not come.
    pub(super) later: Vec<HandlerAttempt>,
    /// Those that this build does not have.
    pub(super) gone: Vec<HandlerAttempt>,
    /// Those whose layers let them make no attempt; found out when they run.
    pub(super) unattempted: Vec<HandlerAttempt>,
}

impl Concerned {
    /// Goes by a count that a worker of eventsource-py may have raised meanwhile: it counts the
    /// failures of an event, not of a handler.
    pub(super) fn count_from(&mut self, count: u32) {
        if self.run.iter().all(|(_, attempt)| *attempt < count) {
            for (_, attempt) in &mut self.run {
                *attempt = count;
            }
        }
    }
}

/// Finds the handlers that a delivery goes to.
///
/// A copy that a retry made names the handlers that it is for; every other delivery goes to each
/// handler that one of its own bindings brings it to, by the rule of the binding's exchange, and that
/// takes its type. What was put into the queue itself goes to each that takes its type.
pub(super) fn plan(
    group: &GroupSpec,
    origin: &Origin,
    headers: &Headers,
    aggregate_type: Option<&str>,
    pending: Vec<HandlerAttempt>,
    now_ms: u64,
) -> Plan {
    let takers = group.takers();
    let is_for_all = takers.is_for_all(group, &origin.exchange, &origin.routing_key, headers);
    if pending.is_empty() {
        let claims = Claims {
            exchange: &origin.exchange,
            routing_key: &origin.routing_key,
            event_type: origin.event_type.as_deref(),
            aggregate_type,
            headers,
        };
        let run: Vec<_> =
            takers.find(group, claims, is_for_all).into_iter().map(|index| (index, 0)).collect();
        if !run.is_empty() {
            return Plan::Handlers(Concerned { run, ..Concerned::default() });
        }
        return match takers.on_unknown(&origin.routing_key) {
            OnUnknown::Skip => Plan::Skip,
            other => Plan::Unknown(other),
        };
    }
    let mut concerned = Concerned::default();
    for entry in pending {
        let handler = takers.named(&entry.handler).filter(|&index| {
            let handler = &group.handlers[index];
            (is_for_all || is_still_asked_for(handler, origin)) && takes(handler, origin, aggregate_type)
        });
        match handler {
            None => concerned.gone.push(entry),
            Some(_) if entry.due_ms.is_some_and(|due| due > now_ms) => concerned.later.push(entry),
            Some(index) => concerned.run.push((index, entry.attempt)),
        }
    }
    Plan::Handlers(concerned)
}

/// Whether a handler would still be brought an event that it failed before. The headers of a copy are
/// not asked: what did not fit beside the worker's own was cut.
fn is_still_asked_for(handler: &HandlerSpec, origin: &Origin) -> bool {
    handler.bound.iter().any(|bound| match bound.kind {
        ExchangeKind::Headers => true,
        kind => kind.delivers(&bound.key, &origin.routing_key),
    })
}

/// Whether a handler takes an event: told by its type, where it claims one, and else by its first
/// routing key.
fn takes(handler: &HandlerSpec, origin: &Origin, aggregate_type: Option<&str>) -> bool {
    handler.kinds.as_deref().is_none_or(|kinds| {
        let is_it = |kind: &EventKind| {
            kind.is_claimed(origin.event_type.as_deref(), aggregate_type, &origin.routing_key)
        };
        kinds.iter().any(is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::{PLACED, SHIPPED, group, group_with, handler};

    fn origin(event_type: Option<&str>, routing_key: &str) -> Origin {
        Origin {
            exchange: "events".to_owned(),
            routing_key: routing_key.to_owned(),
            event_type: event_type.map(str::to_owned),
            replayed: false,
        }
    }

    fn entry(handler: &str, attempt: u32, due_ms: Option<u64>) -> HandlerAttempt {
        HandlerAttempt { handler: handler.to_owned(), attempt, due_ms }
    }

    fn runs(plan: &Plan) -> Vec<(usize, u32)> {
        match plan {
            Plan::Handlers(concerned) => concerned.run.clone(),
            Plan::Skip | Plan::Unknown(_) => Vec::new(),
        }
    }

    #[test]
    fn an_event_is_told_by_its_type_and_then_by_its_key() {
        let group = group(vec![
            handler("placed", &["Order.*"], Some(&[PLACED])),
            handler("shipped", &["Order.*"], Some(&[SHIPPED])),
            handler("raw", &["#"], None),
        ]);
        for (event_type, key, expected) in [
            (Some("OrderPlaced"), "Order.OrderPlaced", vec![(0, 0), (2, 0)]),
            (Some("OrderShipped"), "Order.OrderShipped", vec![(1, 0), (2, 0)]),
            (None, "Order.OrderPlaced", vec![(0, 0), (2, 0)]),
            // What it claims beats where it was sent.
            (Some("OrderShipped"), "Order.OrderPlaced", vec![(1, 0), (2, 0)]),
            (Some("OrderLost"), "Order.OrderPlaced", vec![(2, 0)]),
            (Some("OrderPlaced"), "Elsewhere.OrderPlaced", vec![(2, 0)]),
        ] {
            let plan = plan(&group, &origin(event_type, key), &Headers::new(), None, Vec::new(), 0);
            assert_eq!(runs(&plan), expected, "{event_type:?} {key}");
        }
    }

    #[test]
    fn what_was_put_into_the_queue_itself_goes_by_its_type_alone() {
        let group = group(vec![
            handler("placed", &["Order.*"], Some(&[PLACED])),
            handler("shipped", &["Order.OrderShipped"], Some(&[SHIPPED])),
        ]);
        let put = |event_type| Origin { exchange: String::new(), ..origin(event_type, group.queue.as_str()) };
        let plan_for = |origin: &Origin, pending| plan(&group, origin, &Headers::new(), None, pending, 0);

        assert_eq!(runs(&plan_for(&put(Some("OrderPlaced")), Vec::new())), [(0, 0)]);
        assert_eq!(runs(&plan_for(&put(Some("OrderShipped")), Vec::new())), [(1, 0)]);
        // Its retries have the same origin.
        assert_eq!(runs(&plan_for(&put(Some("OrderShipped")), vec![entry("shipped", 2, None)])), [(1, 2)]);
        assert_eq!(runs(&plan_for(&put(Some("OrderLost")), Vec::new())), []);
        // A key of that name on an exchange says what every key says.
        let published = origin(Some("OrderPlaced"), group.queue.as_str());
        assert_eq!(runs(&plan_for(&published, Vec::new())), []);
    }

    #[test]
    fn the_aggregate_tells_events_of_one_name_apart() {
        const CANCELLED: EventKind = EventKind::new("Cancelled", "Order", "Order.Cancelled");
        const OTHER: EventKind = EventKind::new("Cancelled", "Invoice", "Invoice.Cancelled");
        let group = group(vec![
            handler("order", &["#"], Some(&[CANCELLED])),
            handler("invoice", &["#"], Some(&[OTHER])),
        ]);

        let plan =
            plan(&group, &origin(Some("Cancelled"), "x"), &Headers::new(), Some("Invoice"), Vec::new(), 0);

        assert_eq!(runs(&plan), [(1, 0)]);
    }

    #[test]
    fn an_unknown_event_is_skipped_under_a_wide_binding_and_waits_under_exact_ones() {
        let unknown = origin(Some("OrderLost"), "Order.OrderLost");
        let exact = || vec![handler("placed", &["Order.OrderPlaced"], Some(&[PLACED]))];
        let wide = vec![handler("placed", &["Order.*"], Some(&[PLACED]))];

        assert_eq!(plan(&group(wide), &unknown, &Headers::new(), None, Vec::new(), 0), Plan::Skip);
        assert_eq!(
            plan(&group(exact()), &unknown, &Headers::new(), None, Vec::new(), 0),
            Plan::Unknown(OnUnknown::Wait)
        );
        let refusing = group_with(exact(), |settings| settings.on_unknown = Some(OnUnknown::DeadLetter));
        assert_eq!(
            plan(&refusing, &unknown, &Headers::new(), None, Vec::new(), 0),
            Plan::Unknown(OnUnknown::DeadLetter)
        );
        let retired = group_with(exact(), |settings| settings.retired = vec!["Order.OrderLost".to_owned()]);
        assert_eq!(plan(&retired, &unknown, &Headers::new(), None, Vec::new(), 0), Plan::Skip);
    }

    #[test]
    fn a_count_that_a_python_worker_raised_is_everybodys() {
        let mut concerned = Concerned { run: vec![(0, 1), (1, 2)], ..Concerned::default() };

        concerned.count_from(2);
        assert_eq!(concerned.run, [(0, 1), (1, 2)], "written by the copy itself");
        concerned.count_from(3);
        assert_eq!(concerned.run, [(0, 3), (1, 3)]);
    }

    #[test]
    fn a_copy_is_for_the_handlers_that_it_names() {
        let group = group(vec![
            handler("one", &["Order.*"], Some(&[PLACED])),
            handler("two", &["Order.*"], Some(&[PLACED])),
        ]);
        let pending = vec![entry("two", 2, None), entry("one", 1, Some(2_000)), entry("three", 1, None)];

        let plan = plan(
            &group,
            &origin(Some("OrderPlaced"), "Order.OrderPlaced"),
            &Headers::new(),
            None,
            pending,
            1_000,
        );

        let Plan::Handlers(concerned) = plan else { panic!("{plan:?}") };
        assert_eq!(concerned.run, [(1, 2)]);
        assert_eq!(concerned.later, [entry("one", 1, Some(2_000))]);
        assert_eq!(concerned.gone, [entry("three", 1, None)]);
    }
}

#[cfg(test)]
#[path = "dispatch_scan_tests.rs"]
mod scan_tests;
