//! What a failed TLS handshake means, and what to do about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::AmqpOptions;

/// The reason and the remedy; `None` for an error that is not about TLS, and may pass.
pub(super) fn explain(error: &io::Error, options: &AmqpOptions) -> Option<(String, String)> {
    let tls = options.tls.as_ref()?;
    let found = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let (reason, remedy) = match found {
        Some(Error::InvalidCertificate(error)) => certificate(error, tls.names_authorities()),
        Some(Error::AlertReceived(alert)) => refused(*alert, tls.has_identity()),
        Some(Error::InvalidMessage(_)) => (
            "the port does not speak TLS".to_owned(),
            "use the port for AMQP over TLS (5671 is usual), or write amqp:// in the URL",
        ),
        Some(Error::PeerIncompatible(_)) => (
            format!("no version or cipher of TLS is common to both ({error})"),
            "let the broker speak TLS 1.2 or 1.3 (`ssl_options.versions`)",
        ),
        Some(_) => (error.to_string(), GENERAL),
        None if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            (error.to_string(), GENERAL)
        }
        None => return None,
    };
    Some((reason, remedy.to_owned()))
}

/// What is wrong with the certificate that the broker shows.
fn certificate(error: &CertificateError, names_authorities: bool) -> (String, &'static str) {
    match error {
        CertificateError::UnknownIssuer => (
            "the certificate of the broker is signed by an authority that is not trusted".to_owned(),
            if names_authorities {
                "name the certificate of the authority that signed it in `ca_file` (ES_BUS_CA_FILE); the one there \
                 is another"
            } else {
                "name the certificate of the authority in `ca_file` (ES_BUS_CA_FILE)"
            },
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (format!("the certificate of the broker has expired ({error})"), RENEW)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (format!("the certificate of the broker is not valid yet ({error})"), RENEW)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the certificate of the broker is for another host ({error})"),
            "write a name in the URL that the certificate has, or add this one to its subject alternative names",
        ),
        error => (format!("the certificate of the broker cannot be accepted ({error})"), GENERAL),
    }
}

/// What the broker has against this program.
fn refused(alert: AlertDescription, has_identity: bool) -> (String, &'static str) {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::HandshakeFailure
        | AlertDescription::BadCertificate
            if !has_identity =>
        {
            (
                format!("the broker asks for a certificate of this program (alert {alert:?})"),
                "name it in `cert_file` and `key_file`, or in `identity_file` (ES_BUS_CERT_FILE, …)",
            )
        }
        AlertDescription::UnknownCA => (
            format!("the broker does not trust the certificate of this program (alert {alert:?})"),
            "let an authority sign it that the broker knows (`ssl_options.cacertfile`), and put certificates in \
             between into `cert_file`",
        ),
        AlertDescription::CertificateExpired => (
            format!("the certificate of this program has expired (alert {alert:?})"),
            "renew what `cert_file` or `identity_file` names",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => (
            format!("the broker refuses the certificate of this program (alert {alert:?})"),
            "see that it is for client authentication (its extended key usage), and the log of the broker",
        ),
        AlertDescription::ProtocolVersion => (
            format!("no version of TLS is common to both (alert {alert:?})"),
            "let the broker speak TLS 1.2 or 1.3 (`ssl_options.versions`)",
        ),
        alert => (format!("the broker ended the handshake (alert {alert:?})"), GENERAL),
    }
}

const RENEW: &str = "renew it, and see that the clocks here and there are right";
const GENERAL: &str = "see that the port speaks TLS (5671 is usual), and what the log of the broker says";
