//! Finding out that a peer has gone without a word: its machine lost power, or a firewall forgot the connection.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// How long a connection may be silent before the system asks the peer, by a TCP keepalive, whether it is still there:
/// a peer that does not answer for a minute is taken for gone, and its connection ends. So a
/// WebSocket of a client that has vanished is closed after two minutes. Neither nginx (`so_keepalive`) nor HAProxy
/// (`option clitcpka`) does this unless told to, and the system's own default begins after two hours.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// How often the peer of a silent connection is asked again, and how many times.
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE_TRIES: u32 = 6;

/// Has the system watch the peer of this connection. A stream that is dead already shows itself soon enough.
pub(super) fn keep_alive(stream: &TcpStream) {
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, TCP_KEEPALIVE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, TCP_KEEPALIVE_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, TCP_KEEPALIVE_TRIES));
}
