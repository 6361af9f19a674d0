//! The binary `es-bus`: a service is operated by its `es-bus.lock`, wherever its program is.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    es_bus::cli::run_manifest().await
}
