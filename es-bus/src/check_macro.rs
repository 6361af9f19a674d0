//! `es_bus::check!`: the checks of start-up, as a unit test.

/// Makes a unit test of the checks that otherwise run at start-up.
///
/// It belongs in the crate that holds `main`: it sees what that crate links. `es_bus::check!()`
/// finds two events with one key, two handlers with one name, a group configured twice, a binding
/// that no known event matches, dead letters that would go nowhere or come back; given the program's
/// own builder, also a `State<T>` that nobody provides, and what the configuration makes of it all.
///
/// What is allowed and probably not meant is no error: [`Bus::cautions`](crate::Bus::cautions) has it.
///
/// # Examples
///
/// ```
/// es_bus::check!();
/// ```
///
/// ```
/// #[derive(Clone, Default)]
/// struct Ledger;
///
/// fn bus() -> es_bus::BusBuilder {
///     es_bus::Bus::builder().state(Ledger)
/// }
///
/// es_bus::check!(bus());
/// # let _ = bus();
/// ```
#[macro_export]
macro_rules! check {
    () => {
        #[cfg(test)]
        #[test]
        fn es_bus_check() {
            $crate::__private::check_registry();
        }
    };
    ($builder:expr $(,)?) => {
        #[cfg(test)]
        #[test]
        fn es_bus_check() {
            $crate::__private::check_builder($builder);
        }
    };
}
