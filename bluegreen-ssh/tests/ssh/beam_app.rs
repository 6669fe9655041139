//! The service for tests does what its README says: other tests believe it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bluegreen_core::{LocalHost, Runtime, Slot};

use crate::beam_server::{GRACE, Server, ask};

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// One answer on a connection that stays open.
fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_connections_echoes_messages_and_ends_in_order() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let target = server.target(Slot::Blue, "1.0.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    let port = server.ports[0];

    let mut stream = connect(port);
    for _ in 0..3 {
        // The second one is sent before the first is answered.
        stream
            .write_all(
                b"GET /version HTTP/1.1\r\nhost: x\r\n\r\nPOST /health HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
            )
            .unwrap();
        let (head, body) = answer(&mut stream);
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n")
                && head.contains("connection: keep-alive")
                && head.contains("x-slot: blue")
        );
        assert_eq!(body, "1.0.0");
        assert_eq!(answer(&mut stream).1, "healthy\n");
    }
    stream.write_all(b"GET /nothing HTTP/1.0\r\n\r\n").unwrap();
    let (head, _) = answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("connection: close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);

    // The key and its answer are those of RFC 6455.
    let mut socket = connect(port);
    socket
        .write_all(
            b"GET /ws HTTP/1.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let (head, _) = answer(&mut socket);
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    for length in [0, 5, 125, 126, 70_000_u32] {
        let text: Vec<u8> = (0..length).map(|number| b'a' + u8::try_from(number % 26).unwrap()).collect();
        let mask = [7, 0, 255, 129];
        let mut frame = vec![0x81];
        let mut echo = vec![0x81];
        match length {
            0..=125 => (frame.push(0x80 | length as u8), echo.push(length as u8)).0,
            126..=65_535 => {
                frame.push(0x80 | 126);
                echo.push(126);
                frame.extend((length as u16).to_be_bytes());
                echo.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                echo.push(127);
                frame.extend(u64::from(length).to_be_bytes());
                echo.extend(u64::from(length).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        echo.extend(&text);
        let (first, rest) = frame.split_at(frame.len() / 2);
        socket.write_all(first).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(rest).unwrap();
        let mut got = vec![0; echo.len()];
        socket.read_exact(&mut got).unwrap();
        assert!(got == echo, "a message of {length} bytes comes back otherwise");
    }

    let idle = connect(port);
    let poll = ask(port, "/poll?ms=60000").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(crate::beam_server::answer(poll).unwrap(), "blue 1.0.0\n", "a poll is answered when the service ends");
    assert!(asked.elapsed() < GRACE);
    let mut close = [0; 4];
    socket.read_exact(&mut close).unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "a WebSocket is told that the service goes away");
    drop(idle);
}
