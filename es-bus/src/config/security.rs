//! The settings that keep strangers out: types of their own, and which of them contradict each other.

use std::{fmt, str::FromStr};

use super::{
    error::Finding,
    field::Field,
    settings::BusSettings,
    source::{Setting, Source},
    url::BrokerUrl,
};

/// A value that is printed as `***` only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself. Do not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Field for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }

    fn print(&self) -> String {
        "***".to_owned()
    }
}

/// How the bus proves to the broker who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By user and password of the URL.
    Plain,
    /// By its client certificate (SASL EXTERNAL).
    External,
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(Self::Plain),
            "external" => Ok(Self::External),
            other => Err(format!("\"{other}\" is no way to log in, expected one of plain, external")),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::External => "external",
        })
    }
}

/// What contradicts itself. `given` says that the program hands over a TLS configuration of its own.
///
/// On the broker in memory none of it means anything, so that a file of production does for trying out.
pub(super) fn check(bus: &BusSettings, given: bool) -> Vec<Finding> {
    let Some(BrokerUrl::Amqp(url)) = &bus.url.value else { return Vec::new() };
    let files: Vec<(&str, &Source)> = [
        ("ca_file", &bus.ca_file),
        ("cert_file", &bus.cert_file),
        ("key_file", &bus.key_file),
        ("identity_file", &bus.identity_file),
    ]
    .into_iter()
    .filter(|(_, setting)| setting.value.is_some())
    .map(|(name, setting)| (name, &setting.source))
    .collect();
    let unverified = (!bus.verify_ssl.value).then_some(("verify_ssl", &bus.verify_ssl.source));
    let external = (bus.auth.value == Auth::External).then_some(("auth", &bus.auth.source));
    if !url.is_tls() {
        let given = given.then(|| {
            let problem = "the program gives a TLS configuration, and amqp:// is not encrypted";
            Finding::new(&bus.url.source, problem).remedy("write amqps:// in the URL, or give none")
        });
        let settings = files.into_iter().chain(unverified).chain(external);
        return settings
            .map(|(name, source)| {
                Finding::new(source, format!("{name} means nothing to amqp://, which is not encrypted"))
                    .remedy(format!("write amqps:// in the URL ({}), or drop {name}", bus.url.source))
            })
            .chain(given)
            .collect();
    }
    if given {
        return files
            .into_iter()
            .chain(unverified)
            .map(|(name, source)| {
                let problem =
                    format!("{name} is not read, as the program gives a TLS configuration of its own");
                Finding::new(source, problem).remedy("drop one of them")
            })
            .collect();
    }
    let mut findings = Vec::new();
    pair(&mut findings, ("cert_file", &bus.cert_file), "key_file", bus.key_file.value.is_some());
    pair(&mut findings, ("key_file", &bus.key_file), "cert_file", bus.cert_file.value.is_some());
    pair(
        &mut findings,
        ("identity_password", &bus.identity_password),
        "identity_file",
        bus.identity_file.value.is_some(),
    );
    if bus.identity_file.value.is_some() && bus.cert_file.value.is_some() {
        let problem = format!("identity_file is set, and cert_file too ({})", bus.cert_file.source);
        findings.push(Finding::new(&bus.identity_file.source, problem).remedy("drop one of them"));
    }
    if let Some((name, source)) = external
        && bus.identity_file.value.is_none()
        && bus.cert_file.value.is_none()
    {
        let finding =
            Finding::new(source, format!("{name} is external, and there is no certificate to show"));
        findings.push(finding.remedy("set cert_file and key_file, or identity_file"));
    }
    findings
}

/// What the log has to say of settings that are allowed, and dangerous.
pub(super) fn warning(bus: &BusSettings) -> Option<Finding> {
    match &bus.url.value {
        Some(BrokerUrl::Amqp(url)) if url.is_tls() && !bus.verify_ssl.value => {
            let finding = Finding::new(
                &bus.verify_ssl.source,
                "verify_ssl is false: whoever answers is taken for the broker, and can read and change all \
                 that is sent, the password too",
            );
            Some(finding.remedy("name the certificate of the broker's authority in ca_file instead"))
        }
        _ => None,
    }
}

/// Files that could not be used: the setting that names each, the file, the problem.
#[cfg(feature = "amqp")]
pub(crate) fn unusable_files(
    bus: &BusSettings,
    files: impl IntoIterator<Item = (&'static str, std::path::PathBuf, String)>,
) -> super::Error {
    let settings = [
        ("ca_file", &bus.ca_file.source),
        ("cert_file", &bus.cert_file.source),
        ("key_file", &bus.key_file.source),
        ("identity_file", &bus.identity_file.source),
    ];
    let findings = files.into_iter().map(|(setting, file, problem)| {
        let source = settings.iter().find(|(name, _)| *name == setting).map(|(_, source)| *source);
        let source = source.filter(|source| **source != Source::BuiltIn);
        let place = source.map_or_else(|| setting.to_owned(), |source| format!("{source}: {setting}"));
        Finding::new(place, format!("{} {problem}", file.display()).trim_start())
    });
    super::Error::new(findings.collect())
}

/// A setting that means something only beside another one.
fn pair<T>(
    findings: &mut Vec<Finding>,
    (name, setting): (&str, &Setting<Option<T>>),
    other: &str,
    there: bool,
) {
    if setting.value.is_some() && !there {
        let finding = Finding::new(&setting.source, format!("{name} is set without {other}"));
        findings.push(finding.remedy(format!("set both (ES_BUS_{}), or neither", other.to_uppercase())));
    }
}
