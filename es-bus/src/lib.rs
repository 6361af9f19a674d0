//! es-bus
