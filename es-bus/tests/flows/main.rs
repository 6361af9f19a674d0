//! What a service meets, on the in-process broker and a paused clock: one module per story.

mod dispatch;
mod extractors;
mod faults;
mod isolation;
mod order;
mod publishing;
mod retries;
mod shutdown;
mod support;
