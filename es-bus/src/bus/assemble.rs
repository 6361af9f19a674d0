//! Builder → checked bus: configuration, registry, groups, topology. Touches no broker.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{
    BusBuilder,
    builder::Purpose,
    connect::policy_eyes,
    layers::unlayered,
    run::{Bus, TransportChoice},
};
use crate::{
    config::{
        self, Attributes, BusSettings, Config, ConfigBuilder, GroupConfig, GroupSelection, Policy, Scope,
        Source,
    },
    dead_letters::KnownGroup,
    error::{Error, Result},
    event::EventKind,
    handler::{HandlerService, Level, TypeMap},
    model::{Arguments, Overflow, QueueKind, Topology, policy::Ordering},
    monitor::Monitor,
    name::{ExchangeName, GroupName, InvalidName},
    publish::PublisherSettings,
    registry::{Facts, HandlerDef, Registry, check},
    retry::RetryPolicy,
    topology::{
        Conflict, Exchanges, GroupSettings, GroupSpec, HandlerSpec, Patience, StreamSettings, UnknownWait,
        build,
    },
};

pub(super) fn assemble(mut builder: BusBuilder) -> Result<Bus> {
    let (registry, config) = configure(&mut builder);
    let config = match config {
        Ok(config) => config,
        Err(error) => return Err(with_findings(error.into(), &registry, &builder.state, builder.consumes)),
    };
    let selected = selected(&config.bus.groups.value, builder.consumes);
    let names: Option<Vec<&str>> = selected.as_ref().map(|names| names.iter().map(String::as_str).collect());
    let homes: Vec<(&str, &str)> = config
        .groups
        .iter()
        .map(|(name, group)| (name.as_str(), group.settings.exchange.value.as_str()))
        .collect();
    let mut facts = Facts::new().state(&builder.state).exchange(&config.bus.exchange.value).homes(&homes);
    if config.bus.exchange_type.source != Source::BuiltIn {
        facts = facts.exchange_type(config.bus.exchange_type.value);
    }
    if let Some(names) = &names {
        facts = facts.groups(names);
    }
    if names.as_ref().is_none_or(|names| !names.is_empty()) {
        facts = facts.consuming();
    }
    let layered = builder.layers.targets();
    facts = facts.layered(&layered);
    let findings = check(&registry, &facts);
    if !findings.is_empty() {
        return Err(Error::Registry(findings));
    }
    let consumed = match &selected {
        None => registry.clone(),
        Some(names) => registry.select(names),
    };
    let exchange =
        ExchangeName::new(&config.bus.exchange.value).map_err(|error| Error::Conflict(vec![error.into()]))?;
    let exchanges = Exchanges::new(exchange.clone(), config.bus.exchange_type.value, registry.exchanges());
    let mut groups = groups(&consumed, &config, &exchanges).map_err(Error::Conflict)?;
    groups.iter_mut().for_each(|group| builder.layers.group(group));
    let dead_letters = dead_letter_queues(&registry, &config, &exchanges);
    let published: Vec<EventKind> = registry.kinds().into_iter().copied().collect();
    let topology = build(&groups, &published, &exchanges).map_err(Error::Conflict)?;
    let transport = match (builder.transport, builder.purpose) {
        #[cfg(feature = "cli")]
        (_, Purpose::Look) => TransportChoice::Memory { chosen: true, name: None },
        (Some(transport), _) => TransportChoice::Given(transport),
        #[cfg(feature = "cli")]
        (None, Purpose::Operate) => {
            config.named_broker()?;
            TransportChoice::configured(&config, &builder.tls)?
        }
        (None, Purpose::Serve) => TransportChoice::configured(&config, &builder.tls)?,
    };
    config.http()?;
    config.management()?;
    policy_eyes(&config, &transport, &topology)?;
    let monitor = Monitor::new(Arc::default(), builder.clock, exchange.as_str().to_owned());
    let publishing = PublisherSettings {
        exchange,
        timeout: config.bus.publish_timeout.value,
        batch: usize::try_from(config.bus.publish_batch.value).unwrap_or(usize::MAX),
        background: usize::try_from(config.bus.publish_background.value).unwrap_or(usize::MAX),
        max_body: usize::try_from(config.bus.max_message_size.value.bytes()).unwrap_or(usize::MAX),
        tracing: config.bus.tracing.value,
    };
    Ok(Bus {
        monitor,
        registry,
        groups: groups.into_iter().map(Arc::new).collect(),
        dead_letters,
        topology,
        publishing,
        exchanges,
        transport,
        state: builder.state,
        service: builder.layers.bus(),
        clock: builder.clock,
        observer: builder.observer,
        consumes: builder.consumes,
        config: Box::new(config),
    })
}

