//! Certificates, made for one run: an authority, a broker, clients, and what is wrong with others.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority, and the directory for all that it signs; gone when dropped.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) der: (Vec<u8>, Vec<u8>),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("es-bus-certs-{}-{number}", process::id()));
        fs::create_dir(&dir).expect("the name is new");
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("can be signed");
        let authority = Self { dir, issuer };
        authority.write("ca.pem", pem("CERTIFICATE", authority.issuer.der()));
        authority
    }

    /// The file with its own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A broker on `localhost` and 127.0.0.1.
    pub(crate) fn broker(&self) -> Pair {
        self.sign("broker", &self.broker_params())
    }

    /// As [`broker`](Self::broker), for somebody else on the same machine.
    pub(crate) fn neighbour(&self) -> Pair {
        self.sign("neighbour", &self.broker_params())
    }

    /// As [`broker`](Self::broker), of long ago.
    pub(crate) fn expired_broker(&self) -> Pair {
        let mut params = self.broker_params();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        self.sign("expired", &params)
    }

    /// A client of that common name.
    pub(crate) fn client(&self, name: &str) -> Pair {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, &params)
    }

    /// The pair in one encrypted file.
    pub(crate) fn pkcs12(&self, pair: &Pair, password: &str) -> PathBuf {
        let certificate = Certificate::from_der(&pair.der.0).expect("X.509");
        let chain = PrivateKeyChain::new(&pair.der.1, [1], [certificate]);
        let mut store = KeyStore::new();
        store.add_entry("es-bus", KeyStoreEntry::PrivateKeyChain(chain));
        let writer = store.writer(password).encryption_iterations(100).mac_iterations(100);
        self.write("client.p12", writer.write().expect("can be written"))
    }

    /// Any file beside the certificates.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).expect("the directory is ours");
        path
    }

    fn broker_params(&self) -> CertificateParams {
        let mut params = params("broker");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().expect("a name")),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Pair {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("can be signed");
        Pair {
            cert: self.write(&format!("{name}.pem"), pem("CERTIFICATE", certificate.der())),
            key: self.write(&format!("{name}.key"), pem("PRIVATE KEY", key.serialized_der())),
            der: (certificate.der().to_vec(), key.serialize_der()),
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("ring makes keys")
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text: Vec<u8> = Vec::new();
    for chunk in der.chunks(3) {
        let bits =
            chunk.iter().chain([&0, &0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63]);
        text.extend(&digits[..=chunk.len()]);
    }
    text.resize(text.len().next_multiple_of(4), b'=');
    let lines: Vec<_> = text.chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
