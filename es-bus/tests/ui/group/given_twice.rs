#![allow(dead_code)]
use es_bus::group;

#[group(prefetch = 10, prefetch = 20)]
//~^ error 24 «prefetch» `prefetch` is given twice
struct Projections;

fn main() {}
