//! Two servers and an address that moves between them, all on this machine: each server is a folder and a port, and the
//! address is a third port that leads to whoever holds it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bluegreen_core::{Command, Error, ErrorKind, Host, LocalHost, Result, Slot};
use bluegreen_floatingip::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed};
use hyper::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http_server::{self, text};
use crate::place::Place;
use crate::two_servers::{Server, TwoServers};

/// A repository with an application in three versions.
const REPOSITORY: &str = r#"
set -e
git init -q --initial-branch=master "$1"
cd "$1"
for number in 1 2 3; do
    echo "App v$number" > index.html
    git add index.html
    git -c user.name=Lab -c user.email=lab@example.com -c commit.gpgsign=false commit -qm "Application version $number"
    git -c tag.gpgsign=false tag "v$number"
done"#;

/// The lab, as the deploy tool sees it.
#[derive(Debug)]
pub struct Lab {
    root: PathBuf,
    /// Public, blue, green.
    addresses: [SocketAddr; 3],
}

impl Lab {
    /// The lab that [`serve`](Self::serve) has made.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open() -> Result<Self> {
        let root = Place::open("floating-ip", None)?.root().to_owned();
        let missing = |error: std::io::Error| {
            Error::new(ErrorKind::NotFound, "there is no lab")
                .with_source(error)
                .with_hint("start it in another terminal: `cargo run --example floating-ip -- lab`")
        };
        let text = std::fs::read_to_string(root.join("addresses")).map_err(missing)?;
        let addresses: Vec<SocketAddr> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let addresses = addresses.try_into().map_err(|_| Error::new(ErrorKind::Corrupt, "the lab's addresses"))?;
        Ok(Self { root, addresses })
    }

    /// Makes a new lab, and is its two servers and its address until Ctrl-C.
    ///
    /// # Errors
    /// When a part of it cannot be made.
    pub async fn serve() -> Result<()> {
        let root = Place::open("floating-ip", None)?.root().to_owned();
        std::fs::remove_dir_all(root)?;
        let root = Place::open("floating-ip", None)?.root().to_owned();
        let listen = || TcpListener::bind(("127.0.0.1", 0));
        let [public, blue, green] = [listen().await?, listen().await?, listen().await?];
        let lab = Self { root, addresses: [public.local_addr()?, blue.local_addr()?, green.local_addr()?] };
        let script = Command::script(REPOSITORY).arg(lab.repository().display().to_string());
        let output = LocalHost::new().run(&script).await?;
        if !output.success() {
            return Err(
                Error::new(ErrorKind::Unexpected, output.error_text()).with_operation("make the lab's repository")
            );
        }
        let stop = CancellationToken::new();
        for (slot, listener) in [(Slot::Blue, blue), (Slot::Green, green)] {
            tokio::spawn(serve_files(slot, lab.directory(slot).into(), listener, stop.clone()));
        }
        tokio::spawn(lead_to_holder(lab.address(), lab.addresses, public));
        // Last, so that who finds it finds everything.
        std::fs::write(lab.root.join("addresses"), lab.addresses.map(|address| format!("{address}\n")).concat())?;
        println!(
            "blue is {}, green {}, and the address that moves {}",
            lab.web(Slot::Blue),
            lab.web(Slot::Green),
            lab.public()
        );
        println!("the application is in {}, with the tags v1, v2 and v3", lab.repository().display());
        println!("now, in another terminal: cargo run --example floating-ip -- --provider lab deploy v1");
        tokio::signal::ctrl_c().await?;
        stop.cancel();
        Ok(std::fs::remove_file(lab.root.join("addresses"))?)
    }

    /// As settings would describe it.
    pub fn servers(&self) -> TwoServers {
        let server = |slot| Server {
            ssh: None,
            directory: self.directory(slot),
            web: self.web(slot),
            id: None,
            interface: None,
            marks: None,
        };
        TwoServers {
            service: "sample_app".to_owned(),
            repository: self.repository(),
            address: self.addresses[0].ip(),
            public: self.public(),
            state: self.root.join("state"),
            ssh_config: None,
            floating_ip: None,
            api: None,
            sudo: false,
            blue: server(Slot::Blue),
            green: server(Slot::Green),
        }
    }

    fn repository(&self) -> PathBuf {
        self.root.join("sample_app")
    }

    fn directory(&self, slot: Slot) -> String {
        self.root.join(slot.as_str()).display().to_string()
    }

    fn web(&self, slot: Slot) -> String {
        self.addresses[1 + slot as usize].to_string()
    }

    fn public(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// The address that moves.
    pub fn address(&self) -> LabAddress {
        LabAddress { holder: self.root.join("holder") }
    }
}

/// A web server that serves what was deployed.
async fn serve_files(slot: Slot, directory: PathBuf, listener: TcpListener, stop: CancellationToken) {
    let served = http_server::serve(slot.as_str(), listener, stop, move |request| {
        let name = request.uri().path().trim_start_matches('/');
        let name = if name.is_empty() { "index.html" } else { name };
        let found = std::fs::read_to_string(directory.join("current").join(name)).ok().filter(|_| !name.contains('/'));
        std::future::ready(match found {
            Some(page) => text(slot.as_str(), StatusCode::OK, page),
            None => text(slot.as_str(), StatusCode::NOT_FOUND, "nothing is deployed here\n".to_owned()),
        })
    });
    if let Err(error) = served.await {
        eprintln!("{slot}: {error}");
    }
}

/// Each connection goes to the server that holds the address at that moment.
async fn lead_to_holder(address: LabAddress, addresses: [SocketAddr; 3], listener: TcpListener) {
    while let Ok((mut client, _)) = listener.accept().await {
        let Ok(Some(slot)) = address.holder() else { continue };
        let server = addresses[1 + slot as usize];
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

/// An address whose holder is named in a file: an [`AddressProvider`] as small as they get.
#[derive(Debug, Clone)]
pub struct LabAddress {
    holder: PathBuf,
}

impl LabAddress {
    fn holder(&self) -> Result<Option<Slot>> {
        match std::fs::read_to_string(&self.holder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            text => text?.parse().map(Some),
        }
    }

    fn replace(&self, slot: Slot) -> std::io::Result<()> {
        let temporary: &Path = &self.holder.with_extension("new");
        std::fs::write(temporary, slot.as_str())?;
        std::fs::rename(temporary, &self.holder)
    }
}

impl fmt::Display for LabAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lab's address")
    }
}

#[async_trait]
impl AddressProvider for LabAddress {
    async fn observe(&self) -> Result<Observed> {
        Ok(Observed::settled(self.holder()?.map_or(Holder::Nobody, Holder::Slot)))
    }

    async fn preflight(&self, _to: Slot) -> Result<()> {
        Ok(())
    }

    async fn assign(&self, to: Slot) -> Result<Assigned> {
        self.replace(to)?;
        Ok(Assigned::Done)
    }

    async fn poll(&self, _action: &ActionId) -> Result<ActionState> {
        Ok(ActionState::Done)
    }
}
