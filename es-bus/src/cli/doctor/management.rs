//! What the management API tells beside AMQP: versions, drift with bindings, alarms, rights.

use std::collections::BTreeMap;

use super::{Finding, topology};
use crate::{
    bus::Bus,
    cli::output::{count, line},
    error::Error,
    model::{Permissions, Topology, View},
    topology::{
        plan::{Action, Left, Plan, mismatches},
        policies::difference,
    },
    transport::{
        DeclareError,
        amqp::management::{Diagnosis, Granted, NodeState},
    },
};

const CHECK: &str = "management";
const BROKER: &str = "broker";
const PLUGINS: &str = "plugins";
const BINDINGS: &str = "bindings";
const POLICIES: &str = "policies";
const ALARMS: &str = "alarms";
const RIGHTS: &str = "rights";

/// What was found.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) findings: Vec<Finding>,
    /// Whether the topology was compared, so that nothing has to be declared to see it.
    pub(super) has_compared: bool,
}

/// Looks through the management API, where there is one.
///
/// # Errors
///
/// When there is no connection to the broker.
pub(super) async fn looked(bus: &Bus, program: &str) -> Result<Looked, Error> {
    let plan = match bus.plan().await {
        Ok(plan) => plan,
        Err(Error::Management(error)) => {
            let text = error.to_string();
            let (found, remedy) = text.split_once("; ").unwrap_or((&text, ""));
            let findings = vec![Finding::warn(CHECK, found, remedy)];
            return Ok(Looked { findings, has_compared: false });
        }
        Err(error) => return Err(error),
    };
    let address = match &plan.view {
        View::Management { address } => address.clone(),
        View::Memory => return Ok(Looked::default()),
        // The sentence that is last says why.
        View::Amqp => {
            let why = plan.unseen.last().cloned().unwrap_or_default();
            let findings = vec![Finding::ok(CHECK, format!("not asked: {why}"))];
            return Ok(Looked { findings, has_compared: false });
        }
    };
    let mut findings = vec![version(&plan, &address)];
    findings.extend(plugins(&plan, bus.topology()));
    let warnings = plan.warnings.iter();
    findings.extend(warnings.map(|it| Finding {
        remedies: Vec::new(),
        ..Finding::warn(BROKER, format!("{}: {}", it.about, it.text), "")
    }));
    match bus.diagnose().await {
        None => {}
        Some(Ok(Diagnosis { user, vhost, nodes, rights, asked_as })) => {
            findings.extend(alarms(nodes.as_deref()));
            findings.push(granted(rights.as_ref(), &bus.permissions(), &user, &vhost));
            let sets = bus.permissions().sets_policies();
            findings.extend(asked_as.filter(|_| sets).and_then(|(user, tags)| tagged(&user, &tags)));
        }
        Some(Err(error)) => findings.push(Finding::warn(CHECK, error.to_string(), "")),
    }
    findings.extend(topology::told(&differences(&plan), bus.topology(), program, true));
    findings.extend(policies(&plan, program));
    findings.extend(bindings(&plan, program));
    Ok(Looked { findings, has_compared: true })
}

fn version(plan: &Plan, address: &str) -> Finding {
    let Some(info) = &plan.info else { return Finding::ok(BROKER, format!("seen through {address}")) };
    Finding::ok(
        BROKER,
        format!("{} {} on Erlang {}, seen through {address}", info.product, info.version, info.erlang),
    )
}

/// The plugins that what is declared takes, and whether the broker has them. Pure.
fn plugins(plan: &Plan, topology: &Topology) -> Vec<Finding> {
    let mut needed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for exchange in topology.exchanges() {
        if let Some(plugin) = exchange.kind.plugin() {
            needed.entry(plugin).or_default().push(exchange.name.as_str());
        }
    }
    if needed.is_empty() {
        return vec![Finding::ok(PLUGINS, "what is declared needs none")];
    }
    let enabled = plan.info.as_ref().and_then(|info| info.plugins.as_ref());
    let told = needed.into_iter().map(|(plugin, exchanges)| {
        let what = format!("{plugin}, for {}", exchanges.join(", "));
        match enabled.map(|enabled| enabled.iter().any(|there| there == plugin)) {
            Some(true) => Finding::ok(PLUGINS, format!("{what}: enabled")),
            Some(false) => Finding::fail(
                PLUGINS,
                format!("{what}: not enabled"),
                format!("`rabbitmq-plugins enable {plugin}` on each node of the broker, which takes it without a restart"),
            ),
            None => Finding::ok(
                PLUGINS,
                format!("{what}: whether it is enabled is told only to a user with the tag monitoring"),
            ),
        }
    });
    told.collect()
}

