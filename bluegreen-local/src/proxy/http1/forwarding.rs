//! The fields in which a proxy says for whom it speaks: which there are, who is believed, and what is written of them.

use std::io::Write;
use std::net::IpAddr;

use httparse::Header;

use super::fields::{Field, line};

/// What is known about the client, for the service.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Origin {
    pub(in super::super) client: IpAddr,
    /// Whether what the client says about whom it speaks for is believed: it is another proxy of ours.
    pub(in super::super) trusted: bool,
}

/// Whether a field is passed on as the client wrote it.
pub(super) fn passes(field: Field, origin: Origin) -> bool {
    match field {
        // Written below, with what a trusted client said in it.
        Field::XForwardedFor => false,
        Field::Forwarding | Field::XForwardedHost | Field::XForwardedProto => origin.trusted,
        _ => true,
    }
}

/// Says who asks, by which protocol, and for which host.
pub(super) fn write(out: &mut Vec<u8>, headers: &[Header<'_>], origin: Origin, host: &[u8]) {
    out.extend_from_slice(b"x-forwarded-for: ");
    let said = |field| headers.iter().filter(move |header| origin.trusted && Field::of(header.name) == field);
    for before in said(Field::XForwardedFor) {
        out.extend_from_slice(before.value);
        out.extend_from_slice(b", ");
    }
    // Writing to memory does not fail.
    let _ = write!(out, "{}\r\n", origin.client.to_canonical());
    if said(Field::XForwardedProto).next().is_none() {
        line(out, "x-forwarded-proto", b"http");
    }
    if said(Field::XForwardedHost).next().is_none() {
        line(out, "x-forwarded-host", host);
    }
}
