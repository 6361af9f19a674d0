#![allow(dead_code)]
use es_bus::group;

#[group]
struct Fields {
//~^ error 8 «Fields» `#[group]` belongs on a unit struct: `#[group] struct Projections;`
    id: u64,
}

#[group]
enum Variants {
//~^ error 6 «Variants» `#[group]` belongs on a unit struct: `#[group] struct Projections;`
    A,
}

#[group]
//~^ error 1 «#[group]» `#[group]` belongs on a unit struct: `#[group] struct Projections;`
fn function() {}

#[group]
struct Generic<const N: usize>;
//~^ error 15 «<const N: usize>» a group cannot be generic: it is one queue

fn main() {}
