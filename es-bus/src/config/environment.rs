//! The names of variables: which belong to es-bus, what they set, which are somebody else's.

use super::{
    settings::{Key, keys},
    source::{Level, Scope},
};
use crate::suggest::nearest;

/// What a variable is to es-bus.
pub(super) enum Variable {
    /// One that es-bus reads.
    Known(Known),
    /// It looks like one of ours and is none.
    Unknown {
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// It is somebody else's.
    Foreign,
}

/// What a variable of ours says.
pub(super) enum Known {
    /// It sets this key for this scope.
    Sets(Scope, &'static Key),
    /// It names the configuration file.
    NamesFile,
    /// A name of the seeds that has another name here.
    Alias(&'static Key),
}

/// Tells what a variable is; `groups` are those that the program declares.
pub(super) fn classify<'a>(
    name: &str,
    value: &str,
    groups: impl Iterator<Item = &'a str> + Clone,
) -> Variable {
    if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        let key = keys().find(|known| known.name == *key).expect("aliases name known keys");
        return Variable::Known(Known::Alias(key));
    }
    if name == FILE_VARIABLE {
        return Variable::Known(Known::NamesFile);
    }
    // The binary `es-bus` reads it; a program, which may share its environment, has no use for it.
    if name == MANIFEST_VARIABLE {
        return Variable::Foreign;
    }
    let Some(rest) = name.strip_prefix(PREFIX) else {
        // The broker has variables of that prefix too, so only a slip in one of ours is told of.
        return near_alias(name)
            .map_or(Variable::Foreign, |nearest| Variable::Unknown { nearest: Some(nearest) });
    };
    if let Some((group, key)) = rest.strip_prefix(GROUP_PREFIX).and_then(|rest| rest.rsplit_once("__")) {
        return classify_group(group, key, groups);
    }
    if let Some(key) = find(rest) {
        return Variable::Known(Known::Sets(Scope::Bus, key));
    }
    if is_from_kubernetes(rest, value) {
        return Variable::Foreign;
    }
    let known = keys().map(|key| key.name).chain(["config", "manifest"]);
    let nearest = nearest(&rest.to_lowercase(), known)
        .map(|name| format!("{PREFIX}{}", name.to_uppercase()))
        .or_else(|| with_two_underscores(rest, groups));
    Variable::Unknown { nearest }
}

/// The name of the seeds that was probably meant.
fn near_alias(name: &str) -> Option<String> {
    let known = ALIASES.iter().filter_map(|(alias, _)| alias.strip_prefix(ALIAS_PREFIX));
    nearest(name.strip_prefix(ALIAS_PREFIX)?, known).map(|meant| format!("{ALIAS_PREFIX}{meant}"))
}

/// The variable of a group's setting that was written with single underscores.
fn with_two_underscores<'a>(rest: &str, groups: impl Iterator<Item = &'a str>) -> Option<String> {
    let rest = rest.strip_prefix("GROUP_")?.trim_start_matches('_');
    groups.map(folded).find_map(|group| {
        let key = rest.strip_prefix(&group)?.trim_start_matches('_');
        let key = find(key).filter(|key| key.level >= Level::Group)?;
        Some(format!("{PREFIX}{GROUP_PREFIX}{group}__{}", key.name.to_uppercase()))
    })
}

fn classify_group<'a>(group: &str, key: &str, groups: impl Iterator<Item = &'a str> + Clone) -> Variable {
    let known_group = groups.clone().find(|name| folded(name) == group);
    let known_key = find(key).filter(|key| key.level >= Level::Group);
    if let (Some(group), Some(key)) = (known_group, known_key) {
        return Variable::Known(Known::Sets(Scope::group(group), key));
    }
    if let Some(key) = find(key).filter(|key| key.level == Level::Bus) {
        return Variable::Unknown { nearest: Some(key.variable()) };
    }
    let folded_groups: Vec<String> = groups.map(folded).collect();
    let group = match known_group {
        Some(_) => Some(group),
        None => nearest(group, folded_groups.iter().map(String::as_str)),
    };
    let key = match known_key {
        Some(key) => Some(key.name),
        None => {
            nearest(&key.to_lowercase(), keys().filter(|key| key.level >= Level::Group).map(|key| key.name))
        }
    };
    let nearest =
        group.zip(key).map(|(group, key)| format!("{PREFIX}{GROUP_PREFIX}{group}__{}", key.to_uppercase()));
    Variable::Unknown { nearest }
}

/// The name of a group as variables spell it: upper case, `-` and `.` as `_`.
pub(super) fn folded(group: &str) -> String {
    group.to_uppercase().replace(['-', '.'], "_")
}

fn find(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name.to_uppercase() == name)
}

