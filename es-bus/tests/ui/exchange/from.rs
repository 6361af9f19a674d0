#![allow(dead_code)]
use es_bus::exchange;

#[exchange(kind = "direct")]
struct Tasks;
#[exchange(kind = "fanout")]
struct News;
#[exchange(kind = "headers")]
struct Papers;
#[exchange]
struct Shop;

#[exchange(from(Shop, "Order.#", "Invoice.Sent"), from(Papers, headers(format = "pdf")), from(News), from("others"))]
struct Right;

#[exchange(from(Tasks, "Task.*"))]
//~^ error[E0080] 24 «"Task.*"» evaluation panicked: binding `Task.*` gets nothing: `tasks` is a direct exchange, which takes `*` and `#` literally; list the keys, or make it a topic exchange
struct Pattern;

#[exchange(from(Tasks))]
//~^ error[E0080] 17 «Tasks» evaluation panicked: everything is asked of `tasks`, a direct exchange, which compares whole keys: list them, `from(Tasks, "Task.Created")`
struct Everything;

#[exchange(from(News, "News.Told"))]
//~^ error[E0080] 23 «"News.Told"» evaluation panicked: binding `News.Told` asks for a key, and the fanout exchange `news` looks at none, everything comes: name the exchange alone
struct NoKeys;

#[exchange(from(Papers, "Report.#"))]
//~^ error[E0080] 25 «"Report.#"» evaluation panicked: binding `Report.#` asks for a key, and the headers exchange `papers` looks at headers only: write `headers(format = "pdf")`, with the headers that are meant
struct OnlyHeaders;

#[exchange(from(Shop, headers(format = "pdf")))]
//~^ error[E0080] 23 «headers(format = "pdf")» evaluation panicked: binding `headers(match = "all", format = "pdf")` asks for headers, and `shop` is a topic exchange, which looks at none: write `"Order.#"`, with the keys that are meant
struct NoHeaders;

#[exchange(from(Shop, "Order.**", "Order.#", "Order.#"))]
//~^ error 23 «"Order.**"» `*` has to be a whole word: in `**` it would be matched literally; write `*` between dots, or list the words you mean
//~^^ error 46 «"Order.#"» binding `Order.#` is given twice
struct Malformed;

#[exchange(name = "own", from("own", "#"))]
//~^ error 31 «"own"» an exchange cannot get messages from itself: name another one
struct Own;

#[exchange(from)]
//~^ error 12 «from» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
struct Nothing;

#[exchange(from = Shop)]
//~^ error 19 «Shop» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
struct Equals;

#[exchange(from(), from(7, "#"), from(Shop, 7), from(Shop, keys("a")))]
//~^ error 16 «()» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
//~^^ error 25 «7» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
//~^^^ error 45 «7» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
//~^^^^ error 60 «keys» `from` of `#[exchange]` takes an exchange, a type marked `#[exchange]` or a text, and what to get from it: `from(Shop, "Order.#")`; from a headers exchange, `from(Reports, headers(format = "pdf"))`; everything, `from(News)`
struct Wrong;

#[exchange(from(String, "#"))]
//~^ error[E0277] 17 «String» `String` is not an exchange
struct NoExchange;

fn main() {}
