//! Pinned expansions, so that a person can read what the attributes write.
//!
//! `EXPANSIONS_BLESS=1` writes them anew.

use std::{
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use proc_macro2::TokenStream;
use quote::quote;

use crate::{errors::Errors, event, failure, group, handler};

/// Compares what is written with the file of that name; `P` stands for `::es_bus::__private`.
#[track_caller]
fn assert_pinned(name: &str, written: &TokenStream, errors: &Errors) {
    assert!(errors.is_empty(), "{:?}", errors.messages());
    let text = formatted(&written.to_string().replace(":: es_bus :: __private", "P"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/expansions").join(format!("{name}.rs"));
    if env::var_os("EXPANSIONS_BLESS").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == pinned, "{} differs; EXPANSIONS_BLESS=1 writes it anew:\n{text}", path.display());
}

fn formatted(source: &str) -> String {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition=2024", "--config=max_width=110,use_small_heuristics=Max,style_edition=2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt, which comes with the toolchain");
    rustfmt.stdin.take().expect("a pipe").write_all(source.as_bytes()).expect("rustfmt reads");
    let output = rustfmt.wait_with_output().expect("rustfmt ends");
    assert!(output.status.success(), "rustfmt cannot read {source}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn an_event() {
    let mut errors = Errors::default();
    let item = quote!(
        struct OrderPlaced {
            id: u64,
        }
    );

    let model = event::parse(quote!(aggregate = "Order", aggregate_id = id, version = 2), &item, &mut errors);

    assert_pinned("event", &event::expand(&model.expect("a model")), &errors);
}

#[test]
fn an_event_set() {
    let mut errors = Errors::default();
    let item = quote!(
        enum OrderEvent {
            Placed(OrderPlaced),
            #[event(name = "OrderPaid")]
            Paid {
                id: u64,
            },
        }
    );

    let model = event::parse(quote!(aggregate = "Order"), &item, &mut errors);

    assert_pinned("event_set", &event::expand(&model.expect("a model")), &errors);
}

#[test]
fn a_handler() {
    let mut errors = Errors::default();
    let item = quote!(
        async fn project(event: OrderPlaced, State(db): State<Db>) -> Result<(), LedgerError> {
            db.save(event).await
        }
    );

    let model =
        handler::parse(quote!(group = Projections, bind = "Order.*", retries = 5), &item, &mut errors);

    assert_pinned("handler", &handler::expand(&model.expect("a model")), &errors);
}

#[test]
fn a_group() {
    let mut errors = Errors::default();

    let model = group::parse(
        quote!(prefetch = 50),
        &quote!(
            struct Projections;
        ),
        &mut errors,
    );

    assert_pinned("group", &group::expand(&model.expect("a model")), &errors);
}

#[test]
fn a_failure() {
    let mut errors = Errors::default();
    let item = quote!(
        enum LedgerError {
            #[failure(retry_after = "30s")]
            Closed,
            #[failure(transparent)]
            Other(Inner),
        }
    );

    let model = failure::parse(item, &mut errors);

    assert_pinned("failure", &failure::expand(&model.expect("a model")), &errors);
}
