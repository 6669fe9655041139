//! Apps that say who they are, and clients that never try twice, so that every lost request is seen.

mod app;
mod client;
mod load;
mod two_apps;

pub use app::App;
pub use client::{Client, Response, get, open_web_socket};
pub use load::Load;
pub use two_apps::{TwoApps, answering_slot};