/// The definitions of this bus, and the configuration that they and everybody else lead to.
pub(super) fn configure(builder: &mut BusBuilder) -> (Registry, std::result::Result<Config, config::Error>) {
    let registry = builder.registry.take().unwrap_or_else(Registry::collected).on_bus(builder.name);
    let config = std::mem::take(&mut builder.config);
    let config = if builder.tls.is_given() { config.tls_given() } else { config };
    let config = declare(config, &registry, &builder.named_groups).load();
    (registry, config)
}

/// What is wrong with the configuration, together with what is wrong with the declarations as far as
/// that can be said without one.
fn with_findings(error: Error, registry: &Registry, state: &TypeMap, consumes: bool) -> Error {
    let facts = Facts::new().state(state);
    let findings = check(registry, &if consumes { facts.consuming() } else { facts });
    if findings.is_empty() { error } else { Error::Several(vec![error, Error::Registry(findings)]) }
}

/// What cannot stand in one topology, of what attributes alone say. What hangs on how long the broker waits is left
/// to the configuration, and so is what it finds itself.
pub(crate) fn conflicts(registry: &Registry) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for bus in registry.buses() {
        let registry = registry.on_bus(bus);
        let Ok(config) =
            declare(ConfigBuilder::new(), &registry, &[]).set_default(Scope::Bus, "url", "memory://").load()
        else {
            continue;
        };
        let found = ExchangeName::new(&config.bus.exchange.value)
            .map_err(|error| vec![error.into()])
            .and_then(|default| {
                let exchanges = Exchanges::new(default, config.bus.exchange_type.value, registry.exchanges());
                let groups = groups(&registry, &config, &exchanges)?;
                let published: Vec<EventKind> = registry.kinds().into_iter().copied().collect();
                build(&groups, &published, &exchanges)
            });
        conflicts.extend(found.err().into_iter().flatten());
    }
    conflicts
        .retain(|conflict| !matches!(conflict, Conflict::TooLong { .. } | Conflict::Unfinishable { .. }));
    conflicts
}

/// Tells the configuration which groups and handlers there are, and what their attributes say.
fn declare(mut config: ConfigBuilder, registry: &Registry, groups: &[String]) -> ConfigBuilder {
    for name in groups {
        config = config.group(name, Attributes::at("", 0));
    }
    for name in registry.group_names() {
        let attributes = match registry.group_def(name) {
            Some(def) => Attributes::at(def.location.file, def.location.line).with_all(def.settings),
            None => Attributes::at("", 0),
        };
        config = config.group(name, attributes);
    }
    for def in registry.handlers() {
        let attributes = Attributes::at(def.location.file, def.location.line).with_all(def.settings);
        config = config.handler(def.group.name, def.name, attributes);
    }
    config
}

/// The groups that are consumed; `None` for all.
fn selected(selection: &GroupSelection, consumes: bool) -> Option<Vec<String>> {
    match selection {
        _ if !consumes => Some(Vec::new()),
        GroupSelection::All => None,
        GroupSelection::Only(names) => Some(names.clone()),
    }
}

