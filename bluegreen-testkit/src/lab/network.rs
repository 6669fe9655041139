use std::net::IpAddr;
use std::sync::OnceLock;

use bluegreen_core::Slot;
use bluegreen_core::testing::part_is_here;

use super::namespace::{Namespace, run};

/// A switch with a client, a blue, a green and a third server on it. Every server has the interface `eth0`.
#[derive(Debug)]
pub struct Network {
    pub client: Namespace,
    pub blue: Namespace,
    pub green: Namespace,
    pub third: Namespace,
    /// Ends last.
    _switch: Namespace,
}

impl Network {
    /// The address that moves.
    pub const V4: &str = "10.77.0.100";
    pub const V6: &str = "fd77::100";

    /// `None`: there are no namespaces here. Fails where everything is required.
    pub fn create() -> Option<Self> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        let missing = MISSING.get_or_init(missing);
        let why = missing.as_deref().unwrap_or_default();
        if !part_is_here("network namespaces", missing.is_none(), why) {
            return None;
        }
        let switch = Namespace::create("switch");
        switch.exec(&["ip", "link", "add", "br0", "type", "bridge"]);
        switch.exec(&["ip", "link", "set", "br0", "up"]);
        let join = |role: &str, number: u8| {
            let namespace = Namespace::create(role);
            let port = format!("port{number}");
            switch.exec(&[
                "ip",
                "link",
                "add",
                &port,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                namespace.name(),
            ]);
            switch.exec(&["ip", "link", "set", &port, "master", "br0", "up"]);
            namespace.exec(&["ip", "link", "set", "eth0", "up"]);
            namespace.exec(&["ip", "address", "add", &format!("10.77.0.{number}/24"), "dev", "eth0"]);
            namespace.exec(&["ip", "address", "add", &format!("fd77::{number}/64"), "dev", "eth0", "nodad"]);
            namespace
        };
        Some(Self {
            client: join("client", 1),
            blue: join("blue", 11),
            green: join("green", 22),
            third: join("third", 33),
            _switch: switch,
        })
    }

    pub fn server(&self, slot: Slot) -> &Namespace {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// Whether a server has the address, as the kernel says.
    pub fn has(&self, slot: Slot, address: &str) -> bool {
        let whole = if address.contains(':') { 128 } else { 32 };
        let shown = self.server(slot).exec(&["ip", "-o", "address", "show", "to", &format!("{address}/{whole}")]);
        !shown.trim().is_empty()
    }

    /// The one server that has the address; it must not be both, and not none.
    pub fn sole_holder(&self, address: &str) -> Slot {
        let holders: Vec<Slot> = Slot::BOTH.into_iter().filter(|slot| self.has(*slot, address)).collect();
        assert_eq!(holders.len(), 1, "the address {address} is on {holders:?}");
        holders[0]
    }

    pub fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}

fn missing() -> Option<String> {
    let name = format!("bg{}-probe", std::process::id());
    let output = std::process::Command::new("ip").args(["netns", "add", &name]).output();
    match output {
        Ok(output) if output.status.success() => {
            run(&["ip", "netns", "del", &name]);
            None
        }
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("ip: {error}")),
    }
}