/// Whether Kubernetes puts such a variable into every pod for a service named `es-bus` or
/// `es-bus-…`: `…SERVICE_HOST`, `…SERVICE_PORT`, `…SERVICE_PORT_<NAME>`, `…PORT` with a URL in it,
/// and `…PORT_5672_TCP…`.
fn is_from_kubernetes(rest: &str, value: &str) -> bool {
    let last_words = |suffix: &str| rest == suffix || rest.ends_with(&format!("_{suffix}"));
    let with_socket = || ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_port = || {
        rest.match_indices("PORT_").any(|(at, word)| {
            let mut words = rest[at + word.len()..].split('_');
            let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
            let protocol = matches!(words.next(), Some("TCP" | "UDP" | "SCTP"));
            let part = matches!(words.next(), None | Some("PROTO" | "PORT" | "ADDR"));
            number && protocol && part && words.next().is_none()
        })
    };
    last_words("SERVICE_HOST")
        || last_words("SERVICE_PORT")
        || rest.starts_with("SERVICE_PORT_")
        || rest.contains("_SERVICE_PORT_")
        || (last_words("PORT") && with_socket())
        || of_port()
}

/// What every variable of es-bus begins with.
pub(super) const PREFIX: &str = "ES_BUS_";
/// Names the configuration file.
pub(super) const FILE_VARIABLE: &str = "ES_BUS_CONFIG";
/// Names the file by which the binary `es-bus` knows a program.
pub(super) const MANIFEST_VARIABLE: &str = "ES_BUS_MANIFEST";
const GROUP_PREFIX: &str = "GROUP__";
/// What the names of the seeds begin with.
const ALIAS_PREFIX: &str = "RABBITMQ_";

/// The names of the seeds, exactly these, and the keys that they set.
const ALIASES: &[(&str, &str)] = &[
    ("RABBITMQ_URL", "url"),
    ("RABBITMQ_EXCHANGE", "exchange"),
    ("RABBITMQ_EXCHANGE_TYPE", "exchange_type"),
    ("RABBITMQ_CONSUMER_GROUP", "groups"),
    ("RABBITMQ_PREFETCH", "prefetch"),
    ("RABBITMQ_CA_FILE", "ca_file"),
    ("RABBITMQ_CERT_FILE", "cert_file"),
    ("RABBITMQ_KEY_FILE", "key_file"),
    ("RABBITMQ_VERIFY_SSL", "verify_ssl"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_kubernetes_injects_are_foreign() {
        let variables = [
            ("ES_BUS_SERVICE_HOST", "10.0.0.1"),
            ("ES_BUS_SERVICE_PORT", "5672"),
            ("ES_BUS_SERVICE_PORT_AMQP", "5672"),
            ("ES_BUS_PORT", "tcp://10.0.0.1:5672"),
            ("ES_BUS_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
            ("ES_BUS_PORT_5672_TCP_PROTO", "tcp"),
            ("ES_BUS_PORT_5672_TCP_PORT", "5672"),
            ("ES_BUS_PORT_5672_TCP_ADDR", "10.0.0.1"),
            ("ES_BUS_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("ES_BUS_ADMIN_SERVICE_PORT_HTTP", "80"),
            ("ES_BUS_ADMIN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
            ("RABBITMQ_PORT", "tcp://10.0.0.1:5672"),
            ("RABBITMQ_NODENAME", "rabbit@one"),
            ("RABBITMQ_HOST", "10.0.0.1"),
            ("RABBITMQ_USER", "shop"),
            ("RABBITMQ_CONFIG_FILE", "/etc/rabbitmq/rabbitmq.conf"),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
            ("RABBITMQ_PID_FILE", "/run/rabbitmq.pid"),
            ("RABBITMQ_LOGS", "-"),
        ];
        for (name, value) in variables {
            let variable = classify(name, value, [].into_iter());

            assert!(matches!(variable, Variable::Foreign), "{name}");
        }
    }

    #[test]
    fn a_slip_in_a_name_of_the_seeds_is_understood_though_the_broker_has_others_like_it() {
        for (name, meant) in [
            ("RABBITMQ_PREFECH", "RABBITMQ_PREFETCH"),
            ("RABBITMQ_CONSUMER_GROUPS", "RABBITMQ_CONSUMER_GROUP"),
            ("RABBITMQ_CAFILE", "RABBITMQ_CA_FILE"),
        ] {
            let variable = classify(name, "5", [].into_iter());

            let Variable::Unknown { nearest } = variable else { panic!("{name} is taken for another's") };
            assert_eq!(nearest.as_deref(), Some(meant), "{name}");
        }
    }

    #[test]
    fn no_setting_has_a_name_that_kubernetes_could_inject() {
        for key in keys() {
            let name = key.name.to_uppercase();

            assert!(!is_from_kubernetes(&name, "tcp://10.0.0.1:5672"), "{name}");
        }
    }

    #[test]
    fn single_underscores_around_a_group_are_a_mistake_that_is_understood() {
        for name in ["ES_BUS_GROUP_ORDER_VIEWS_PREFETCH", "ES_BUS_GROUP__ORDER_VIEWS_PREFETCH"] {
            let variable = classify(name, "5", ["billing", "order-views"].into_iter());

            let Variable::Unknown { nearest } = variable else { panic!("{name} is known") };
            assert_eq!(nearest.as_deref(), Some("ES_BUS_GROUP__ORDER_VIEWS__PREFETCH"), "{name}");
        }
    }

    #[test]
    fn a_port_without_a_socket_in_it_is_a_mistake() {
        let variable = classify("ES_BUS_PORT", "5672", [].into_iter());

        assert!(matches!(variable, Variable::Unknown { .. }));
    }
}