fn groups(
    registry: &Registry,
    config: &Config,
    exchanges: &Exchanges,
) -> std::result::Result<Vec<GroupSpec>, Vec<Conflict>> {
    let (mut groups, mut conflicts) = (Vec::new(), Vec::new());
    for (name, handlers) in by_group(registry) {
        let Some(settings) = config.groups.get(name) else { continue };
        let def = registry.group_def(name);
        let formerly = def.map_or(&[][..], |def| def.formerly);
        let group = group(name, &handlers, settings, &config.bus, exchanges);
        match group.and_then(|group| group.formerly(formerly)) {
            Ok(mut group) => {
                let layer = def.and_then(|def| def.layer);
                group.service = layer.map(|layer| layer(HandlerService::inwards(Level::Group)));
                groups.push(group);
            }
            Err(invalid) => conflicts.push(invalid.into()),
        }
    }
    if conflicts.is_empty() { Ok(groups) } else { Err(conflicts) }
}

/// Where the dead letters of each group are, also of those that are not consumed here: of them it is no
/// error when they cannot be put together.
fn dead_letter_queues(
    registry: &Registry,
    config: &Config,
    exchanges: &Exchanges,
) -> BTreeMap<String, KnownGroup> {
    let known = |name: &str| {
        let formerly = registry.group_def(name).map_or(&[][..], |def| def.formerly);
        group(name, &[], config.groups.get(name)?, &config.bus, exchanges).ok()?.formerly(formerly).ok()
    };
    let names = registry.group_names().into_iter();
    names.filter_map(|name| Some((name.to_owned(), KnownGroup::from(&known(name)?)))).collect()
}

/// Every group that the program declares, whoever consumes it, and what they come to on a broker.
pub(super) struct Whole<'a> {
    pub(super) groups: Vec<Arc<GroupSpec>>,
    pub(super) topology: Cow<'a, Topology>,
}

/// The program beyond this process. A group that is not consumed here and cannot be put together is left out: it
/// is an error where it is consumed.
pub(super) fn whole(bus: &Bus) -> Whole<'_> {
    let is_here = |name: &str| bus.groups.iter().any(|group| group.name.as_str() == name);
    let mut elsewhere = by_group(&bus.registry);
    elsewhere.retain(|name, _| !is_here(name));
    let here = || Whole { topology: Cow::Borrowed(&bus.topology), groups: bus.groups.clone() };
    if elsewhere.is_empty() {
        return here();
    }
    let others = elsewhere.into_iter().filter_map(|(name, handlers)| {
        let settings = bus.config.groups.get(name)?;
        let formerly = bus.registry.group_def(name).map_or(&[][..], |def| def.formerly);
        let group = group(name, &handlers, settings, &bus.config.bus, &bus.exchanges).ok()?;
        group.formerly(formerly).ok().map(Arc::new)
    });
    let mut groups: Vec<Arc<GroupSpec>> = bus.groups.iter().cloned().chain(others).collect();
    groups.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let published: Vec<EventKind> = bus.registry.kinds().into_iter().copied().collect();
    let specs: Vec<&GroupSpec> = groups.iter().map(|group| &**group).collect();
    match build(&specs, &published, &bus.exchanges) {
        Ok(topology) => Whole { topology: Cow::Owned(topology), groups },
        // They contradict each other where this process does not see it.
        Err(_) => here(),
    }
}

fn by_group(registry: &Registry) -> BTreeMap<&'static str, Vec<&'static HandlerDef>> {
    let mut by_group: BTreeMap<&str, Vec<&'static HandlerDef>> = BTreeMap::new();
    for def in registry.handlers() {
        by_group.entry(def.group.name).or_default().push(def);
    }
    by_group
}

