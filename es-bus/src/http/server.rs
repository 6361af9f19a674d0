//! The server: one listener, a few short connections at a time.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::{answer, prometheus};
use crate::{
    error::{Error, Result},
    monitor::Monitor,
};

/// How many connections are served at once; more wait to be accepted.
const CONNECTIONS: usize = 32;
/// How long a client has to say what it wants.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection lasts: longer than the broker may take to answer, and the client to listen.
const LAST_FOR: Duration = Duration::from_secs(30);
/// How often the recorder tidies up.
const UPKEEP: Duration = Duration::from_secs(5);

/// A server that listens.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when the port is taken, or not for this user.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let failed = |source| Error::Http { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!("health and metrics on http://{address}: /health, /ready, /health/rabbitmq, /metrics");
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers, for ever. Dropped, it ends every connection.
    pub(crate) async fn serve(self, monitor: Monitor) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut upkeep = interval(UPKEEP);
        loop {
            let accept = async {
                // The semaphore is never closed.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (slot, self.listener.accept().await)
            };
            tokio::select! {
                (slot, accepted) = accept => match accepted {
                    Ok((stream, _peer)) => {
                        let monitor = monitor.clone();
                        connections.spawn(async move {
                            let _slot = slot;
                            let _ = timeout(LAST_FOR, converse(stream, monitor)).await;
                        });
                    }
                    Err(error) => {
                        // Out of file handles, say: it passes, and spinning does not help.
                        tracing::debug!(%error, "a connection could not be accepted");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
                _ = upkeep.tick() => prometheus::upkeep(),
            }
        }
    }
}

/// One request and its answer.
async fn converse(stream: TcpStream, monitor: Monitor) {
    let service = service_fn(|request: Request<Incoming>| {
        let monitor = monitor.clone();
        async move {
            let response: Response<String> = answer(&monitor, request.method(), request.uri().path()).await;
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_WITHIN)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client of the health server went away");
    }
}