/// What is missing or declared otherwise, in the words of the broker. Pure.
fn differences(plan: &Plan) -> Vec<DeclareError> {
    let of = |action: &Action| match action {
        Action::CreateExchange(it) => Some(("exchange", it.name.to_string())),
        Action::CreateQueue(it) => Some(("queue", it.name.to_string())),
        _ => None,
    };
    // What is missing of a group that was renamed, its migration declares.
    let is_renamed = plan.conflicts().any(|step| matches!(step.action, Action::Renamed { .. }));
    let missing = plan.changes().filter(|_| !is_renamed).filter_map(|step| of(&step.action));
    let missing = missing.map(|(what, name)| DeclareError::Missing { what, name });
    plan.conflicts().flat_map(mismatches).chain(missing).collect()
}

/// Policies that do not carry the limits that are declared. Those that are in the way are told as conflicts. Pure.
fn policies(plan: &Plan, program: &str) -> Vec<Finding> {
    let apply =
        format!("`{program} topology apply` sets it; `{program} topology plan` says what changes by that");
    let of = |action: &Action| match action {
        Action::SetPolicy { policy, was: None } => {
            let found = format!("{} is missing: queue {} has not its limits", policy.name(), policy.queue());
            Some(Finding::fail(POLICIES, found, &*apply))
        }
        Action::SetPolicy { policy, was: Some(was) } => {
            let found = format!(
                "{} says something else (there -> here): {}",
                policy.name(),
                difference(was, &policy.definition)
            );
            Some(Finding::warn(POLICIES, found, &*apply))
        }
        Action::DeletePolicy { policy, .. } => Some(Finding::warn(
            POLICIES,
            format!("{policy} is there, and its queue has no limits to carry"),
            format!("`{program} topology apply` deletes it"),
        )),
        _ => None,
    };
    plan.changes().filter_map(|step| of(&step.action)).collect()
}

/// Whether the user of the management API may set policies; nothing where it may. Pure.
fn tagged(user: &str, tags: &[String]) -> Option<Finding> {
    let may = tags.iter().any(|tag| matches!(&**tag, "policymaker" | "administrator"));
    (!may).then(|| {
        Finding::warn(
            POLICIES,
            format!("{user}, as whom the management API is asked, has not the tag policymaker: it changes no limits"),
            format!(
                "give it the tag beside those that it has (`rabbitmqctl set_user_tags {user} policymaker`), or have \
                 another user apply what is declared and run with ES_BUS_DECLARE=passive"
            ),
        )
    })
}

