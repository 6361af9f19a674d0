//! Fixtures of the tests: throw-away nodes.
