//! What the image of `compose-shop` is built from, and where its slots may listen.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use bluegreen_core::{Error, ErrorKind, Result};

/// The compose file of the example.
pub const COMPOSE: &str = include_str!("../compose-shop/compose.yaml");

const DOCKERFILE: &str = include_str!("../compose-shop/Dockerfile");

/// Makes a folder with the Dockerfile and the program: static, so that the image needs nothing else.
///
/// # Errors
/// When the program cannot be built.
pub fn context(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("Dockerfile"), DOCKERFILE)?;
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bin/compose-shop-service.rs");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
        .arg(folder.join("shop"))
        .arg(source)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(
            Error::new(ErrorKind::Unexpected, format!("{}: {said}", output.status)).with_operation("build the service")
        );
    }
    Ok(())
}

/// Two ports side by side, one for each slot, that are free now and that the kernel gives to no client meanwhile: below
/// those it chooses from. No two calls of a process return the same.
///
/// # Errors
/// When there are none.
pub fn two_ports() -> Result<[u16; 2]> {
    const PAIRS: u16 = 5000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Side by side with other processes.
    let first = std::process::id() as u16 % PAIRS;
    let mut pairs = (0..PAIRS).map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % PAIRS * 2);
    let found = pairs.find(|port| free(*port) && free(port + 1));
    let port = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no two ports side by side are free"))?;
    Ok([port, port + 1])
}
