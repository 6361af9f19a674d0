//! A module called `es_bus` does not stand in the way of the crate.
mod es_bus {}

mod orders {
    #[::es_bus::event(aggregate = "Order")]
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(crate) struct OrderPlaced {
        pub(crate) id: u64,
    }

    #[::es_bus::handler(group = "audit")]
    pub(super) async fn audit(event: OrderPlaced) {
        let _ = event.id;
    }
}

fn main() {
    let _ = (orders::audit, crate::registered as fn() -> &'static str);
}

fn registered() -> &'static str {
    <orders::audit as ::es_bus::registry::Handler>::DEF.name
}
