struct OrderPlaced {
    id: u64,
}
#[allow(deprecated, clippy::pedantic)]
const _: () = {
    impl P::Event for OrderPlaced {
        const TYPE_NAME: &'static P::Str = "OrderPlaced";
        const KINDS: P::Kinds =
            &[P::EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced").version(2u32)];
        fn kind(&self) -> &'static P::EventKind {
            &<Self as P::Event>::KINDS[0]
        }
        fn aggregate_id(&self) -> P::Option<P::Cow<'_, P::Str>> {
            P::Some(P::AggregateId::aggregate_id(&self.id))
        }
        fn serialize_payload<S: P::Serializer>(&self, serializer: S) -> P::Result<S::Ok, S::Error> {
            <Self as P::Payload>::write(self, serializer)
        }
        fn deserialize_payload<'de, D: P::Deserializer<'de>>(
            name: &P::Str,
            deserializer: D,
        ) -> P::Result<Self, D::Error> {
            match P::kind_index(<Self as P::Event>::KINDS, name) {
                P::Some(_) => <Self as P::Payload>::read(deserializer),
                P::None => P::Err(P::unknown_event(<Self as P::Event>::KINDS, name)),
            }
        }
    }
    #[allow(dead_code)]
    impl OrderPlaced {
        #[doc = "The routing key of this event: `Order.OrderPlaced`."]
        pub const ROUTING_KEY: &'static P::Str = "Order.OrderPlaced";
    }
    impl P::DeclaredEvent for OrderPlaced {
        const DEF: &'static P::EventDef = &P::EventDef {
            bus: "default",
            type_name: "OrderPlaced",
            kinds: &[P::EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced").version(2u32)],
            view: false,
            is_set: false,
            schema: P::schema_of!(OrderPlaced),
            decode: P::decoder_of::<OrderPlaced>(),
            location: P::location!(),
        };
    }
    impl P::FromDelivery for OrderPlaced {
        const INPUT: P::Input = P::Input::Event {
            name: <OrderPlaced as P::Event>::TYPE_NAME,
            kinds: <OrderPlaced as P::Event>::KINDS,
        };
        async fn from_delivery(invocation: &P::Invocation) -> P::Result<Self, P::HandlerError> {
            invocation.decode::<Self>()
        }
    }
    P::submit! { P :: Submission :: Event (< OrderPlaced as P :: DeclaredEvent > :: DEF) }
};
