#[allow(dead_code)]
struct Projections;
#[allow(deprecated)]
const _: () = {
    impl P::Group for Projections {
        const DEF: &'static P::GroupDef = &P::GroupDef {
            bus: "default",
            name: "projections",
            formerly: &[],
            settings: &[("prefetch", "50")],
            exchange: P::None,
            layer: P::None,
            location: P::location!(),
        };
    }
    P::submit! { P :: Submission :: Group (< Projections as P :: Group > :: DEF) }
};