/// The settings of a group as the configuration has them.
pub(super) fn group_settings(
    config: &GroupConfig,
    bus: &BusSettings,
) -> std::result::Result<GroupSettings, InvalidName> {
    let said = &config.settings;
    // What is consumed of a group with a stream is a queue like any other's.
    let kind = match said.kind.value {
        QueueKind::Stream => QueueKind::Quorum,
        kind => kind,
    };
    let is_stream = said.kind.value == QueueKind::Stream;
    let stream = is_stream.then(|| StreamSettings {
        offset: said.offset.value,
        max_age: said.max_age.value,
        max_length_bytes: said.max_length_bytes.value.map(|size| size.bytes()),
        arguments: said.arguments.value.clone(),
    });
    Ok(GroupSettings {
        home: ExchangeName::new(&said.exchange.value)?,
        queue: said.queue.value.clone(),
        dlx_suffix: bus.dlq_exchange_suffix.value.clone(),
        kind,
        stream,
        limits_in: bus.limits_in.value,
        compat: said.compat.value,
        exclusive: said.exclusive.value.then(process_id),
        single_active_consumer: said.single_active_consumer.value || said.ordering.value == Ordering::Strict,
        prefetch: said.prefetch.value,
        concurrency: usize::from(said.concurrency.value),
        patience: Patience::of(bus.consumer_timeout.value),
        ordering: said.ordering.value,
        on_unknown: said.on_unknown.value,
        unknown_wait: UnknownWait { delay: said.unknown_delay.value, times: said.unknown_retries.value },
        crash_limit: said.crash_limit.value,
        weight: said.weight.value,
        retired: said.retired.value.clone(),
        ladder: said.retry_ladder.value.clone(),
        max_length: said.max_length.value.filter(|_| !is_stream),
        max_length_bytes: said.max_length_bytes.value.filter(|_| !is_stream).map(|size| size.bytes()),
        overflow: if is_stream { Overflow::RejectPublish } else { said.overflow.value },
        message_ttl: said.message_ttl.value.filter(|_| !is_stream),
        expires: said.expires.value.filter(|_| !is_stream),
        max_priority: said.max_priority.value.filter(|_| !is_stream),
        durable: said.durable.value,
        auto_delete: said.auto_delete.value,
        arguments: if is_stream { Arguments::default() } else { said.arguments.value.clone() },
        on_exhausted: said.on_exhausted.value,
        dlx: said.dlx.value.clone(),
        dlx_kind: said.dlx_kind.value,
        dlq: said.dlq.value.clone(),
        dlq_key: said.dlq_key.value.clone(),
        dlq_bind: said.dlq_bind.value.clone(),
        dlq_kind: said.dlq_kind.value.unwrap_or(kind),
        dlq_ttl: said.dlq_ttl.value,
        dlq_max_length: said.dlq_max_length.value,
    })
}

fn group(
    name: &str,
    handlers: &[&'static HandlerDef],
    config: &GroupConfig,
    bus: &BusSettings,
    exchanges: &Exchanges,
) -> std::result::Result<GroupSpec, InvalidName> {
    let settings = group_settings(config, bus)?;
    let specs = handlers
        .iter()
        .map(|def| {
            let policy = config.handlers.get(def.name).unwrap_or(&config.policy);
            let timeout = policy.timeout.value;
            let mut spec = HandlerSpec::of(def, retry_policy(policy), timeout, &settings.home, exchanges)?;
            spec.slow = policy.slow_handler.value;
            spec.service = def.layer.map(|layer| layer(unlayered(&spec)));
            Ok(spec)
        })
        .collect::<std::result::Result<_, _>>()?;
    GroupSpec::new(GroupName::new(name)?, settings, specs)
}

/// What no other process has in the name of its exclusive queue, nor this one under its former name
/// while the broker still holds that for a connection which is gone.
fn process_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
}

pub(super) fn retry_policy(policy: &Policy) -> RetryPolicy {
    RetryPolicy {
        retries: policy.retries.value,
        base: policy.backoff_base.value,
        max: policy.backoff_max.value,
        jitter: policy.backoff_jitter.value,
    }
}
