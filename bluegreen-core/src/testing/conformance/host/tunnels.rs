use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use super::{HostFixture, Suite};
use crate::host::Host;

impl<F: HostFixture> Suite<'_, F> {
    pub(super) async fn tunnels_reach_the_machine(&self) {
        let c = &self.contract;
        let greeting = b"greetings from the other side";
        let Some(address) = self.fixture.greeter(greeting).await else { return };
        let clause = "the local address of a tunnel reaches the address on the machine, as often as one likes";
        let tunnels = [self.host.tunnel(&address).await, self.host.tunnel(&address).await];
        for tunnel in tunnels {
            let tunnel = c.ok(clause, tunnel);
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
    let mut heard = Vec::new();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}
