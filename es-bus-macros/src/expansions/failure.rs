#[allow(deprecated)]
const _: () = {
    impl P::Failure for LedgerError {
        fn verdict(&self) -> P::Verdict {
            match self {
                Self::Closed { .. } => P::Verdict::RetryAfter(P::Duration::from_millis(30000u64)),
                Self::Other { 0: __source, .. } => {
                    use P::AsDynError as _;
                    P::verdict_of_source(__source.as_dyn_error())
                }
            }
        }
    }
    static __DEF: P::FailureDef = P::FailureDef { verdict: P::verdict_of::<LedgerError> };
    P::submit! { P :: Submission :: Failure (& __DEF) }
};
