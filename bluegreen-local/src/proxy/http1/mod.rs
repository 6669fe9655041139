//! HTTP/1.1 messages: how they are read, and what a proxy changes in them. No input or output here.

mod body;
mod fields;
mod forwarding;
mod length;
mod request;
mod response;
mod trailers;

pub(super) use body::{Body, Encoding, Piece};
pub(super) use fields::line;
pub(super) use forwarding::Origin;
pub(super) use length::Length;
pub(super) use request::{Head, Refused, Rewrite, request};
pub(super) use response::{Asked, Kind, interim_continue, response};
