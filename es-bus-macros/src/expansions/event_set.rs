enum OrderEvent {
    Placed(OrderPlaced),
    Paid { id: u64 },
}
#[allow(deprecated, clippy::pedantic)]
const _: () = {
    impl P::Event for OrderEvent {
        const TYPE_NAME: &'static P::Str = "OrderEvent";
        const KINDS: P::Kinds = &[
            P::wrapped_kind(<OrderPlaced as P::Event>::KINDS),
            P::EventKind::new("OrderPaid", "Order", "Order.OrderPaid"),
        ];
        fn kind(&self) -> &'static P::EventKind {
            match self {
                Self::Placed { .. } => &<Self as P::Event>::KINDS[0usize],
                Self::Paid { .. } => &<Self as P::Event>::KINDS[1usize],
            }
        }
        fn routing_key(&self) -> P::Cow<'static, P::Str> {
            match self {
                Self::Placed(event) => <OrderPlaced as P::Event>::routing_key(event),
                Self::Paid { .. } => P::Cow::Borrowed("Order.OrderPaid"),
            }
        }
        fn aggregate_id(&self) -> P::Option<P::Cow<'_, P::Str>> {
            match self {
                Self::Placed(event) => <OrderPlaced as P::Event>::aggregate_id(event),
                Self::Paid { .. } => P::None,
            }
        }
        fn serialize_payload<S: P::Serializer>(&self, serializer: S) -> P::Result<S::Ok, S::Error> {
            match self {
                Self::Placed(event) => <OrderPlaced as P::Event>::serialize_payload(event, serializer),
                Self::Paid { .. } => <Self as P::Payload>::write_variant(self, serializer),
            }
        }
        fn deserialize_payload<'de, D: P::Deserializer<'de>>(
            name: &P::Str,
            deserializer: D,
        ) -> P::Result<Self, D::Error> {
            match P::kind_index(<Self as P::Event>::KINDS, name) {
                P::Some(0usize) => match <OrderPlaced as P::Event>::deserialize_payload(name, deserializer) {
                    P::Ok(event) => P::Ok(Self::Placed(event)),
                    P::Err(error) => P::Err(error),
                },
                P::Some(1usize) => <Self as P::Payload>::read_variant(1u32, deserializer),
                _ => P::Err(P::unknown_event(<Self as P::Event>::KINDS, name)),
            }
        }
    }
    const _: () = {
        const ONE_EVENT: () = P::check_wrapped("OrderPlaced", <OrderPlaced as P::Event>::KINDS);
    };
    const _: () = {
        const AGGREGATE: () = P::check_aggregate("OrderEvent", "Order", <OrderPlaced as P::Event>::KINDS);
    };
    const _: () = {
        const DISTINCT: () = P::check_distinct("OrderEvent", <OrderEvent as P::Event>::KINDS, 1usize);
    };
    impl P::DeclaredEvent for OrderEvent {
        const DEF: &'static P::EventDef = &P::EventDef {
            bus: "default",
            type_name: "OrderEvent",
            kinds: &[P::EventKind::new("OrderPaid", "Order", "Order.OrderPaid")],
            view: false,
            is_set: true,
            schema: P::schema_of!(OrderEvent),
            decode: P::decoder_of::<OrderEvent>(),
            location: P::location!(),
        };
    }
    impl P::FromDelivery for OrderEvent {
        const INPUT: P::Input = P::Input::Event {
            name: <OrderEvent as P::Event>::TYPE_NAME,
            kinds: <OrderEvent as P::Event>::KINDS,
        };
        async fn from_delivery(invocation: &P::Invocation) -> P::Result<Self, P::HandlerError> {
            invocation.decode::<Self>()
        }
    }
    P::submit! { P :: Submission :: Event (< OrderEvent as P :: DeclaredEvent > :: DEF) }
};
