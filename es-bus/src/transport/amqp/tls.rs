//! TLS: files of certificates and keys go in, what rustls needs for a handshake comes out.
//!
//! The files are read when the bus is built, so that a mistake in them is found before a broker is
//! asked, and again before each connection, so that renewed certificates need no restart.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use p12_keystore::KeyStore;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, InconsistentKeys,
    RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

/// How connections are encrypted. Cheap to clone; clones share what was read last.
#[derive(Clone)]
pub struct Tls {
    /// Where it is read anew before each connection; `None` when it was given ready.
    files: Option<Arc<TlsFiles>>,
    config: Arc<Mutex<Arc<ClientConfig>>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used, and why.
    pub fn from_files(files: TlsFiles) -> Result<Self, Vec<TlsError>> {
        let config = read(&files)?;
        Ok(Self { files: Some(Arc::new(files)), config: Arc::new(Mutex::new(config)) })
    }

    /// What to use for the next connection. Blocks the thread while it reads.
    pub(super) fn current(&self) -> Arc<ClientConfig> {
        let mut last = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        match self.files.as_deref().map(read) {
            Some(Ok(config)) => *last = config,
            Some(Err(errors)) => {
                for error in errors {
                    tracing::warn!("{error}; what was read from it before is used on");
                }
            }
            None => {}
        }
        last.clone()
    }

    /// Whether certain authorities are trusted, not those of the system.
    pub(super) fn names_authorities(&self) -> bool {
        self.files.as_ref().is_none_or(|files| files.ca_file.is_some())
    }

    /// Whether this program shows a certificate of its own, as far as that is known.
    pub(super) fn has_identity(&self) -> bool {
        self.files.as_ref().is_none_or(|files| files.identity.is_some())
    }
}

impl From<Arc<ClientConfig>> for Tls {
    /// Takes a configuration of rustls as it is.
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { files: None, config: Arc::new(Mutex::new(config)) }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Where certificates and keys are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that alone are trusted, PEM; without it those that the system
    /// trusts.
    pub ca_file: Option<PathBuf>,
    /// What this program proves to the broker that it is.
    pub identity: Option<TlsIdentity>,
    /// Takes any certificate from anybody: what is sent is encrypted, and whoever answers reads it.
    pub accept_any_certificate: bool,
}

/// A certificate of this program, with its private key.
#[derive(Clone, PartialEq, Eq)]
pub enum TlsIdentity {
    /// Two PEM files.
    Pem {
        /// The certificate, followed by those that lead to the authority.
        cert_file: PathBuf,
        /// Its private key, not encrypted.
        key_file: PathBuf,
    },
    /// One PKCS #12 file (`.p12`, `.pfx`).
    Pkcs12 {
        /// The file.
        identity_file: PathBuf,
        /// What it is encrypted with; empty when with nothing.
        password: String,
    },
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { cert_file, key_file } => {
                f.debug_struct("Pem").field("cert_file", cert_file).field("key_file", key_file).finish()
            }
            Self::Pkcs12 { identity_file, password: _ } => {
                f.debug_struct("Pkcs12").field("identity_file", identity_file).finish_non_exhaustive()
            }
        }
    }
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {}: {problem}", file.display())]
pub struct TlsError {
    /// The setting that names it.
    pub setting: &'static str,
    /// The file; empty for the certificates of the system.
    pub file: PathBuf,
    /// What is wrong, and what would do.
    pub problem: String,
}

