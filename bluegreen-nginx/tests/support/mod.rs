//! A real nginx of the test's own, apps behind it, and clients in front of it. Also used by the bench program.
#![allow(dead_code, unused_imports)]

mod app;
mod client;
mod load;
mod server;

pub(crate) use app::App;
pub(crate) use client::{Client, Response, get, open_web_socket};
pub(crate) use load::Load;
pub(crate) use server::{TestNginx, free_address, nginx_is_missing};
