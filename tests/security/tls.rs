use std::{fs, sync::Arc};

use es_bus::{
    event,
    transport::amqp::rustls::{
        self, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject as _,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    certs::Authority,
    support::{Log, PATIENCE, Secure, builder, path, refused, run, stop},
};

#[event(aggregate = "Order", aggregate_id = order_id, exchange = "secure")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
}

fn placed() -> OrderPlaced {
    OrderPlaced { order_id: "o-1".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_by_name_and_by_address() {
    let secure = Secure::shared();
    for host in ["localhost", "127.0.0.1"] {
        let handle = run(secure.bus(host)).await;

        handle.publisher().publish(&placed()).await.expect("the broker takes it");

        stop(handle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused_at_once() {
    let secure = Secure::shared();
    let stranger = Authority::new("a stranger");

    let by_system = refused(builder(secure.url("localhost"))).await;
    let by_file = refused(secure.bus("localhost").set("ca_file", path(&stranger.ca()))).await;

    assert!(
        by_system.contains("signed by an authority that is not trusted; name the certificate"),
        "{by_system}"
    );
    assert!(by_file.contains("not trusted") && by_file.contains("the one there is another"), "{by_file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused() {
    let error = refused(Secure::shared().bus("127.0.0.2")).await;

    assert!(error.contains("is for another host"), "{error}");
    assert!(error.contains("127.0.0.2") && error.contains("localhost"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_verification_any_broker_is_taken_and_the_log_says_so() {
    let secure = Secure::shared();

    let handle = run(builder(secure.url("127.0.0.2")).set("verify_ssl", false)).await;

    stop(handle).await;
    Log::install().until("verify_ssl is false: whoever answers is taken for the broker").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_without_a_password() {
    let secure = Secure::shared();
    tokio::task::block_in_place(|| {
        secure.node.rabbitmqctl(&["add_user", "orders-service", "never-used"]);
        secure.node.rabbitmqctl(&["clear_password", "orders-service"]);
        secure.node.rabbitmqctl(&["set_permissions", "orders-service", ".*", ".*", ".*"]);
    });
    let url = format!("amqps://localhost:{}/", secure.node.tls_port());
    let external = || secure.bus("localhost").url(url.clone()).set("auth", "external");
    let client = secure.authority.client("orders-service");
    let pkcs12 = secure.authority.pkcs12(&client, "p@ss/w%rd");
    let nobody = secure.authority.client("nobody");

    let by_pem = external().set("cert_file", path(&client.cert)).set("key_file", path(&client.key));
    let handle = run(by_pem).await;
    handle.publisher().publish(&placed()).await.expect("the user may publish");
    stop(handle).await;
    let by_pkcs12 = external().set("identity_file", path(&pkcs12)).set("identity_password", "p@ss/w%rd");
    stop(run(by_pkcs12).await).await;
    let unknown = external().set("cert_file", path(&nobody.cert)).set("key_file", path(&nobody.key));
    let unknown = refused(unknown).await;

    assert!(
        unknown.contains("refused the login") && unknown.contains("rabbitmq_auth_mechanism_ssl"),
        "{unknown}"
    );
    assert!(!unknown.contains("guest"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_of_rustls_is_taken_as_it_is() {
    let secure = Secure::shared();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(secure.authority.ca()).expect("PEM")).expect("X.509");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("ring speaks it")
        .with_root_certificates(roots)
        .with_no_client_auth();

    let handle = run(builder(secure.url("localhost")).tls(Arc::new(config))).await;

    handle.publisher().publish(&placed()).await.expect("the broker takes it");
    stop(handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_the_other_protocol_is_named() {
    let secure = Secure::shared();
    let tls_to_plain = secure.bus("127.0.0.1").url(secure.node.url().replace("amqp://", "amqps://"));
    let plain_to_tls = builder(secure.url("127.0.0.1").replace("amqps://", "amqp://"));

    let tls_to_plain = refused(tls_to_plain).await;
    let plain_to_tls = refused(plain_to_tls).await;

    assert!(tls_to_plain.contains("the port does not speak TLS"), "{tls_to_plain}");
    assert!(tls_to_plain.contains("write amqp:// in the URL"), "{tls_to_plain}");
    assert!(plain_to_tls.contains("write amqps:// in the URL"), "{plain_to_tls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_a_mistake_that_names_it() {
    let authority = Authority::new("es-bus tests");
    let (one, other) = (authority.client("one"), authority.client("other"));
    let pkcs12 = authority.pkcs12(&one, "right");
    let (empty, text) = (authority.write("empty.pem", ""), authority.write("text.pem", "no certificate"));
    let der = authority.write("cert.der", &one.der.0);
    let cut = authority.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let garbage =
        authority.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = authority.write("encrypted.key", encrypted);
    let missing = authority.ca().with_file_name("missing.pem");
    let with = |settings: &[(&str, &std::path::Path)]| {
        let all = builder("amqps://app:hunter2@localhost");
        settings.iter().fold(all, |all, (name, file)| all.set(name, path(file)))
    };

    let builders = [
        with(&[("ca_file", &missing)]),
        with(&[("ca_file", &empty)]),
        with(&[("ca_file", &text)]),
        with(&[("ca_file", &der)]),
        with(&[("ca_file", &cut)]),
        with(&[("ca_file", &garbage)]),
        with(&[("ca_file", &one.key)]),
        with(&[("ca_file", authority.ca().parent().expect("a directory"))]),
        with(&[("cert_file", &missing), ("key_file", &empty)]),
        with(&[("cert_file", &one.cert), ("key_file", &other.key)]),
        with(&[("cert_file", &one.cert), ("key_file", &one.cert)]),
        with(&[("cert_file", &one.cert), ("key_file", &encrypted)]),
        with(&[("identity_file", &missing)]),
        with(&[("identity_file", &one.cert)]),
        with(&[("identity_file", &text)]),
        with(&[("identity_file", &pkcs12)]),
        with(&[("identity_file", &pkcs12)]).set("identity_password", "hunter2"),
    ];
    let errors = builders.map(|builder| builder.build().expect_err("a file is wrong").to_string());

    let report = errors.join("\n").replace(&path(authority.ca().parent().expect("a directory")), "[dir]");
    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report);
}

/// One node, from one state to the next: each restart takes seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_asks_for_certificates_comes_back_and_at_last_shows_an_expired_one() {
    let mut secure = tokio::task::block_in_place(|| Secure::start("fail_if_no_peer_cert = true"));
    let client = secure.authority.client("client");
    let stranger = Authority::new("a stranger");
    let unknown = stranger.client("client");
    let trusted = secure.authority.ca().with_file_name("trusted.pem");
    fs::copy(secure.authority.ca(), &trusted).expect("ours");
    let with = |pair: &crate::certs::Pair| {
        let bus = secure.bus("localhost").set("ca_file", path(&trusted));
        bus.set("cert_file", path(&pair.cert)).set("key_file", path(&pair.key))
    };

    let none = refused(secure.bus("localhost")).await;
    let untrusted = refused(with(&unknown)).await;
    let handle = run(with(&client)).await;
    tokio::task::block_in_place(|| {
        // Read anew for the next connection: what is broken by then does no harm.
        fs::write(&trusted, "broken").expect("ours");
        secure.node.restart();
    });
    let published = handle.publisher().publish(&placed()).await;
    tokio::task::block_in_place(|| {
        let (broker, expired) = (secure.authority.broker(), secure.authority.expired_broker());
        fs::copy(&expired.cert, &broker.cert).expect("ours");
        fs::copy(&expired.key, &broker.key).expect("ours");
        secure.node.restart();
    });
    let ended = tokio::time::timeout(PATIENCE, handle.wait()).await.expect("the bus gives up");

    assert!(none.contains("asks for a certificate of this program") && none.contains("cert_file"), "{none}");
    assert!(untrusted.contains("does not trust the certificate of this program"), "{untrusted}");
    published.expect("connected again");
    let ended = ended.expect_err("the certificate has expired").to_string();
    assert!(ended.contains("has expired"), "{ended}");
    Log::install().until("what was read from it before is used on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_waited_for() {
    let secure = Secure::shared();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let bus =
        secure.bus("localhost").url(format!("amqps://guest:guest@localhost:{free}/")).build().expect("valid");

    let started = tokio::spawn(bus.start());

    Log::install().until(&format!("localhost:{free}/ attempt=")).await;
    assert!(!started.is_finished());
    started.abort();
}