/// Bindings that are missing, and what is there and not declared. Pure.
fn bindings(plan: &Plan, program: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_created = |name: &str| {
        plan.changes().any(|step| match &step.action {
            Action::CreateExchange(it) => it.name.as_str() == name,
            Action::CreateQueue(it) => it.name.as_str() == name,
            _ => false,
        })
    };
    // Those of a queue that is missing need not be told, too.
    let missing: Vec<String> = plan
        .changes()
        .filter_map(|step| match &step.action {
            Action::Bind(it) if !is_created(it.queue.as_str()) && !is_created(it.source.as_str()) => {
                Some(format!("{} to {} by {:?}", it.source, it.queue, it.key))
            }
            _ => None,
        })
        .collect();
    if !missing.is_empty() {
        findings.push(Finding {
            remedies: vec![
                format!("`{program} topology apply` makes them; a start of the service does, too"),
                "what was published meanwhile did not come: look whether it has to be published again"
                    .to_owned(),
            ],
            ..Finding::fail(BINDINGS, format!("missing: {}", missing.join(", ")), "")
        });
    }
    let mut left_over = Vec::new();
    for step in plan.left() {
        let Action::Leave(left) = &step.action else { continue };
        match left {
            Left::Policy(name) => left_over.push(format!("policy {name}")),
            Left::Queue(name) => left_over.push(format!("queue {name}")),
            Left::Former { from, to } => findings.push(Finding::warn(
                BINDINGS,
                format!("queue {from} is left to the replicas of the old version that consume it; it is {to} now"),
                format!("when the last one is gone: `{program} topology migrate`"),
            )),
            Left::Exchange(name) => left_over.push(format!("exchange {name}")),
            Left::Binding { source, queue: to, key, once_declared: true, .. }
            | Left::ExchangeBinding { source, destination: to, key, once_declared: true, .. } => {
                left_over.push(format!("binding {source} to {to} by {key:?}"));
            }
            Left::ExchangeBinding { source, destination, key, once_declared: false, .. } => {
                findings.push(Finding::warn(
                    BINDINGS,
                    format!(
                        "{source} to exchange {destination} by {key:?} is there, and this program does not declare it"
                    ),
                    "where it is meant, say so on the exchange (`from(..)`); else unbind it: `rabbitmqadmin delete \
                     binding`, or the page of the exchange in the management UI",
                ));
            }
            Left::Binding { source, queue, key, once_declared: false, .. } => findings.push(Finding::warn(
                BINDINGS,
                format!("{source} to {queue} by {key:?} is there, and this program does not declare it"),
                format!(
                    "where it is meant, let a handler of the group ask for it (`bind`); else unbind it: \
                     `rabbitmqadmin delete binding`, or the page of the queue in the management UI; `{program} topology \
                     plan` says more"
                ),
            )),
        }
    }
    if !left_over.is_empty() {
        findings.push(Finding::warn(
            topology::CHECK,
            format!("left over of earlier versions: {}", left_over.join(", ")),
            format!("see what would be removed: `{program} topology plan --prune`"),
        ));
    }
    findings
}

/// What keeps the broker from taking publishes, or from being one. Pure.
fn alarms(nodes: Option<&[NodeState]>) -> Vec<Finding> {
    let Some(nodes) = nodes else {
        return vec![Finding::ok(
            ALARMS,
            "not seen: that takes the user tag `monitoring`; `rabbitmq-diagnostics alarms` tells them",
        )];
    };
    let mut findings = Vec::new();
    for node in nodes {
        let name = line(&node.name);
        if !node.is_running {
            findings.push(Finding::warn(
                ALARMS,
                format!("node {name} is down"),
                "start it; quorum queues need more than half of their nodes",
            ));
        }
        if node.is_short_of_memory {
            findings.push(Finding::fail(
                ALARMS,
                format!("node {name} is short of memory: nothing is taken of publishers"),
                "`rabbitmq-diagnostics memory_breakdown` on it; read what waits in queues, or raise \
                 `vm_memory_high_watermark`",
            ));
        }
        if node.is_short_of_disk {
            findings.push(Finding::fail(
                ALARMS,
                format!("node {name} is short of disk: nothing is taken of publishers"),
                "free disk where its data are, or lower `disk_free_limit`",
            ));
        }
        if !node.partitions.is_empty() {
            findings.push(Finding::fail(
                ALARMS,
                format!("node {name} does not see {}: the cluster is parted", line(&node.partitions.join(", "))),
                "mend the network, then restart the nodes of the smaller part: https://www.rabbitmq.com/docs/partitions",
            ));
        }
    }
    if findings.is_empty() {
        let nodes = count(u64::try_from(nodes.len()).unwrap_or(u64::MAX), "node");
        findings.push(Finding::ok(ALARMS, format!("none; {nodes}, all of them up")));
    }
    findings
}

