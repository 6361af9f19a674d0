//! Nodes with certificates, a bus on them, and all that is logged.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use es_bus::{Bus, BusBuilder, Error, Handle};
use es_bus_tests::Node;
use tokio::{task::block_in_place, time::timeout};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::certs::Authority;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node that speaks TLS, and takes clients with certificates and without.
pub(crate) struct Secure {
    pub(crate) authority: Authority,
    pub(crate) node: Node,
}

impl Secure {
    /// The one node of this test binary.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Secure> = OnceLock::new();
        block_in_place(|| SHARED.get_or_init(|| Self::start("fail_if_no_peer_cert = false")))
    }

    /// A node of the caller's own, with this setting of `ssl_options`.
    pub(crate) fn start(option: &str) -> Self {
        let authority = Authority::new("es-bus tests");
        let broker = authority.broker();
        let node = Node::start_secure(&format!(
            "ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.versions.1 = tlsv1.3\n\
             ssl_options.versions.2 = tlsv1.2\n\
             ssl_options.{option}\n\
             auth_mechanisms.1 = EXTERNAL\n\
             auth_mechanisms.2 = PLAIN\n\
             ssl_cert_login_from = common_name\n",
            authority.ca().display(),
            broker.cert.display(),
            broker.key.display(),
        ));
        Self { authority, node }
    }

    /// `amqps://guest:guest@{host}:{port}/`
    pub(crate) fn url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/", self.node.tls_port())
    }

    /// A bus on it that only publishes, and trusts its authority.
    pub(crate) fn bus(&self, host: &str) -> BusBuilder {
        builder(self.url(host)).set("ca_file", path(&self.authority.ca()))
    }
}

/// A bus that reads nothing of its surroundings, only publishes, and tries again soon.
pub(crate) fn builder(url: impl Into<String>) -> BusBuilder {
    Bus::builder()
        .without_environment()
        .url(url.into())
        .set("reconnect_min", Duration::from_millis(50))
        .set("reconnect_max", Duration::from_millis(500))
        .publish_only()
}

pub(crate) fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A running bus.
pub(crate) async fn run(builder: BusBuilder) -> Handle {
    start(builder).await.unwrap_or_else(|error| panic!("{error:?}"))
}

pub(crate) async fn stop(handle: Handle) {
    timeout(PATIENCE, handle.stop()).await.expect("the bus stops in time").expect("nothing ended it");
}

/// What a bus that cannot start says.
pub(crate) async fn refused(builder: BusBuilder) -> String {
    match start(builder).await {
        Ok(_) => panic!("the broker accepts it"),
        Err(error) => error.to_string(),
    }
}

async fn start(builder: BusBuilder) -> Result<Handle, Error> {
    Log::install();
    let bus = block_in_place(|| builder.build())?;
    timeout(PATIENCE, bus.start()).await.expect("it starts, or is refused")
}

/// All that this process logs, on every level.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn install() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_max_level(LevelFilter::TRACE)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }

    /// Waits until something is logged.
    pub(crate) async fn until(&self, what: &str) {
        let found = async {
            while !self.text().contains(what) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what:?} is never logged"));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}
