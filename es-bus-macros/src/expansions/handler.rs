#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn project(event: OrderPlaced, State(db): State<Db>) -> Result<(), LedgerError> {
    db.save(event).await
}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    missing_copy_implementations
)]
struct project {}
#[allow(dead_code, deprecated, clippy::pedantic)]
const _: () = {
    const __INPUTS: P::Inputs =
        &[<OrderPlaced as P::FromDelivery>::INPUT, <State<Db> as P::FromDelivery>::INPUT];
    const __GROUP: &P::GroupRef = &P::group_of::<Projections>();
    const _: () = {
        const EVENT_ARGUMENT: () = P::check_event_argument(__INPUTS);
    };
    const _: () = {
        const ONE_EVENT: () = P::check_one_event(__INPUTS, 1usize);
    };
    const __BIND_0: &P::Str = "Order.*";
    const _: () = {
        const BIND: () = P::check_bind(__BIND_0, __INPUTS, __GROUP);
    };
    const _: () = {
        const BIND: () = P::check_covers(__BINDS, __INPUTS);
    };
    const __BINDS: P::Binds = &[P::Bind::Key(__BIND_0)];
    fn __needs(__needs: &mut P::Needs) {
        <OrderPlaced as P::FromDelivery>::needs(__needs);
        <State<Db> as P::FromDelivery>::needs(__needs);
    }
    fn __emits(__emits: &mut P::Emits) {
        <Result<(), LedgerError> as P::IntoOutcome>::emits(__emits);
    }
    fn __call(__invocation: P::Invocation) -> P::BoxFuture<'static, P::Outcome> {
        P::run(async move {
            let __arg0 = <OrderPlaced as P::FromDelivery>::from_delivery(&__invocation).await?;
            let __arg1 = <State<Db> as P::FromDelivery>::from_delivery(&__invocation).await?;
            P::Ok(<Result<(), LedgerError> as P::IntoOutcome>::into_outcome(
                project(__arg0, __arg1).await,
                &__invocation,
            ))
        })
    }
    impl P::Handler for project {
        const DEF: &'static P::HandlerDef = &P::HandlerDef {
            bus: "default",
            group: *__GROUP,
            name: "project",
            formerly: &[],
            binds: __BINDS,
            has_bind: true,
            foreign: false,
            inputs: __INPUTS,
            needs: __needs,
            emits: P::Emitted::By(__emits),
            settings: &[("retries", "5")],
            layer: P::None,
            call: P::Call::One(__call),
            location: P::location!(),
        };
    }
    P::submit! { P :: Submission :: Handler (< project as P :: Handler > :: DEF) }
};
