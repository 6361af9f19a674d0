//! Encrypted connections, logins by certificate, and what must not be told: on real nodes, with
//! certificates made here.

mod certs;
mod management;
mod secrets;
mod support;
mod tls;
