//! nginx as a blue-green and canary router.

mod answer;
mod client;
mod config;
mod error;
mod flags;
mod in_flight;
mod install;
mod reload;
mod script;
mod server;
mod site;
mod symlink;

pub use config::{ANSWERS_IN_A_ROW, BucketBy, CONFIRM_WITHIN, Location, NginxConfig};
pub use flags::NginxRouter;
pub use symlink::NginxSymlinkRouter;
