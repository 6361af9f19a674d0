#![allow(dead_code)]
use es_bus::exchange;

#[exchange]
struct Fields {
//~^ error 8 «Fields» `#[exchange]` belongs on a unit struct: `#[exchange] struct Orders;`
    name: String,
}

#[exchange]
enum Orders {
//~^ error 6 «Orders» `#[exchange]` belongs on a unit struct: `#[exchange] struct Orders;`
    One,
}

#[exchange]
struct Generic<T>(T);
//~^ error 8 «Generic» `#[exchange]` belongs on a unit struct: `#[exchange] struct Orders;`
//~^^ error 15 «<T>» an exchange cannot be generic: it has one name

#[exchange]
//~^ error 1 «#[exchange]» `#[exchange]` belongs on a unit struct: `#[exchange] struct Orders;`
fn orders() {}

fn main() {}
