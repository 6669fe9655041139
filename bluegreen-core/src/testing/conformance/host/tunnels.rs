use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::{HostFixture, PATIENCE, Suite};
use crate::host::Host;

impl<F: HostFixture> Suite<'_, F> {
    pub(super) async fn tunnels_reach_the_machine(&self) {
        let greeting = b"greetings from the other side";
        if let Some(address) = self.fixture.greeter(greeting).await {
            let clause = "the local address of a tunnel reaches the address on the machine, as often as one likes";
            self.is_greeted(clause, &address, greeting).await;
        }
        if let Some(address) = self.fixture.socket_greeter(greeting).await {
            let clause = "a tunnel to a socket is a socket, and reaches it as often as one likes";
            self.is_greeted(clause, &address, greeting).await;
        }
    }

    async fn is_greeted(&self, clause: &str, address: &str, greeting: &[u8]) {
        let c = &self.contract;
        let tunnels = [self.host.tunnel(address).await, self.host.tunnel(address).await];
        for tunnel in tunnels {
            let tunnel = c.ok(clause, tunnel);
            c.same(clause, tunnel.address().starts_with("unix:"), address.starts_with("unix:"));
            for _ in 0..5 {
                let address = tunnel.address().to_owned();
                let heard = tokio::task::spawn_blocking(move || listen(&address)).await;
                match heard {
                    Ok(Ok(heard)) => c.same(clause, heard, greeting.to_vec()),
                    other => c.broken(clause, format!("{other:?}")),
                }
            }
        }
    }
}

fn listen(address: &str) -> std::io::Result<Vec<u8>> {
    let (mut heard, limit) = (Vec::new(), Some(PATIENCE));
    match address.strip_prefix("unix:") {
        Some(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(limit)?;
            stream.read_to_end(&mut heard)?;
        }
        None => {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(limit)?;
            stream.read_to_end(&mut heard)?;
        }
    }
    Ok(heard)
}
