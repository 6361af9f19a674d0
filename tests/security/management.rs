//! The management API over TLS: the same files are trusted as for AMQP, and the login is in no log.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use es_bus::transport::amqp::rustls::{
    ServerConfig, ServerConnection, Stream, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::task::block_in_place;

use crate::{
    certs::Authority,
    support::{Log, Secure},
};

/// TLS before the management API of a node, which listens without. Ends with the process.
fn front(authority: &Authority, to: u16) -> u16 {
    let pair = authority.neighbour();
    let chain =
        CertificateDer::pem_file_iter(&pair.cert).expect("a file").map(|it| it.expect("a certificate"));
    let key = PrivateKeyDer::from_pem_slice(&fs::read(&pair.key).expect("a file")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .expect("they belong together");
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || forward(client, config, to));
        }
    });
    port
}

/// One request, which has no body, and its answer.
fn forward(mut client: TcpStream, config: Arc<ServerConfig>, to: u16) -> Option<()> {
    let mut tls = ServerConnection::new(config).ok()?;
    let mut stream = Stream::new(&mut tls, &mut client);
    let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut bytes).ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&bytes[..length]);
    }
    let mut node = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).ok()?;
    node.write_all(&request).ok()?;
    let mut answer = Vec::new();
    node.read_to_end(&mut answer).ok()?;
    stream.write_all(&answer).ok()?;
    tls.send_close_notify();
    tls.complete_io(&mut client).ok()?;
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn is_asked_over_tls_with_the_authority_of_the_broker_and_no_other() {
    let log = Log::install();
    let secure = Secure::shared();
    let plain = secure.node.management_url();
    let plain: u16 = plain.rsplit_once(':').expect("a port").1.parse().expect("a number");
    let trusted = block_in_place(|| front(&secure.authority, plain));
    let strange = block_in_place(|| front(&Authority::new("a stranger"), plain));
    let observe = async |url: String| {
        let bus = block_in_place(|| secure.bus("localhost").set("management_url", url).build())
            .expect("it is valid");
        bus.observe().await
    };

    let seen = observe(format!("https://guest:guest@localhost:{trusted}")).await.expect("it answers");
    let untrusted =
        observe(format!("https://localhost:{strange}")).await.expect_err("it is not trusted").to_string();
    let not_tls =
        observe(format!("https://localhost:{plain}")).await.expect_err("it speaks no TLS").to_string();

    assert!(seen.bindings.is_some() && seen.broker.is_some());
    assert!(untrusted.starts_with("TLS with the management API at https://guest@localhost:"), "{untrusted}");
    assert!(untrusted.contains("UnknownIssuer") && untrusted.contains("`ca_file`"), "{untrusted}");
    assert!(not_tls.contains("write http:// if it does not"), "{not_tls}");
    // `guest:guest` in base 64.
    assert!(!log.text().contains("Z3Vlc3Q6Z3Vlc3Q"), "the login is logged");
}
