//! One question over HTTP, and what its answer says when it is none.

use std::{io, pin::Pin};

use futures_util::future::{join, poll_fn};
use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value as Json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::ManagementOptions;
use crate::{percent, transport::ManagementError, wire::base64};

/// The longest answer that is read, in bytes: some hundred thousand queues.
const MOST: usize = 256 * 1024 * 1024;

/// Asks the management API.
pub(super) struct Client {
    options: ManagementOptions,
    authorization: HeaderValue,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The login is in it.
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Clone, Copy)]
struct Ask<'a> {
    method: &'static str,
    path: &'a str,
    /// JSON; empty without.
    body: &'a str,
}

/// An answer that came.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Client {
    pub(super) fn new(options: ManagementOptions) -> Self {
        let login = base64::encode(format!("{}:{}", options.user, options.password).as_bytes());
        let mut authorization = HeaderValue::try_from(format!("Basic {login}"))
            .expect("base 64 is made of characters that a header may hold");
        authorization.set_sensitive(true);
        Self { options, authorization }
    }

    pub(super) fn address(&self) -> String {
        self.options.address()
    }

    /// Everything of one sort on the virtual host; all columns when none is named.
    pub(super) async fn list(&self, what: &str, columns: &[&str]) -> Result<Vec<Json>, ManagementError> {
        let columns =
            if columns.is_empty() { String::new() } else { format!("?columns={}", columns.join(",")) };
        self.list_by(what, &columns).await
    }

    /// As [`list`](Self::list), without what the broker would have to add up first.
    pub(super) async fn list_plain(
        &self,
        what: &str,
        columns: &[&str],
    ) -> Result<Vec<Json>, ManagementError> {
        self.list_by(what, &format!("?disable_stats=true&columns={}", columns.join(","))).await
    }

    async fn list_by(&self, what: &str, query: &str) -> Result<Vec<Json>, ManagementError> {
        let vhost = percent::encode(&self.options.vhost);
        match self.get(&format!("{what}/{vhost}{query}")).await? {
            Json::Array(all) => Ok(all),
            _ => Err(self.not_an_api(format!("its {what} are no list"))),
        }
    }

    /// One queue of the virtual host.
    pub(super) async fn get_queue(&self, name: &str) -> Result<Option<Json>, ManagementError> {
        let path = format!("queues/{}/{}", percent::encode(&self.options.vhost), percent::encode(name));
        match self.get(&path).await {
            Ok(queue) => Ok(Some(queue)),
            // The virtual host is there: it was listed before.
            Err(ManagementError::NoVirtualHost { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a user may do on the virtual host: nothing, where the broker has no word of it.
    #[cfg(feature = "cli")]
    pub(super) async fn get_rights(&self, user: &str) -> Result<Json, ManagementError> {
        let path = format!("permissions/{}/{}", percent::encode(&self.options.vhost), percent::encode(user));
        match self.get(&path).await {
            // The virtual host is there: it was listed before.
            Err(ManagementError::NoVirtualHost { .. }) => Ok(Json::Null),
            answer => answer,
        }
    }

    #[cfg(feature = "cli")]
    pub(super) fn vhost(&self) -> &str {
        &self.options.vhost
    }

    /// What stands under `/api/{path}`.
    pub(super) async fn get(&self, path: &str) -> Result<Json, ManagementError> {
        let ask = Ask { method: "GET", path, body: "" };
        let answer = self.answer(ask).await?;
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body).map_err(|_no_json| {
                self.not_an_api(format!("what it has under /api/{} is no JSON", shown(path)))
            });
        }
        Err(self.refusal(ask, &answer))
    }

    /// Sets something of the virtual host.
    pub(super) async fn put(&self, what: &str, name: &str, body: &Json) -> Result<(), ManagementError> {
        let path = format!("{what}/{}/{}", percent::encode(&self.options.vhost), percent::encode(name));
        let body = body.to_string();
        let ask = Ask { method: "PUT", path: &path, body: &body };
        let answer = self.answer(ask).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refusal(ask, &answer)) }
    }

    /// Deletes something of the virtual host; what is not there is deleted already.
    pub(super) async fn delete(&self, what: &str, name: &str) -> Result<(), ManagementError> {
        let path = format!("{what}/{}/{}", percent::encode(&self.options.vhost), percent::encode(name));
        let ask = Ask { method: "DELETE", path: &path, body: "" };
        let answer = self.answer(ask).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // The virtual host is there: it was listed before.
            StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.refusal(ask, &answer)),
        }
    }

    async fn answer(&self, ask: Ask<'_>) -> Result<Answer, ManagementError> {
        timeout(self.options.timeout, Box::pin(self.ask(ask))).await.unwrap_or_else(|_elapsed| {
            Err(ManagementError::TimedOut {
                address: self.address(),
                method: ask.method,
                path: shown(ask.path),
                after: self.options.timeout,
            })
        })
    }

    pub(super) fn not_an_api(&self, reason: impl Into<String>) -> ManagementError {
        ManagementError::NotAnApi { address: self.address(), reason: reason.into() }
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, ManagementError> {
        let ManagementOptions { host, port, tls, .. } = &self.options;
        let unreachable = |error: io::Error| ManagementError::Unreachable {
            address: self.address(),
            reason: error.to_string(),
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        let Some(tls) = tls.clone() else { return self.converse(stream, ask).await };
        let refused =
            |reason: String, remedy| ManagementError::Tls { address: self.address(), reason, remedy };
        let name = ServerName::try_from(host.clone()).map_err(|_no_name| {
            refused(format!("{host:?} is no name of a server"), "correct `management_url`")
        })?;
        // It may read files.
        let config = tokio::task::spawn_blocking(move || tls.current()).await;
        let config = config.map_err(|error| refused(error.to_string(), "try again"))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            refused(
                error.to_string(),
                "see that the port speaks TLS (write http:// if it does not), and that `ca_file` names the authority of \
                 its certificate",
            )
        })?;
        self.converse(stream, ask).await
    }

    /// One request on a connection of its own.
    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        Ask { method, path, body }: Ask<'_>,
    ) -> Result<Answer, ManagementError> {
        let ManagementOptions { host, port, prefix, .. } = &self.options;
        let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let request = Request::builder()
            .method(method)
            .uri(format!("{prefix}/api/{path}"))
            .header(HOST, host)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("es-bus/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned())
            .map_err(|error| self.not_an_api(format!("the address is not one for HTTP ({error})")))?;
        let failed = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let answer = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok(Answer { status, body: read(response.into_body()).await? })
        };
        // What goes wrong with the connection, the answer tells too.
        let (answer, _connection) = join(answer, connection).await;
        answer.map_err(failed)
    }

    /// A conversation that broke off.
    fn broken(&self, error: &hyper::Error) -> ManagementError {
        if error.is_parse() || error.is_incomplete_message() {
            return self.not_an_api(match self.options.tls {
                None => "what it sent is not HTTP; the port may be that of AMQP, or speak TLS (https://)",
                Some(_) => "what it sent is not HTTP; the port may be that of AMQP over TLS",
            });
        }
        let source =
            std::error::Error::source(error).map_or_else(String::new, |source| format!(" ({source})"));
        ManagementError::Unreachable { address: self.address(), reason: format!("{error}{source}") }
    }

    /// An answer that is not what was asked for.
    fn refusal(&self, ask: Ask<'_>, Answer { status, body }: &Answer) -> ManagementError {
        let Ask { method, path, .. } = ask;
        let (address, user) = (self.address(), self.options.user.clone());
        let told: Option<Json> = serde_json::from_slice(body).ok();
        let reason = told.as_ref().and_then(|told| told.get("reason")?.as_str());
        let words = reason.map_or_else(|| status.to_string(), str::to_owned);
        let path = shown(path);
        match status.as_u16() {
            401 | 403 => match remedy(method, &words, &user, &self.options.vhost) {
                Some(remedy) => {
                    ManagementError::Forbidden { address, method, user, path, reason: words, remedy }
                }
                None if *status == StatusCode::FORBIDDEN => ManagementError::Forbidden {
                    address,
                    method,
                    user,
                    path,
                    reason: words,
                    remedy: "see what stands between here and the broker, or give it the rights".to_owned(),
                },
                None => ManagementError::Login { address, user, reason: words },
            },
            404 if reason.is_some() => {
                ManagementError::NoVirtualHost { address, vhost: self.options.vhost.clone() }
            }
            500.. => {
                ManagementError::Failed { address, method, path, status: status.as_u16(), reason: words }
            }
            // What was sent is not as it has to be: it says so in several lines.
            400 if reason.is_some() => {
                let reason = words.split_whitespace().collect::<Vec<_>>().join(" ");
                ManagementError::Failed { address, method, path, status: 400, reason }
            }
            300..=399 => {
                self.not_an_api(format!("it answers {method} /api/{path} with a redirection ({status})"))
            }
            _ => self.not_an_api(format!("it answers {method} /api/{path} with {status}")),
        }
    }
}

