//! Adapters with one fault each. A suite that does not notice it would be worth nothing.

mod gate;
mod health_check;
mod host;
mod router;
mod runtime;
mod state_store;