/// Whether the user may do what the program needs. Pure.
///
/// A regular expression is judged where that takes no reading of it: all names, none, or exactly what is needed.
fn granted(rights: Option<&Granted>, needed: &Permissions, user: &str, vhost: &str) -> Finding {
    let Some(granted) = rights else {
        return Finding::ok(
            RIGHTS,
            format!(
                "of {user}: only an administrator can read them; `rabbitmqctl list_user_permissions {user}`"
            ),
        );
    };
    let runtime = needed.runtime();
    let both = [
        ("configure", &granted.configure, &runtime.configure),
        ("write", &granted.write, &runtime.write),
        ("read", &granted.read, &runtime.read),
    ];
    let is_none = |pattern: &str| matches!(pattern, "" | "^$");
    let lacking: Vec<&str> = both
        .iter()
        .filter(|(_, has, needs)| is_none(has) && !is_none(needs))
        .map(|(what, ..)| *what)
        .collect();
    if !lacking.is_empty() {
        let lines = needed.rabbitmqctl(vhost, "", user);
        // Those of the user as whom the program runs; who makes the topology comes first.
        let own = lines.lines().rfind(|line| line.starts_with("rabbitmqctl set_permissions"));
        return Finding {
            remedies: vec![
                format!("to run, where somebody else declares: `{}`", own.unwrap_or_default()),
                "a user who declares, too, needs both sets that `topology export permissions` writes"
                    .to_owned(),
            ],
            ..Finding::fail(
                RIGHTS,
                format!("{user} may {} nothing on {vhost:?}, and the program has to", lacking.join(" and ")),
                "",
            )
        };
    }
    let is_enough = |has: &str, needs: &str| has == ".*" || has == "^.*$" || has == needs || is_none(needs);
    match both.iter().all(|(_, has, needs)| is_enough(has, needs)) {
        true => Finding::ok(RIGHTS, format!("{user} may do on {vhost:?} what the program needs to run")),
        false => Finding::ok(
            RIGHTS,
            format!(
                "of {user} on {vhost:?}: configure {:?}, write {:?}, read {:?}; what is needed, `topology export \
                 permissions` tells",
                granted.configure, granted.write, granted.read
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        cli::output::Style,
        model::{
            Binding, BrokerInfo, Exchange, ExchangeKind, Observed, ObservedBinding, ObservedPolicy, Queue,
            QueueKind, Topology, policy::LimitsIn,
        },
        name::{ExchangeName, QueueName},
        topology::plan::{PlanOptions, decide},
    };

    fn topology() -> Topology {
        let (exchange, queue) = (ExchangeName::new("shop").unwrap(), QueueName::new("shop.audit").unwrap());
        let mut topology = Topology::new();
        topology.add_exchange(Exchange::durable(exchange.clone(), ExchangeKind::Topic)).unwrap();
        topology.add_queue(Queue::durable(queue.clone(), QueueKind::Quorum)).unwrap();
        topology.add_binding(Binding::by_key(exchange, queue, "Order.#"));
        topology
    }

    fn texts(findings: impl IntoIterator<Item = Finding>) -> String {
        findings.into_iter().map(|finding| finding.text(Style::default())).collect()
    }

    #[test]
    fn what_is_short_down_or_parted_is_told_node_by_node() {
        let node = |name: &str| NodeState { name: name.to_owned(), is_running: true, ..NodeState::default() };
        let ill = [
            NodeState { is_short_of_memory: true, is_short_of_disk: true, ..node("rabbit@a") },
            NodeState { partitions: vec!["rabbit@a".to_owned()], ..node("rabbit@b") },
            NodeState { is_running: false, ..node("rabbit@c") },
        ];

        let cases = [alarms(None), alarms(Some(&[node("rabbit@a")])), alarms(Some(&ill))];

        insta::assert_snapshot!(cases.map(texts).join("\n"));
    }

    #[test]
    fn rights_are_judged_where_no_pattern_has_to_be_read() {
        let published = BTreeMap::new();
        let needed = Permissions::of(&topology(), &published);
        let own = needed.runtime();
        let rights = |configure: &str, write: &str, read: &str| {
            let [configure, write, read] = [configure, write, read].map(str::to_owned);
            granted(Some(&Granted { configure, write, read }), &needed, "ada", "/")
        };

        let cases = [
            granted(None, &needed, "ada", "/"),
            rights(".*", ".*", ".*"),
            rights(&own.configure, &own.write, &own.read),
            rights(".*", "^shop", ".*"),
            rights("", "^$", ""),
        ];

        insta::assert_snapshot!(texts(cases));
    }

    #[test]
    fn a_policy_that_is_missing_is_a_failure_and_one_that_says_something_else_a_warning() {
        let limited = |most| {
            let name = QueueName::new("shop.audit").unwrap();
            let queue = Queue {
                max_length: most,
                limits_in: LimitsIn::Policies,
                ..Queue::durable(name, QueueKind::Quorum)
            };
            let mut topology = Topology::new();
            topology.add_queue(queue).unwrap();
            topology
        };
        let there = |most: Option<u64>| {
            let mut observed = Observed::new(View::Management { address: "http://rabbit".to_owned() });
            let topology = limited(most);
            let all = topology.policies().map(|it| ObservedPolicy {
                name: it.name().to_owned(),
                pattern: it.pattern(),
                apply_to: "queues".to_owned(),
                definition: it.definition.clone(),
                priority: 0,
            });
            observed.policies = Some(all.collect());
            observed
        };
        let told = |is: Option<u64>, was: Option<u64>| {
            texts(policies(&decide(&limited(is), &there(was), None, &PlanOptions::new()), "shop"))
        };

        let tags = |tag: &str| tagged("ada", &[tag.to_owned()]);
        let mut report = [told(Some(5), None), told(Some(5), Some(9)), told(None, Some(9))].join("\n");
        report += &texts(tags("management"));

        assert_eq!((told(Some(5), Some(5)), tags("policymaker").is_none()), (String::new(), true));
        insta::assert_snapshot!(report);
    }

    #[test]
    fn a_binding_that_is_missing_is_a_failure_and_one_by_hand_a_warning() {
        let wanted = topology();
        let mut observed = Observed::new(View::Management { address: "http://rabbit".to_owned() });
        let empty = decide(&wanted, &observed, None, &PlanOptions::new());
        let there = |plan: &Plan| (differences(plan).len(), texts(bindings(plan, "shop")));

        let nothing = there(&empty);
        observed.exchanges.insert("shop".to_owned(), Default::default());
        observed.queues.insert("shop.audit".to_owned(), Default::default());
        observed.bindings = Some(vec![ObservedBinding {
            key: "Invoice.#".to_owned(),
            ..ObservedBinding::of(wanted.bindings().next().unwrap())
        }]);
        let by_hand = there(&decide(&wanted, &observed, None, &PlanOptions::new()));

        assert_eq!(nothing, (2, String::new()), "exchange and queue tell it all");
        assert_eq!(by_hand.0, 0);
        insta::assert_snapshot!(by_hand.1);
    }

    #[test]
    fn says_which_plugin_is_needed_and_whether_it_is_enabled() {
        let mut topology = Topology::new();
        let shards = ExchangeName::new("shards").unwrap();
        let told = |topology: &Topology, enabled: Option<&[&str]>| {
            let enabled = enabled.map(|all| all.iter().map(|plugin| (*plugin).to_owned()).collect());
            let mut plan = decide(&Topology::new(), &Observed::default(), None, &PlanOptions::new());
            plan.info = Some(BrokerInfo { plugins: enabled, ..BrokerInfo::default() });
            plugins(&plan, topology).iter().map(|finding| finding.text(Style::default())).collect::<String>()
        };
        assert!(told(&topology, None).contains("what is declared needs none"));

        topology.add_exchange(Exchange::durable(shards, ExchangeKind::ConsistentHash)).unwrap();

        let texts = [
            told(&topology, Some(&["rabbitmq_consistent_hash_exchange"])),
            told(&topology, Some(&["rabbitmq_management"])),
            told(&topology, None),
        ];
        insta::assert_snapshot!(texts.concat(), @r"
        ok    plugins       rabbitmq_consistent_hash_exchange, for shards: enabled
        fail  plugins       rabbitmq_consistent_hash_exchange, for shards: not enabled
                            help: `rabbitmq-plugins enable rabbitmq_consistent_hash_exchange` on each node of the broker, which takes it without a restart
        ok    plugins       rabbitmq_consistent_hash_exchange, for shards: whether it is enabled is told only to a user with the tag monitoring
        ");
    }
}