/// What to do about a user who is known and may not; `None` when it is the login that is wrong.
fn remedy(method: &str, reason: &str, user: &str, vhost: &str) -> Option<String> {
    // Nothing but policies is changed.
    if method != "GET" && (reason.contains("access object") || reason.contains("policymaker")) {
        return Some(format!(
            "give it the tag: `rabbitmqctl set_user_tags {user} policymaker`, with the tags that it has"
        ));
    }
    if reason.contains("virtual host") {
        return Some(format!(
            "give it rights there: `rabbitmqctl set_permissions -p {vhost} {user} '^$' '^$' '.*'` is enough to look"
        ));
    }
    let tag = ["management", "monitor", "administrator"]
        .into_iter()
        .find(|tag| reason.to_lowercase().contains(&format!("not {tag}")))?;
    let tag = if tag == "monitor" { "monitoring" } else { tag };
    Some(format!("give it the tag: `rabbitmqctl set_user_tags {user} {tag}`"))
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MOST {
            // Cut short it is no JSON, and told to be none.
            break;
        }
    }
    Ok(bytes)
}

/// A path without what it is asked for in detail.
fn shown(path: &str) -> String {
    path.split('?').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::oneshot,
    };

    use super::*;

    fn client(port: u16) -> Client {
        Client::new(ManagementOptions {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
            prefix: "/rabbit".to_owned(),
            user: "ops".to_owned(),
            password: "p@ss:wörd".to_owned(),
            vhost: "shop/é a".to_owned(),
            timeout: Duration::from_secs(5),
        })
    }

    /// Somebody who answers once, with these bytes, and the request as it came.
    async fn answering(answer: String) -> (u16, oneshot::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, request) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            bytes.truncate(length);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        (port, request)
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn asks_with_the_login_and_every_name_encoded() {
        let (port, request) = answering(http("200 OK", "[]")).await;

        let all = client(port).list("queues", &["name", "type"]).await.unwrap();

        assert_eq!(all, Vec::<Json>::new());
        let request = request.await.unwrap();
        assert!(
            request.starts_with("GET /rabbit/api/queues/shop%2F%C3%A9%20a?columns=name,type HTTP/1.1\r\n")
        );
        assert!(request.contains("authorization: Basic b3BzOnBAc3M6d8O2cmQ=\r\n"), "{request}");
    }

    #[tokio::test]
    async fn sets_and_deletes_by_name_and_says_who_may_not() {
        let body = serde_json::json!({ "pattern": "^a$" });
        let refused = "{\"error\":\"not_authorised\",\"reason\":\"User not authorised to access object\"}";

        let (port, request) = answering(http("201 Created", "")).await;
        client(port).put("policies", "es-bus.a/b", &body).await.unwrap();
        let request = request.await.unwrap();
        let (port, _request) = answering(http("404 Not Found", "{\"reason\":\"Not Found\"}")).await;
        client(port).delete("policies", "gone").await.unwrap();
        let mut report = String::new();
        for answer in [
            http("401 Unauthorized", refused),
            http(
                "400 Bad Request",
                "{\"reason\":\"Validation failed\\n\\n-3 is not a valid maximum length\\n\"}",
            ),
            http("500 Internal Server Error", "{\"reason\":\"badmatch\"}"),
        ] {
            let (port, _request) = answering(answer).await;
            let error = client(port).put("policies", "a", &body).await.unwrap_err();
            report += &format!("{error}\n").replace(&port.to_string(), "PORT");
        }

        assert!(
            request.starts_with("PUT /rabbit/api/policies/shop%2F%C3%A9%20a/es-bus.a%2Fb HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"pattern\":\"^a$\"}"), "{request}");
        insta::assert_snapshot!(report);
    }

    #[tokio::test]
    async fn every_answer_that_is_none_has_its_error_and_its_remedy() {
        let told = |reason: &str| format!("{{\"error\":\"not_authorised\",\"reason\":\"{reason}\"}}");
        let mut report = String::new();
        for answer in [
            http("401 Unauthorized", &told("Login failed")),
            http("401 Unauthorized", "<html>"),
            http("401 Unauthorized", &told("Not management user")),
            http("401 Unauthorized", &told("Not monitor user")),
            http("401 Unauthorized", &told("User not authorised to access virtual host")),
            http("403 Forbidden", "no"),
            http("404 Not Found", &told("Not Found")),
            http("404 Not Found", "<html>"),
            http("302 Found", ""),
            http("503 Service Unavailable", "{\"reason\":\"maintenance\"}"),
            http("200 OK", "<html>"),
            http("200 OK", "{}"),
            "AMQP\0\0\x09\x01".to_owned(),
            String::new(),
        ] {
            let (port, _request) = answering(answer).await;
            let client = client(port);

            let error = client.list("queues", &[]).await.unwrap_err();

            assert!(!format!("{error} {error:?} {client:?}").contains("p@ss"));
            report += &format!("{error}\n").replace(&port.to_string(), "PORT");
        }
        insta::assert_snapshot!(report);
    }

    #[tokio::test]
    async fn nobody_there_and_nobody_who_answers_are_two_things() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut silent = client(port);
        silent.options.timeout = Duration::from_millis(20);

        let error = silent.get("overview").await.unwrap_err();
        assert!(matches!(&error, ManagementError::TimedOut { path, .. } if path == "overview"), "{error}");

        drop(listener);
        let error = client(port).get("overview").await.unwrap_err();
        assert!(matches!(error, ManagementError::Unreachable { .. }), "{error}");
    }
}
