// What only start-up would find otherwise, or nobody.
#![allow(dead_code)]
use es_bus::{exchange, group};

#[group(retired = ["Order.OrderPlaced", "Order,Placed", "none", "order://placed"])]
//~^ error 41 «"Order,Placed"» `Order,Placed` has a comma, which parts the texts of this list; they can have none
//~^^ error 57 «"none"» `none` is how an empty list is written, and can be no text of one
//~^^^ error 65 «"order://placed"» `order://placed` would be taken for a URL, which no list of the configuration holds
struct Lists;

#[group(prefetch = 5)]
struct Größe;
//~^ error 8 «Größe» group name `größe` contains 'ö'; use letters, digits, `-`, `_` and dots; it is named after its type, `name = ".."` gives it another one

#[group(name = "views", formerly = ["views", "a b"])]
//~^ error 37 «"views"» `views` is the group's name now: `formerly` lists names that it had before
//~^^ error 46 «"a b"» group name `a b` contains ' '; use letters, digits, `-`, `_` and dots
struct Views;

#[group(formerly = 3)]
//~^ error 20 «3» `formerly` takes texts: `formerly = ["old_name"]`
struct Numbers;

#[exchange(kind = "direct")]
struct __;
//~^ error 8 «__» exchange name is empty; it is named after its type, `name = ".."` gives it another one

#[group(name = "sizes")]
struct Höhe;

fn main() {}
