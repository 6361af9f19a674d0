//! RabbitMQ through lapin; the only room that names it.
