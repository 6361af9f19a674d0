//! What a person sees when `main` returns an error of es-bus.

use std::process::Command;

#[test]
fn a_failing_main_prints_the_report_and_exits_with_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_failing_main")).output().expect("cargo has built it");

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr));
}

#[test]
#[should_panic(expected = "no handlers are registered")]
fn a_check_that_sees_nothing_does_not_pass() {
    // This test binary declares nothing.
    es_bus::__private::check_registry();
}