fn read(files: &TlsFiles) -> Result<Arc<ClientConfig>, Vec<TlsError>> {
    let mut errors = Vec::new();
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    // Read even where nothing is verified: a mistake in it would wait for the day that it counts.
    let roots = roots(files).unwrap_or_else(|error| {
        errors.push(error);
        RootCertStore::empty()
    });
    let builder = if files.accept_any_certificate {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        builder.with_root_certificates(roots)
    };
    let config = match &files.identity {
        None => Some(builder.with_no_client_auth()),
        Some(identity) => match identity_of(identity) {
            Ok((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| errors.push(unusable(identity, &error)))
                .ok(),
            Err(found) => {
                errors.extend(found);
                None
            }
        },
    };
    match config {
        Some(config) if errors.is_empty() => Ok(Arc::new(config)),
        _ => Err(errors),
    }
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(file) = &files.ca_file else {
        if files.accept_any_certificate {
            return Ok(store);
        }
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(TlsError {
                setting: CA_FILE,
                file: PathBuf::new(),
                problem: format!(
                    "is not set, and this system has no certificates of authorities{why}; set it, or install \
                     them (the package is usually `ca-certificates`)"
                ),
            });
        }
        return Ok(store);
    };
    for certificate in certificates(CA_FILE, file)? {
        store.add(certificate).map_err(|error| TlsError {
            setting: CA_FILE,
            file: file.clone(),
            problem: format!("holds a certificate that cannot be used ({error})"),
        })?;
    }
    Ok(store)
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity_of(identity: &TlsIdentity) -> Result<Chain, Vec<TlsError>> {
    match identity {
        TlsIdentity::Pem { cert_file, key_file } => {
            match (certificates(CERT_FILE, cert_file), private_key(key_file)) {
                (Ok(chain), Ok(key)) => Ok((chain, key)),
                (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
            }
        }
        TlsIdentity::Pkcs12 { identity_file, password } => {
            pkcs12(identity_file, password).map_err(|error| vec![error])
        }
    }
}

fn pkcs12(file: &Path, password: &str) -> Result<Chain, TlsError> {
    let error = |problem: String| TlsError { setting: IDENTITY_FILE, file: file.to_owned(), problem };
    let bytes = contents(IDENTITY_FILE, file)?;
    if bytes.starts_with(b"-----BEGIN") {
        return Err(error("is PEM, not PKCS #12; name it in cert_file and key_file".to_owned()));
    }
    let store = KeyStore::from_pkcs12(&bytes, password).map_err(|found| match found {
        p12_keystore::error::Error::MacError(_) => {
            error("does not open with identity_password (ES_BUS_IDENTITY_PASSWORD)".to_owned())
        }
        p12_keystore::error::Error::DerError(_) => error(format!("is no PKCS #12 ({found})")),
        found => error(format!("cannot be read as PKCS #12 with identity_password ({found})")),
    })?;
    let Some((_, keychain)) = store.private_key_chain() else {
        return Err(error("holds no private key".to_owned()));
    };
    let chain: Vec<_> = keychain
        .chain()
        .iter()
        .map(|certificate| CertificateDer::from(certificate.as_der().to_vec()))
        .collect();
    if chain.is_empty() {
        return Err(error("holds no certificate".to_owned()));
    }
    Ok((chain, PrivatePkcs8KeyDer::from(keychain.key().to_vec()).into()))
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |problem: String| TlsError { setting, file: file.to_owned(), problem };
    let bytes = contents(setting, file)?;
    let found = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|found| error(invalid(&found).to_owned()))?;
    if found.is_empty() {
        return Err(error(no_certificate(&bytes).to_owned()));
    }
    Ok(found)
}

fn no_certificate(bytes: &[u8]) -> &'static str {
    if contains(bytes, b"PRIVATE KEY-----") {
        "holds a private key where a certificate is expected"
    } else if bytes.first() == Some(&DER_SEQUENCE) {
        "is no PEM, it looks like DER; convert it (`openssl x509 -inform der`), or name PKCS #12 in identity_file"
    } else {
        "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let error = |problem: String| TlsError { setting: KEY_FILE, file: file.to_owned(), problem };
    let bytes = contents(KEY_FILE, file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|found| {
        error(match found {
            pem::Error::NoItemsFound if contains(&bytes, b"ENCRYPTED") => {
                "holds an encrypted key; decrypt it (`openssl pkey -in key -out plain`), or use identity_file with \
                 identity_password"
                    .to_owned()
            }
            pem::Error::NoItemsFound if contains(&bytes, b"BEGIN CERTIFICATE") => {
                "holds a certificate where a private key is expected".to_owned()
            }
            pem::Error::NoItemsFound => {
                "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)".to_owned()
            }
            found => invalid(&found).to_owned(),
        })
    })
}

/// Says nothing of what stands in the file, which may be a key.
fn invalid(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "is cut off, a line -----END is missing",
        pem::Error::IllegalSectionStart { .. } => "has a line -----BEGIN that is not whole",
        pem::Error::Base64Decode(_) => "is no valid PEM, its base64 is damaged",
        _ => "is no valid PEM",
    }
}

fn contents(setting: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |problem: String| TlsError { setting, file: file.to_owned(), problem };
    match fs::read(file) {
        Ok(bytes) if bytes.is_empty() => Err(error("is empty".to_owned())),
        Ok(bytes) => Ok(bytes),
        Err(found) => Err(error(format!("cannot be read: {found}"))),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A certificate and a key that were read, and do not serve together.
fn unusable(identity: &TlsIdentity, error: &RustlsError) -> TlsError {
    let (setting, file) = match identity {
        TlsIdentity::Pem { key_file, .. } => (KEY_FILE, key_file),
        TlsIdentity::Pkcs12 { identity_file, .. } => (IDENTITY_FILE, identity_file),
    };
    let problem = match error {
        RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "holds a key that does not belong to the certificate".to_owned()
        }
        RustlsError::InvalidCertificate(CertificateError::BadEncoding) => {
            "goes with a certificate that is not X.509".to_owned()
        }
        error => format!("holds a key that cannot be used ({error})"),
    };
    TlsError { setting, file: file.clone(), problem }
}

/// Looks at no certificate, only at whether the peer has the key to the one it shows.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const CA_FILE: &str = "ca_file";
const CERT_FILE: &str = "cert_file";
const KEY_FILE: &str = "key_file";
const IDENTITY_FILE: &str = "identity_file";

/// What every certificate in DER begins with.
const DER_SEQUENCE: u8 = 0x30;
