//! Where a server of a test's own can listen.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// An address of the loopback that was free a moment ago. Clients connect from 127.0.0.1, so that none of them can be
/// given its port meanwhile.
pub fn free_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// Ports that were free a moment ago, and that the kernel gives to no client meanwhile: below those it chooses from.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let end: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let mut free = std::iter::repeat_with(|| {
        // Side by side with tests in other processes.
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7).wrapping_add(std::process::id() as u16);
        1024 + step % (end - 1024)
    })
    .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    [(); COUNT].map(|()| free.next().unwrap())
}
